/**
 * The slabs of a cache: which of their objects are in use, and the lists that they hang on.
 *
 * A slab is one page. Which of its objects are allocated is a bitmap in the page's frame record, so objects need no
 * free-list word and a slab's occupancy is a popcount. Slabs hang on one list per occupancy, and a word of bits says which
 * lists are not empty, so the fullest partial slab is found by counting leading zeros. Filling the fullest first is what
 * lets the emptier ones run dry. Isolated slabs hang on a list of their own, whatever is in use of them.
 *
 * Protection: the counts and lists in the cache's record and the frame records of its slabs are touched only under the
 * cache's lock, but for the frame's owner word (and in debug mode that of its tracking page), which is written before the
 * first object of the slab is handed out and again only when the last is gone; that the slab is isolated stands elsewhere.
 * So plain accesses suffice: the lock orders them, and whoever has a ref of an object in use reads an owner word that nobody
 * writes. Before it is handed over as a slab, a page is its allocating thread's alone; once it is given up, it is that of
 * whoever has its ref to free.
 *
 * Type stability: an object's memory stays an object of its cache until a grace period after its slab became empty, so
 * a walker inside a read section that holds a stale ref still finds an object of that kind, checks it, and gives up. A new
 * slab's page is zeroed, so an object's words are 0 or what its last life left there, but for its link word.
 *
 * Identity, checked by {@linkcode SlabLists.validate}: for every slab popcount(bitmap) = in use = its list's number;
 * Σ in use = objects.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import type { Arena } from "../memory/arena.ts";
import {
  FRAME_OWNER,
  type Mobility,
  PAGE_BYTES,
} from "../memory/page_allocator.ts";
import { handsOf } from "./hands.ts";

const GRANULE_BYTES = 64;
const GRANULE_WORDS = 16;
const PAGE_WORDS = PAGE_BYTES / 4;
const MAX_CAPACITY = PAGE_BYTES / GRANULE_BYTES;
/** Empty slabs that stay, so that an allocation at the edge does not cost a page each time. */
const EMPTY_KEPT = 4;

// The counts in a cache's record, and the head of the list of isolated slabs, which is in front of all other heads.
const SLABS = 0;
const OBJECTS = 1;
const ISOLATED_HEAD = 2;
const ISOLATED = 3;
/** What the counts take in a cache's record, in words. */
export const COUNT_WORDS = 4;

// The lists in a cache's record, behind the counts.
const PARTIAL = 0; // two words: which of the lists 0 … 63 are not empty
const HEADS = 2; // a list a number of objects in use, 0 … capacity
/** What the lists take in a cache's record, in words. */
export const LIST_WORDS: number = HEADS + MAX_CAPACITY + 1;

// A slab's frame record, behind the page allocator's word.
const NEXT = 1;
const PREV = 2;
const OWNER = 3;
const BITMAP = 4; // two words
const IN_USE = 6; // how many objects, and whether the slab is isolated
const TRACKING = 7; // debug mode: its tracking page + 1
// The owner word: the cache's number from 1, and what is going on with the page: it is given up, or a thread has it in hand.
const ID_MASK = 0xff;
const IS_DYING = 0x100;
/** From here on: the id of the thread that is about to make a slab of it. */
const ON_ITS_WAY_SHIFT = 16;
/** In the word of what is in use: more than there are objects. From here on: the id of the thread that isolated the slab. */
const IS_ISOLATED = 0x100;
const ISOLATED_SHIFT = 8;

if (OWNER !== FRAME_OWNER) {
  throw new Error("The layout of slabs does not add up");
}

/** Which cache's slabs they are, and where its record has its counts and lists. */
export interface SlabListsOptions {
  /** The cache's name, for errors. */
  name: string;
  /** The cache's number, from 1. */
  id: number;
  /** Bytes of an object. */
  objectBytes: number;
  /** The first word of the counts. */
  counts: number;
  /** The first word of the lists, which are behind the counts. */
  lists: number;
}

