/**
 * Stores that change one leaf, or one or two under one parent: `../writer.ts` says what a store is, and `../rebuild.ts` what becomes of
 * leaves that get too full or too empty. What is done here is exactly what these would do: the same nodes are built, and published
 * by one store. Under the tree's lock, which those take themselves whose names begin with `enter`.
 *
 * A store that can't be done here returns before anything was changed (*not mine*), and is done there: one over more leaves, one
 * that fills or empties a parent, or changes the tree's height. So does one for which the thread has too few nodes at hand
 * (`supply.ts`), since what allocates more takes locks. Everything that can fail stands before the publishing store.
 *
 * The thread may die anywhere. `supply.ts` says how what it takes and defers is found then. The replaced nodes are marked dead, all
 * of them, before the first is deferred. New leaves name their new parent before that is published: whoever follows it meets a node
 * that is in no tree, and in the same hands.
 *
 * In a tree that is not and never was in RCU mode, a leaf is changed in place, unless it loses more than two slots (the twin always
 * makes a copy). Who looks at the pivots, the count and the slots of a leaf there holds the lock, readers too. Without it, movers
 * and who reaps a thread look at parent words, at slots of inner nodes, and at the height of a leaf, which stays; and movers fetch
 * lines, and use nothing of what they read. What the thread leaves half done nobody could mend, so it must not die meanwhile: V8
 * terminates a thread only at a call or where a loop turns round, and `spliceInPlace` has neither. What follows, `../recover.ts`
 * makes anew.
 *
 * Slots, the root, the parent words of nodes and the heads of lists are stored atomically, because others read them without the
 * lock, and read plainly, where only the holder of the lock writes them. Gaps are its alone. In the thread's scratch words the
 * path, the items and the pool are of no use once a store has returned; the nodes that were taken for it are, if it lacks others.
 */
import {
  append,
  fill,
  gapOffset,
  heldSlot,
  ITEM_GAPS,
  itemPivot,
  itemSlot,
  largestGap,
  largestRun,
  MAX_GAP_SLOTS,
  pivotInPool,
  POOL_PIVOTS,
  POOL_SLOTS,
  setItem,
  slotInPool,
  splice,
  spliceInPlace,
  spliceWithGaps,
} from "./build";
import { enterTree, leaveTree } from "./lock";
import { FOUND, goDown } from "./many";
import {
  addressOf,
  countOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_GENERATION,
  HEADER_HAD_RCU,
  HEADER_ROOT,
  heightOf,
  MAX_INDEX,
  MAX_SLOTS,
  MIN_SLOTS,
  NODE_BYTES,
  NODE_PARENT,
  NODE_PIVOTS,
  NODE_SLOTS,
  PIVOT_COUNT,
  pivotBefore,
  pivotOf,
  slotFor,
} from "./node";
import { claim, defer, isSeen, NO_LEAVES, take, taken, takeNodes } from "./supply";
import { enter, leave, scratch } from "./thread";

const HEADER_COUNT: usize = 18 << 2;
// Of an inner node of a tree that tracks gaps, but for the root.
const MIN_GAP_SLOTS: i32 = 4;

// In the thread's scratch words: behind the first indices of up to 16 ranges, and where they are found (`many.ts`), what else the
// caller of `enterStoreMany` leaves, and how many were stored.
const MANY_LASTS: usize = 256;
const MANY_VALUES: usize = 384;
const MANY_STORED: usize = 448;
// Behind the answers of readers.
const ERASED_FIRST: usize = 512;
const ERASED_LAST: usize = 520;
// The path: the node and the slot at each height.
const PATH_NODES: usize = 544;
const PATH_SLOTS: usize = 608;

/** What is returned where nothing was changed, and another must do it. */
const NOT_MINE: i32 = -1;

