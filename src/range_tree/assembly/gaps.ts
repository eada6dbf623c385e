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

// In an inner node: the gaps of slots 0 to 7, and, as if they began at slot 0, those of the others.
const GAPS: usize = 104;
const FAR_GAPS: usize = 216 - 64;
const NEAR_GAP_COUNT: i32 = 8;

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

function gapOf(node: usize, slot: i32): f64 {
  const gap = node + (<usize>slot << 3);
  return slot < NEAR_GAP_COUNT ? load<f64>(gap, GAPS) : load<f64>(gap, FAR_GAPS);
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
  const count = countOf(node);
  let slot = from <= nodeMin ? 0 : slotFrom(node, from, true);
  for (; slot < count; slot++) {
    if (gapOf(node, slot) < size) continue;
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
  let slot = to >= nodeMax ? countOf(node) - 1 : slotFrom(node, to, true);
  for (; slot >= 0; slot--) {
    if (gapOf(node, slot) < size) continue;
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
