/**
 * Building the nodes of a store: private ones, filled from live ones, from the items that stand in the place of some slots, and from the
 * pool. As `../node.ts` and `../pool.ts`. Items and pool are in the thread's scratch words. Under the tree's lock, whose holder alone
 * changes slots and gaps: they are read plainly.
 */
import {
  addressOf,
  countOf,
  heightOf,
  MAX_SLOTS,
  NODE_META,
  NODE_PIVOTS,
  NODE_SLOTS,
  PIVOT_COUNT,
  pivotOf,
} from "./node";
import { scratch } from "./thread";

/** The most slots of an inner node of a tree that tracks gaps. */
export const MAX_GAP_SLOTS: i32 = 12;

// In the thread's scratch words, behind the path (`path.ts`). What stands in the place of some slots: up to three items.
const ITEM_PIVOTS: usize = 624;
const ITEM_SLOTS: usize = 648;
// What new leaves are built from: as much as two hold.
export const POOL_PIVOTS: usize = 664;
export const POOL_SLOTS: usize = POOL_PIVOTS + 42 * 8;
// The largest free runs of the new leaves, for their parent.
export const ITEM_GAPS: usize = POOL_SLOTS + 42 * 4;

/** As `spliceNode` of `../node.ts`, with the items for what stands in the place of slots `from` … `to − 1`. */
export function splice(
  node: usize,
  copy: usize,
  count: i32,
  from: i32,
  to: i32,
  items: i32,
  last: f64,
): void {
  const shift = items - (to - from);
  const newCount = count + shift;
  store<i32>(copy, heightOf(node) | (newCount << 8), NODE_META);
  let at: i32 = 0;
  // Two at a time, whatever of the last pair is too many is written again below.
  for (; at < from; at += 2) {
    v128.store(
      copy + (<usize>at << 3),
      v128.load(node + (<usize>at << 3), NODE_PIVOTS),
      NODE_PIVOTS,
    );
  }
  at = from;
  for (let item: i32 = 0; item < items; item++, at++) {
    if (at < PIVOT_COUNT) setPivot(copy, at, itemPivot(item));
  }
  for (let old = to; at < PIVOT_COUNT && old < PIVOT_COUNT; at += 2, old += 2) {
    v128.store(
      copy + (<usize>at << 3),
      v128.load(node + (<usize>old << 3), NODE_PIVOTS),
      NODE_PIVOTS,
    );
  }
  if (shift < 0) {
    if (count == MAX_SLOTS) setPivot(copy, newCount - 1, last);
    for (at = newCount; at < PIVOT_COUNT; at++) setPivot(copy, at, Infinity);
  }
  for (at = 0; at < from; at++) setSlot(copy, at, heldSlot(node, at));
  for (let item: i32 = 0; item < items; item++) {
    setSlot(copy, at++, itemSlot(item));
  }
  for (let old = to; old < count; old++) {
    setSlot(copy, at++, heldSlot(node, old));
  }
}

/**
 * As `splice`, but in the leaf itself, of which at most two slots go. The thread can't be terminated within: everything here is to be
 * inlined, and there is no loop. See `writer.ts`.
 */
// @ts-ignore: a decorator of AssemblyScript
@inline
export function spliceInPlace(
  node: usize,
  count: i32,
  from: i32,
  to: i32,
  items: i32,
  last: f64,
): void {
  const shift = items - (to - from);
  const target = to + shift;
  const newCount = count + shift;
  const pivots = node + NODE_PIVOTS, slots = node + NODE_SLOTS;
  if (shift != 0) {
    const behind = PIVOT_COUNT - (shift > 0 ? target : to);
    if (behind > 0) {
      memory.copy(
        pivots + (<usize>target << 3),
        pivots + (<usize>to << 3),
        <usize>behind << 3,
      );
    }
    memory.copy(
      slots + (<usize>target << 2),
      slots + (<usize>to << 2),
      <usize>(count - to) << 2,
    );
    if (shift < 0) {
      store<f64>(pivots + 19 * 8, Infinity);
      if (shift == -2) store<f64>(pivots + 18 * 8, Infinity);
      if (count == MAX_SLOTS) store<f64>(pivots + (<usize>newCount << 3) - 8, last);
    }
  }
  putItem(node, from, 0);
  if (items > 1) putItem(node, from + 1, 1);
  if (items > 2) putItem(node, from + 2, 2);
  store<i32>(node, heightOf(node) | (newCount << 8), NODE_META);
}

// @ts-ignore: a decorator of AssemblyScript
@inline
function putItem(node: usize, at: i32, item: usize): void {
  const pivot = load<f64>(scratch + (item << 3), ITEM_PIVOTS);
  if (at < PIVOT_COUNT) store<f64>(node + (<usize>at << 3), pivot, NODE_PIVOTS);
  const held = load<u32>(scratch + (item << 2), ITEM_SLOTS);
  store<u32>(node + (<usize>at << 2), held, NODE_SLOTS);
}