// The tree, and where the path ends.
let tree: usize = 0;
let isTracking: bool = false;
let top: i32 = 0;
/** Whether the path was walked from the root; else it has the leaf and the node above alone. */
let isWalked: bool = false;
let leaf: u32 = 0;
let slot: i32 = 0;
let leafMax: f64 = 0;
// The leaf that the range ends in.
let rightLeaf: u32 = 0;
let rightMax: f64 = 0;
// The group of leaves that `replaceLeaves` replaces: the slot of the first one in the parent; a neighbour before or behind the leaf that
// belongs to it, 0 = none; and what the splitting of two leaves depends on, as in `Rebuild`.
let groupPlace: i32 = 0;
let joinedBefore: u32 = 0;
let joinedBehind: u32 = 0;
let leftSlot: i32 = 0;
let leftFirst: f64 = 0;
let rightSlot: i32 = 0;
let rightCount: i32 = 0;
let rightLast: f64 = 0;

/** Stores over a range; returns what was at its beginning, or what is below 0 if it did not. */
export function storeRange(
  header: u32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  if (!begin(header, first)) return NOT_MINE;
  const before = heldSlot(addressOf(leaf), slot);
  const failed = change(first, last, value, leaves, inner);
  return failed != 0 ? <f64>failed : <f64>before;
}

/** Stores over a range if all of it is free: 1 if it was, 0 if not, or what is below 0 if it did not. */
export function insertRange(
  header: u32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): i32 {
  if (!begin(header, first)) return NOT_MINE;
  const node = addressOf(leaf);
  // A free run is one slot.
  if (heldSlot(node, slot) != 0 || last > pivotOf(node, slot, leafMax)) return 0;
  const failed = change(first, last, value, leaves, inner);
  return failed != 0 ? failed : 1;
}

/** Empties the range that contains an index, and leaves its bounds; returns what it held, or what is below 0 if it did not. */
export function erase(header: u32, index: f64, leaves: u32, inner: u32): f64 {
  if (!begin(header, index)) return NOT_MINE;
  const node = addressOf(leaf);
  const before = heldSlot(node, slot);
  const first = firstOfSlot(node, slot);
  const last = pivotOf(node, slot, leafMax);
  if (before != 0) {
    const failed = change(first, last, 0, leaves, inner);
    if (failed != 0) return failed;
  }
  store<f64>(scratch, first, ERASED_FIRST);
  store<f64>(scratch, last, ERASED_LAST);
  return <f64>before;
}

/** As `storeRange`, without the lock: it is taken and released here, unless what is returned is below 0. See `lock.ts`. */
export function enterStoreRange(
  header: u32,
  identity: i32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, storeRange(header, first, last, value, leaves, inner));
}

/** As `insertRange`, without the lock: as `enterStoreRange`. */
export function enterInsertRange(
  header: u32,
  identity: i32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, insertRange(header, first, last, value, leaves, inner));
}

/** As `erase`, without the lock: as `enterStoreRange`. */
export function enterErase(header: u32, identity: i32, index: f64, leaves: u32, inner: u32): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, erase(header, index, leaves, inner));
}

/**
 * Stores over the `count` ranges that the caller left, one after the other, as `enterStoreRange` would, under one hold of the lock.
 * It stops at the first one that is not mine or lacks nodes, and leaves how many were stored. First it goes down to where all of
 * them begin, so that they wait for memory together, and each store begins in the leaf that was found for it, if it can; what was found
 * is not freed before all of this ends, since it is in a read section.
 */
export function enterStoreMany(header: u32, identity: i32, count: i32, leaves: u32, inner: u32): f64 {
  store<i32>(scratch, 0, MANY_STORED);
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  const entered = enter();
  const answer = storeAll(header, count, leaves, inner);
  leave(entered);
  return leaveTree(header, identity, answer);
}

/** Does that, under the tree's lock and within a read section. */
function storeAll(header: u32, count: i32, leaves: u32, inner: u32): f64 {
  tree = addressOf(header);
  isTracking = hasNarrowNodes(load<i32>(tree, HEADER_FLAGS));
  goDown(header, count, isTracking);
  for (let at: i32 = 0; at < count; at++) {
    const first = load<f64>(scratch + (<usize>at << 3));
    const last = load<f64>(scratch + (<usize>at << 3), MANY_LASTS);
    const value = load<u32>(scratch + (<usize>at << 2), MANY_VALUES);
    const found = <usize>load<u32>(scratch + (<usize>at << 2), FOUND);
    if (found == 0 || !overwrite(found, first, last, value)) {
      const hasBegun = (found != 0 && beginAt(found, first)) || begin(header, first);
      if (!hasBegun) return NOT_MINE;
      const failed = change(first, last, value, leaves, inner);
      if (failed != 0) return failed;
    }
    store<i32>(scratch, at + 1, MANY_STORED);
  }
  return 0;
}

