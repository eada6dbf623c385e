/**
 * Finding room: the lowest or the highest free run of a size inside a window. As `GapSearch` of `../gaps.ts`, which says why it is
 * right; under the tree's lock, whose holder alone reads and writes gaps.
 */
import {
  addressOf,
  countOf,
  HEADER_ROOT,
  heightOf,
  heldSlotOf,
  MAX_INDEX,
  pivotBefore,
  pivotOf,
  slotFor,
} from "./node";

// In an inner node: the gaps of slots 0 to 7, and those of slots 8 to 11.
const NEAR_GAPS: usize = 104;
const FAR_GAPS: usize = 216;

let size: f64 = 0;
let from: f64 = 0;
let to: f64 = 0;

/** The lowest index in `min` … `max` from which `length` indices up to `max` are free; -1 if there is none. */
export function lowestRoom(
  header: u32,
  length: f64,
  min: f64,
  max: f64,
): f64 {
  const root = load<u32>(addressOf(header), HEADER_ROOT);
  if (root == 0) return min;
  size = length;
  from = min;
  to = max;
  const node = addressOf(root);
  return lowest(node, heightOf(node), 0, MAX_INDEX);
}

/** The highest index from `min` on from which `length` indices up to `max` are free; -1 if there is none. */
export function highestRoom(
  header: u32,
  length: f64,
  min: f64,
  max: f64,
): f64 {
  const root = load<u32>(addressOf(header), HEADER_ROOT);
  if (root == 0) return max - length + 1;
  size = length;
  from = min;
  to = max;
  const node = addressOf(root);
  return highest(node, heightOf(node), 0, MAX_INDEX);
}

/**
 * The slots below which there is a free run of the size, a bit each, from the lowest on. All gaps are compared, two at a time, which
 * takes no branch that could be predicted wrongly.
 */
function slotsWithRoom(node: usize): i32 {
  const wanted = f64x2.splat(size);
  const slots = roomy(node, NEAR_GAPS, wanted) |
    roomy(node, NEAR_GAPS + 16, wanted) << 2 |
    roomy(node, NEAR_GAPS + 32, wanted) << 4 |
    roomy(node, NEAR_GAPS + 48, wanted) << 6 |
    roomy(node, FAR_GAPS, wanted) << 8 |
    roomy(node, FAR_GAPS + 16, wanted) << 10;
  // Behind the used slots stands anything.
  return slots & ((1 << countOf(node)) - 1);
}

function roomy(node: usize, gaps: usize, wanted: v128): i32 {
  return i64x2.bitmask(f64x2.ge(v128.load(node + gaps), wanted));
}

function slotFrom(node: usize, index: f64, isNarrow: bool): i32 {
  return <i32>slotFor(node, f64x2.splat(index), isNarrow);
}

function firstOf(node: usize, slot: i32, nodeMin: f64): f64 {
  return slot > 0 ? pivotBefore(node, slot) + 1 : nodeMin;
}

function lowest(
  node: usize,
  height: i32,
  nodeMin: f64,
  nodeMax: f64,
): f64 {
  if (height == 0) return lowestInLeaf(node, nodeMin, nodeMax);
  let slots = slotsWithRoom(node);
  if (from > nodeMin) slots &= -1 << slotFrom(node, from, true);
  for (; slots != 0; slots &= slots - 1) {
    const slot = ctz<i32>(slots);
    const first = firstOf(node, slot, nodeMin);
    if (first > to) return -1;
    const last = pivotOf(node, slot, nodeMax);
    const child = addressOf(heldSlotOf(node, slot));
    const found = lowest(child, height - 1, first, last);
    if (found >= 0) return found;
  }
  return -1;
}

function lowestInLeaf(leaf: usize, leafMin: f64, leafMax: f64): f64 {
  const count = countOf(leaf);
  let slot = from <= leafMin ? 0 : slotFrom(leaf, from, false);
  let first = firstOf(leaf, slot, leafMin);
  for (; slot < count && first <= to; slot++) {
    const last = pivotOf(leaf, slot, leafMax);
    if (heldSlotOf(leaf, slot) == 0) {
      const start = first < from ? from : first;
      const end = last > to ? to : last;
      if (end - start >= size - 1) return start;
    }
    first = last + 1;
  }
  return -1;
}

function highest(
  node: usize,
  height: i32,
  nodeMin: f64,
  nodeMax: f64,
): f64 {
  if (height == 0) return highestInLeaf(node, nodeMin, nodeMax);
  let slots = slotsWithRoom(node);
  if (to < nodeMax) slots &= (2 << slotFrom(node, to, true)) - 1;
  while (slots != 0) {
    const slot = 31 - clz<i32>(slots);
    slots ^= 1 << slot;
    const last = pivotOf(node, slot, nodeMax);
    if (last < from) return -1;
    const first = firstOf(node, slot, nodeMin);
    const child = addressOf(heldSlotOf(node, slot));
    const found = highest(child, height - 1, first, last);
    if (found >= 0) return found;
  }
  return -1;
}

function highestInLeaf(leaf: usize, leafMin: f64, leafMax: f64): f64 {
  let slot = to >= leafMax ? countOf(leaf) - 1 : slotFrom(leaf, to, false);
  let last = pivotOf(leaf, slot, leafMax);
  for (; slot >= 0 && last >= from; slot--) {
    const first = firstOf(leaf, slot, leafMin);
    if (heldSlotOf(leaf, slot) == 0) {
      const start = first < from ? from : first;
      const end = last > to ? to : last;
      if (end - start >= size - 1) return end - size + 1;
    }
    last = first - 1;
  }
  return -1;
}
