/**
 * A slab cache: objects of one size, packed into pages.
 *
 * A slab is one page. Which of its objects are allocated is a bitmap in the page's frame record, so objects need no
 * free-list word and a slab's occupancy is a popcount. Slabs hang on one list per occupancy, and a word of bits says which
 * lists are not empty, so the fullest partial slab is found by counting leading zeros. Filling the fullest first is what
 * lets the emptier ones run dry.
 *
 * Protection: the cache's record and the frame records of its slabs are touched only under the cache's lock, but for the
 * frame's owner word (and in debug mode that of its tracking page), which is written before the first object of the slab
 * is handed out and again only when the last is gone; that the slab is isolated stands elsewhere. So plain accesses
 * suffice: the lock orders them, and whoever has a ref of an object in use reads an owner word that nobody writes. The
 * cache's lock is taken under tree locks, and the page allocator's is taken under it.
 *
 * Type stability: an object's memory stays an object of this cache until a grace period after its slab became empty, so
 * a walker inside a read section that holds a stale ref still finds an object of that kind, checks it, and gives up. A new
 * slab's page is zeroed, so an object's words are 0 or what its last life left there, but for its link word.
 *
 * Whose hands: the link word of an object that is in no chain says which thread had it in its hands last: whoever allocated
 * it, has it in hand to free it, or was about to take it out of a structure ({@linkcode SlabCache.claim}, which stands before
 * the store that takes it out). Refs are below 2^27, so what a word with the sign bit holds is such a note. When a thread has
 * died, its owner finds the objects with its note ({@linkcode SlabCache.claimedBy}), and frees those that no structure holds.
 * The notes are plain words. That of an object which another thread gets or takes out meanwhile may change as it is read;
 * but then it either changes under the cache's lock, or the owner, who looks at the note again after it has found the object
 * to be out of the structure by an atomic load, sees it changed, because the store that took it out followed the note.
 *
 * Identity, checked by {@linkcode SlabCache.validate}: for every slab popcount(bitmap) = in use = its list's number;
 * Σ in use = objects.
 *
 * Analogous to Linux SLUB; differs: bitmaps instead of free lists, exact fullest-first, a stock of
 * objects a thread (see `stock.ts`) instead of per-CPU slabs.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { decodeName, encodeName } from "../sync/names.ts";
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import type { Arena } from "../memory/arena.ts";
import {
  FRAME_OWNER,
  type Mobility,
  OutOfMemoryError,
  PAGE_BYTES,
} from "../memory/page_allocator.ts";
import { ObjectTracker } from "./object_tracker.ts";
import { Stock } from "./stock.ts";

const GRANULE_BYTES = 64;
const GRANULE_WORDS = 16;
const PAGE_WORDS = PAGE_BYTES / 4;
const MAX_CAPACITY = PAGE_BYTES / GRANULE_BYTES;
/** Empty slabs that stay, so that an allocation at the edge does not cost a page each time. */
const EMPTY_KEPT = 4;

/** What one cache's record takes, in words. */
export const CACHE_WORDS = 128;
// The cache's record.
const LOCK = 0;
const OBJECT_BYTES = 1;
const LINK = 2;
const UNMOVABLE = 3;
const SLABS = 4;
const OBJECTS = 5;
const ISOLATED_HEAD = 6;
const ISOLATED = 7;
const NAME = 8;
const NAME_WORDS = 6;
const PARTIAL = 14; // two words: which of the lists 0 … 63 are not empty
const HEADS = 16; // a list a number of objects in use, 0 … capacity
const KEEPING = HEADS + MAX_CAPACITY + 1; // see `stock.ts`

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

/** In a link word: the object is in a thread's hands, or was so last. The thread's id stands in the low bits. */
const IN_HANDS = 0x8000_0000 | 0;
/** And so is all that hangs below it. */
const WITH_ALL_BELOW = 0x4000_0000;

if (OWNER !== FRAME_OWNER || KEEPING >= CACHE_WORDS) {
  throw new Error("The layout of slabs does not add up");
}

/** What became of an object that was to be moved. */
export type MoveOutcome =
  /** It lives elsewhere now; its old place is free after a grace period. */
  | "moved"
  /** Its owner has nothing to lock, so it can't be moved. */
  | "pinned"
  /** Somebody is working on it: try later. */
  | "busy"
  /** It is no longer in use. */
  | "gone";

/** What the owner of a cache's objects provides to make them movable. */
export interface Mover {
  /** Gets ready to move these objects, of which some may be gone meanwhile. Called inside a read section. */
  prepare(refs: readonly number[]): void;
  /** Moves one object out of its slab. Called with no lock held. */
  relocate(ref: number): MoveOutcome;
  /** Whether nothing can be locked to move the object. Stale as soon as it is read. */
  isPinned(ref: number): boolean;
  /** Gives back what was prepared and not used. */
  finish(): void;
}

/** How a cache is created. */
export interface SlabCacheOptions {
  /** Its name, up to 24 bytes. */
  name: string;
  /** Bytes of an object, a multiple of 64. */
  objectBytes: number;
  /** Which word of an object the queue of deferred frees may use. */
  link: number;
  /**
   * Whether its pages come from blocks that can be emptied.
   *
   * @default {"unmovable"}
   */
  mobility?: Mobility;
}

