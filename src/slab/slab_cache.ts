/**
 * A slab cache: objects of one size, packed into pages.
 *
 * Where things are: the slabs of a cache and the lists that they hang on are the affair of {@linkcode SlabLists}
 * (`slab_lists.ts`, which also says when an object's memory may become something else), what a thread keeps at hand that of
 * {@linkcode Stock} (`stock.ts`), and what debug mode knows of each object that of {@linkcode ObjectTracker}
 * (`object_tracker.ts`). This file holds the cache's lock where they need it, and says what an allocation and a free are.
 *
 * Protection: all that changes in the cache's record, its lists and the stocks' note, is touched only under the cache's lock,
 * which is taken under tree locks; the page allocator's is taken under it. The heads of stocks and the link words of objects
 * are touched without it: as `stock.ts` says, by whoever has the object in its hands (`hands.ts`), and by RCU. So it is with
 * what debug mode notes of a deferred free. Compiled loops of other layers take objects from the stock and defer them without a
 * call here, with the same notes.
 *
 * Analogous to Linux SLUB; differs: bitmaps instead of free lists, exact fullest-first, a stock of objects a thread instead of
 * per-CPU slabs.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import type { Arena } from "../memory/arena.ts";
import { type Mobility, OutOfMemoryError } from "../memory/page_allocator.ts";
import {
  cacheName,
  createCache,
  isCache,
  readCache,
  type SlabCacheOptions,
} from "./cache_record.ts";
import { handsOf, handsOfAllBelow, readHands } from "./hands.ts";
import type { Mover } from "./mover.ts";
import { ObjectTracker } from "./object_tracker.ts";
import { SlabLists } from "./slab_lists.ts";
import { Stock } from "./stock.ts";

const GRANULE_WORDS = 16;
/** Slabs that are isolated under one hold of the lock. */
const ISOLATED_AT_ONCE = 64;
/** How many objects a thread that has too few at hand gets: a slab of nodes. */
const STOCK_UP = 16;

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
  readonly #thread: number;
  /** What this thread writes into the link word of what it has in its hands. */
  readonly #hands: number;
  /** And of what it has there with all that hangs below. */
  readonly #handsOfAllBelow: number;
  /** The index of the cache's lock. */
  readonly #lockIndex: number;
  readonly #lockClass: number;
  readonly #link: number;
  readonly #mobility: Mobility;
  /** The slabs; its calls are protected by the cache's lock, but for those that need none. */
  readonly #lists: SlabLists;
  readonly #tracker: ObjectTracker | undefined;
  /** What this thread keeps at hand; none in debug mode, whose quarantine delays reuse. */
  readonly #stock: Stock | undefined;

  private constructor(arena: Arena, base: number, id: number) {
    const words = this.#words = arena.words;
    const record = readCache(words, base);
    const { name, objectBytes, link, counts, lists } = record;
    this.#arena = arena;
    this.#thread = arena.thread;
    this.#hands = handsOf(arena.thread);
    this.#handsOfAllBelow = handsOfAllBelow(arena.thread);
    this.#lockIndex = record.lock;
    this.#lockClass = arena.lockdep.lockClass("slab cache");
    this.name = name;
    this.objectBytes = objectBytes;
    this.#link = link;
    this.#mobility = record.mobility;
    this.#lists = new SlabLists(arena, {
      name,
      id,
      objectBytes,
      counts,
      lists,
    });
    this.capacity = this.#lists.capacity;
    if (arena.debug) {
      this.#tracker = new ObjectTracker(arena, record, this.#lists);
    } else {
      this.#stock = new Stock(words, {
        ...arena.stocks,
        first: arena.stocks.first + id,
        thread: arena.thread,
        link,
        keeping: record.keeping,
        hands: this.#hands,
      });
    }
  }

  /** Whether a cache stands in this record. Under the table's lock. */
  static existsAt(words: Words, base: number): boolean {
    return isCache(words, base);
  }

  /** The name of the cache in this record. Under the table's lock. */
  static nameAt(words: Words, base: number): string {
    return cacheName(words, base);
  }

  /** Creates a cache in an empty record. Under the table's lock. */
  static createAt(
    arena: Arena,
    base: number,
    id: number,
    options: SlabCacheOptions,
  ): SlabCache {
    createCache(arena.words, base, options);
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

  /** The head of what this thread keeps at hand (`stock.ts`), for compiled loops, which run in no debug arena. */
  get stockIndex(): number {
    return this.#stock!.headIndex;
  }

  /**
   * Has this thread keep some more objects at hand, of the fullest slabs or a new one; says whether there were any. For compiled
   * loops: so they need the lock once for many objects.
   */
  stockUp(): boolean {
    this.#arena.lockdep.assertMayAllocate("SlabCache.stockUp");
    const refs: number[] = [];
    this.#lock("SlabCache.stockUp");
    try {
      while (refs.length < STOCK_UP) {
        const pfn = this.#fullestOrNew();
        if (pfn < 0) break;
        this.#takeSome(pfn, refs, STOCK_UP - refs.length);
      }
      this.#stock!.keep(refs);
    } finally {
      this.#unlock();
    }
    return refs.length > 0;
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
      const pfn = this.#lists.tryPage(this.#mobility);
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
   * Adds empty slabs that lie outside of the pages `from` … `to − 1`: fewer where there is no room. As long as they are empty, they
   * may be given back like any other.
   */
  addSlabsOutside(from: number, to: number, count: number): void {
    const site = "SlabCache.addSlabsOutside";
    this.#arena.lockdep.assertMayAllocate(site);
    const tryPage = (mobility: Mobility) =>
      this.#lists.tryPageOutside(from, to, mobility);
    for (let left = count; left > 0; left--) {
      // A hold of its own for each: the free blocks of the window may be many.
      if (this.#locked(site, () => this.#newSlabOf(tryPage)) < 0) return;
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
   * the thread dies before it has deferred it, it is found. See `hands.ts`.
   *
   * @param withAllBelow Whether all that hangs below it goes with it.
   */
  claim(ref: number, withAllBelow = false): void {
    this.#words[ref * GRANULE_WORDS + this.#link] = withAllBelow
      ? this.#handsOfAllBelow
      : this.#hands;
  }

  /** Whose hands an object is in, or was in last; 0 where it is in a chain. */
  claimant(ref: number): { thread: number; withAllBelow: boolean } {
    return readHands(this.#words[ref * GRANULE_WORDS + this.#link]);
  }

  /** The objects that a thread that is gone had in its hands last: those that are in no structure are nobody's. */
  claimedBy(gone: number): number[] {
    return this.objects().filter((ref) => this.claimant(ref).thread === gone);
  }

  /** As {@linkcode SlabCache.deferAll} for what a thread that is gone had in its hands, which it may have deferred half. */
  deferLost(refs: readonly number[]): void {
    for (const ref of refs) this.#tracker?.lost(ref);
    this.deferAll(refs);
  }

  #noteDeferred(ref: number, tracker: ObjectTracker): void {
    this.#assertObject(ref);
    tracker.deferred(ref);
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
    const kept: number[] = [], strays: number[] = [];
    this.#lock("SlabCache.reclaim");
    try {
      // From the end on, the oldest first: so those that were deferred last, which are in the processor's cache, are taken first.
      for (let at = refs.length - 1; at >= 0;) {
        if (this.#tracker !== undefined) strays.push(refs[at--]);
        else if (room > 0 && this.#lists.isWorthKeeping(refs[at])) {
          kept.push(refs[at--]);
          room--;
        } else at = this.#lists.freeRun(refs, at, strays);
      }
      for (const ref of strays) this.#freeDeferred(ref, mistakes);
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
    const isolated: number[] = [];
    for (let at = 0; at < pfns.length; at += ISOLATED_AT_ONCE) {
      this.#isolate(pfns, at, isolated);
    }
    if (isolated.length === 0) return isolated;
    // From here on none can come to be at hand there: `reclaim` keeps nothing of an isolated slab.
    this.#locked("SlabCache.isolateAll", () => this.#returnStocks());
    return isolated;
  }

  /** Isolates the next slabs from one on, and adds those that it did to `isolated`. */
  #isolate(pfns: readonly number[], from: number, isolated: number[]): void {
    const end = Math.min(pfns.length, from + ISOLATED_AT_ONCE);
    this.#lock("SlabCache.isolateAll");
    try {
      for (let i = from; i < end; i++) {
        const pfn = pfns[i];
        if (this.#isPage(pfn) && this.#lists.isolate(pfn)) isolated.push(pfn);
      }
    } finally {
      this.#unlock();
    }
  }

  /**
   * Puts a slab back that this thread has isolated. Returns whether it was one: what was isolated and became empty may be another's
   * slab by now, in the same place.
   */
  unisolate(pfn: number): boolean {
    return this.#unisolate(pfn, this.#thread);
  }

  /** As {@linkcode SlabCache.unisolate}, if that thread has isolated it. */
  #unisolate(pfn: number, thread: number): boolean {
    return this.#isPage(pfn) &&
      this.#locked(
        "SlabCache.unisolate",
        () => this.#lists.unisolate(pfn, thread),
      );
  }

  /**
   * Gives all empty slabs back; first what the threads keep at hand, and this thread's quarantine, goes back to the slabs.
   * Returns how many slabs.
   */
  shrink(): number {
    return this.#locked("SlabCache.shrink", () => {
      const before = this.#lists.slabCount;
      this.#returnStocks();
      const mistakes = this.#emptyQuarantine();
      this.#lists.releaseEmpty();
      if (mistakes.length > 0) throw mistakes[0];
      return before - this.#lists.slabCount;
    });
  }

  /**
   * Gives back what this thread keeps from being reused by others: what is at hand, and its quarantine. Says whether there was
   * anything.
   *
   * @throws {Error} In debug mode, if something in quarantine was written to; all was given back.
   */
  giveBack(): boolean {
    return this.#locked("SlabCache.giveBack", () => {
      const before = this.#lists.objectCount;
      for (const ref of this.#stock?.takeOwn() ?? []) this.#lists.free(ref);
      const mistakes = this.#emptyQuarantine();
      if (mistakes.length > 0) throw mistakes[0];
      return this.#lists.objectCount < before;
    });
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
    return this.#locked("SlabCache.slabs", () => {
      const slabs: Slab[] = [];
      for (let inUse = 0; inUse <= this.capacity; inUse++) {
        for (const pfn of this.#lists.withInUse(inUse)) {
          slabs.push({ pfn, inUse });
        }
      }
      return slabs;
    });
  }

  /** How many slabs that are not isolated have 0, 1, … objects in use. Costs a walk over them. */
  slabsByOccupancy(): number[] {
    return this.#locked(
      "SlabCache.slabsByOccupancy",
      () => this.#slabsByOccupancy(),
    );
  }

  #slabsByOccupancy(): number[] {
    const counts: number[] = [];
    for (let inUse = 0; inUse <= this.capacity; inUse++) {
      counts.push(this.#lists.withInUse(inUse).length);
    }
    return counts;
  }

  /** The emptiest slabs that are not isolated, up to `count` of them, the emptiest first. Costs what it returns. */
  emptiestSlabs(count: number): number[] {
    return this.#locked("SlabCache.emptiestSlabs", () => {
      let slabs: number[] = [];
      for (let inUse = 0; inUse < this.capacity; inUse++) {
        const wanted = count - slabs.length;
        slabs = slabs.concat(this.#lists.withInUse(inUse, wanted));
      }
      return slabs;
    });
  }

  /** The slabs that are isolated. */
  isolatedSlabs(): number[] {
    return this.#locked(
      "SlabCache.isolatedSlabs",
      () => this.#lists.isolated(),
    );
  }

  /** The refs of a slab's objects in use; none if the page is no slab of this cache. Stale as soon as it is read. */
  objectsOf(pfn: number): number[] {
    const refs: number[] = [];
    if (this.#isPage(pfn)) this.objectsInto([pfn], refs);
    return refs;
  }

  /** As {@linkcode SlabCache.objectsOf} for some pages: adds the refs to `refs`; returns how many there are up to each one's last. */
  objectsInto(pfns: readonly number[], refs: number[]): number[] {
    const ends: number[] = [];
    this.#lock("SlabCache.objectsInto");
    try {
      for (let i = 0; i < pfns.length; i++) {
        this.#lists.objectsInto(pfns[i], refs);
        ends.push(refs.length);
      }
    } finally {
      this.#unlock();
    }
    return ends;
  }

  /**
   * Whether an object in use is one of this cache's. Needs no lock: the owner of its page is constant as long as it is in use.
   */
  owns(ref: number): boolean {
    return this.#lists.isObject(ref);
  }

  /** The refs of all objects in use, those of isolated slabs included. Stale as soon as it is read. */
  objects(): number[] {
    return this.slabs().map(({ pfn }) => pfn).concat(this.isolatedSlabs())
      .flatMap((pfn) => this.objectsOf(pfn));
  }

  /** Whether the ref is an allocated object of this cache. Stale as soon as it is read. */
  isAllocated(ref: number): boolean {
    return this.objectsOf(this.#arena.pfnOf(ref)).includes(ref);
  }

  /**
   * How many slabs there are and how many objects are in use in them, those included that wait to be freed or are kept at
   * hand. Cheap: two words.
   */
  usage(): { slabs: number; objects: number } {
    this.#lock("SlabCache.usage");
    const slabs = this.#lists.slabCount;
    const objects = this.#lists.objectCount;
    this.#unlock();
    return { slabs, objects };
  }

  /** The cache's numbers. What the threads keep at hand goes back to the slabs first. */
  stats(): SlabCacheStats {
    return this.#locked("SlabCache.stats", () => {
      this.#returnStocks();
      const slabsByOccupancy = this.#slabsByOccupancy();
      return {
        name: this.name,
        objectBytes: this.objectBytes,
        capacity: this.capacity,
        slabs: this.#lists.slabCount,
        isolated: this.#lists.isolatedCount,
        objects: this.#lists.objectCount,
        slabsByOccupancy,
      };
    });
  }

  /**
   * Recovers from a thread that is gone: if it held the lock, the lists and counts are made anew from the bitmaps, and the
   * lock is released; slabs that it isolated take objects again; what it kept at hand is free.
   */
  recover(gone: number): void {
    const words = this.#words, lock = this.#lockIndex;
    if (spinTakeOver(words, lock, gone, this.#thread)) {
      this.#lists.rebuild();
      this.#stock?.recover(gone);
      spinUnlock(words, lock, this.#thread);
    }
    for (const pfn of this.isolatedSlabs()) this.#unisolate(pfn, gone);
    const quarantined = this.#quarantinedBy(gone);
    this.#locked("SlabCache.recover", () => {
      const kept = this.#stock?.takeFrom(gone) ?? quarantined;
      for (const ref of kept) this.#lists.free(ref);
    });
  }

  /** Debug mode: what a thread that is gone kept in quarantine. */
  #quarantinedBy(gone: number): number[] {
    const tracker = this.#tracker;
    if (tracker === undefined) return [];
    return this.objects().filter((ref) => tracker.isFreedBy(gone, ref));
  }

  /**
   * Checks that the slabs are as the top of `slab_lists.ts` says.
   *
   * @throws {Error} Naming the slab and the rule that is broken.
   */
  validate(): void {
    this.#locked("SlabCache.validate", () => this.#lists.validate());
  }

  #exhausted(): never {
    throw new OutOfMemoryError(
      `Cannot allocate an object of "${this.name}": no slab has room and ${this.#arena.pages.freePages} pages are free`,
    );
  }

  /** The fullest slab with room, or a new one; -1 if there is no page for it and no thread keeps anything at hand. */
  #slabWithRoom(): number {
    const pfn = this.#fullestOrNew();
    return pfn < 0 && this.#returnStocks() ? this.#fullestOrNew() : pfn;
  }

  /** Frees what all threads keep at hand; says whether there was anything. */
  #returnStocks(): boolean {
    const refs = this.#stock?.takeAll() ?? [];
    for (const ref of refs) this.#lists.free(ref);
    return refs.length > 0;
  }

  /** The fullest slab with room, or a new one; -1 if there is no page for it. */
  #fullestOrNew(): number {
    const pfn = this.#lists.fullest();
    return pfn >= 0 ? pfn : this.#newSlab();
  }

  #newSlab(): number {
    return this.#newSlabOf((mobility) => this.#lists.tryPage(mobility));
  }

  /** Makes an empty slab of pages that are allocated so; -1 if there are none. */
  #newSlabOf(tryPage: (mobility: Mobility) => number): number {
    const pfn = tryPage(this.#mobility);
    if (pfn < 0) return -1;
    let tracking = -1;
    if (this.#tracker !== undefined) {
      tracking = tryPage("unmovable");
      if (tracking < 0) {
        this.#arena.pages.free(pfn);
        return -1;
      }
    }
    this.#makeSlab(pfn, tracking);
    return pfn;
  }

  /** Makes an empty slab of a page, and of one for the tracker if there is one. */
  #makeSlab(pfn: number, tracking: number): void {
    if (tracking >= 0) this.#tracker?.open(tracking);
    this.#lists.add(pfn, tracking);
  }

  /** Takes the first free object of a slab that has one. */
  #take(pfn: number): number {
    const refs: number[] = [];
    this.#takeSome(pfn, refs, 1);
    return refs[0];
  }

  /** Takes up to `count` free objects of a slab that has one, and adds their refs to `refs`; returns how many. */
  #takeSome(pfn: number, refs: number[], count: number): number {
    const tracker = this.#tracker;
    if (tracker !== undefined) return this.#takeTracked(pfn, refs, tracker);
    const taken = this.#lists.firstFree(pfn, refs, count);
    // First, so that what is in use is in somebody's hands wherever this thread dies.
    for (let i = refs.length - taken; i < refs.length; i++) this.claim(refs[i]);
    this.#lists.take(pfn, taken);
    return taken;
  }

  /** In debug mode one at a time: it may turn out to be damaged, and then nobody gets it. */
  #takeTracked(pfn: number, refs: number[], tracker: ObjectTracker): number {
    this.#lists.firstFree(pfn, refs, 1);
    const ref = refs.pop()!;
    this.#lists.take(pfn, 1);
    tracker.allocated(ref);
    this.claim(ref);
    refs.push(ref);
    return 1;
  }

  #free(ref: number, wasDeferred: boolean): void {
    this.#assertInUse(ref);
    if (this.#tracker === undefined) return this.#lists.free(ref);
    const leaving = this.#tracker.freed(ref, wasDeferred);
    if (leaving !== 0) this.#leaveQuarantine(leaving);
  }

  /** Frees an object that was deferred, or notes why it can't be. Only what looks for mistakes may fail so. */
  #freeDeferred(ref: number, mistakes: unknown[]): void {
    try {
      this.#free(ref, true);
    } catch (error) {
      mistakes.push(error);
    }
  }

  #leaveQuarantine(ref: number): void {
    // First, so that an object that was written to is reported once and does not stay for ever.
    this.#lists.free(ref);
    this.#tracker?.checkPoison(ref);
  }

  /** Throws where the ref is no allocated object of this cache. Under the lock. */
  #assertInUse(ref: number): void {
    this.#assertObject(ref);
    if (!this.#lists.isInUse(ref)) {
      this.#badFree(ref, "it is free already", this.#tracker?.history(ref));
    }
  }

  /** Throws where the ref is no object of this cache, in use or not. */
  #assertObject(ref: number): void {
    const pfn = this.#arena.pfnOf(ref);
    if (pfn < 0 || pfn >= this.#arena.pages.count) {
      this.#badFree(ref, "it is in no page");
    }
    if (!this.#lists.isObject(ref)) {
      this.#badFree(ref, "it is no object of this cache");
    }
  }

  #badFree(ref: number, why: string, history = ""): never {
    throw new Error(
      `Cannot free object ${ref} of "${this.name}": ${why}${history}`,
    );
  }

  #isPage(pfn: number): boolean {
    return Number.isInteger(pfn) && pfn >= 0 && pfn < this.#arena.pages.count;
  }

  /** Runs a section under the lock: where a closure a call does not count. */
  #locked<T>(site: string, section: () => T): T {
    this.#lock(site);
    try {
      return section();
    } finally {
      this.#unlock();
    }
  }

  #lock(site: string): void {
    this.#arena.lockdep.acquire(this.#lockClass, this.#lockIndex, site);
    spinLock(this.#words, this.#lockIndex, this.#thread);
  }

  #unlock(): void {
    spinUnlock(this.#words, this.#lockIndex, this.#thread);
    this.#arena.lockdep.release(this.#lockIndex);
  }
}
