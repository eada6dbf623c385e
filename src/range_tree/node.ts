/**
 * A node of a range tree: 256 bytes, and every loop that is hot over them.
 *
 * A node covers a run of indices. It has `count` slots; slot *i* covers the indices after pivot *i − 1* up to and
 * including pivot *i*. In a leaf (height 0) a slot is a `u32` entry, 0 = empty; above, it is the ref of a child one lower.
 *
 * | words | field | who may write it |
 * |---|---|---|
 * | 0 | parent: a node's ref, the tree header's ref + 1, the node's own ref (dead), 0 (not linked yet) | atomic; under the tree's lock |
 * | 1 | meta: height, count | immutable once published |
 * | 2–41 | 20 pivots, `f64` | immutable once published |
 * | 42–62 | 21 slots | atomic; under the tree's lock |
 * | 63 | whose hands it was in last; link of the queue of deferred frees | whoever has it in hand, or is about to; the queue |
 *
 * But for leaves of trees that never were in RCU mode: compiled stores change those in place, under the lock (`assembly/writer.ts`).
 *
 * A node is built privately and published by one atomic store of the slot (or root) that leads to it; a reader that found
 * it by an atomic load of that word may read pivots and meta plainly.
 *
 * Pivots of unused slots are `Infinity` and the last used slot's pivot is the node's own last index, so a scan needs no
 * count: it ends at the first pivot that is not below the index, at the latest at 20. A linear scan of at most 20 beats
 * binary search.
 *
 * An inner node of a tree that tracks gaps has 12 slots instead, in the same place, so that all loops here serve both kinds:
 *
 * | words | field | who may write it |
 * |---|---|---|
 * | 2–25 | 12 pivots, `f64`; the last used slot's is always stored | immutable once published |
 * | 26–41 | gaps of slots 0–7, `f64`: the largest free run below each | under the tree's lock |
 * | 42–53 | 12 slots | atomic; under the tree's lock |
 * | 54–61 | gaps of slots 8–11, `f64` | under the tree's lock |
 *
 * Gaps are read and written plainly: both only by the holder of the tree's lock. (Were they immutable too, as pivots are,
 * each store that fills the largest gap of a leaf would have to republish the whole path.) No reader without the lock looks
 * at them: its scan of pivots ends at slot 11 at the latest, since the last used slot's pivot is not below any index of the
 * node.
 *
 * Node refs are multiples of 4 (256-byte objects), header refs of 2 (128-byte objects), so "header's ref + 1" is odd and
 * can't be mistaken for either.
 *
 * @module
 */
import { load, store, type Words } from "../sync/atomics.ts";

/** The same memory as `f64`. */
export type Doubles = Float64Array<SharedArrayBuffer>;

// Refs count 64-byte granules: 16 words, 8 doubles.
const PARENT = 0;
const META = 1;
const PIVOTS = 1; // in doubles
const SLOTS = 42;
const LINK = 63;
const NODE_WORDS = 64;
const SLOT_COUNT = 21;
const PIVOT_COUNT = 20;
// In an inner node of a tree that tracks gaps, in doubles; from slot 8 on they stand behind the slots.
const GAPS = 13;
const FAR_GAPS = 27 - 8;
const NEAR_GAP_COUNT = 8;
const GAP_SLOT_COUNT = 12;

/** Bytes of a node. */
export const NODE_BYTES = 256;
/** The most slots that a node has. */
export const MAX_SLOTS = 21;
/** The fewest slots of a node that is not the root: a third. */
export const MIN_SLOTS = 7;
/** The most slots of an inner node of a tree that tracks gaps. */
export const MAX_GAP_SLOTS = 12;
/** The fewest slots of an inner node of a tree that tracks gaps, if it is not the root: a third. */
const MIN_GAP_SLOTS = 4;
/** The word of a node that the queue of deferred frees may use. */
export const NODE_LINK = 63;
/** The largest index. */
export const MAX_INDEX: number = Number.MAX_SAFE_INTEGER;

if (
  SLOTS + SLOT_COUNT !== LINK || LINK + 1 !== NODE_WORDS ||
  NODE_WORDS * 4 !== NODE_BYTES ||
  PIVOTS + GAP_SLOT_COUNT !== GAPS ||
  (GAPS + NEAR_GAP_COUNT) * 2 !== SLOTS ||
  (FAR_GAPS + NEAR_GAP_COUNT) * 2 !== SLOTS + GAP_SLOT_COUNT ||
  (FAR_GAPS + GAP_SLOT_COUNT) * 2 > LINK
) {
  throw new Error("The layout of a node does not add up");
}