/** One slab, as seen at one moment. */
export interface Slab {
  /** Its page frame number. */
  readonly pfn: number;
  /** How many of its objects are in use. */
  readonly inUse: number;
}

/** A cache's numbers, as seen at one moment. */
export interface SlabCacheStats {
  /** The cache's name. */
  readonly name: string;
  /** Bytes of an object. */
  readonly objectBytes: number;
  /** Objects a slab has room for. */
  readonly capacity: number;
  /** Slabs in all. */
  readonly slabs: number;
  /** Slabs that take no new objects. */
  readonly isolated: number;
  /** Objects in use, those that wait to be freed included. */
  readonly objects: number;
  /** How many slabs have 0, 1, … capacity objects in use; isolated ones are left out. */
  readonly slabsByOccupancy: readonly number[];
}

/**
 * A cache of objects of one size.
 *
 * Thread contract: an object belongs to one thread; the cache is shared and guarded by one lock.
 *
 * - A failed allocation changes nothing.
 * - Freeing what is not allocated throws and changes nothing.
 * - An isolated slab takes no new objects.
 */
export class SlabCache {
  /** The cache's name. */
  readonly name: string;
  /** Bytes of an object. */
  readonly objectBytes: number;
  /** Objects a slab has room for. */
  readonly capacity: number;
  /** How objects are moved; without one they are not. */
  mover: Mover | undefined;
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #base: number;
  readonly #id: number;
  readonly #thread: number;
  /** What this thread writes into the link word of what it has in its hands. */
  readonly #hands: number;
  readonly #lockClass: number;
  readonly #granules: number;
  readonly #link: number;
  readonly #mobility: Mobility;
  readonly #tracker: ObjectTracker | undefined;
  /** What this thread keeps at hand; none in debug mode, whose quarantine delays reuse. */
  readonly #stock: Stock | undefined;