/** Makes the counts and lists those of a cache that has no slab. Under the cache's lock, or before there is a cache. */
export function clearLists(words: Words, counts: number, lists: number): void {
  words.fill(0, counts, counts + COUNT_WORDS);
  words[counts + ISOLATED_HEAD] = -1;
  words.fill(0, lists + PARTIAL, lists + HEADS);
  words.fill(-1, lists + HEADS, lists + LIST_WORDS);
}

/**
 * The slabs of one cache.
 *
 * Thread contract: an object belongs to one thread; what it works on is shared and guarded by the cache's lock, which the
 * caller holds unless a method says that it needs none.
 */
export class SlabLists {
  /** Objects a slab has room for. */
  readonly capacity: number;
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #name: string;
  readonly #id: number;
  readonly #thread: number;
  readonly #granules: number;
  readonly #counts: number;
  readonly #lists: number;
  /** The head of the list of slabs with nothing in use, behind which are those of 1 … capacity objects. */
  readonly #heads: number;
  /** The head of the list of isolated slabs. */
  readonly #isolatedHead: number;

  /** Binds the slabs of a cache to one thread. Needs no lock. */
  constructor(arena: Arena, options: SlabListsOptions) {
    const { name, id, objectBytes, counts, lists } = options;
    this.capacity = Math.floor(PAGE_BYTES / objectBytes);
    this.#arena = arena;
    this.#words = arena.words;
    this.#name = name;
    this.#id = id;
    this.#thread = arena.thread;
    this.#granules = objectBytes / GRANULE_BYTES;
    this.#counts = counts;
    this.#lists = lists;
    this.#heads = lists + HEADS;
    this.#isolatedHead = counts + ISOLATED_HEAD;
  }

  /** How many slabs there are. */
  get slabCount(): number {
    return this.#words[this.#counts + SLABS];
  }

  /** How many objects are in use in them. */
  get objectCount(): number {
    return this.#words[this.#counts + OBJECTS];
  }

  /** How many slabs are isolated. */
  get isolatedCount(): number {
    return this.#words[this.#counts + ISOLATED];
  }

  /** The slabs that are not isolated and have so many objects in use; no more than `most`. */
  withInUse(inUse: number, most = Infinity): number[] {
    return this.#list(this.#heads + inUse, most);
  }

  /** The slabs that are isolated. */
  isolated(): number[] {
    return this.#list(this.#isolatedHead, Infinity);
  }

