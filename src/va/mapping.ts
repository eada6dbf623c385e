/**
 * Mappings: 64-byte objects in a slab cache. The VA tree's entry at an address is the ref of the mapping that covers it.
 *
 * | words | field | who may write it |
 * |---|---|---|
 * | 0–1, 2–3 | start, last, `f64` | immutable once published |
 * | 4–5 | offset in the object, `f64` | immutable once published |
 * | 6–7, 8–9 | repeat, phase, `f64` | immutable once published |
 * | 10 | object id, 0 = none | immutable once published |
 * | 11 | flags | atomic |
 * | 12 | the VmBo on whose list it is, 0 = it is on none, also when it was freed | under the manager's outer lock; cleared atomically, unless it is noted as replaced (`replaced.ts`) |
 * | 13, 14 | next and previous mapping on that list | plain; under the manager's outer lock |
 * | 15 | whose hands it was in last; link of the queue of deferred frees | the queue, once the mapping is out of the tree |
 *
 * A mapping is filled while it is private and published by the atomic store that puts its ref into the tree, so a reader
 * that found the ref by the tree's atomic loads may read the immutable fields plainly. It is freed after a grace period, so
 * a reader must take its copy inside the read section in which it found the ref. A split never changes a mapping: the
 * parts that remain are new objects. Until they are in the tree, readers find the old object there, and it still says the
 * truth about the addresses at which it is found.
 *
 * @module
 */
import { load, store, type Words } from "../sync/atomics.ts";

/** The same memory as `f64`. */
export type Doubles = Float64Array<SharedArrayBuffer>;

// In doubles.
const START = 0;
const LAST = 1;
const OFFSET = 2;
const REPEAT = 3;
const PHASE = 4;
// In words.
const OBJECT = 10;
const FLAGS = 11;
const BO = 12;
const NEXT = 13;
const PREV = 14;

/** Bytes of a mapping. */
export const MAPPING_BYTES = 64;
/** The word of a mapping that the queue of deferred frees may use. */
export const MAPPING_LINK = 15;

/** The bits of a mapping's flags. */
export const MappingFlag: {
  /** Nothing is behind it: reads give zero. Only of a mapping without an object. */
  readonly SPARSE: 1;
  /** Its page-table entries must be written anew before use. */
  readonly INVALIDATED: 2;
  /** The manager's reserved node; set by the manager. */
  readonly RESERVED: 4;
  /** A block is repeated over it; set by the manager. */
  readonly REPEAT: 8;
  /** The lowest of the bits that belong to the user: 8 to 31. */
  readonly USER: 256;
} = { SPARSE: 1, INVALIDATED: 2, RESERVED: 4, REPEAT: 8, USER: 256 };

/** The flags that are the manager's to set: they stay as they are as long as the mapping is there. */
export const OWN_FLAGS: number = MappingFlag.RESERVED | MappingFlag.REPEAT;

/** What a mapping maps where. */
export interface MappingSpec {
  /** Its first address. */
  readonly start: number;
  /** How many addresses it covers. */
  readonly range: number;
  /** The id of the object behind it; 0 = none. */
  readonly object: number;
  /** Where in the object it begins; of a repeated mapping, where the repeated block begins. */
  readonly offset: number;
  /** {@linkcode MappingFlag} and user bits. */
  readonly flags: number;
  /** The size of the block that is repeated over the range; 0 = none is. */
  readonly repeat: number;
  /** How far into the block a repeated mapping begins. */
  readonly phase: number;
}

/** A copy of a mapping that is, or was, in a manager. */
export interface Mapping extends MappingSpec {
  /** The mapping's object in the arena. */
  readonly ref: number;
}

/** Fills a private mapping. */
export function initMapping(
  words: Words,
  doubles: Doubles,
  ref: number,
  spec: MappingSpec,
): void {
  const at = ref * 8, base = ref * 16;
  // What is added makes 0 of −0.
  doubles[at + START] = spec.start + 0;
  doubles[at + LAST] = spec.start + spec.range - 1;
  doubles[at + OFFSET] = spec.offset + 0;
  doubles[at + REPEAT] = spec.repeat + 0;
  doubles[at + PHASE] = spec.phase + 0;
  words[base + OBJECT] = spec.object | 0;
  words[base + BO] = 0;
  words[base + NEXT] = 0;
  words[base + PREV] = 0;
  // Nobody else sees it yet.
  words[base + FLAGS] = spec.flags | 0;
}

/** A copy of a mapping. Inside the read section in which its ref was found, or under the outer lock. */
export function readMapping(
  words: Words,
  doubles: Doubles,
  ref: number,
): Mapping {
  const flags = load(words, ref * 16 + FLAGS) >>> 0;
  return mappingOf(words, doubles, ref, ref, flags);
}

/** A copy of a mapping whose fields stand in the same places of memory of this thread's own, at `copy`. */
export function readCopied(
  words: Words,
  doubles: Doubles,
  ref: number,
  copy: number,
): Mapping {
  const flags = words[copy * 16 + FLAGS] >>> 0;
  return mappingOf(words, doubles, ref, copy, flags);
}