/**
 * Stores an entry in a slot that was found before, if that covers exactly this range still; says whether it did. The stores since may
 * have replaced its leaf, which is marked dead then, or changed it in place; the read section keeps its memory from being reused. Of
 * the first slot and of the one behind the last pivot it is not known what they cover.
 */
function overwrite(at: usize, first: f64, last: f64, value: u32): bool {
  const node = at & ~(NODE_BYTES - 1);
  const slot = (at - node - NODE_SLOTS) >> 2;
  if (
    slot == 0 || <i32>slot >= PIVOT_COUNT || value == 0 ||
    pivotBefore(node, slot) != first - 1 ||
    load<f64>(node + (slot << 3), NODE_PIVOTS) != last ||
    load<u32>(at) == 0 || load<u32>(node, NODE_PARENT) == <u32>(node >> 6)
  ) return false;
  // Pairs with the loads of readers.
  atomic.store<u32>(at, value);
  noteChange(0);
  return true;
}

/**
 * Begins a store in the leaf of a slot that was found before; says whether it did. Not if the leaf is dead, or if its parent alone does not
 * know what it covers. A leaf that lives covers what it did, and its parent word names its parent: both change only under the lock, and
 * where a thread died of changing them, `../recover.ts` has mended them before others get it. Trees that track gaps need the whole path for
 * nearly every store.
 */
