/**
 * Objects as a manager sees them: for every object that is mapped in it one VmBo, 64 bytes in a slab cache, which holds the
 * list of its mappings and says whether it is external, or evicted.
 *
 * | words | field |
 * |---|---|
 * | 0 | the object's id |
 * | 1, 2, 3 | first and last mapping of the list, and how many there are |
 * | 4 | flags: external, evicted; 0 also when it was freed |
 * | 5, 6 | next and previous VmBo on the manager's list of external objects |
 * | 7, 8 | next and previous VmBo on the manager's list of evicted objects |
 * | 9 | the manager's header |
 * | 15 | whose hands it was in last; link of the queue of deferred frees |
 *
 * All of it is plain memory that only the holder of the manager's outer lock touches; the lock orders the accesses. But for the flags,
 * which are stored atomically, because whoever looks for what a dead thread has left loads them without that lock. A second
 * range tree leads from an object's id to its VmBo. Mappings that were replaced may be on a list until it is looked at: see
 * `replaced.ts`.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/mod.ts";
import type { RangeTree } from "../range_tree/mod.ts";
import type { SlabCache } from "../slab/mod.ts";
import { load, store, type Words } from "../sync/atomics.ts";
import { VaError, VaNotFoundError } from "./errors.ts";
import {
  boOf,
  clearPlace,
  type Doubles,
  type Mapping,
  nextOf,
  objectOf,
  prevOf,
  readMapping,
  setNext,
  setPlace,
  setPrev,
} from "./mapping.ts";

const OBJECT = 0;
const HEAD = 1;
const TAIL = 2;
const COUNT = 3;
const FLAGS = 4;
const EXTERNAL_LIST = 5;
const EVICTED_LIST = 7;
const MANAGER = 9;
const EXTERNAL = 1;
const EVICTED = 2;

/** Bytes of a VmBo. */
export const BO_BYTES = 64;
/** The word of a VmBo that the queue of deferred frees may use. */
export const BO_LINK = 15;

/** The header of the manager that a VmBo belongs to. */
export function managerOf(words: Words, bo: number): number {
  return words[bo * 16 + MANAGER] >>> 0;
}

/** The id of a VmBo's object. */
export function objectOfBo(words: Words, bo: number): number {
  return words[bo * 16 + OBJECT] >>> 0;
}

/** Whether a VmBo is on one of its manager's lists. From any thread. */
export function isOnAnyList(words: Words, bo: number): boolean {
  // Pairs with the stores of whoever puts it there, or takes it off.
  return load(words, bo * 16 + FLAGS) !== 0;
}

/** Notes that a VmBo, which is no more, is on none of its manager's lists. */
export function clearFlags(words: Words, bo: number): void {
  store(words, bo * 16 + FLAGS, 0);
}

/** What a table of VmBos works on. */
export interface BoTableTarget {
  /** Every shared word. */
  readonly words: Words;
  /** The same memory as `f64`. */
  readonly doubles: Doubles;
  /** Checks that the manager lives, and that its outer lock is held as far as it can be known. */
  assertWriter(site: string): void;
  /** Takes mappings that were replaced off the lists, if they are on them still: before anybody looks at one. */
  settle(): void;
  /** Notes that the lists are being changed, or that they are what they say again: else whoever changes the manager next repairs them. */
  setChanging(on: boolean): void;
  /** Whether a copy of a mapping is of one that is there. */
  isMapped(mapping: Mapping): boolean;
  /** The manager's header. */
  readonly manager: number;
  /** Leads from an object's id to its VmBo. */
  readonly tree: RangeTree;
  /** Where VmBos come from. */
  readonly cache: SlabCache;
  /** The word that goes up whenever a VmBo is freed. */
  readonly generationIndex: number;
  /** The VmBo that came last to the manager's list of external objects. */
  readonly externalIndex: number;
  /** The VmBo that came last to the manager's list of evicted objects. */
  readonly evictedIndex: number;
}