  /** The fullest slab that has room; -1 if there is none. */
  fullest(): number {
    const words = this.#words, partial = this.#lists + PARTIAL;
    const high = words[partial + 1];
    if (high !== 0) return words[this.#heads + 63 - Math.clz32(high)];
    const low = words[partial];
    return low !== 0 ? words[this.#heads + 31 - Math.clz32(low)] : -1;
  }

  /** Allocates a page that says for whom it is on its way here; -1 if there is none. Needs no lock. */
  tryPage(mobility: Mobility): number {
    const owner = this.#id | this.#thread << ON_ITS_WAY_SHIFT;
    return this.#arena.pages.tryAllocate(0, mobility, owner);
  }

  /** As {@linkcode SlabLists.tryPage}, but none of the pages `from` … `to − 1`. */
  tryPageOutside(from: number, to: number, mobility: Mobility): number {
    const owner = this.#id | this.#thread << ON_ITS_WAY_SHIFT;
    return this.#arena.pages.tryAllocateOutside(from, to, mobility, owner);
  }

  /** Makes an empty slab of a page, and of one for the tracker, unless that is -1. */
  add(pfn: number, tracking: number): void {
    const frame = this.#arena.frameOf(pfn);
    if (tracking >= 0) {
      this.#words[this.#arena.frameOf(tracking) + OWNER] = 0;
      this.#words[frame + TRACKING] = tracking + 1;
    }
    const start = this.#arena.pageRef(pfn) * GRANULE_WORDS;
    this.#words.fill(0, start, start + PAGE_WORDS);
    this.#words[frame + OWNER] = this.#id;
    this.#words[this.#counts + SLABS]++;
    this.#push(pfn, frame, this.#heads);
  }

  /** Adds the refs of the first free objects of a slab that is not isolated to `refs`, up to `most`; returns how many there are. */
  firstFree(pfn: number, refs: number[], most: number): number {
    const words = this.#words;
    const frame = this.#arena.frameOf(pfn), first = this.#arena.pageRef(pfn);
    const found = Math.min(most, this.capacity - words[frame + IN_USE]);
    let at = 0, free = ~words[frame + BITMAP];
    for (let left = found; left > 0; left--) {
      // So many free bits are below the slab's capacity, so the lowest ones are in range.
      if (free === 0) free = ~words[frame + BITMAP + ++at];
      refs.push(first + (at * 32 + lowestBit(free)) * this.#granules);
      free &= free - 1;
    }
    return found;
  }

  /** Marks the first `count` free objects of a slab as in use, and puts it on the list where it belongs then. */
  take(pfn: number, count: number): void {
    const words = this.#words;
    const frame = this.#arena.frameOf(pfn);
    let at = BITMAP;
    for (let left = count; left > 0; left--) {
      if (words[frame + at] === -1) at++;
      words[frame + at] |= words[frame + at] + 1;
    }
    const inUse = words[frame + IN_USE];
    words[frame + IN_USE] = inUse + count;
    words[this.#counts + OBJECTS] += count;
    this.#unlink(frame, this.#heads + inUse);
    this.#push(pfn, frame, this.#heads + inUse + count);
  }

  /** Marks an object in use as free. A slab that runs dry is given back if it is isolated, or enough empty ones are there. */
  free(ref: number): void {
    const pfn = this.#arena.pfnOf(ref);
    this.#unmark(this.#arena.frameOf(pfn), this.indexOf(ref));
    this.#relistFreed(pfn, 1);
  }

  /**
   * Frees refs in some pages, from place `at` of the list downwards, as long as they are of one slab, which so changes its list
   * once for all of them. Those that are no objects in use of this cache are left alone: `strays` gets them.
   *
   * @returns The place behind which all is done; -1 at the end.
   */
  freeRun(refs: readonly number[], at: number, strays: number[]): number {
    const pfn = this.#arena.pfnOf(refs[at]);
    const frame = this.#arena.frameOf(pfn);
    const isOurs = (this.#words[frame + OWNER] & ID_MASK) === this.#id;
    let freed = 0;
    for (; at >= 0 && this.#arena.pfnOf(refs[at]) === pfn; at--) {
      const ref = refs[at], index = this.indexOf(ref);
      const isObject = isOurs && (ref & 63) === index * this.#granules;
      if (isObject && this.#bit(frame, index) !== 0) {
        this.#unmark(frame, index);
        freed++;
      } else strays.push(ref);
    }
    if (freed > 0) this.#relistFreed(pfn, freed);
    return at;
  }

  #unmark(frame: number, index: number): void {
    const words = this.#words;
    words[frame + BITMAP + (index >> 5)] &= ~(1 << (index & 31));
    words[frame + IN_USE]--;
    words[this.#counts + OBJECTS]--;
  }

  /** Puts a slab of which so many objects were freed on the list where it belongs now, or gives it back. */
  #relistFreed(pfn: number, freed: number): void {
    const words = this.#words;
    const frame = this.#arena.frameOf(pfn);
    const inUse = words[frame + IN_USE];
    if (inUse >= IS_ISOLATED) {
      if (inUse % IS_ISOLATED > 0) return;
      this.#unlink(frame, this.#isolatedHead);
      words[frame + IN_USE] = 0;
      words[this.#counts + ISOLATED]--;
      this.#release(pfn, frame);
      return;
    }
    this.#unlink(frame, this.#heads + inUse + freed);
    if (inUse === 0 && this.#emptyKept()) this.#release(pfn, frame);
    else this.#push(pfn, frame, this.#heads + inUse);
  }

  /** Gives all empty slabs back. */
  releaseEmpty(): void {
    const words = this.#words, head = this.#heads;
    for (let pfn = words[head]; pfn >= 0; pfn = words[head]) {
      const frame = this.#arena.frameOf(pfn);
      this.#unlink(frame, head);
      this.#release(pfn, frame);
    }
  }

  /** Isolates a slab, or gives it back if it is empty. Returns whether the page was a slab that was not isolated. */
  isolate(pfn: number): boolean {
    const frame = this.#arena.frameOf(pfn);
    const inUse = this.#words[frame + IN_USE];
    if (this.#words[frame + OWNER] !== this.#id || inUse >= IS_ISOLATED) {
      return false;
    }
    this.#unlink(frame, this.#heads + inUse);
    if (inUse === 0) this.#release(pfn, frame);
    else {
      this.#words[frame + IN_USE] |= this.#thread << ISOLATED_SHIFT;
      this.#words[this.#counts + ISOLATED]++;
      this.#push(pfn, frame, this.#isolatedHead);
    }
    return true;
  }

  /** Puts a slab back that a thread has isolated. Returns whether it was such a slab. */
  unisolate(pfn: number, thread: number): boolean {
    const frame = this.#arena.frameOf(pfn);
    const word = this.#words[frame + IN_USE];
    const inUse = word % IS_ISOLATED, by = word >>> ISOLATED_SHIFT;
    if (this.#words[frame + OWNER] !== this.#id || by !== thread) return false;
    this.#unlink(frame, this.#isolatedHead);
    this.#words[frame + IN_USE] = inUse;
    this.#words[this.#counts + ISOLATED]--;
    this.#push(pfn, frame, this.#heads + inUse);
    return true;
  }

  /** Whether an object of this slab should be used again soon: not if the slab is to run dry. */
  isWorthKeeping(ref: number): boolean {
    const inUse = this.#words[this.#frameOf(ref) + IN_USE];
    return inUse < IS_ISOLATED && inUse * 2 >= this.capacity;
  }

  /** Adds the refs of a slab's objects in use to `refs`; none if the page is no slab of this cache. */
  objectsInto(pfn: number, refs: number[]): void {
    const words = this.#words, granules = this.#granules;
    const frame = this.#arena.frameOf(pfn);
    const owner = words[frame + OWNER];
    if ((owner & ID_MASK) !== this.#id || (owner & IS_DYING) !== 0) return;
    let first = this.#arena.pageRef(pfn);
    for (let at = BITMAP; at < BITMAP + 2; at++) {
      for (let bits = words[frame + at]; bits !== 0; bits &= bits - 1) {
        refs.push(first + lowestBit(bits) * granules);
      }
      first += 32 * granules;
    }
  }

  /** Whether a ref in some page is that of an object of this cache, in use or not. Needs no lock if it is in use. */
  isObject(ref: number): boolean {
    const pfn = this.#arena.pfnOf(ref);
    const offset = ref - this.#arena.pageRef(pfn);
    const owner = this.#words[this.#arena.frameOf(pfn) + OWNER];
    return (owner & ID_MASK) === this.#id && offset % this.#granules === 0;
  }

  /** Whether an object of this cache is in use. */
  isInUse(ref: number): boolean {
    return this.#bit(this.#frameOf(ref), this.indexOf(ref)) !== 0;
  }

  /** Which of its slab's objects one is. Needs no lock. */
  indexOf(ref: number): number {
    return ((ref & 63) / this.#granules) | 0;
  }

  /** Debug mode: the tracking page of an object's slab. Needs no lock if the object is in use. */
  trackingPage(ref: number): number {
    return this.#words[this.#frameOf(ref) + TRACKING] - 1;
  }

  /** Makes the lists and counts anew from the bitmaps, after a thread died that held the lock. */
  rebuild(): void {
    const words = this.#words, counts = this.#counts;
    clearLists(words, counts, this.#lists);
    for (const pfn of this.#arena.pages.usedPages()) {
      const frame = this.#arena.frameOf(pfn);
      // A dying page is on no list, and what was counted of it is counted no more; one on its way is not yet.
      if (words[frame + OWNER] !== this.#id) continue;
      const inUse = this.#bits(frame);
      const by = words[frame + IN_USE] >>> ISOLATED_SHIFT;
      words[frame + IN_USE] = inUse | by << ISOLATED_SHIFT;
      words[counts + SLABS]++;
      words[counts + OBJECTS] += inUse;
      if (by === 0) this.#push(pfn, frame, this.#heads + inUse);
      else if (inUse === 0) {
        words[frame + IN_USE] = 0;
        this.#release(pfn, frame);
      } else {
        words[counts + ISOLATED]++;
        this.#push(pfn, frame, this.#isolatedHead);
      }
    }
  }

  /**
   * Checks the identity that stands at the top of this file.
   *
   * @throws {Error} Naming the slab and the rule that is broken.
   */
  validate(): void {
    let objects = 0, slabs = 0, isolated = 0;
    for (let inUse = 0; inUse <= this.capacity; inUse++) {
      for (const pfn of this.withInUse(inUse)) {
        objects += this.#validateSlab(pfn, inUse);
        slabs++;
      }
      if (inUse < this.capacity) this.#validateBit(inUse);
    }
    for (const pfn of this.isolated()) {
      objects += this.#validateSlab(pfn, "isolated");
      isolated++;
    }
    const counted = this.objectCount;
    if (objects !== counted) {
      this.#broken(
        `${objects} objects are in its slabs, ${counted} are counted`,
      );
    }
    const all = this.slabCount;
    if (slabs + isolated !== all || isolated !== this.isolatedCount) {
      this.#broken(
        `${slabs} + ${isolated} slabs are listed, ${all} are counted`,
      );
    }
  }

  /** Checks a slab that was found on a list: that of its number of objects, or that of the isolated. */
  #validateSlab(pfn: number, listed: number | "isolated"): number {
    const frame = this.#arena.frameOf(pfn);
    const word = this.#words[frame + IN_USE];
    const isIsolated = word >= IS_ISOLATED;
    const inUse = word % IS_ISOLATED;
    const bits = this.#bits(frame);
    if (bits !== inUse) {
      this.#broken(`page ${pfn} has ${bits} bits set, ${inUse} are counted`);
    }
    if (listed !== (isIsolated ? "isolated" : inUse)) {
      this.#broken(
        `page ${pfn} with ${inUse} objects is on the list of ${listed}`,
      );
    }
    const owner = this.#words[frame + OWNER];
    if (owner !== this.#id) {
      this.#broken(`page ${pfn} has owner word ${owner}, not ${this.#id}`);
    }
    return inUse;
  }

  #validateBit(inUse: number): void {
    const partial = this.#words[this.#lists + PARTIAL + (inUse >> 5)];
    const bit = (partial >>> (inUse & 31)) & 1;
    if ((bit !== 0) !== (this.#words[this.#heads + inUse] >= 0)) {
      this.#broken(`the bit of the list of ${inUse} is ${bit}`);
    }
  }

  #broken(rule: string): never {
    throw new Error(`Slab cache "${this.#name}": ${rule}`);
  }

  /** Whether as many empty slabs as are worth keeping are there already. */
  #emptyKept(): boolean {
    let pfn = this.#words[this.#heads];
    for (let i = 0; i < EMPTY_KEPT; i++) {
      if (pfn < 0) return false;
      pfn = this.#words[this.#arena.frameOf(pfn) + NEXT];
    }
    return true;
  }

  /** Gives an empty slab that is on no list back, after a grace period: stale refs into it may still be followed. */
  #release(pfn: number, frame: number): void {
    this.#words[frame + OWNER] |= IS_DYING;
    this.#words[this.#counts + SLABS]--;
    this.#arena.rcu.defer(this.#arena.pageRef(pfn), pageLink(frame));
  }

  #bit(frame: number, index: number): number {
    return this.#words[frame + BITMAP + (index >> 5)] >>> (index & 31) & 1;
  }

  #bits(frame: number): number {
    return popcount(this.#words[frame + BITMAP]) +
      popcount(this.#words[frame + BITMAP + 1]);
  }

  #frameOf(ref: number): number {
    return this.#arena.frameOf(this.#arena.pfnOf(ref));
  }

  #list(list: number, most: number): number[] {
    const words = this.#words, pfns: number[] = [];
    for (let pfn = words[list]; pfn >= 0 && pfns.length < most;) {
      pfns.push(pfn);
      pfn = words[this.#arena.frameOf(pfn) + NEXT];
    }
    return pfns;
  }

  /** Puts a slab at the head of a list, which is named by the index of its head. */
  #push(pfn: number, frame: number, list: number): void {
    const words = this.#words;
    const next = words[list];
    words[frame + NEXT] = next;
    words[frame + PREV] = -1;
    if (next >= 0) words[this.#arena.frameOf(next) + PREV] = pfn;
    words[list] = pfn;
    // Below 0 for the list of the isolated.
    const inUse = list - this.#heads;
    if (inUse >= 0 && inUse < this.capacity) {
      words[this.#lists + PARTIAL + (inUse >> 5)] |= 1 << (inUse & 31);
    }
  }

  /** Takes a slab off the list that it is on. */
  #unlink(frame: number, list: number): void {
    const words = this.#words;
    const next = words[frame + NEXT];
    const prev = words[frame + PREV];
    if (next >= 0) words[this.#arena.frameOf(next) + PREV] = prev;
    if (prev >= 0) {
      words[this.#arena.frameOf(prev) + NEXT] = next;
      return;
    }
    words[list] = next;
    const inUse = list - this.#heads;
    if (next < 0 && inUse >= 0 && inUse < this.capacity) {
      words[this.#lists + PARTIAL + (inUse >> 5)] &= ~(1 << (inUse & 31));
    }
  }
}

/**
 * The number of the cache that owns the page of a deferred ref, and whether the ref stands for the whole page. For whoever has
 * the ref to free: then nobody writes the owner word.
 */
export function deferredOwner(
  words: Words,
  frame: number,
): { id: number; isPage: boolean } {
  const word = words[frame + OWNER];
  return { id: word & ID_MASK, isPage: (word & IS_DYING) !== 0 };
}

/** The word through which a page that its cache has given up is chained; as the link word of an object. */
export function pageLink(frame: number): number {
  return frame + NEXT;
}

/** Whether a page that its cache has given up is in the hands of a thread. */
export function isGivenUpBy(
  words: Words,
  frame: number,
  thread: number,
): boolean {
  return (words[frame + OWNER] & IS_DYING) !== 0 &&
    words[frame + NEXT] === handsOf(thread);
}

/** Whether a thread has allocated a page for a cache that has not got it. */
export function isOnItsWayTo(
  words: Words,
  frame: number,
  thread: number,
): boolean {
  return words[frame + OWNER] >>> ON_ITS_WAY_SHIFT === thread;
}

/** The tracking page of a page that its cache has given up, which is the caller's then; -1 if it has none. */
export function takeTrackingPage(words: Words, frame: number): number {
  const tracking = words[frame + TRACKING] - 1;
  words[frame + TRACKING] = 0;
  return tracking;
}

/** Which is the lowest bit that is set in a word that is not 0. */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function popcount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
