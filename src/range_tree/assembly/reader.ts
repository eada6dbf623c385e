/**
 * Readers' loops: down to a slot, and along a leaf. They run inside a read section or under the tree's lock, and make one atomic
 * load a node, as those of `../node.ts` and `../walk.ts` do.
 */
import {
  addressOf,
  countOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_ROOT,
  heightOf,
  NODE_SLOTS,
  PIVOT_COUNT,
  pivotBefore,
  pivotOf,
  slotFor,
  slotOf,
} from "./node";
import { enter, leave, scratch } from "./thread";

// What `seek` leaves, and where the entries begin that `copyEntries` leaves.
const FIRST: usize = 0;
const LAST: usize = 8;
const MIN: usize = 16;
const MAX: usize = 24;
const VALUE: usize = 32;
const LEAF: usize = 36;
const SLOT: usize = 40;
const COUNT: usize = 44;
const FIRSTS: usize = 64;
const LASTS: usize = FIRSTS + 21 * 8;
const VALUES: usize = LASTS + 21 * 8;

const MAX_INDEX: f64 = 9007199254740991;

/** The entry at an index, inside a read section or under the lock. */
export function lookUpInside(header: u32, index: f64): u32 {
  const flags = atomic.load<i32>(addressOf(header), HEADER_FLAGS);
  return entryAt(header, index, hasNarrowNodes(flags));
}

/** As `lookUpInside`, where it is known whether inner nodes are narrow. */
export function entryAt(header: u32, index: f64, areNarrow: bool): u32 {
  let ref = atomic.load<u32>(addressOf(header), HEADER_ROOT);
  if (ref == 0) return 0;
  const key = f64x2.splat(index);
  let height = heightOf(addressOf(ref));
  do {
    const node = addressOf(ref);
    ref = slotOf(node, slotFor(node, key, areNarrow && height > 0));
  } while (height-- > 0);
  return ref;
}

/** The entry at an index, in a read section of its own; -1 if the tree's flags are not these. */
export function lookUp(header: u32, index: f64, flags: i32): f64 {
  const entered = enter();
  const entry = atomic.load<i32>(addressOf(header), HEADER_FLAGS) == flags
    ? <f64>entryAt(header, index, hasNarrowNodes(flags))
    : -1;
  leave(entered);
  return entry;
}

/** Walks to the range that covers an index. */
export function seek(header: u32, index: f64): void {
  let first: f64 = 0, last = MAX_INDEX, min: f64 = 0, max = MAX_INDEX;
  let node: usize = 0, slot: usize = 0, count: i32 = 0, value: u32 = 0;
  let ref = atomic.load<u32>(addressOf(header), HEADER_ROOT);
  if (ref != 0) {
    const key = f64x2.splat(index);
    const flags = atomic.load<i32>(addressOf(header), HEADER_FLAGS);
    const areNarrow = hasNarrowNodes(flags);
    node = addressOf(ref);
    let height = heightOf(node);
    slot = slotFor(node, key, areNarrow && height > 0);
    while (height > 0) {
      height--;
      if (slot > 0) min = pivotBefore(node, slot) + 1;
      max = pivotOf(node, slot, max);
      ref = slotOf(node, slot);
      node = addressOf(ref);
      slot = slotFor(node, key, areNarrow && height > 0);
    }
    count = countOf(node);
    first = slot > 0 ? pivotBefore(node, slot) + 1 : min;
    last = pivotOf(node, slot, max);
    value = slotOf(node, slot);
  }
  store<f64>(scratch, first, FIRST);
  store<f64>(scratch, last, LAST);
  store<f64>(scratch, min, MIN);
  store<f64>(scratch, max, MAX);
  store<u32>(scratch, value, VALUE);
  store<u32>(scratch, ref, LEAF);
  store<u32>(scratch, <u32>slot, SLOT);
  store<i32>(scratch, count, COUNT);
}

/** As `copyEntries` of `../node.ts`. */
export function copyEntries(
  leaf: u32,
  slot: i32,
  first: f64,
  max: f64,
  to: f64,
  hidden: u32,
): i32 {
  const node = addressOf(leaf);
  const count = countOf(node);
  let copied: usize = 0;
  for (; slot < count && first <= to; slot++) {
    const last = pivotOf(node, slot, max);
    const value = slotOf(node, slot);
    if (value != 0 && value != hidden) {
      store<f64>(scratch + (copied << 3), first, FIRSTS);
      store<f64>(scratch + (copied << 3), last, LASTS);
      store<u32>(scratch + (copied << 2), value, VALUES);
      copied++;
    }
    first = last + 1;
  }
  return <i32>copied;
}

/** How many entries of a leaf, from a slot on, begin at or before `to`. */
export function countEntries(
  leaf: u32,
  slot: i32,
  first: f64,
  to: f64,
  hidden: u32,
): i32 {
  const node = addressOf(leaf);
  const count = countOf(node);
  let entries: i32 = 0;
  for (; slot < count && first <= to; slot++) {
    const value = slotOf(node, slot);
    if (value != 0 && value != hidden) entries++;
    // The slot of a full leaf that has no pivot is its last.
    if (slot < PIVOT_COUNT) first = pivotOf(node, slot, 0) + 1;
  }
  return entries;
}