/**
 * The VmBos of one manager, as seen by one thread.
 *
 * Thread contract: an object belongs to one thread; everything is used under the manager's outer lock.
 */
export class BoTable {
  readonly #target: BoTableTarget;
  readonly #words: Words;
  /** What the tree says, remembered; worthless once a VmBo was freed. */
  readonly #known: Map<number, number> = new Map();
  #knownAt = -1;
  /** The object that was asked for last, and its VmBo: operations on one object come together. */
  #lastObject = -1;
  #lastBo = 0;

  /** The VmBos of that manager. */
  constructor(target: BoTableTarget) {
    this.#target = target;
    this.#words = target.words;
  }

  /** An object's VmBo, 0 if it has none. */
  find(object: number): number {
    const generation = this.#words[this.#target.generationIndex];
    if (generation !== this.#knownAt) {
      this.#known.clear();
      this.#knownAt = generation;
      this.#lastObject = -1;
    }
    if (object === this.#lastObject) return this.#lastBo;
    let bo = this.#known.get(object);
    if (bo === undefined) {
      bo = this.#target.tree.load(object);
      if (bo === 0) return 0;
      this.#known.set(object, bo);
    }
    this.#lastObject = object;
    return this.#lastBo = bo;
  }

  /**
   * An object's VmBo, created if it has none.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  obtain(object: number): number {
    const found = this.find(object);
    if (found !== 0) return found;
    const { cache, tree } = this.#target;
    let bo = cache.tryAllocate();
    if (bo === 0) {
      // What was replaced is to be freed like all the rest, by whoever makes room.
      this.#target.settle();
      bo = cache.allocate();
    }
    this.init(bo, object);
    try {
      tree.store(object, bo);
    } catch (error) {
      cache.free(bo);
      if (error instanceof OutOfMemoryError) this.#target.settle();
      throw error;
    }
    return bo;
  }

  /** Fills a private VmBo. It is the object's once the tree says so. */
  init(bo: number, object: number): void {
    const base = bo * 16;
    this.#words.fill(0, base, base + BO_LINK);
    this.#words[base + OBJECT] = object | 0;
    this.#words[base + MANAGER] = this.#target.manager;
  }

  /**
   * Frees a VmBo without mappings.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  release(bo: number): void {
    const base = bo * 16;
    this.#target.cache.claim(bo);
    this.#target.tree.erase(this.#words[base + OBJECT] >>> 0);
    this.setFlag(bo, EXTERNAL, false);
    this.setFlag(bo, EVICTED, false);
    this.#words[this.#target.generationIndex]++;
    this.#target.cache.defer(bo);
  }

  /** Puts a mapping at the end of a VmBo's list. */
  link(bo: number, mapping: number): void {
    const words = this.#words, base = bo * 16;
    const tail = words[base + TAIL] >>> 0;
    setPlace(words, mapping, bo, 0, tail);
    if (tail === 0) words[base + HEAD] = mapping;
    else setNext(words, tail, mapping);
    words[base + TAIL] = mapping;
    words[base + COUNT]++;
  }

  /**
   * Takes a mapping off the list that it is on, if it is on any. Where a thread died in the middle of that, this does the rest:
   * what names the mapping no more stays as it is, and it is counted until it says itself that it is on no list.
   */
  unlink(mapping: number): void {
    const words = this.#words;
    const bo = boOf(words, mapping);
    if (bo === 0) return;
    const base = bo * 16;
    const next = nextOf(words, mapping), prev = prevOf(words, mapping);
    if (prev !== 0) {
      if (nextOf(words, prev) === mapping) setNext(words, prev, next);
    } else if (words[base + HEAD] >>> 0 === mapping) words[base + HEAD] = next;
    if (next !== 0) {
      if (prevOf(words, next) === mapping) setPrev(words, next, prev);
    } else if (words[base + TAIL] >>> 0 === mapping) words[base + TAIL] = prev;
    clearPlace(words, mapping);
    words[base + COUNT]--;
  }

  /** Sets or clears one of a VmBo's flags and puts it at the front of the manager's list of such VmBos, or takes it off. */
  setFlag(bo: number, flag: number, on: boolean): void {
    const words = this.#words, base = bo * 16;
    if (((words[base + FLAGS] & flag) !== 0) === on) return;
    // Pairs with the load of `isOnAnyList`.
    store(words, base + FLAGS, words[base + FLAGS] ^ flag);
    if (on) return this.#enlist(bo, flag);
    const { list, headIndex } = this.#listOf(flag);
    const next = words[base + list] >>> 0, prev = words[base + list + 1] >>> 0;
    if (prev === 0) words[headIndex] = next;
    else words[prev * 16 + list] = next;
    if (next !== 0) words[next * 16 + list + 1] = prev;
  }

  /** Puts a VmBo at the front of the list of those that have a flag. */
  #enlist(bo: number, flag: number): void {
    const words = this.#words, base = bo * 16;
    const { list, headIndex } = this.#listOf(flag);
    const next = words[headIndex] >>> 0;
    words[base + list] = next;
    words[base + list + 1] = 0;
    if (next !== 0) words[next * 16 + list + 1] = bo;
    words[headIndex] = bo;
  }