/** As `splice`, of an inner node of a tree that tracks gaps. */
export function spliceWithGaps(
  node: usize,
  copy: usize,
  count: i32,
  from: i32,
  to: i32,
  items: i32,
): void {
  const newCount = count + items - (to - from);
  store<i32>(copy, heightOf(node) | (newCount << 8), NODE_META);
  let at: i32 = 0;
  for (; at < from; at++) copyWithGap(node, at, copy, at);
  for (let item: i32 = 0; item < items; item++, at++) {
    setPivot(copy, at, itemPivot(item));
    setSlot(copy, at, itemSlot(item));
    const gap = load<f64>(scratch + (<usize>item << 3), ITEM_GAPS);
    store<f64>(copy + gapOffset(at), gap);
  }
  for (let old = to; old < count; old++, at++) copyWithGap(node, old, copy, at);
  for (; at < MAX_GAP_SLOTS; at++) setPivot(copy, at, Infinity);
}

function copyWithGap(node: usize, from: i32, copy: usize, to: i32): void {
  setPivot(copy, to, load<f64>(node + (<usize>from << 3), NODE_PIVOTS));
  setSlot(copy, to, heldSlot(node, from));
  store<f64>(copy + gapOffset(to), load<f64>(node + gapOffset(from)));
}

/** Fills a private leaf with slots of the pool. As `fillNode` of `../node.ts`. */
export function fill(node: usize, from: i32, count: i32): void {
  store<i32>(node, count << 8, NODE_META);
  for (let at: i32 = 0; at < PIVOT_COUNT; at++) {
    const pivot = at < count
      ? load<f64>(pivotInPool(from + at), POOL_PIVOTS)
      : Infinity;
    setPivot(node, at, pivot);
  }
  for (let at: i32 = 0; at < count; at++) {
    setSlot(node, at, load<u32>(slotInPool(from + at), POOL_SLOTS));
  }
}

/** Adds slots `from` … `to − 1` of a leaf to the pool; returns how many it holds then. */
export function append(ref: u32, from: i32, to: i32, last: f64, pooled: i32): i32 {
  const node = addressOf(ref);
  for (let at = from; at < to; at++) {
    store<f64>(pivotInPool(pooled), pivotOf(node, at, last), POOL_PIVOTS);
    store<u32>(slotInPool(pooled++), heldSlot(node, at), POOL_SLOTS);
  }
  return pooled;
}

/** The largest gap of an inner node. */
export function largestGap(node: usize): f64 {
  let largest: f64 = 0;
  for (let at = countOf(node) - 1; at >= 0; at--) {
    const gap = load<f64>(node + gapOffset(at));
    if (gap > largest) largest = gap;
  }
  return largest;
}

/** The length of the largest free run in a leaf. */
export function largestRun(node: usize, first: f64, leafLast: f64): f64 {
  const count = countOf(node);
  let largest: f64 = 0;
  for (let at: i32 = 0; at < count; at++) {
    const last = pivotOf(node, at, leafLast);
    if (heldSlot(node, at) == 0 && last - first >= largest) {
      largest = last - first + 1;
    }
    first = last + 1;
  }
  return largest;
}

/** Where an inner node of a tree that tracks gaps keeps that of a slot. */
export function gapOffset(at: i32): usize {
  return <usize>(at + (at < 8 ? 13 : 19)) << 3;
}

export function setItem(at: i32, pivot: f64, held: u32): void {
  store<f64>(scratch + (<usize>at << 3), pivot, ITEM_PIVOTS);
  store<u32>(scratch + (<usize>at << 2), held, ITEM_SLOTS);
}

export function itemPivot(at: i32): f64 {
  return load<f64>(scratch + (<usize>at << 3), ITEM_PIVOTS);
}

export function itemSlot(at: i32): u32 {
  return load<u32>(scratch + (<usize>at << 2), ITEM_SLOTS);
}

export function pivotInPool(at: i32): usize {
  return scratch + (<usize>at << 3);
}

export function slotInPool(at: i32): usize {
  return scratch + (<usize>at << 2);
}

function setPivot(node: usize, at: i32, pivot: f64): void {
  store<f64>(node + (<usize>at << 3), pivot, NODE_PIVOTS);
}

/** What a slot holds, read plainly: only the holder of the lock changes it. */
export function heldSlot(node: usize, at: i32): u32 {
  return load<u32>(node + (<usize>at << 2), NODE_SLOTS);
}

/** Sets a slot of a private node. */
export function setSlot(node: usize, at: i32, held: u32): void {
  store<u32>(node + (<usize>at << 2), held, NODE_SLOTS);
}
