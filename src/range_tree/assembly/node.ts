/**
 * The layout of a node and of a header, in bytes, and the scan of a node's pivots. See `../node.ts` and `../header.ts`, which own
 * the layouts; a test compares what both make of the same tree.
 */

// Offsets are bytes, refs count 64.
export const NODE_PARENT: usize = 0;
export const NODE_META: usize = 4;
export const NODE_PIVOTS: usize = 8;
export const NODE_SLOTS: usize = 168;
export const NODE_LINK: usize = 252;
export const MAX_SLOTS: i32 = 21;
export const MIN_SLOTS: i32 = 7;
export const PIVOT_COUNT: i32 = 20;

export const HEADER_ROOT: usize = 0;
export const HEADER_FLAGS: usize = 4;

/** The address of a ref. */
export function addressOf(ref: u32): usize {
  return <usize>ref << 6;
}

/** Of a header's flags: whether the tree tracks gaps. */
const GAPS: i32 = 8;

/** Whether the inner nodes of the tree have 12 slots, behind whose pivots stands something else. */
export function hasNarrowNodes(flags: i32): bool {
  return (flags & GAPS) != 0;
}

/**
 * The slot of a node that covers an index: how many pivots are below it. All of them are compared, two at a time, which takes no
 * branch that could be predicted wrongly; those of unused slots are infinite.
 *
 * @param index The index in both lanes.
 * @param isNarrow Whether the node has 12 pivots, not 20.
 */
export function slotFor(node: usize, index: v128, isNarrow: bool): usize {
  // Added up as a tree, so that few additions wait for each other.
  let below = i64x2.add(
    i64x2.add(
      i64x2.add(pairBelow(node, 0, index), pairBelow(node, 16, index)),
      i64x2.add(pairBelow(node, 32, index), pairBelow(node, 48, index)),
    ),
    i64x2.add(pairBelow(node, 64, index), pairBelow(node, 80, index)),
  );
  if (!isNarrow) {
    below = i64x2.add(
      below,
      i64x2.add(
        i64x2.add(pairBelow(node, 96, index), pairBelow(node, 112, index)),
        i64x2.add(pairBelow(node, 128, index), pairBelow(node, 144, index)),
      ),
    );
  }
  // Where a pivot is below, its lane is -1.
  const sum = i64x2.extract_lane(below, 0) + i64x2.extract_lane(below, 1);
  return <usize>-<i32>sum;
}

/** Of two pivots, -1 where it is below the index. */
// @ts-ignore: decorator
@inline
function pairBelow(node: usize, offset: usize, index: v128): v128 {
  return f64x2.lt(v128.load(node + offset, NODE_PIVOTS), index);
}

/** How far above the leaves a node is. */
export function heightOf(node: usize): i32 {
  return load<i32>(node, NODE_META) & 0xff;
}

/** How many slots a node uses. */
export function countOf(node: usize): i32 {
  return load<i32>(node, NODE_META) >> 8;
}

/** The last index that a slot covers: the pivot, or `max` where the node stores none. */
export function pivotOf(node: usize, slot: usize, max: f64): f64 {
  return <i32>slot < PIVOT_COUNT ? load<f64>(node + (slot << 3), NODE_PIVOTS) : max;
}

/** The last index of the slot before: of no use to slot 0, which has none. */
export function pivotBefore(node: usize, slot: usize): f64 {
  return load<f64>(node + (slot << 3), NODE_PIVOTS - 8);
}

/** What a slot holds: pairs with the publishing store of the writer. */
export function slotOf(node: usize, slot: usize): u32 {
  return atomic.load<u32>(node + (slot << 2), NODE_SLOTS);
}