  /** Where the list of the VmBos that have a flag begins, and where each one names the next. */
  #listOf(flag: number): { list: number; headIndex: number } {
    const { externalIndex, evictedIndex } = this.#target;
    return flag === EXTERNAL
      ? { list: EXTERNAL_LIST, headIndex: externalIndex }
      : { list: EVICTED_LIST, headIndex: evictedIndex };
  }

  /**
   * Makes all lists anew after a thread died within the outer lock, from the tree of mappings and the VmBos' flags, in the order of
   * addresses and of objects. Under the outer lock.
   *
   * @param links Whether mappings are linked by the manager, so that all are, or by hand.
   */
  repair(mappings: RangeTree, links: boolean): void {
    const words = this.#words;
    const { generationIndex, externalIndex, evictedIndex } = this.#target;
    const bos = this.refs();
    words[externalIndex] = words[evictedIndex] = 0;
    words[generationIndex]++;
    for (const bo of bos) {
      const base = bo * 16;
      words[base + HEAD] = words[base + TAIL] = words[base + COUNT] = 0;
      for (const flag of [EXTERNAL, EVICTED]) {
        if ((words[base + FLAGS] & flag) !== 0) this.#enlist(bo, flag);
      }
    }
    const known = new Set(bos);
    for (const { value: mapping } of mappings) {
      const object = objectOf(words, mapping), was = boOf(words, mapping);
      const bo = links ? (object === 0 ? 0 : this.find(object)) : was;
      clearPlace(words, mapping);
      if (known.has(bo)) this.link(bo, mapping);
    }
  }

  /** The VmBos of all objects that have one, in the order of these. */
  refs(): number[] {
    return [...this.#target.tree].map(({ value }) => value);
  }

  /** A handle of a VmBo. */
  handle(bo: number): VmBo {
    return new VmBo(this, this.#target, bo);
  }

  /** The VmBos on one of the manager's lists, the one that came to it first at the front. */
  list(which: "external" | "evicted"): VmBo[] {
    const list = which === "external" ? EXTERNAL_LIST : EVICTED_LIST;
    const head = which === "external"
      ? this.#target.externalIndex
      : this.#target.evictedIndex;
    const bos: VmBo[] = [];
    for (let bo = this.#words[head] >>> 0; bo !== 0;) {
      bos.push(this.handle(bo));
      bo = this.#words[bo * 16 + list] >>> 0;
    }
    return bos.reverse();
  }
}

/**
 * An object in a manager: the list of its mappings there, and what became of it.
 *
 * Thread contract: an object belongs to one thread; everything needs the manager's outer lock.
 *
 * Analogous to Linux `struct drm_gpuvm_bo`; differs: it counts its mappings, not references, and is freed by
 * `VaManager.releaseBo`.
 */
export class VmBo {
  /** The ref of the VmBo in the arena. */
  readonly ref: number;
  /** The object's id. */
  readonly object: number;
  readonly #table: BoTable;
  readonly #target: BoTableTarget;

  /** A handle of the VmBo `ref`; use {@linkcode VaManager.obtainBo}. */
  constructor(table: BoTable, target: BoTableTarget, ref: number) {
    this.#table = table;
    this.#target = target;
    this.ref = ref;
    this.object = target.words[ref * 16 + OBJECT] >>> 0;
  }

  /** How many mappings are linked. */
  get count(): number {
    return this.#target.words[this.#base() + COUNT];
  }

  /** Whether the object is shared with other managers. */
  get external(): boolean {
    return (this.#target.words[this.#base() + FLAGS] & EXTERNAL) !== 0;
  }

  /** Sets whether it is; puts it on the manager's list of external objects. Analogous to `drm_gpuvm_bo_extobj_add`. */
  set external(on: boolean) {
    this.#base();
    this.#change(() => this.#table.setFlag(this.ref, EXTERNAL, on));
  }

  /** Whether the object's memory was taken away. */
  get evicted(): boolean {
    return (this.#target.words[this.#base() + FLAGS] & EVICTED) !== 0;
  }

  /** Sets whether it was; puts it on the manager's list of evicted objects. Analogous to `drm_gpuvm_bo_evict`. */
  set evicted(on: boolean) {
    this.#base();
    this.#change(() => this.#table.setFlag(this.ref, EVICTED, on));
  }

  /** The mappings, in the order in which they were linked. */
  mappings(): Mapping[] {
    const { words, doubles } = this.#target;
    const mappings: Mapping[] = [];
    for (let ref = words[this.#base() + HEAD] >>> 0; ref !== 0;) {
      mappings.push(readMapping(words, doubles, ref));
      ref = nextOf(words, ref);
    }
    return mappings;
  }

  /**
   * Links a mapping of the object. Needs no memory. Analogous to `drm_gpuva_link`.
   *
   * @throws {VaError} If it is linked already or is a mapping of another object.
   * @throws {VaNotFoundError} If that mapping is not there any more.
   */
  link(mapping: Mapping): void {
    this.#base();
    const { words } = this.#target;
    if (!this.#target.isMapped(mapping)) {
      throw new VaNotFoundError(
        `Cannot link mapping ${mapping.ref} to object ${this.object}: it is not there any more`,
      );
    }
    if (
      objectOf(words, mapping.ref) !== this.object ||
      boOf(words, mapping.ref) !== 0
    ) {
      throw new VaError(
        "EINVAL",
        `Cannot link mapping ${mapping.ref} to object ${this.object}: it is linked already, or maps object ${
          objectOf(words, mapping.ref)
        }`,
      );
    }
    this.#change(() => this.#table.link(this.ref, mapping.ref));
  }

  /**
   * Unlinks a mapping, if it is linked: one that was removed is not. Needs no memory. Analogous to `drm_gpuva_unlink`.
   */
  unlink(mapping: Mapping): void {
    this.#base();
    if (!this.#target.isMapped(mapping)) return;
    if (boOf(this.#target.words, mapping.ref) === this.ref) {
      this.#change(() => this.#table.unlink(mapping.ref));
    }
  }

  /** Changes the lists, which are written plainly: the note outlives a thread that dies of it. */
  #change(change: () => void): void {
    this.#target.setChanging(true);
    change();
    this.#target.setChanging(false);
  }

  #base(): number {
    this.#target.assertWriter("VmBo");
    this.#target.settle();
    if (this.#table.find(this.object) !== this.ref) {
      throw new VaNotFoundError(
        `Cannot use the VmBo of object ${this.object}: it was released`,
      );
    }
    return this.ref * 16;
  }
}