function beginAt(at: usize, index: f64): bool {
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

/** Begins a store: walks to the slot that covers an index; says whether the tree holds anything. */
function begin(header: u32, index: f64): bool {
  tree = addressOf(header);
  isTracking = hasNarrowNodes(load<i32>(tree, HEADER_FLAGS));
  if (load<u32>(tree, HEADER_ROOT) == 0) return false;
  walk(index);
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

/** Stores over a range that begins in the path's slot: 0 if it did, else what it returns instead. */
function change(first: f64, last: f64, value: u32, leaves: u32, inner: u32): i32 {
  if (value == 0) {
    last = widenedLast(last);
    first = widenedFirst(first);
  }
  if (last > leafMax) {
    // What the next leaf covers may stand further up.
    if (!isWalked) walk(first);
    if (!findRight(last)) return NOT_MINE;
  } else {
    rightLeaf = leaf;
    rightMax = leafMax;
  }
  const node = addressOf(leaf), right = addressOf(rightLeaf);
  const end = <i32>slotFor(right, f64x2.splat(last), false);
  const begin = firstOfSlot(node, slot), endLast = pivotOf(right, end, rightMax);
  const cut = heldSlot(node, slot), rest = heldSlot(right, end);
  const count = countOf(node);
  const isOneLeaf = leaf == rightLeaf;
  if (
    isOneLeaf && slot == end && first == begin && last == endLast &&
    (value != 0 || count > 1)
  ) {
    storeSlot(node, cut, value);
    return 0;
  }
  let delta = <i32>(value != 0);
  if (isOneLeaf) delta -= entriesIn(node, slot, end + 1);
  else delta -= entriesIn(node, slot, count) + entriesIn(right, 0, end + 1);
  let items: i32 = 0;
  if (first > begin) {
    setItem(items++, first - 1, cut);
    delta += <i32>(cut != 0);
  }
  setItem(items++, last, value);
  if (last < endLast) {
    setItem(items++, endLast, rest);
    delta += <i32>(rest != 0);
  }
  const size = slot + items + countOf(right) - (end + 1);
  if (
    isOneLeaf && size <= MAX_SLOTS && (size >= MIN_SLOTS || top == 0) &&
    (size > 1 || value != 0)
  ) return replaceLeaf(node, count, end, items, delta, leaves);
  if (top == 0) return NOT_MINE;
  // It changes the parent, too, for which it needs what is above that.
  if (!isWalked) walk(first);
  return replaceLeaves(end, items, size, delta, leaves, inner);
}

/** Finds the leaf that a range ends in if it is the next one under the same parent; says whether it is. */
function findRight(last: f64): bool {
  const parent = addressOf(pathNode(1));
  const place = pathSlot(1) + 1;
  if (top == 0 || place == countOf(parent)) return false;
  rightLeaf = heldSlot(parent, place);
  rightMax = pivotOf(parent, place, lastOfNode(1));
  return last <= rightMax;
}

/** How many of the slots `from` … `to − 1` of a leaf are not empty. */
function entriesIn(node: usize, from: i32, to: i32): i32 {
  let entries: i32 = 0;
  for (let at = from; at < to; at++) {
    entries += <i32>(heldSlot(node, at) != 0);
  }
  return entries;
}

/** The end of the free run that `last` is in or that follows it; `last` if there is none. */
function widenedLast(last: f64): f64 {
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
function widenedFirst(first: f64): f64 {
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

function storeSlot(node: usize, old: u32, value: u32): void {
  if (old == 0 && value == 0) return;
  // Pairs with the loads of readers.
  atomic.store<u32>(node + (<usize>slot << 2), value, NODE_SLOTS);
  const delta = <i32>(value != 0) - <i32>(old != 0);
  if (isTracking && delta != 0) updateGaps(node);
  noteChange(delta);
}

/** Has the items stand for the leaf's slots from the path's up to `end`: in a copy that takes its place, or in place. */
function replaceLeaf(
  node: usize,
  count: i32,
  end: i32,
  items: i32,
  delta: i32,
  leaves: u32,
): i32 {
  const shift = items - (end + 1 - slot);
  if (load<i32>(tree, HEADER_HAD_RCU) == 0 && shift >= -2) {
    spliceInPlace(node, count, slot, end + 1, items, leafMax);
    if (isTracking) updateGaps(node);
    noteChange(delta);
    return 0;
  }
  if (isSeen(leaf)) return NOT_MINE;
  const copy = take(leaves);
  if (copy == 0) return NO_LEAVES;
  const target = addressOf(copy);
  splice(node, target, count, slot, end + 1, items, leafMax);
  // Pairs with the load of a mover.
  atomic.store<u32>(target, parentOfHeight(0), NODE_PARENT);
  claim(leaf);
  publish(0, copy);
  retire(leaf);
  defer(leaf);
  if (isTracking) updateGaps(target);
  noteChange(delta);
  return 0;
}

/**
 * Puts one or two leaves in the place of one that is too full, of one that is too empty and a neighbour, or of two that the range
 * touches; and a copy of their parent, which leads to the new ones, in its place.
 */
function replaceLeaves(
  end: i32,
  items: i32,
  size: i32,
  delta: i32,
  leaves: u32,
  inner: u32,
): i32 {
  const parent = pathNode(1);
  const above = addressOf(parent);
  const width = countOf(above);
  startGroup(end);
  if (size < MIN_SLOTS) {
    if (leaf != rightLeaf || !joinNeighbour(above, width)) return NOT_MINE;
    size += joinedBefore != 0 ? leftSlot + 1 : rightCount;
  }
  const other = leaf != rightLeaf ? rightLeaf : joinedBefore | joinedBehind;
  const replaced: i32 = other == 0 ? 1 : 2;
  if (size > 2 * MAX_SLOTS) return NOT_MINE;
  const built: i32 = size > MAX_SLOTS ? 2 : 1;
  const newWidth = width - replaced + built;
  const most = isTracking ? MAX_GAP_SLOTS : MAX_SLOTS;
  const fewest = isTracking ? MIN_GAP_SLOTS : MIN_SLOTS;
  if (newWidth > most || newWidth < (top > 1 ? fewest : 2)) return NOT_MINE;
  if (isSeen(leaf) || isSeen(parent) || (other != 0 && isSeen(other))) {
    return NOT_MINE;
  }
  const lacking = takeNodes(built, leaves, inner);
  if (lacking != 0) return lacking;
  gatherGroup(end, items);
  buildLeaves(size, built);
  const copy = taken(0), target = addressOf(copy);
  const next = groupPlace + replaced;
  if (isTracking) spliceWithGaps(above, target, width, groupPlace, next, built);
  else splice(above, target, width, groupPlace, next, built, lastOfNode(1));
  atomic.store<u32>(target, parentOfHeight(1), NODE_PARENT);
  claim(leaf);
  if (other != 0) claim(other);
  claim(parent);
  publish(1, copy);
  adoptChildren(target, copy, newWidth);
  retire(leaf);
  if (other != 0) retire(other);
  retire(parent);
  defer(leaf);
  if (other != 0) defer(other);
  defer(parent);
  if (isTracking) updateGapsAbove(1, largestGap(target));
  noteChange(delta);
  return 0;
}

/** The group is the path's leaf, and the one that the range ends in, in that slot. */
function startGroup(end: i32): void {
  groupPlace = pathSlot(1);
  joinedBefore = joinedBehind = 0;
  leftSlot = slot;
  leftFirst = firstOfNode(0);
  rightSlot = end;
  rightCount = countOf(addressOf(rightLeaf));
  rightLast = rightMax;
}

/** Takes the next leaf under the same parent into the group, or else the one before; says whether there is any. */
function joinNeighbour(above: usize, width: i32): bool {
  if (groupPlace < width - 1) {
    joinedBehind = heldSlot(above, groupPlace + 1);
    rightLast = pivotOf(above, groupPlace + 1, lastOfNode(1));
    rightSlot = 0;
    rightCount = countOf(addressOf(joinedBehind));
    return true;
  }
  if (groupPlace == 0) return false;
  groupPlace--;
  joinedBefore = heldSlot(above, groupPlace);
  leftFirst = groupPlace > 0 ? pivotBefore(above, groupPlace) + 1 : firstOfNode(1);
  leftSlot = countOf(addressOf(joinedBefore)) - 1;
  return true;
}

/** Gathers what the group holds then in the pool: its slots, and the items in the place of those from the path's up to `end`. */
function gatherGroup(end: i32, items: i32): void {
  let pooled: i32 = 0;
  if (joinedBefore != 0) pooled = append(joinedBefore, 0, leftSlot + 1, firstOfNode(0) - 1, 0);
  pooled = append(leaf, 0, slot, leafMax, pooled);
  for (let item: i32 = 0; item < items; item++) {
    store<f64>(pivotInPool(pooled), itemPivot(item), POOL_PIVOTS);
    store<u32>(slotInPool(pooled++), itemSlot(item), POOL_SLOTS);
  }
  const rest = countOf(addressOf(rightLeaf));
  pooled = append(rightLeaf, end + 1, rest, rightMax, pooled);
  if (joinedBehind != 0) append(joinedBehind, 0, rightCount, rightLast, pooled);
}

/** Fills the leaves that were taken from the pool, under the node that was taken with them, and leaves them as its items. */
function buildLeaves(size: i32, built: i32): void {
  const part = built == 2 ? splitOf(size) : size;
  for (let i: i32 = 0; i < built; i++) {
    const from = i == 0 ? 0 : part, to = i == 0 ? part : size;
    const child = taken(i + 1);
    fill(addressOf(child), from, to - from);
    atomic.store<u32>(addressOf(child), taken(0), NODE_PARENT);
    const childLast = load<f64>(pivotInPool(to - 1), POOL_PIVOTS);
    setItem(i, childLast, child);
    if (isTracking) {
      const first = i == 0
        ? leftFirst
        : load<f64>(pivotInPool(part - 1), POOL_PIVOTS) + 1;
      const gap = largestRun(addressOf(child), first, childLast);
      store<f64>(scratch + (<usize>i << 3), gap, ITEM_GAPS);
    }
  }
}

/** How many of so many slots the first of two leaves gets: where a tree grows at an end, the other one is left full. */
function splitOf(size: i32): i32 {
  if (rightLast == MAX_INDEX && rightSlot >= rightCount - 2) {
    return size - MIN_SLOTS < MAX_SLOTS ? size - MIN_SLOTS : MAX_SLOTS;
  }
  if (leftFirst == 0 && leftSlot <= 1) {
    return size - MAX_SLOTS > MIN_SLOTS ? size - MAX_SLOTS : MIN_SLOTS;
  }
  return (size + 1) >> 1;
}

/** Marks a node that was unlinked dead. */
function retire(ref: u32): void {
  // Pairs with the load of a mover.
  atomic.store<u32>(addressOf(ref), ref, NODE_PARENT);
}

/** Stores the one word that leads to what takes the place of the path's node at a height. */
function publish(height: i32, ref: u32): void {
  // Pairs with the loads of readers.
  if (height == top) atomic.store<u32>(tree, ref, HEADER_ROOT);
  else {
    const node = addressOf(pathNode(height + 1));
    const at = <usize>pathSlot(height + 1);
    atomic.store<u32>(node + (at << 2), ref, NODE_SLOTS);
  }
}

/** Points all children of a node at it: as `adoptChildren` of `../node.ts`, which says why they are read before. */
function adoptChildren(node: usize, ref: u32, count: i32): void {
  let fetched: u32 = 0;
  for (let at: i32 = 0; at < count; at++) {
    fetched |= load<u32>(addressOf(heldSlot(node, at)), NODE_PARENT);
  }
  if (fetched == 0xffff_ffff) return; // never
  for (let at: i32 = 0; at < count; at++) {
    atomic.store<u32>(addressOf(heldSlot(node, at)), ref, NODE_PARENT);
  }
}

function noteChange(delta: i32): void {
  atomic.add<i32>(tree, 1, HEADER_GENERATION);
  if (delta != 0) atomic.add<i32>(tree, delta, HEADER_COUNT);
}

/** Notes the largest free run of the leaf in the path's place in the nodes above. */
function updateGaps(node: usize): void {
  if (top > 0) updateGapsAbove(0, largestRun(node, firstOfNode(0), leafMax));
}

/** Notes the gap of what is in the path's place at a height in the nodes above, as far as it changes theirs. */
function updateGapsAbove(height: i32, gap: f64): void {
  for (let at = height + 1; at <= top; at++) {
    const above = addressOf(pathNode(at));
    const place = above + gapOffset(pathSlot(at));
    if (load<f64>(place) == gap) return;
    store<f64>(place, gap);
    gap = largestGap(above);
  }
}

function firstOfSlot(node: usize, at: i32): f64 {
  return at > 0 ? pivotBefore(node, at) + 1 : firstOfNode(0);
}

/** The first index of the path's node at a height. */
function firstOfNode(height: i32): f64 {
  for (let at = height + 1; at <= top; at++) {
    const place = pathSlot(at);
    if (place > 0) return pivotBefore(addressOf(pathNode(at)), place) + 1;
  }
  return 0;
}

/** The last index of the path's node at a height. */
function lastOfNode(height: i32): f64 {
  for (let at = height + 1; at <= top; at++) {
    const place = pathSlot(at);
    if (place < PIVOT_COUNT) {
      return pivotOf(addressOf(pathNode(at)), place, MAX_INDEX);
    }
  }
  return MAX_INDEX;
}

/** What the parent word of the path's node at a height holds. */
function parentOfHeight(height: i32): u32 {
  return height == top ? <u32>(tree >> 6) + 1 : pathNode(height + 1);
}

function setPath(height: i32, ref: u32, at: usize): void {
  store<u32>(scratch + (<usize>height << 2), ref, PATH_NODES);
  store<u8>(scratch + <usize>height, <u8>at, PATH_SLOTS);
}

function pathNode(height: i32): u32 {
  return load<u32>(scratch + (<usize>height << 2), PATH_NODES);
}

function pathSlot(height: i32): i32 {
  return load<u8>(scratch + <usize>height, PATH_SLOTS);
}

