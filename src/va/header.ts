/**
 * The header of a VA manager: 128 bytes.
 *
 * | words | field | who may write it |
 * |---|---|---|
 * | 0 | a mark of life, and a serial number | atomic |
 * | 1 | flags: regions are required, mappings are linked by hand, the outer lock is this header's | immutable once published |
 * | 2, 3, 4 | the trees: mappings by address, VmBos by object, regions by address; 0 once they went with the manager | immutable while it lives |
 * | 5 | the mapping that stands for the reserved node | immutable once published |
 * | 6 | goes up when a VmBo is freed | plain; under the outer lock |
 * | 7, 8 | the VmBo that came last to the list of external ones, of evicted ones | plain; under the outer lock |
 * | 9 | whether a change of mappings, or the release of a VmBo, is under way: see `unfinished.ts` | under the outer lock |
 * | 10–11, 12–13 | start, last, `f64` | immutable once published |
 * | 14 | how often mappings may have been let go: see `unread.ts` | atomic; under the outer lock |
 * | 16 | the outer lock that the manager offers | itself |
 * | 17–24 | mappings that were replaced: see `replaced.ts` | atomic; under the outer lock |
 * | 25 | how many of these are sure | plain; under the outer lock |
 * | 31 | whose hands it was in last; link of the queue of deferred frees | the queue |
 *
 * @module
 */
import type { Arena } from "../memory/mod.ts";
import type { RangeTree } from "../range_tree/mod.ts";
import { load, store, type Words } from "../sync/atomics.ts";
import type { Doubles } from "./mapping.ts";
import type { VaSpan } from "./operations.ts";

const LIFE = 0;
const FLAGS = 1;
const TREE = 2;
const BOS = 3;
const REGIONS = 4;
const RESERVED = 5;
const BO_GENERATION = 6;
const EXTERNAL_HEAD = 7;
const EVICTED_HEAD = 8;
const CHANGING = 9;
const START = 5; // in doubles
const LAST = 6; // in doubles
const RETIREMENTS = 14;
const LOCK = 16;

/** Bytes of a header. */
export const HEADER_BYTES = 128;
/** The word of a header that the queue of deferred frees may use. */
export const HEADER_LINK = 31;

// The word of life: a mark that neither 0 nor the poison of freed objects carries, and a serial number of the arena, so that a
// handle of an earlier manager in the same place is found out.
const LIVE = 0x5600_0000;
const LIVE_MASK = 0x7f00_0000;
const SERIAL_MASK = 0x00ff_ffff;

/** Flag: a map request must lie in one region. */
export const REGIONS_REQUIRED = 1;
/** Flag: the driver links mappings to their VmBos. */
export const LINKED_BY_HAND = 2;
/** Flag: the outer lock is the one in this header, and lockdep sees to it. */
export const OWN_OUTER_LOCK = 4;

/** What a header is made of. */
export interface HeaderFields {
  /** The flags above. */
  readonly flags: number;
  /** The trees. */
  readonly tree: RangeTree;
  /** VmBos by object. */
  readonly bos: RangeTree;
  /** Regions by address. */
  readonly regions: RangeTree;
  /** The mapping of the reserved node, 0 = none. */
  readonly reserved: number;
  /** The addresses that can be mapped. */
  readonly span: VaSpan;
}

/** Fills a private header. */
export function initHeader(
  arena: Arena,
  header: number,
  fields: HeaderFields,
): void {
  const { words, doubles } = arena;
  const base = header * 16;
  const serial = arena.nextSerial() & SERIAL_MASK;
  words.fill(0, base + LIFE + 1, base + HEADER_LINK);
  words[base + FLAGS] = fields.flags;
  words[base + TREE] = fields.tree.ref;
  words[base + BOS] = fields.bos.ref;
  words[base + REGIONS] = fields.regions.ref;
  words[base + RESERVED] = fields.reserved;
  doubles[header * 8 + START] = fields.span.start;
  doubles[header * 8 + LAST] = fields.span.start + fields.span.range - 1;
  store(words, base + LIFE, LIVE | serial);
}

/** The word of the outer lock that a manager offers. */
export function outerLockIndex(header: number): number {
  return header * 16 + LOCK;
}

/** The refs of a manager's trees. Of one that is no more, 0, or of trees that went with it. From any thread. */
export function treesOf(
  words: Words,
  header: number,
): { tree: number; bos: number; regions: number } {
  const base = header * 16;
  return {
    // Pairs with the stores of `forgetTrees`.
    tree: load(words, base + TREE) >>> 0,
    bos: load(words, base + BOS) >>> 0,
    regions: load(words, base + REGIONS) >>> 0,
  };
}

/** Notes that the trees of a manager that is no more were destroyed: before its header is freed. */
export function forgetTrees(words: Words, header: number): void {
  const base = header * 16;
  for (const which of [TREE, BOS, REGIONS]) store(words, base + which, 0);
}

/** The mapping of the reserved node, 0 = none. */
export function reservedOf(words: Words, header: number): number {
  return words[header * 16 + RESERVED] >>> 0;
}

/** Whether the object is the header of a manager that was not destroyed. */
export function isLiveManager(words: Words, header: number): boolean {
  return isLife(lifeOf(words, header));
}

/** Whether a word of life is that of a manager which was not destroyed then. */
export function isLife(life: number): boolean {
  return (life & LIVE_MASK) === LIVE;
}

/** Marks a manager as destroyed. */
export function killManager(words: Words, header: number): void {
  store(words, header * 16 + LIFE, 0);
}

/** The word of life: that of a manager which was not destroyed is never that of a later one in the same place. */
export function lifeOf(words: Words, header: number): number {
  return load(words, header * 16 + LIFE);
}

/** The flags. */
export function flagsOf(words: Words, header: number): number {
  return words[header * 16 + FLAGS];
}

/** The first and the last address that can be mapped. */
export function boundsOf(
  doubles: Doubles,
  header: number,
): { start: number; last: number } {
  const at = header * 8;
  return { start: doubles[at + START], last: doubles[at + LAST] };
}

/** The words that VmBos keep in the header of their manager. */
export function boWordsOf(
  header: number,
): { generationIndex: number; externalIndex: number; evictedIndex: number } {
  const base = header * 16;
  return {
    generationIndex: base + BO_GENERATION,
    externalIndex: base + EXTERNAL_HEAD,
    evictedIndex: base + EVICTED_HEAD,
  };
}

/** The word that counts how often mappings may have been let go. */
export function retirementsIndex(header: number): number {
  return header * 16 + RETIREMENTS;
}

/** Whether a change of mappings is under way. Under the outer lock. */
export function isChanging(words: Words, header: number): boolean {
  return words[header * 16 + CHANGING] !== 0;
}

/** Sets whether one is. */
export function setChanging(words: Words, header: number, on: boolean): void {
  const index = header * 16 + CHANGING;
  // The store that changes the tree, which follows, is atomic. So is this one at the end, as tests let threads die at such.
  if (on) words[index] = 1;
  else store(words, index, 0);
}
