/**
 * The slab caches of an arena, and how deferred refs are freed: each belongs to the cache of its page, or stands for a
 * whole page that its cache has given up.
 *
 * The table of caches is protected by its own lock; records are only ever added.
 *
 * @module
 */
import { refuseAsLeft } from "../sync/left.ts";
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import { type Arena, openForReap } from "../memory/arena.ts";
import { perArena } from "../memory/per_arena.ts";
import { CACHE_WORDS, type SlabCacheOptions } from "./cache_record.ts";
import { handsOf } from "./hands.ts";
import { SlabCache } from "./slab_cache.ts";
import {
  deferredOwner,
  isGivenUpBy,
  isOnItsWayTo,
  pageLink,
  takeTrackingPage,
} from "./slab_lists.ts";

/** The first record of the table holds its lock. */
const MAX_CACHES = 15;

openForReap("slab caches", (arena) => Slabs.of(arena));

/**
 * All slab caches of an arena, as seen by one thread.
 *
 * Thread contract: an object belongs to one thread; the table is shared.
 *
 * @example Allocate and free an object
 * ```ts
 * import { Arena } from "@pollard/pollard/memory";
 * import { Slabs } from "@pollard/pollard/slab";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * const cache = Slabs.of(arena).cache({ name: "points", objectBytes: 64, link: 15 });
 * const ref = cache.allocate();
 * assertEquals(cache.stats().objects, 1);
 * cache.free(ref);
 * assertEquals(cache.stats().objects, 0);
 * ```
 */
export class Slabs {
  /** Compacts all caches that can be, for allocations that may wait; set by who can. */
  compact: (() => void) | undefined;
  readonly #arena: Arena;
  readonly #caches: (SlabCache | undefined)[] = [];