/** The parent word. */
export function parentOf(words: Words, node: number): number {
  return load(words, node * 16 + PARENT);
}

/** Sets the parent word: under the tree's lock. */
export function setParent(words: Words, node: number, parent: number): void {
  store(words, node * 16 + PARENT, parent);
}

/**
 * Fetches nodes into the processor's cache. Plain reads overlap, while atomic ones and the stores behind them wait for each
 * other: so a move that finds all of its lines at hand takes half as long.
 *
 * The nodes may be anybody's and may change at this moment, so these reads may race. That is harmless, because nothing is
 * done with what they read: it is folded into a number that the caller keeps only so that the reads are not left out.
 */
export function touchNodes(words: Words, nodes: readonly number[]): number {
  let fetched = 0;
  for (let i = 0; i < nodes.length; i++) {
    const base = nodes[i] * 16;
    fetched ^= words[base] ^ words[base + 16] ^ words[base + 32] ^
      words[base + 48];
  }
  return fetched;
}

/** How far above the leaves the node is. */
export function heightOf(words: Words, node: number): number {
  return words[node * 16 + META] & 0xff;
}

/** How many slots the node uses. */
export function countOf(words: Words, node: number): number {
  return words[node * 16 + META] >>> 8;
}

/** The last index that a slot covers: the pivot, or `max` where the node stores none. */
export function pivotOf(
  doubles: Doubles,
  node: number,
  slot: number,
  max: number,
): number {
  return slot === PIVOT_COUNT ? max : doubles[node * 8 + PIVOTS + slot];
}

/** The most slots of a node at a height. */
export function maxSlots(height: number, gaps: boolean): number {
  return gaps && height > 0 ? MAX_GAP_SLOTS : MAX_SLOTS;
}

/** The fewest slots of a node at a height that is not the root. */
export function minSlots(height: number, gaps: boolean): number {
  return gaps && height > 0 ? MIN_GAP_SLOTS : MIN_SLOTS;
}

/** The length of the largest free run below a slot of an inner node. Under the tree's lock. */
export function gapOf(doubles: Doubles, node: number, slot: number): number {
  return doubles[
    node * 8 + (slot < NEAR_GAP_COUNT ? GAPS : FAR_GAPS) + slot
  ];
}

/** Notes the length of the largest free run below a slot of an inner node. Under the tree's lock. */
export function setGap(
  doubles: Doubles,
  node: number,
  slot: number,
  gap: number,
): void {
  doubles[node * 8 + (slot < NEAR_GAP_COUNT ? GAPS : FAR_GAPS) + slot] = gap;
}

/** The largest gap of an inner node. Under the tree's lock. */
export function largestGap(
  words: Words,
  doubles: Doubles,
  node: number,
): number {
  const count = words[node * 16 + META] >>> 8;
  let largest = 0;
  for (let slot = 0; slot < count; slot++) {
    const gap = gapOf(doubles, node, slot);
    if (gap > largest) largest = gap;
  }
  return largest;
}

/** The first slot from `from` on below which a free run of that size lies; `count` if there is none. Under the tree's lock. */
export function slotWithGap(
  doubles: Doubles,
  node: number,
  from: number,
  count: number,
  size: number,
): number {
  const near = count < NEAR_GAP_COUNT ? count : NEAR_GAP_COUNT;
  let slot = from;
  for (; slot < near; slot++) {
    if (doubles[node * 8 + GAPS + slot] >= size) return slot;
  }
  for (; slot < count; slot++) {
    if (doubles[node * 8 + FAR_GAPS + slot] >= size) return slot;
  }
  return slot;
}

/** The last slot up to `from` below which a free run of that size lies; -1 if there is none. Under the tree's lock. */
export function slotWithGapBefore(
  doubles: Doubles,
  node: number,
  from: number,
  size: number,
): number {
  let slot = from;
  while (slot >= 0 && gapOf(doubles, node, slot) < size) slot--;
  return slot;
}

/**
 * The length of the largest free run in a leaf. Under the tree's lock.
 *
 * @param min The leaf's first index.
 * @param max Its last.
 */
export function largestRun(
  words: Words,
  doubles: Doubles,
  leaf: number,
  min: number,
  max: number,
): number {
  const count = words[leaf * 16 + META] >>> 8;
  let largest = 0;
  let first = min;
  for (let slot = 0; slot < count; slot++) {
    const last = slot === PIVOT_COUNT ? max : doubles[leaf * 8 + PIVOTS + slot];
    // Plain: only the holder of the lock changes slots.
    if (words[leaf * 16 + SLOTS + slot] === 0 && last - first >= largest) {
      largest = last - first + 1;
    }
    first = last + 1;
  }
  return largest;
}