  private constructor(arena: Arena, base: number, id: number) {
    const words = this.#words = arena.words;
    this.#arena = arena;
    this.#base = base;
    this.#id = id;
    this.#thread = arena.thread;
    this.#hands = handsOf(arena.thread);
    this.#lockClass = arena.lockdep.lockClass("slab cache");
    this.name = SlabCache.nameAt(words, base);
    this.objectBytes = words[base + OBJECT_BYTES];
    this.capacity = Math.floor(PAGE_BYTES / this.objectBytes);
    this.#granules = this.objectBytes / GRANULE_BYTES;
    this.#link = words[base + LINK];
    this.#mobility = words[base + UNMOVABLE] === 0 ? "movable" : "unmovable";
    if (arena.debug) {
      this.#tracker = new ObjectTracker(arena, this.name, this.objectBytes / 4);
    } else {
      this.#stock = new Stock(words, {
        ...arena.stocks,
        first: arena.stocks.first + id,
        thread: arena.thread,
        link: this.#link,
        keeping: base + KEEPING,
        hands: this.#hands,
      });
    }
  }

  /** Whether a cache stands in this record. Under the table's lock. */
  static existsAt(words: Words, base: number): boolean {
    return words[base + OBJECT_BYTES] !== 0;
  }

  /** The name of the cache in this record. Under the table's lock. */
  static nameAt(words: Words, base: number): string {
    return decodeName(words, base + NAME, NAME_WORDS);
  }

  /** Creates a cache in an empty record. Under the table's lock. */
  static createAt(
    arena: Arena,
    base: number,
    id: number,
    options: SlabCacheOptions,
  ): SlabCache {
    const { name, objectBytes, link, mobility = "unmovable" } = options;
    const encoded = encodeName(
      name,
      NAME_WORDS,
      "Cannot create a slab cache",
    );
    if (
      !Number.isInteger(objectBytes) || objectBytes < GRANULE_BYTES ||
      objectBytes > PAGE_BYTES || objectBytes % GRANULE_BYTES !== 0
    ) {
      throw new RangeError(
        `Cannot create slab cache "${name}": object size ${objectBytes} is not a multiple of ${GRANULE_BYTES} up to ${PAGE_BYTES}`,
      );
    }
    if (!Number.isInteger(link) || link < 0 || link * 4 >= objectBytes) {
      throw new RangeError(
        `Cannot create slab cache "${name}": link word ${link} is outside the object`,
      );
    }
    const words = arena.words;
    words.fill(0, base, base + CACHE_WORDS);
    words.fill(-1, base + HEADS, base + HEADS + MAX_CAPACITY + 1);
    words[base + ISOLATED_HEAD] = -1;
    words[base + LINK] = link;
    words[base + UNMOVABLE] = mobility === "movable" ? 0 : 1;
    words.set(encoded, base + NAME);
    // Last: from here on there is a cache.
    words[base + OBJECT_BYTES] = objectBytes;
    return new SlabCache(arena, base, id);
  }

  /** Opens the cache in a record. Under the table's lock. */
  static openAt(arena: Arena, base: number, id: number): SlabCache {
    return new SlabCache(arena, base, id);
  }

  /**
   * Checks that the cache is what it would be created as.
   *
   * @throws {RangeError} If not.
   */
  assertCreatedAs(options: SlabCacheOptions): void {
    const { mobility = "unmovable" } = options;
    this.#assertIs("objectBytes", this.objectBytes, options.objectBytes);
    this.#assertIs("link", this.#link, options.link);
    this.#assertIs("mobility", this.#mobility, mobility);
  }

  #assertIs<T>(option: string, found: T, expected: T): void {
    if (found === expected) return;
    throw new RangeError(
      `Cannot open slab cache "${this.name}": its ${option} is ${found}, not ${expected}`,
    );
  }

  /**
   * Allocates an object, of those that this thread keeps at hand or else from the fullest slab that has room, and returns its
   * ref.
   *
   * @throws {OutOfMemoryError} If no slab has room and no page is free; nothing was changed.
   */
  allocate(): number {
    const ref = this.tryAllocate();
    return ref !== 0 ? ref : this.#exhausted();
  }

  /** As {@linkcode SlabCache.allocate}, but returns 0 where there is no room. */
  tryAllocate(): number {
    this.#arena.lockdep.assertMayAllocate("SlabCache.allocate");
    const kept = this.#stock === undefined ? 0 : this.#stock.take();
    if (kept !== 0) {
      this.#words[kept * GRANULE_WORDS + this.#link] = this.#hands;
      return kept;
    }
    this.#lock("SlabCache.allocate");
    try {
      const pfn = this.#slabWithRoom();
      return pfn >= 0 ? this.#take(pfn) : 0;
    } finally {
      this.#unlock();
    }
  }

  /**
   * Allocates up to `count` objects from the fullest slabs under one hold of the lock and adds their refs to `refs`: fewer
   * where there is no room.
   */
  allocateInto(refs: number[], count: number): void {
    this.#arena.lockdep.assertMayAllocate("SlabCache.allocateInto");
    this.#lock("SlabCache.allocateInto");
    try {
      for (let left = count; left > 0;) {
        const pfn = this.#slabWithRoom();
        if (pfn < 0) return;
        left -= this.#takeSome(pfn, refs, left);
      }
    } finally {
      this.#unlock();
    }
  }

  /** How many pages a slab takes: one, and in debug mode one more to keep track of its objects. */
  get pagesPerSlab(): number {
    return this.#tracker === undefined ? 1 : 2;
  }

  /**
   * Allocates pages of the cache's mobility for {@linkcode SlabCache.adopt} and adds their numbers to `pfns`: fewer where
   * there is no room. They are the caller's until then, and go back by `arena.pages.free`.
   */
  setPagesAside(pfns: number[], count: number): void {
    this.#arena.lockdep.assertMayAllocate("SlabCache.setPagesAside");
    for (let i = 0; i < count; i++) {
      const pfn = this.#tryPage(this.#mobility);
      if (pfn < 0) return;
      pfns.push(pfn);
    }
  }

  /**
   * Makes a slab of pages that were set aside, takes them off the end of `pfns`, and adds all of its objects to `refs`. Needs no
   * memory.
   */
  adopt(pfns: number[], refs: number[]): void {
    const page = pfns.pop()!;
    const tracking = this.#tracker === undefined ? -1 : pfns.pop()!;
    this.#lock("SlabCache.adopt");
    try {
      this.#makeSlab(page, tracking);
      for (let i = 0; i < this.capacity; i++) refs.push(this.#take(page));
    } finally {
      this.#unlock();
    }
  }

  /**
   * Frees an object at once: only what no other thread can see.
   *
   * @throws {Error} If the ref is no allocated object of this cache; nothing was changed.
   */
  free(ref: number): void {
    this.#lock("SlabCache.free");
    try {
      this.#free(ref, false);
    } finally {
      this.#unlock();
    }
  }

  /**
   * Frees an object after a grace period. Never waits; whoever defers calls `rcu.poll()` once its locks are released.
   *
   * @throws {Error} In debug mode, if it is no allocated object of this cache, or was deferred before.
   */
  defer(ref: number): void {
    if (this.#tracker !== undefined) this.#noteDeferred(ref, this.#tracker);
    this.#arena.rcu.defer(ref, this.linkIndex(ref));
  }

  /** As {@linkcode SlabCache.defer} for each of the objects, which costs little more than for one. */
  deferAll(refs: readonly number[]): void {
    if (refs.length === 0) return;
    const words = this.#words, link = this.#link;
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i];
      if (this.#tracker !== undefined) this.#noteDeferred(ref, this.#tracker);
      if (i > 0) words[ref * GRANULE_WORDS + link] = refs[i - 1];
    }
    this.#arena.rcu.deferChain(
      refs[refs.length - 1],
      refs[0] * GRANULE_WORDS + link,
      refs.length,
    );
  }

  /**
   * Notes that an object is in this thread's hands from now on: before it is taken out of the structure that it is in. So if
   * the thread dies before it has deferred it, it is found. See the top of this file.
   *
   * @param withAllBelow Whether all that hangs below it goes with it.
   */
  claim(ref: number, withAllBelow = false): void {
    this.#words[ref * GRANULE_WORDS + this.#link] = withAllBelow
      ? this.#hands | WITH_ALL_BELOW
      : this.#hands;
  }

  /** Whose hands an object is in, or was in last; 0 where it is in a chain. */
  claimant(ref: number): { thread: number; withAllBelow: boolean } {
    const note = this.#words[ref * GRANULE_WORDS + this.#link];
    return {
      thread: note < 0 ? note & ~(IN_HANDS | WITH_ALL_BELOW) : 0,
      withAllBelow: note < 0 && (note & WITH_ALL_BELOW) !== 0,
    };
  }

  /** The objects that a thread that is gone had in its hands last: those that are in no structure are nobody's. */
  claimedBy(gone: number): number[] {
    const refs: number[] = [];
    for (const pfn of this.#slabsOfAll()) {
      for (const ref of this.objectsOf(pfn)) {
        if (this.claimant(ref).thread === gone) refs.push(ref);
      }
    }
    return refs;
  }

  /** As {@linkcode SlabCache.deferAll} for what a thread that is gone had in its hands, which it may have deferred half. */
  deferLost(refs: readonly number[]): void {
    for (const ref of refs) {
      this.#tracker?.lost(this.#trackingPage(ref), this.#indexIn(ref));
    }
    this.deferAll(refs);
  }

  #noteDeferred(ref: number, tracker: ObjectTracker): void {
    const frame = this.#frameOfOwn(ref);
    tracker.deferred(
      ref,
      this.#words[frame + TRACKING] - 1,
      this.#indexIn(ref),
    );
  }

  /** The word of an object that the queue of deferred frees uses. */
  linkIndex(ref: number): number {
    return ref * GRANULE_WORDS + this.#link;
  }

  /**
   * Frees objects of this cache that were deferred.
   *
   * @param mistakes Gets the errors of objects that could not be freed (debug mode finds such); the others are freed.
   * @param mayKeep Whether this thread may keep some of them at hand.
   */
  reclaim(
    refs: readonly number[],
    mistakes: unknown[],
    mayKeep: boolean,
  ): void {
    let room = mayKeep && this.#stock !== undefined ? this.#stock.room : 0;
    const kept: number[] = [];
    this.#lock("SlabCache.reclaim");
    try {
      // The oldest first: so those that were deferred last, which are in the processor's cache, are taken first.
      for (let i = refs.length - 1; i >= 0; i--) {
        const ref = refs[i];
        if (room > 0 && this.#isWorthKeeping(this.#frameOf(ref))) {
          kept.push(ref);
          room--;
        } else {
          try {
            this.#free(ref, true);
          } catch (error) {
            mistakes.push(error);
          }
        }
      }
      this.#stock?.keep(kept);
    } finally {
      this.#unlock();
    }
  }

  /**
   * Takes a slab off the lists, so that it gets no new objects; nor does a thread keep one of it at hand when this returns. An
   * isolated slab that becomes empty is given back.
   *
   * @returns Whether it was a slab of this cache that was not isolated.
   */
  isolate(pfn: number): boolean {
    return this.isolateAll([pfn]).length > 0;
  }

  /**
   * As {@linkcode SlabCache.isolate} for each of the slabs; returns those that it was true for. What the threads keep at hand
   * goes back to the slabs once for all of them: it may be of any slab, and is not looked through.
   */
  isolateAll(pfns: readonly number[]): number[] {
    const isolated = pfns.filter((pfn) => this.#isolate(pfn));
    if (isolated.length === 0) return isolated;
    this.#lock("SlabCache.isolateAll");
    try {
      // From here on none can come to be at hand there: `reclaim` keeps nothing of an isolated slab.
      this.#returnStocks();
    } finally {
      this.#unlock();
    }
    return isolated;
  }

  #isolate(pfn: number): boolean {
    if (!this.#isPage(pfn)) return false;
    this.#lock("SlabCache.isolate");
    try {
      const frame = this.#arena.frameOf(pfn);
      const inUse = this.#words[frame + IN_USE];
      if (this.#words[frame + OWNER] !== this.#id || inUse >= IS_ISOLATED) {
        return false;
      }
      this.#unlink(frame, HEADS + inUse);
      if (inUse === 0) this.#release(pfn, frame);
      else {
        this.#words[frame + IN_USE] |= this.#thread << ISOLATED_SHIFT;
        this.#words[this.#base + ISOLATED]++;
        this.#push(pfn, frame, ISOLATED_HEAD);
      }
      return true;
    } finally {
      this.#unlock();
    }
  }

  /** Puts an isolated slab back. Returns whether it was isolated. */
  unisolate(pfn: number): boolean {
    return this.#unisolate(pfn, 0);
  }

  /** As {@linkcode SlabCache.unisolate}, if that thread has isolated it; 0 = any. */
  #unisolate(pfn: number, thread: number): boolean {
    if (!this.#isPage(pfn)) return false;
    this.#lock("SlabCache.unisolate");
    try {
      const frame = this.#arena.frameOf(pfn);
      const word = this.#words[frame + IN_USE];
      const inUse = word % IS_ISOLATED, by = word >>> ISOLATED_SHIFT;
      if (
        this.#words[frame + OWNER] !== this.#id || by === 0 ||
        (thread !== 0 && by !== thread)
      ) return false;
      this.#unlink(frame, ISOLATED_HEAD);
      this.#words[frame + IN_USE] = inUse;
      this.#words[this.#base + ISOLATED]--;
      this.#push(pfn, frame, HEADS + inUse);
      return true;
    } finally {
      this.#unlock();
    }
  }

  /**
   * Gives all empty slabs back; first what the threads keep at hand, and this thread's quarantine, goes back to the slabs.
   * Returns how many slabs.
   */
  shrink(): number {
    this.#lock("SlabCache.shrink");
    try {
      const before = this.#words[this.#base + SLABS];
      this.#returnStocks();
      const mistakes = this.#emptyQuarantine();
      for (let pfn = this.#head(HEADS); pfn >= 0; pfn = this.#head(HEADS)) {
        const frame = this.#arena.frameOf(pfn);
        this.#unlink(frame, HEADS);
        this.#release(pfn, frame);
      }
      if (mistakes.length > 0) throw mistakes[0];
      return before - this.#words[this.#base + SLABS];
    } finally {
      this.#unlock();
    }
  }

  /**
   * Gives back what this thread keeps from being reused by others: what is at hand, and its quarantine. Says whether there was
   * anything.
   *
   * @throws {Error} In debug mode, if something in quarantine was written to; all was given back.
   */
  giveBack(): boolean {
    this.#lock("SlabCache.giveBack");
    try {
      const before = this.#words[this.#base + OBJECTS];
      for (const ref of this.#stock?.takeOwn() ?? []) this.#finishFree(ref);
      const mistakes = this.#emptyQuarantine();
      if (mistakes.length > 0) throw mistakes[0];
      return this.#words[this.#base + OBJECTS] < before;
    } finally {
      this.#unlock();
    }
  }

  /** Frees all that this thread has in quarantine; returns the errors of what was written to there. */
  #emptyQuarantine(): unknown[] {
    const mistakes: unknown[] = [];
    for (const ref of this.#tracker?.drain() ?? []) {
      try {
        this.#leaveQuarantine(ref);
      } catch (error) {
        mistakes.push(error);
      }
    }
    return mistakes;
  }

  /** The slabs that are not isolated, and how full each is. */
  slabs(): Slab[] {
    this.#lock("SlabCache.slabs");
    try {
      const slabs: Slab[] = [];
      for (let inUse = 0; inUse <= this.capacity; inUse++) {
        for (const pfn of this.#list(HEADS + inUse)) slabs.push({ pfn, inUse });
      }
      return slabs;
    } finally {
      this.#unlock();
    }
  }

  /** The emptiest slabs that are not isolated, up to `count` of them, the emptiest first. Costs what it returns. */
  emptiestSlabs(count: number): number[] {
    this.#lock("SlabCache.emptiestSlabs");
    try {
      const slabs: number[] = [];
      for (let inUse = 0; inUse < this.capacity; inUse++) {
        for (const pfn of this.#list(HEADS + inUse)) {
          if (slabs.length === count) return slabs;
          slabs.push(pfn);
        }
      }
      return slabs;
    } finally {
      this.#unlock();
    }
  }

  /** The slabs that are isolated. */
  isolatedSlabs(): number[] {
    this.#lock("SlabCache.isolatedSlabs");
    try {
      return [...this.#list(ISOLATED_HEAD)];
    } finally {
      this.#unlock();
    }
  }

  /** The refs of a slab's objects in use; none if the page is no slab of this cache. Stale as soon as it is read. */
  objectsOf(pfn: number): number[] {
    if (!this.#isPage(pfn)) return [];
    this.#lock("SlabCache.objectsOf");
    try {
      const frame = this.#arena.frameOf(pfn);
      const owner = this.#words[frame + OWNER];
      const refs: number[] = [];
      if ((owner & ID_MASK) !== this.#id || (owner & IS_DYING) !== 0) {
        return refs;
      }
      const first = this.#arena.pageRef(pfn);
      for (let i = 0; i < this.capacity; i++) {
        if ((this.#words[frame + BITMAP + (i >> 5)] >>> (i & 31) & 1) !== 0) {
          refs.push(first + i * this.#granules);
        }
      }
      return refs;
    } finally {
      this.#unlock();
    }
  }

  /** Whether the ref is an allocated object of this cache. Stale as soon as it is read. */
  isAllocated(ref: number): boolean {
    const pfn = this.#arena.pfnOf(ref);
    return pfn >= 0 && pfn < this.#arena.pages.count &&
      this.objectsOf(pfn).includes(ref);
  }

  /**
   * How many slabs there are and how many objects are in use in them, those included that wait to be freed or are kept at
   * hand. Cheap: two words.
   */
  usage(): { slabs: number; objects: number } {
    this.#lock("SlabCache.usage");
    const slabs = this.#words[this.#base + SLABS];
    const objects = this.#words[this.#base + OBJECTS];
    this.#unlock();
    return { slabs, objects };
  }

  /** The cache's numbers. What the threads keep at hand goes back to the slabs first. */
  stats(): SlabCacheStats {
    this.#lock("SlabCache.stats");
    try {
      this.#returnStocks();
      const slabsByOccupancy = [];
      for (let inUse = 0; inUse <= this.capacity; inUse++) {
        let slabs = 0;
        for (const _ of this.#list(HEADS + inUse)) slabs++;
        slabsByOccupancy.push(slabs);
      }
      return {
        name: this.name,
        objectBytes: this.objectBytes,
        capacity: this.capacity,
        slabs: this.#words[this.#base + SLABS],
        isolated: this.#words[this.#base + ISOLATED],
        objects: this.#words[this.#base + OBJECTS],
        slabsByOccupancy,
      };
    } finally {
      this.#unlock();
    }
  }

  /**
   * Recovers from a thread that is gone: if it held the lock, the lists and counts are made anew from the bitmaps, and the
   * lock is released; slabs that it isolated take objects again; what it kept at hand is free.
   */
  recover(gone: number): void {
    const words = this.#words, lock = this.#base + LOCK;
    if (spinTakeOver(words, lock, gone, this.#thread)) {
      this.#rebuild();
      this.#stock?.recover(gone);
      spinUnlock(words, lock, this.#thread);
    }
    for (const pfn of this.isolatedSlabs()) this.#unisolate(pfn, gone);
    const quarantined = this.#quarantinedBy(gone);
    this.#lock("SlabCache.recover");
    try {
      const kept = this.#stock?.takeFrom(gone) ?? quarantined;
      for (const ref of kept) this.#finishFree(ref);
    } finally {
      this.#unlock();
    }
  }

  #rebuild(): void {
    const words = this.#words, base = this.#base;
    words.fill(-1, base + HEADS, base + HEADS + MAX_CAPACITY + 1);
    words.fill(0, base + PARTIAL, base + PARTIAL + 2);
    words[base + ISOLATED_HEAD] = -1;
    words[base + SLABS] = words[base + OBJECTS] = words[base + ISOLATED] = 0;
    for (const pfn of this.#arena.pages.usedPages()) {
      const frame = this.#arena.frameOf(pfn);
      // A dying page is on no list, and what was counted of it is counted no more; one on its way is not yet.
      if (words[frame + OWNER] !== this.#id) continue;
      const inUse = popcount(words[frame + BITMAP]) +
        popcount(words[frame + BITMAP + 1]);
      const by = words[frame + IN_USE] >>> ISOLATED_SHIFT;
      words[frame + IN_USE] = inUse | by << ISOLATED_SHIFT;
      words[base + SLABS]++;
      words[base + OBJECTS] += inUse;
      if (by === 0) this.#push(pfn, frame, HEADS + inUse);
      else if (inUse === 0) {
        words[frame + IN_USE] = 0;
        this.#release(pfn, frame);
      } else {
        words[base + ISOLATED]++;
        this.#push(pfn, frame, ISOLATED_HEAD);
      }
    }
  }

  /** Debug mode: what a thread that is gone kept in quarantine. */
  #quarantinedBy(gone: number): number[] {
    const tracker = this.#tracker;
    if (tracker === undefined) return [];
    return this.#slabsOfAll().flatMap((pfn) => this.objectsOf(pfn))
      .filter((ref) =>
        tracker.isFreedBy(gone, this.#trackingPage(ref), this.#indexIn(ref))
      );
  }

  /** All slabs, isolated or not. */
  #slabsOfAll(): number[] {
    return this.slabs().map(({ pfn }) => pfn).concat(this.isolatedSlabs());
  }

  /**
   * Checks the identity that stands at the top of this file.
   *
   * @throws {Error} Naming the slab and the rule that is broken.
   */
  validate(): void {
    this.#lock("SlabCache.validate");
    try {
      let objects = 0, slabs = 0, isolated = 0;
      for (let inUse = 0; inUse <= this.capacity; inUse++) {
        for (const pfn of this.#list(HEADS + inUse)) {
          objects += this.#validateSlab(pfn, inUse);
          slabs++;
        }
        if (inUse < this.capacity) this.#validateBit(inUse);
      }
      for (const pfn of this.#list(ISOLATED_HEAD)) {
        objects += this.#validateSlab(pfn, "isolated");
        isolated++;
      }
      const counted = this.#words[this.#base + OBJECTS];
      if (objects !== counted) {
        this.#broken(
          `${objects} objects are in its slabs, ${counted} are counted`,
        );
      }
      const all = this.#words[this.#base + SLABS];
      if (
        slabs + isolated !== all ||
        isolated !== this.#words[this.#base + ISOLATED]
      ) {
        this.#broken(
          `${slabs} + ${isolated} slabs are listed, ${all} are counted`,
        );
      }
    } finally {
      this.#unlock();
    }
  }

  /** Checks a slab that was found on a list: that of its number of objects, or that of the isolated. */
  #validateSlab(pfn: number, listed: number | "isolated"): number {
    const frame = this.#arena.frameOf(pfn);
    const word = this.#words[frame + IN_USE];
    const isIsolated = word >= IS_ISOLATED;
    const inUse = word % IS_ISOLATED;
    const bits = popcount(this.#words[frame + BITMAP]) +
      popcount(this.#words[frame + BITMAP + 1]);
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
    const bit =
      (this.#words[this.#base + PARTIAL + (inUse >> 5)] >>> (inUse & 31)) & 1;
    if ((bit !== 0) !== (this.#head(HEADS + inUse) >= 0)) {
      this.#broken(`the bit of the list of ${inUse} is ${bit}`);
    }
  }

  #broken(rule: string): never {
    throw new Error(`Slab cache "${this.name}": ${rule}`);
  }

  #exhausted(): never {
    throw new OutOfMemoryError(
      `Cannot allocate an object of "${this.name}": no slab has room and ${this.#arena.pages.freePages} pages are free`,
    );
  }

  /** The fullest slab with room, or a new one; -1 if there is no page for it and no thread keeps anything at hand. */
  #slabWithRoom(): number {
    const pfn = this.#fullestPartial();
    return pfn < 0 && this.#returnStocks() ? this.#fullestPartial() : pfn;
  }

  /** Frees what all threads keep at hand; says whether there was anything. */
  #returnStocks(): boolean {
    const refs = this.#stock?.takeAll() ?? [];
    for (const ref of refs) this.#finishFree(ref);
    return refs.length > 0;
  }

  /** Whether an object of the slab should be used again soon: not if the slab is to run dry. */
  #isWorthKeeping(frame: number): boolean {
    const inUse = this.#words[frame + IN_USE];
    return inUse < IS_ISOLATED && inUse * 2 >= this.capacity;
  }

  /** The fullest slab with room, or a new one; -1 if there is no page for it. */
  #fullestPartial(): number {
    const high = this.#words[this.#base + PARTIAL + 1];
    if (high !== 0) return this.#head(HEADS + 63 - Math.clz32(high));
    const low = this.#words[this.#base + PARTIAL];
    if (low !== 0) return this.#head(HEADS + 31 - Math.clz32(low));
    return this.#newSlab();
  }

  #newSlab(): number {
    const pfn = this.#tryPage(this.#mobility);
    if (pfn < 0) return -1;
    let tracking = -1;
    if (this.#tracker !== undefined) {
      tracking = this.#tryPage("unmovable");
      if (tracking < 0) {
        this.#arena.pages.free(pfn);
        return -1;
      }
    }
    this.#makeSlab(pfn, tracking);
    return pfn;
  }

  /** A page that says for whom it is on its way here; -1 if there is none. */
  #tryPage(mobility: Mobility): number {
    const owner = this.#id | this.#thread << ON_ITS_WAY_SHIFT;
    return this.#arena.pages.tryAllocate(0, mobility, owner);
  }

  /** Makes an empty slab of a page, and of one for the tracker if there is one. */
  #makeSlab(pfn: number, tracking: number): void {
    const frame = this.#arena.frameOf(pfn);
    if (tracking >= 0) {
      this.#tracker?.open(tracking);
      this.#words[this.#arena.frameOf(tracking) + OWNER] = 0;
      this.#words[frame + TRACKING] = tracking + 1;
    }
    const start = this.#arena.pageRef(pfn) * GRANULE_WORDS;
    this.#words.fill(0, start, start + PAGE_WORDS);
    this.#words[frame + OWNER] = this.#id;
    this.#words[this.#base + SLABS]++;
    this.#push(pfn, frame, HEADS);
  }

  /** Takes the first free object of a slab that has one. */
  #take(pfn: number): number {
    const frame = this.#arena.frameOf(pfn);
    const inUse = this.#words[frame + IN_USE];
    const ref = this.#takeFirst(pfn, frame);
    this.#unlink(frame, HEADS + inUse);
    this.#push(pfn, frame, HEADS + inUse + 1);
    if (this.#tracker !== undefined) {
      this.#tracker.allocated(ref, this.#trackingPage(ref), this.#indexIn(ref));
      this.#words[this.linkIndex(ref)] = this.#hands;
    }
    return ref;
  }

  /**
   * Takes up to `count` free objects of a slab that has one, and puts the slab on another list once for all of them;
   * returns how many.
   */
  #takeSome(pfn: number, refs: number[], count: number): number {
    if (this.#tracker !== undefined) {
      // One at a time: it may turn out to be damaged, and then nobody gets it.
      refs.push(this.#take(pfn));
      return 1;
    }
    const frame = this.#arena.frameOf(pfn);
    const inUse = this.#words[frame + IN_USE];
    const taken = Math.min(count, this.capacity - inUse);
    for (let i = 0; i < taken; i++) refs.push(this.#takeFirst(pfn, frame));
    this.#unlink(frame, HEADS + inUse);
    this.#push(pfn, frame, HEADS + inUse + taken);
    return taken;
  }

  /** Marks the first free object of a slab that has one as taken; the slab's list is for the caller to change. */
  #takeFirst(pfn: number, frame: number): number {
    const words = this.#words;
    let at = BITMAP;
    // A slab on a partial list has a free bit below its capacity, so the lowest one is in range.
    let free = ~words[frame + BITMAP];
    if (free === 0) free = ~words[frame + ++at];
    const bit = 31 - Math.clz32(free & -free);
    words[frame + at] |= 1 << bit;
    words[frame + IN_USE]++;
    words[this.#base + OBJECTS]++;
    const index = (at - BITMAP) * 32 + bit;
    const ref = this.#arena.pageRef(pfn) + index * this.#granules;
    if (this.#tracker === undefined) words[this.linkIndex(ref)] = this.#hands;
    return ref;
  }

  #free(ref: number, wasDeferred: boolean): void {
    const frame = this.#checked(ref);
    if (this.#tracker === undefined) return this.#finishFree(ref);
    const page = this.#words[frame + TRACKING] - 1;
    const leaving = this.#tracker.freed(
      ref,
      page,
      this.#indexIn(ref),
      wasDeferred,
    );
    if (leaving !== 0) this.#leaveQuarantine(leaving);
  }

  #leaveQuarantine(ref: number): void {
    // First, so that an object that was written to is reported once and does not stay for ever.
    this.#finishFree(ref);
    this.#tracker?.checkPoison(
      ref,
      this.#trackingPage(ref),
      this.#indexIn(ref),
    );
  }

  /** The object's memory is free from here on. */
  #finishFree(ref: number): void {
    const words = this.#words;
    const pfn = this.#arena.pfnOf(ref);
    const frame = this.#arena.frameOf(pfn);
    const index = this.#indexIn(ref);
    words[frame + BITMAP + (index >> 5)] &= ~(1 << (index & 31));
    const inUse = --words[frame + IN_USE];
    words[this.#base + OBJECTS]--;
    if (inUse >= IS_ISOLATED) {
      if (inUse % IS_ISOLATED > 0) return;
      this.#unlink(frame, ISOLATED_HEAD);
      words[frame + IN_USE] = 0;
      words[this.#base + ISOLATED]--;
      this.#release(pfn, frame);
      return;
    }
    this.#unlink(frame, HEADS + inUse + 1);
    if (inUse === 0 && this.#emptyKept()) this.#release(pfn, frame);
    else this.#push(pfn, frame, HEADS + inUse);
  }

  /** Whether as many empty slabs as are worth keeping are there already. */
  #emptyKept(): boolean {
    let pfn = this.#head(HEADS);
    for (let i = 0; i < EMPTY_KEPT; i++) {
      if (pfn < 0) return false;
      pfn = this.#words[this.#arena.frameOf(pfn) + NEXT];
    }
    return true;
  }

  /** Gives an empty slab that is on no list back, after a grace period: stale refs into it may still be followed. */
  #release(pfn: number, frame: number): void {
    this.#words[frame + OWNER] |= IS_DYING;
    this.#words[this.#base + SLABS]--;
    this.#arena.rcu.defer(this.#arena.pageRef(pfn), pageLink(frame));
  }

  /** The frame of an allocated object of this cache; throws where it is none. Under the lock. */
  #checked(ref: number): number {
    const frame = this.#frameOfOwn(ref);
    const index = this.#indexIn(ref);
    if (
      (this.#words[frame + BITMAP + (index >> 5)] >>> (index & 31) & 1) === 0
    ) {
      const tracking = this.#words[frame + TRACKING] - 1;
      this.#badFree(
        ref,
        "it is free already",
        this.#tracker?.history(tracking, index),
      );
    }
    return frame;
  }

  /** The frame of an object of this cache, in use or not; throws where it is none. */
  #frameOfOwn(ref: number): number {
    const pfn = this.#arena.pfnOf(ref);
    if (pfn < 0 || pfn >= this.#arena.pages.count) {
      this.#badFree(ref, "it is in no page");
    }
    const frame = this.#arena.frameOf(pfn);
    const offset = ref - this.#arena.pageRef(pfn);
    if (
      (this.#words[frame + OWNER] & ID_MASK) !== this.#id ||
      offset % this.#granules !== 0
    ) {
      this.#badFree(ref, "it is no object of this cache");
    }
    return frame;
  }

  #badFree(ref: number, why: string, history = ""): never {
    throw new Error(
      `Cannot free object ${ref} of "${this.name}": ${why}${history}`,
    );
  }

  #isPage(pfn: number): boolean {
    return Number.isInteger(pfn) && pfn >= 0 && pfn < this.#arena.pages.count;
  }

  #indexIn(ref: number): number {
    return ((ref & 63) / this.#granules) | 0;
  }

  #trackingPage(ref: number): number {
    return this.#words[this.#frameOf(ref) + TRACKING] - 1;
  }

  #frameOf(ref: number): number {
    return this.#arena.frameOf(this.#arena.pfnOf(ref));
  }

  #head(list: number): number {
    return this.#words[this.#base + list];
  }

  *#list(list: number): Generator<number> {
    for (let pfn = this.#head(list); pfn >= 0;) {
      yield pfn;
      pfn = this.#words[this.#arena.frameOf(pfn) + NEXT];
    }
  }

  /** Puts a slab at the head of a list. */
  #push(pfn: number, frame: number, list: number): void {
    const words = this.#words;
    const next = words[this.#base + list];
    words[frame + NEXT] = next;
    words[frame + PREV] = -1;
    if (next >= 0) words[this.#arena.frameOf(next) + PREV] = pfn;
    words[this.#base + list] = pfn;
    const inUse = list - HEADS;
    if (inUse >= 0 && inUse < this.capacity) {
      words[this.#base + PARTIAL + (inUse >> 5)] |= 1 << (inUse & 31);
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
    words[this.#base + list] = next;
    const inUse = list - HEADS;
    if (next < 0 && inUse >= 0 && inUse < this.capacity) {
      words[this.#base + PARTIAL + (inUse >> 5)] &= ~(1 << (inUse & 31));
    }
  }

  #lock(site: string): void {
    this.#arena.lockdep.acquire(this.#lockClass, this.#base + LOCK, site);
    spinLock(this.#words, this.#base + LOCK, this.#thread);
  }

  #unlock(): void {
    spinUnlock(this.#words, this.#base + LOCK, this.#thread);
    this.#arena.lockdep.release(this.#base + LOCK);
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

/** What a link word says of an object that a thread has in its hands. */
export function handsOf(thread: number): number {
  return IN_HANDS | thread;
}

/** The tracking page of a page that its cache has given up, which is the caller's then; -1 if it has none. */
export function takeTrackingPage(words: Words, frame: number): number {
  const tracking = words[frame + TRACKING] - 1;
  words[frame + TRACKING] = 0;
  return tracking;
}

function popcount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