  private constructor(arena: Arena) {
    this.#arena = arena;
    arena.setReclaimer({
      unchain: (head, refs) => this.#unchain(head, refs),
      chain: (refs) => this.#chain(refs),
      reclaim: (refs, mayKeep) => this.#reclaim(refs, mayKeep),
      giveBack: () => this.#giveBack(),
    });
    arena.onReap("slab caches", (gone) => this.#recover(gone));
    arena.onLeave(() => this.cache = this.all = refuseAsLeft);
  }

  /** The slab caches of an arena. */
  static readonly of: (arena: Arena) => Slabs = perArena((arena) =>
    new Slabs(arena)
  );

  /**
   * The cache of that name, created if there is none.
   *
   * @throws {RangeError} If the options make no cache, the table is full, or the cache there was created with others.
   */
  cache(options: SlabCacheOptions): SlabCache {
    const { words } = this.#arena;
    return this.#locked(() => {
      for (let id = 1; id <= MAX_CACHES; id++) {
        const base = this.#base(id);
        if (!SlabCache.existsAt(words, base)) {
          return this.#caches[id] = SlabCache.createAt(
            this.#arena,
            base,
            id,
            options,
          );
        }
        if (SlabCache.nameAt(words, base) !== options.name) continue;
        const cache = this.#open(id);
        cache.assertCreatedAs(options);
        return cache;
      }
      throw new RangeError(
        `Cannot create slab cache "${options.name}": all ${MAX_CACHES} caches are taken`,
      );
    });
  }

  /** All caches, in the order of their creation. */
  all(): SlabCache[] {
    return this.#locked(() => {
      const caches = [];
      for (let id = 1; id <= MAX_CACHES; id++) {
        if (SlabCache.existsAt(this.#arena.words, this.#base(id))) {
          caches.push(this.#open(id));
        }
      }
      return caches;
    });
  }

  /** The word through which a ref, of an object or of a page that its cache has given up, is chained. */
  #linkOf(ref: number): number {
    const frame = this.#arena.frameOf(this.#arena.pfnOf(ref));
    const { id, isPage } = deferredOwner(this.#arena.words, frame);
    return isPage ? pageLink(frame) : this.#opened(id).linkIndex(ref);
  }

  #unchain(head: number, refs: number[]): void {
    const { words, thread } = this.#arena;
    const tag = handsOf(thread);
    let page = -1, isPage = false, linkOfPage = 0, cacheId = 0;
    let cache: SlabCache | undefined;
    for (let ref = head; ref !== 0;) {
      const pfn = this.#arena.pfnOf(ref);
      // Most often several are of one page in a row.
      if (pfn !== page) {
        page = pfn;
        const frame = this.#arena.frameOf(pfn);
        const owner = deferredOwner(words, frame);
        isPage = owner.isPage;
        linkOfPage = pageLink(frame);
        // Nearly all are of one cache. That this is a branch, and not looked up, lets the processor go on to the next ref while it
        // waits for the frame record.
        if (!isPage && owner.id !== cacheId) {
          cacheId = owner.id;
          cache = this.#opened(cacheId);
        }
      }
      const link = isPage ? linkOfPage : cache!.linkIndex(ref);
      refs.push(ref);
      ref = words[link] >>> 0;
      words[link] = tag;
    }
  }

  #chain(refs: readonly number[]): number {
    let link = this.#linkOf(refs[0]);
    for (let i = 1; i < refs.length; i++) {
      this.#arena.words[link] = refs[i];
      link = this.#linkOf(refs[i]);
    }
    return link;
  }

  /** Frees refs: first those of one cache, then those of the next, so that each is locked once; then whole pages. */
  #reclaim(refs: readonly number[], mayKeep: boolean): void {
    const { words } = this.#arena;
    const objects: number[][] = [];
    const mistakes: unknown[] = [];
    let page = -1, ofPage: number[] = [];
    // What a list began with comes last, so that a thread that keeps it uses it again last: as long as it remembers the list by it,
    // compiled stores can't defer it (`Rcu.deferral`).
    for (let i = 1; i <= refs.length; i++) {
      const ref = refs[i % refs.length], pfn = this.#arena.pfnOf(ref);
      // Most often several are of one page in a row.
      if (pfn !== page) {
        page = pfn;
        const { id, isPage } = deferredOwner(words, this.#arena.frameOf(pfn));
        ofPage = objects[isPage ? 0 : id] ??= [];
      }
      ofPage.push(ref);
    }
    for (let id = 1; id <= MAX_CACHES; id++) {
      if (objects[id] !== undefined) {
        this.#opened(id).reclaim(objects[id], mistakes, mayKeep);
      }
    }
    for (const page of objects[0] ?? []) this.#freePage(page);
    if (mistakes.length > 0) throw mistakes[0];
  }

  /** Gives back what this thread keeps from being reused by others; says whether there was anything. */
  #giveBack(): boolean {
    let any = false;
    // A cache that this thread has not opened keeps nothing for it.
    for (const cache of this.#caches) if (cache?.giveBack()) any = true;
    return any;
  }

  /** Recovers from a thread that is gone. */
  #recover(gone: number): void {
    const { words, thread, cachesIndex } = this.#arena;
    // A record counts from its object size on, which is written last.
    if (spinTakeOver(words, cachesIndex, gone, thread)) {
      spinUnlock(words, cachesIndex, thread);
    }
    for (const cache of this.all()) cache.recover(gone);
    // First: what it was about to queue may still bear its claim, and must not be found a second time.
    this.#arena.rcu.recover(gone);
    this.#sweepPages(gone);
  }

  /** Frees the pages that a thread that is gone had in its hands: on their way to a cache, or from one. */
  #sweepPages(gone: number): void {
    const { words, pages, rcu } = this.#arena;
    for (const pfn of pages.usedPages()) {
      const frame = this.#arena.frameOf(pfn);
      if (isOnItsWayTo(words, frame, gone)) pages.free(pfn);
      else if (isGivenUpBy(words, frame, gone)) {
        // It may have been waiting for its grace period.
        rcu.defer(this.#arena.pageRef(pfn), pageLink(frame));
      }
    }
  }

  /** Frees a page that its cache has given up. */
  #freePage(ref: number): void {
    const { pages } = this.#arena;
    const pfn = this.#arena.pfnOf(ref);
    const tracking = takeTrackingPage(
      this.#arena.words,
      this.#arena.frameOf(pfn),
    );
    if (tracking >= 0) pages.free(tracking);
    pages.free(pfn);
  }

  #opened(id: number): SlabCache {
    return this.#caches[id] ?? this.#locked(() => this.#open(id));
  }

  #open(id: number): SlabCache {
    return this.#caches[id] ??= SlabCache.openAt(
      this.#arena,
      this.#base(id),
      id,
    );
  }

  #base(id: number): number {
    return this.#arena.cachesIndex + id * CACHE_WORDS;
  }

  #locked<T>(section: () => T): T {
    const lock = this.#arena.cachesIndex;
    spinLock(this.#arena.words, lock, this.#arena.thread);
    try {
      return section();
    } finally {
      spinUnlock(this.#arena.words, lock, this.#arena.thread);
    }
  }
}