function mappingOf(
  words: Words,
  doubles: Doubles,
  ref: number,
  from: number,
  flags: number,
): Mapping {
  const at = from * 8;
  const start = doubles[at + START];
  return {
    ref,
    start,
    range: doubles[at + LAST] - start + 1,
    object: words[from * 16 + OBJECT] >>> 0,
    offset: doubles[at + OFFSET],
    flags,
    repeat: doubles[at + REPEAT],
    phase: doubles[at + PHASE],
  };
}

/** Whether an object of the arena says what a copy of a mapping says, but for its flags. As {@linkcode readMapping}. */
export function isSameMapping(
  words: Words,
  doubles: Doubles,
  ref: number,
  copy: MappingSpec,
): boolean {
  const at = ref * 8;
  return doubles[at + START] === copy.start &&
    doubles[at + LAST] === copy.start + copy.range - 1 &&
    doubles[at + OFFSET] === copy.offset &&
    doubles[at + REPEAT] === copy.repeat &&
    doubles[at + PHASE] === copy.phase &&
    words[ref * 16 + OBJECT] >>> 0 === copy.object;
}

/** The first address. */
export function startOf(doubles: Doubles, ref: number): number {
  return doubles[ref * 8 + START];
}

/** The last address. */
export function lastOf(doubles: Doubles, ref: number): number {
  return doubles[ref * 8 + LAST];
}

/** The object's id, 0 = none. */
export function objectOf(words: Words, ref: number): number {
  return words[ref * 16 + OBJECT] >>> 0;
}

/**
 * A word of each of the first so many mappings, folded: read only so that their lines are fetched. In a loop of its own, since reads wait
 * for each other where much stands between them.
 */
export function touchMappings(
  words: Words,
  mappings: Int32Array,
  count: number,
): number {
  let touched = 0;
  for (let i = 0; i < count; i++) touched ^= words[mappings[i] * 16 + OBJECT];
  return touched;
}

/**
 * How far into a repeated block one is that many addresses behind another place of it. No sum on the way is larger than the block,
 * so none is rounded.
 */
export function phaseBehind(
  phase: number,
  addresses: number,
  repeat: number,
): number {
  const into = addresses % repeat, rest = repeat - phase;
  return into < rest ? phase + into : into - rest;
}

/** Where in its object an address of the mapping lies. As {@linkcode readMapping}. */
export function offsetAt(
  doubles: Doubles,
  ref: number,
  address: number,
): number {
  const at = ref * 8;
  const into = address - doubles[at + START], repeat = doubles[at + REPEAT];
  return doubles[at + OFFSET] +
    (repeat === 0 ? into : phaseBehind(doubles[at + PHASE], into, repeat));
}

/** The flags. Stale as soon as they are read, unless the outer lock is held. */
export function mappingFlagsOf(words: Words, ref: number): number {
  return load(words, ref * 16 + FLAGS) >>> 0;
}

/** Sets the flags; visible to readers at once. Under the outer lock. */
export function setMappingFlags(
  words: Words,
  ref: number,
  flags: number,
): void {
  store(words, ref * 16 + FLAGS, flags | 0);
}

/** The VmBo that the mapping is linked to, 0 = none. Under the outer lock, as all below. */
export function boOf(words: Words, ref: number): number {
  return words[ref * 16 + BO] >>> 0;
}

/** The next mapping of the same VmBo, 0 = none. */
export function nextOf(words: Words, ref: number): number {
  return words[ref * 16 + NEXT] >>> 0;
}

/** The previous mapping of the same VmBo, 0 = none. */
export function prevOf(words: Words, ref: number): number {
  return words[ref * 16 + PREV] >>> 0;
}

/** The same, seen by whoever does not hold that lock. */
export function sharedBoOf(words: Words, ref: number): number {
  // Pairs with the store of `clearPlace`.
  return load(words, ref * 16 + BO) >>> 0;
}

/** Notes the mapping's place in a VmBo's list. */
export function setPlace(
  words: Words,
  ref: number,
  bo: number,
  next: number,
  prev: number,
): void {
  const base = ref * 16;
  words[base + BO] = bo;
  words[base + NEXT] = next;
  words[base + PREV] = prev;
}

/** Notes that the mapping is on no list. */
export function clearPlace(words: Words, ref: number): void {
  const base = ref * 16;
  words[base + NEXT] = words[base + PREV] = 0;
  // Pairs with the load of whoever looks for what a dead thread has left: it sees the claim, too, that was made before.
  store(words, base + BO, 0);
}

/** Notes the next mapping of the same VmBo. */
export function setNext(words: Words, ref: number, next: number): void {
  words[ref * 16 + NEXT] = next;
}

/** Notes the previous mapping of the same VmBo. */
export function setPrev(words: Words, ref: number, prev: number): void {
  words[ref * 16 + PREV] = prev;
}
