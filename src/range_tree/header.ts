/**
 * The header of a range tree: 128 bytes, two cache lines, one for readers and one for writers.
 *
 * | words | field | protected by |
 * |---|---|---|
 * | 0 | root: a node's ref, 0 = empty tree | atomic; written under the lock |
 * | 1 | flags: live, serial, gap tracking, lock mode, RCU; 0 once the tree is destroyed | atomic; only the RCU bit ever changes in a live tree |
 * | 2 | ref of the external lock, 0 = none is registered | immutable |
 * | 3 | whether it is or ever was in RCU mode: then a reader may be inside without the lock | atomic; written under the lock |
 * | 16 | the lock | itself |
 * | 17 | generation: goes up with every change of the tree | atomic; written under the lock |
 * | 18 | how many entries are stored | atomic; written under the lock |
 * | 31 | whose hands it was in last; link of the queue of deferred frees | the slab cache; the queue, once the tree is destroyed |
 *
 * The lock is always there, also in a tree whose writers are guarded by something else: the mode says who guards writers,
 * and what the mover may therefore not do. Readers only ever touch the first line, so a writer that takes the lock does
 * not take the root from their caches.
 *
 * @module
 */
import { add, load, store, type Words } from "../sync/atomics.ts";

const ROOT = 0;
const FLAGS = 1;
const EXTERNAL_LOCK = 2;
const HAD_RCU = 3;
const LOCK = 16;
const GENERATION = 17;
const COUNT = 18;

/** Bytes of a header. */
export const HEADER_BYTES = 128;
/** The word of a header that the queue of deferred frees may use. */
export const HEADER_LINK = 31;

// The flags word: bit 0 RCU, bits 1-2 the lock mode, bit 3 gap tracking, bits 4-30 a serial number, bit 31 a mark of life.
//
// The serial is the arena's, not the header's: a header's page may go back to the allocator and come again zeroed, and then
// what it knew of its earlier trees is gone. So no two trees of an arena have the same one until 2^27 were created; a handle
// is taken for that of a later tree only if it is used again just after a multiple of that number, with the later tree in
// its place. A word of its own would hold 32 bits, but each reader would have to load two words atomically to tell who it is.
//
// What lies where a header lay must not look like one. The mark of life is a bit that 0 and the poison of freed objects
// (0x6b6b6b6b) lack, and a range-tree node as well: there stands its meta word, or the upper half of a pivot or a gap, which
// are not negative.
const RCU = 1;
const LOCK_MODE_SHIFT = 1;
const GAPS = 8;
const SERIAL_SHIFT = 4;
const LIVE = 1 << 31;

/**
 * 2^32 / golden ratio: its multiples lie as far apart as those of any number. The generations of trees begin at multiples of
 * it, so those of two trees in one place meet only where (trees created between them) × (by how much the numbers of their
 * changes differ) exceeds 1900 millions: an iterator does not take the later one for the earlier.
 */
const GENERATION_STRIDE = 0x9e37_79b1;

/**
 * Who guards the writers of a tree.
 *
 * - `"internal"`: the tree's own lock, taken by every operation. Its nodes can be moved.
 * - `"external"`: a lock of the user's. Its nodes can be moved if it is an `ExternalLock` that was registered with the tree;
 *   else nothing can take it for the mover, and the nodes are pinned.
 * - `"none"`: nothing. The nodes are pinned.
 */
export type LockMode = "internal" | "external" | "none";
const LOCK_MODES: readonly LockMode[] = ["internal", "external", "none"];

/**
 * Asserts that a lock mode is one: what has no type may say anything.
 *
 * @throws {RangeError} If it is none.
 */
export function assertLockMode(lock: LockMode): void {
  if (LOCK_MODES.includes(lock)) return;
  throw new RangeError(
    `Cannot create a range tree: lock ${JSON.stringify(lock)} is none of ${
      LOCK_MODES.join(", ")
    }`,
  );
}

/** What a tree is from its creation on. */
export interface HeaderFields {
  /** Whether readers need no lock. */
  readonly rcu: boolean;
  /** Whether it tracks gaps. */
  readonly gaps: boolean;
  /** Who guards its writers. */
  readonly lock: LockMode;
  /** The ref of the external lock, 0 where none is registered. */
  readonly externalLock: number;
}

/**
 * Makes an object a header of an empty tree. Before anybody else sees it.
 *
 * @param serial The tree's number in the arena.
 */