/** What a slot holds. */
export function slotOf(words: Words, node: number, slot: number): number {
  return load(words, node * 16 + SLOTS + slot);
}

/** What a slot holds, read plainly: under the tree's lock, whose holder is the only one that changes slots. */
export function heldSlotOf(words: Words, node: number, slot: number): number {
  return words[node * 16 + SLOTS + slot];
}

/** Changes what a slot holds; visible to readers at once. Under the tree's lock. */
export function setSlot(
  words: Words,
  node: number,
  slot: number,
  value: number,
): void {
  store(words, node * 16 + SLOTS + slot, value);
}

/** The slot that covers an index. */
export function slotFor(doubles: Doubles, node: number, index: number): number {
  const pivots = node * 8 + PIVOTS;
  let slot = 0;
  while (slot < PIVOT_COUNT && doubles[pivots + slot] < index) slot++;
  return slot;
}

/** The entry at an index, in the subtree of a node. */
export function lookup(
  words: Words,
  doubles: Doubles,
  root: number,
  index: number,
): number {
  let node = root;
  for (let height = words[node * 16 + META] & 0xff;; height--) {
    const pivots = node * 8 + PIVOTS;
    let slot = 0;
    while (slot < PIVOT_COUNT && doubles[pivots + slot] < index) slot++;
    // Pairs with the publishing store of the writer.
    node = load(words, node * 16 + SLOTS + slot);
    if (height === 0) return node >>> 0;
  }
}

/** As {@linkcode lookup}, but reads slots plainly: under the tree's lock, whose holder is the only one that changes them. */
export function heldLookup(
  words: Words,
  doubles: Doubles,
  root: number,
  index: number,
): number {
  let node = root;
  for (let height = words[node * 16 + META] & 0xff;; height--) {
    const pivots = node * 8 + PIVOTS;
    let slot = 0;
    while (slot < PIVOT_COUNT && doubles[pivots + slot] < index) slot++;
    node = words[node * 16 + SLOTS + slot];
    if (height === 0) return node >>> 0;
  }
}

/**
 * Walks from a node down to the leaf that covers an index, noting the node and the slot at each height. Under the tree's
 * lock, whose holder is the only one that changes slots: so they are read plainly.
 */
export function descend(
  words: Words,
  doubles: Doubles,
  from: number,
  index: number,
  nodes: Int32Array,
  slots: Int32Array,
): void {
  let node = from;
  for (let height = words[node * 16 + META] & 0xff;; height--) {
    const pivots = node * 8 + PIVOTS;
    let slot = 0;
    while (slot < PIVOT_COUNT && doubles[pivots + slot] < index) slot++;
    nodes[height] = node;
    slots[height] = slot;
    if (height === 0) return;
    node = words[node * 16 + SLOTS + slot];
  }
}

/** The slot of a node that holds a child; -1 if none does. Under the tree's lock. */
export function slotOfChild(words: Words, node: number, child: number): number {
  const slots = node * 16 + SLOTS;
  const count = words[node * 16 + META] >>> 8;
  for (let slot = 0; slot < count; slot++) {
    // Plain: only the holder of the lock changes slots.
    if (words[slots + slot] === child) return slot;
  }
  return -1;
}

/**
 * How many entries of a leaf, from a slot on, begin at or before `to`.
 *
 * @param first The first index of that slot.
 * @param hidden What is left out beside empty slots.
 */
export function countEntries(
  words: Words,
  doubles: Doubles,
  leaf: number,
  slot: number,
  first: number,
  to: number,
  hidden: number,
): number {
  const base = leaf * 16 + SLOTS;
  const pivots = leaf * 8 + PIVOTS;
  const count = words[leaf * 16 + META] >>> 8;
  let entries = 0;
  for (; slot < count && first <= to; slot++) {
    // Pairs with the writer that stores over exactly one slot.
    const value = load(words, base + slot) >>> 0;
    if (value !== 0 && value !== hidden) entries++;
    // The slot of a full leaf that has no pivot is its last.
    first = slot < PIVOT_COUNT ? doubles[pivots + slot] + 1 : first;
  }
  return entries;
}

/**
 * Fills a private node from a pool of slots and their last indices. Its parent word is left alone.
 *
 * @param from The first of `count` items of the pool.
 */
