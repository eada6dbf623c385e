/**
 * Where a store goes: the tree, the way from its root to the leaf and the slot in which the range begins, and the leaf in which it ends, if
 * that is the same one or the next one under the same parent. As `../path.ts`. Under the tree's lock: what it leads to stays until the
 * store changes it. The nodes and slots on the way are in the thread's scratch words, and of no use once a store has returned.
 */
import { heldSlot } from "./build";
import {
  addressOf,
  countOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_ROOT,
  heightOf,
  MAX_INDEX,
  NODE_BYTES,
  NODE_PARENT,
  NODE_SLOTS,
  PIVOT_COUNT,
  pivotBefore,
  pivotOf,
  slotFor,
} from "./node";
import { scratch } from "./thread";

// In the thread's scratch words, behind what else the writer leaves there: the node and the slot at each height.
const PATH_NODES: usize = 544;
const PATH_SLOTS: usize = 608;

// The tree, and where the path ends.
export let tree: usize = 0;
export let isTracking: bool = false;
export let top: i32 = 0;
export let leaf: u32 = 0;
export let slot: i32 = 0;
export let leafMax: f64 = 0;
/** Whether the path was walked from the root; else it has the leaf and the node above alone. */
let isWalked: bool = false;
// The leaf that the range ends in.
export let rightLeaf: u32 = 0;
export let rightMax: f64 = 0;

/** Has the stores from now on be of that tree. */
export function aim(header: u32): void {
  tree = addressOf(header);
  isTracking = hasNarrowNodes(load<i32>(tree, HEADER_FLAGS));
}

/** Begins a store: walks to the slot that covers an index; says whether the tree holds anything. */
export function begin(header: u32, index: f64): bool {
  aim(header);
  if (load<u32>(tree, HEADER_ROOT) == 0) return false;
  walk(index);
  return true;
}

/**
 * Begins a store in the leaf of a slot that was found before; says whether it did. Not if the leaf is dead, or if its parent alone does not
 * know what it covers. A leaf that lives covers what it did, and its parent word names its parent: both change only under the lock, and
 * where a thread died of changing them, `../recover.ts` has mended them before others get it. Trees that track gaps need the whole path for
 * nearly every store.
 */
export function beginAt(at: usize, index: f64): bool {
  const node = at & ~(NODE_BYTES - 1);
  const ref = load<u32>(node, NODE_PARENT);
  if (isTracking || ref == <u32>(node >> 6) || ref == <u32>(tree >> 6) + 1) return false;
  const parent = addressOf(ref);
  const key = f64x2.splat(index);
  const place = slotFor(parent, key, false);
  if (place == 0 || <i32>place >= PIVOT_COUNT) return false;
  top = heightOf(addressOf(load<u32>(tree, HEADER_ROOT)));
  setPath(1, ref, place);
  leaf = <u32>(node >> 6);
  // The stores since may have moved the slot.
  slot = <i32>slotFor(node, key, false);
  leafMax = pivotOf(parent, place, MAX_INDEX);
  isWalked = false;
  return true;
}

/** Walks to the slot that covers an index. */
function walk(index: f64): void {
  let ref = load<u32>(tree, HEADER_ROOT);
  const key = f64x2.splat(index);
  let to = MAX_INDEX;
  let node = addressOf(ref);
  let height = heightOf(node);
  top = height;
  let at = slotFor(node, key, isTracking && height > 0);
  while (height > 0) {
    setPath(height, ref, at);
    to = pivotOf(node, at, to);
    ref = load<u32>(node + (at << 2), NODE_SLOTS);
    node = addressOf(ref);
    height--;
    at = slotFor(node, key, isTracking && height > 0);
  }
  leaf = ref;
  slot = <i32>at;
  leafMax = to;
  isWalked = true;
}

/** Walks to the slot that covers an index, if the path is not from the root. */
export function walkWhole(index: f64): void {
  if (!isWalked) walk(index);
}

/** Finds the leaf that `first` … `last` ends in if it is the path's or the next one under the same parent; says whether it is. */
export function findEnd(first: f64, last: f64): bool {
  if (last <= leafMax) {
    rightLeaf = leaf;
    rightMax = leafMax;
    return true;
  }
  // What the next leaf covers may stand further up.
  walkWhole(first);
  const parent = addressOf(pathNode(1));
  const place = pathSlot(1) + 1;
  if (top == 0 || place == countOf(parent)) return false;
  rightLeaf = heldSlot(parent, place);
  rightMax = pivotOf(parent, place, lastOfNode(1));
  return last <= rightMax;
}

/** The end of the free run that `last` is in or that follows it; `last` if there is none. */
export function widenedLast(last: f64): f64 {
  if (last == MAX_INDEX) return last;
  const next = last + 1;
  if (next > leafMax) {
    const end = lastOfFree(next);
    return end < 0 ? last : end;
  }
  const node = addressOf(leaf);
  const at = <i32>slotFor(node, f64x2.splat(next), false);
  return heldSlot(node, at) == 0 ? pivotOf(node, at, leafMax) : last;
}

/** The beginning of the free run that `first` is in or that precedes it; `first` if there is none. Moves the path. */
export function widenedFirst(first: f64): f64 {
  const node = addressOf(leaf);
  const begin = firstOfSlot(node, slot);
  if (begin < first || first == 0) {
    return heldSlot(node, slot) == 0 ? begin : first;
  }
  if (slot > 0) {
    if (heldSlot(node, slot - 1) != 0) return first;
    slot--;
  } else {
    if (lastOfFree(first - 1) < 0) return first;
    walk(first - 1);
  }
  return firstOfSlot(addressOf(leaf), slot);
}

/** The end of the free run that an index is in, in a leaf that the path does not lead to; -1 if it is in none. */
function lastOfFree(index: f64): f64 {
  const key = f64x2.splat(index);
  let ref = load<u32>(tree, HEADER_ROOT);
  let last = MAX_INDEX;
  for (let height = top; height >= 0; height--) {
    const node = addressOf(ref);
    const at = slotFor(node, key, isTracking && height > 0);
    last = pivotOf(node, at, last);
    ref = load<u32>(node + (at << 2), NODE_SLOTS);
  }
  return ref == 0 ? last : -1;
}

export function firstOfSlot(node: usize, at: i32): f64 {
  return at > 0 ? pivotBefore(node, at) + 1 : firstOfNode(0);
}

/** The first index of the path's node at a height. */
export function firstOfNode(height: i32): f64 {
  for (let at = height + 1; at <= top; at++) {
    const place = pathSlot(at);
    if (place > 0) return pivotBefore(addressOf(pathNode(at)), place) + 1;
  }
  return 0;
}

/** The last index of the path's node at a height. */
export function lastOfNode(height: i32): f64 {
  for (let at = height + 1; at <= top; at++) {
    const place = pathSlot(at);
    if (place < PIVOT_COUNT) {
      return pivotOf(addressOf(pathNode(at)), place, MAX_INDEX);
    }
  }
  return MAX_INDEX;
}

export function pathNode(height: i32): u32 {
  return load<u32>(scratch + (<usize>height << 2), PATH_NODES);
}

export function pathSlot(height: i32): i32 {
  return load<u8>(scratch + <usize>height, PATH_SLOTS);
}

function setPath(height: i32, ref: u32, at: usize): void {
  store<u32>(scratch + (<usize>height << 2), ref, PATH_NODES);
  store<u8>(scratch + <usize>height, <u8>at, PATH_SLOTS);
}
