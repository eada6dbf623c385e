/**
 * What becomes of leaves that a store makes too full or too empty, or that its range touches both: `../rebuild.ts` for what stays under one
 * parent. They, and sometimes a neighbour, are the group that one or two new leaves take the place of, under a copy of their parent.
 * `writer.ts` says what holds for all stores.
 */
import {
  append,
  fill,
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
  spliceWithGaps,
} from "./build";
import {
  addressOf,
  countOf,
  MAX_INDEX,
  MAX_SLOTS,
  MIN_SLOTS,
  NODE_PARENT,
  pivotBefore,
  pivotOf,
} from "./node";
import {
  firstOfNode,
  isTracking,
  lastOfNode,
  leaf,
  leafMax,
  pathNode,
  pathSlot,
  rightLeaf,
  rightMax,
  slot,
  top,
} from "./path";
import {
  adoptChildren,
  noteChange,
  parentOfHeight,
  publish,
  retire,
  updateGapsAbove,
} from "./publish";
import { claim, defer, isSeen, NOT_MINE, taken, takeNodes } from "./supply";
import { scratch } from "./thread";

// Of an inner node of a tree that tracks gaps, but for the root.
const MIN_GAP_SLOTS: i32 = 4;

// The group: the slot of the first leaf in the parent; a neighbour before or behind the path's leaf that belongs to it, 0 = none; and what
// the splitting of two leaves depends on, as in `../rebuild.ts`.
let groupPlace: i32 = 0;
let joinedBefore: u32 = 0;
let joinedBehind: u32 = 0;
let leftSlot: i32 = 0;
let leftFirst: f64 = 0;
let rightSlot: i32 = 0;
let rightCount: i32 = 0;
let rightLast: f64 = 0;

/**
 * Puts one or two leaves in the place of one that is too full, of one that is too empty and a neighbour, or of two that the range
 * touches; and a copy of their parent, which leads to the new ones, in its place.
 */
export function replaceLeaves(
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