export function fillNode(
  words: Words,
  doubles: Doubles,
  node: number,
  height: number,
  pivots: Float64Array,
  slots: Int32Array,
  from: number,
  count: number,
): void {
  const base = node * 16;
  const pivotBase = node * 8 + PIVOTS;
  words[base + META] = height | (count << 8);
  const used = count < PIVOT_COUNT ? count : PIVOT_COUNT;
  for (let i = 0; i < used; i++) doubles[pivotBase + i] = pivots[from + i];
  for (let i = used; i < PIVOT_COUNT; i++) doubles[pivotBase + i] = Infinity;
  for (let i = 0; i < count; i++) words[base + SLOTS + i] = slots[from + i];
}

/**
 * Copies slots `from` … `to − 1` of a node into a pool, from its place `at` on.
 *
 * @param max The node's last index. Under the tree's lock.
 */
export function readSlots(
  words: Words,
  doubles: Doubles,
  node: number,
  from: number,
  to: number,
  max: number,
  pivots: Float64Array,
  slots: Int32Array,
  at: number,
): void {
  const base = node * 16 + SLOTS;
  const pivotBase = node * 8 + PIVOTS;
  for (let slot = from; slot < to; slot++, at++) {
    pivots[at] = slot < PIVOT_COUNT ? doubles[pivotBase + slot] : max;
    // Plain: only the holder of the lock changes slots.
    slots[at] = words[base + slot];
  }
}

/**
 * Fills a private node with the slots of a live one, but for slots `from` … `to − 1`, in whose place stand `count` others.
 * Under the tree's lock.
 */
export function spliceNode(
  words: Words,
  doubles: Doubles,
  live: number,
  copy: number,
  from: number,
  to: number,
  max: number,
  pivots: Float64Array,
  slots: Int32Array,
  count: number,
): void {
  const meta = words[live * 16 + META];
  const oldCount = meta >>> 8;
  const newCount = oldCount - (to - from) + count;
  words[copy * 16 + META] = (meta & 0xff) | (newCount << 8);
  const livePivots = live * 8 + PIVOTS, liveSlots = live * 16 + SLOTS;
  const copyPivots = copy * 8 + PIVOTS, copySlots = copy * 16 + SLOTS;
  let at = 0;
  for (; at < from; at++) {
    doubles[copyPivots + at] = doubles[livePivots + at];
    words[copySlots + at] = words[liveSlots + at];
  }
  for (let i = 0; i < count; i++, at++) {
    if (at < PIVOT_COUNT) doubles[copyPivots + at] = pivots[i];
    words[copySlots + at] = slots[i];
  }
  for (let slot = to; slot < oldCount; slot++, at++) {
    if (at < PIVOT_COUNT) {
      doubles[copyPivots + at] = slot < PIVOT_COUNT
        ? doubles[livePivots + slot]
        : max;
    }
    words[copySlots + at] = words[liveSlots + slot];
  }
  for (; at < PIVOT_COUNT; at++) doubles[copyPivots + at] = Infinity;
}

/** Copies a live node into a private one, all but its parent and link. Under the tree's lock. */
export function copyNode(
  words: Words,
  doubles: Doubles,
  from: number,
  to: number,
): void {
  words[to * 16 + META] = words[from * 16 + META];
  const source = from * 8, target = to * 8;
  // Pivots and near gaps, then slots and far gaps. Slots are read plainly, since only the holder of the lock changes them.
  for (let i = PIVOTS; i < PIVOTS + PIVOT_COUNT; i++) {
    doubles[target + i] = doubles[source + i];
  }
  const sourceSlots = from * 16 + SLOTS, targetSlots = to * 16 + SLOTS;
  for (let i = 0; i < SLOT_COUNT; i++) {
    words[targetSlots + i] = words[sourceSlots + i];
  }
}

/** Points all children of a node at it. Under the tree's lock. */
export function adoptChildren(words: Words, node: number): void {
  const count = words[node * 16 + META] >>> 8;
  const slots = node * 16 + SLOTS;
  // The lines of all children are fetched at once by plain reads (only holders of the lock write parent words), because
  // the atomic stores behind them wait for each other.
  let fetched = 0;
  for (let i = 0; i < count; i++) {
    fetched |= words[words[slots + i] * 16 + PARENT];
  }
  if (fetched === -1) return; // never: no parent word has all bits set; keeps the reads alive
  for (let i = 0; i < count; i++) {
    store(words, words[slots + i] * 16 + PARENT, node);
  }
}