export function initHeader(
  words: Words,
  header: number,
  serial: number,
  fields: HeaderFields,
): void {
  const base = header * 16;
  words.fill(0, base, base + FLAGS);
  words.fill(0, base + FLAGS + 1, base + HEADER_LINK);
  words[base + EXTERNAL_LOCK] = fields.externalLock;
  words[base + HAD_RCU] = fields.rcu ? 1 : 0;
  words[base + GENERATION] = Math.imul(serial, GENERATION_STRIDE);
  const mode = LOCK_MODES.indexOf(fields.lock) << LOCK_MODE_SHIFT;
  const modes = mode | (fields.gaps ? GAPS : 0) | (fields.rcu ? RCU : 0);
  // The upper bits of the serial fall off; the mark covers the last of them.
  store(words, base + FLAGS, LIVE | (serial << SERIAL_SHIFT) | modes);
}

/** Whether the object is the header of a tree that was not destroyed. */
export function isLiveHeader(words: Words, header: number): boolean {
  return isLive(load(words, header * 16 + FLAGS));
}

/** Whether flags are those of a tree that was not destroyed. */
export function isLive(flags: number): boolean {
  return (flags & LIVE) !== 0;
}

/** Marks the tree as destroyed. Under the lock. */
export function killHeader(words: Words, header: number): void {
  store(words, header * 16 + FLAGS, 0);
}

/** The flags word. */
export function flagsOf(words: Words, header: number): number {
  return load(words, header * 16 + FLAGS);
}

/** The flags word, read plainly: under the lock. */
export function heldFlagsOf(words: Words, header: number): number {
  return words[header * 16 + FLAGS];
}

/** What of the flags word stays the same as long as the tree lives, and is never the same for another one in its place. */
export function identityOf(flags: number): number {
  return flags & ~RCU;
}

/** Whether readers need no lock. */
export function isRcu(flags: number): boolean {
  return (flags & RCU) !== 0;
}

/** Whether a reader may be inside without the lock: whether the tree is in RCU mode or ever was. */
export function mayHaveReaders(words: Words, header: number): boolean {
  // Pairs with the store of whoever switches the mode: what was changed in place before is seen from here on.
  return load(words, header * 16 + HAD_RCU) !== 0;
}

/** Whether the tree tracks gaps. */
export function tracksGaps(flags: number): boolean {
  return (flags & GAPS) !== 0;
}

/** Who guards the writers. */
export function lockModeOf(flags: number): LockMode {
  return LOCK_MODES[(flags >> LOCK_MODE_SHIFT) & 3];
}

/** The ref of the external lock, 0 where none is registered. */
export function externalLockOf(words: Words, header: number): number {
  return words[header * 16 + EXTERNAL_LOCK];
}

/** The word of an external lock: its object's first. */
export function externalLockIndex(lock: number): number {
  return lock * 16;
}

/** Switches lock-free readers on or off. Under the lock. */
export function setRcuFlag(words: Words, header: number, on: boolean): void {
  const flags = load(words, header * 16 + FLAGS);
  // Pairs with the load of a cursor that is in a read section.
  if (on) store(words, header * 16 + HAD_RCU, 1);
  store(words, header * 16 + FLAGS, on ? flags | RCU : flags & ~RCU);
}

/** The root node's ref, 0 where the tree is empty. */
export function rootOf(words: Words, header: number): number {
  return load(words, header * 16 + ROOT);
}

/** The root node's ref, read plainly: under the lock, whose holder is the only one that changes it. */
export function heldRootOf(words: Words, header: number): number {
  return words[header * 16 + ROOT];
}

/** Publishes a root. Under the lock. */
export function setRoot(words: Words, header: number, root: number): void {
  store(words, header * 16 + ROOT, root);
}

/** What the parent word of the root holds. */
export function headerParent(header: number): number {
  return header + 1;
}

/** Whether a parent word names a header. */
export function isHeaderParent(parent: number): boolean {
  return (parent & 1) !== 0;
}

/** The word of the lock. */
export function lockIndexOf(header: number): number {
  return header * 16 + LOCK;
}

/** A number that goes up with every change of the tree. */
export function generationOf(words: Words, header: number): number {
  return load(words, header * 16 + GENERATION);
}

/** The generation, read plainly: under a lock that keeps all writers out. */
export function heldGenerationOf(words: Words, header: number): number {
  return words[header * 16 + GENERATION];
}

/** How many entries are stored. */
export function entryCountOf(words: Words, header: number): number {
  return load(words, header * 16 + COUNT) >>> 0;
}

/** Notes a change of the tree by which the number of its entries changed by `delta`. Under the lock. */
export function noteChange(words: Words, header: number, delta: number): void {
  add(words, header * 16 + GENERATION, 1);
  if (delta !== 0) add(words, header * 16 + COUNT, delta);
}
