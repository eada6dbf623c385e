/**
 * The layout of a node and of a header, in bytes, and the scan of a node's pivots. See `../node.ts` and `../header.ts`, which own
 * the layouts; a test compares what both make of the same tree.
 */

// Offsets are bytes, refs count 64.
/** A node begins at a multiple of its size. */
export const NODE_BYTES: usize = 256;
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
export const HEADER_HAD_RCU: usize = 12;
export const HEADER_LOCK: usize = 64;
export const HEADER_GENERATION: usize = 68;

export const MAX_INDEX: f64 = 9007199254740991;
/** The entry that occupies its range and reads as empty. */
export const RESERVED: u32 = 0xffff_ffff;

/** The address of a ref. */
export function addressOf(ref: u32): usize {
  return <usize>ref << 6;
}

// Of a header's flags: whether readers need no lock, whether the tree tracks gaps.
const RCU: i32 = 1;
const GAPS: i32 = 8;
// The lock mode: 0 where operations take the tree's own lock.
const LOCK_MODE: i32 = 6;

/** Whether readers of the tree need no lock. */
export function isRcu(flags: i32): bool {
  return (flags & RCU) != 0;
}

/** What tells the tree from every other: as `identityOf` of `../header.ts`. */
export function identityOf(flags: i32): i32 {
  return flags & ~RCU;
}

/** Whether operations take the tree's own lock. */
export function hasOwnLock(flags: i32): bool {
  return (flags & LOCK_MODE) == 0;
}

/** Whether the inner nodes of the tree have 12 slots, behind whose pivots stands something else. */
export function hasNarrowNodes(flags: i32): bool {
  return (flags & GAPS) != 0;
}

/**
 * The slot of a node that covers an index: how many pivots are below it. All of them are compared, two at a time, which takes no
 * branch that could be predicted wrongly; those of unused slots are infinite. They are counted in two sums, neither of which waits
 * for the other.
 *
 * @param index The index in both lanes.
 * @param isNarrow Whether the node has 12 pivots, not 20.
 */
export function slotFor(node: usize, index: v128, isNarrow: bool): usize {
  // Where a pivot is below, its lane is -1.
  let even = f64x2.lt(v128.load(node, NODE_PIVOTS), index);
  let odd = f64x2.lt(v128.load(node, NODE_PIVOTS + 16), index);
  even = i64x2.add(even, f64x2.lt(v128.load(node, NODE_PIVOTS + 32), index));
  odd = i64x2.add(odd, f64x2.lt(v128.load(node, NODE_PIVOTS + 48), index));
  even = i64x2.add(even, f64x2.lt(v128.load(node, NODE_PIVOTS + 64), index));
  odd = i64x2.add(odd, f64x2.lt(v128.load(node, NODE_PIVOTS + 80), index));
  if (!isNarrow) {
    even = i64x2.add(even, f64x2.lt(v128.load(node, NODE_PIVOTS + 96), index));
    odd = i64x2.add(odd, f64x2.lt(v128.load(node, NODE_PIVOTS + 112), index));
    even = i64x2.add(even, f64x2.lt(v128.load(node, NODE_PIVOTS + 128), index));
    odd = i64x2.add(odd, f64x2.lt(v128.load(node, NODE_PIVOTS + 144), index));
  }
  const both = i64x2.add(even, odd);
  return <usize>-(i32x4.extract_lane(both, 0) + i32x4.extract_lane(both, 2));
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

/** A word of each line of a node, folded: read only so that the lines are fetched. */
export function linesOf(node: usize): u32 {
  return load<u32>(node) ^ load<u32>(node, 64) ^ load<u32>(node, 128) ^
    load<u32>(node, 192);
}

/** Where a slot is. */
export function slotAddress(node: usize, slot: usize): usize {
  return node + (slot << 2) + NODE_SLOTS;
}

/** What a slot holds: pairs with the publishing store of the writer. */
export function slotOf(node: usize, slot: usize): u32 {
  return atomic.load<u32>(node + (slot << 2), NODE_SLOTS);
}

/** What a slot holds, read plainly: under the tree's lock, whose holder is the only one that changes slots. */
export function heldSlotOf(node: usize, slot: usize): u32 {
  return load<u32>(node + (slot << 2), NODE_SLOTS);
}
