/**
 * The slab caches of an arena, and how deferred refs are freed: each belongs to the cache of its page, or stands for a
 * whole page that its cache has given up.
 *
 * The table of caches is protected by its own lock; records are only ever added.
 *
 * @module
 */
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import type { Arena } from "../memory/arena.ts";
import {
  CACHE_WORDS,
  deferredOwner,
  deferredPage,
  deferredPageLink,
  SlabCache,
  type SlabCacheOptions,
} from "./slab_cache.ts";

/** The first record of the table holds its lock. */
const MAX_CACHES = 15;

const slabsOf = new WeakMap<Arena, Slabs>();

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
      reclaim: (head, mayKeep) => this.#reclaim(head, mayKeep),
      linkOf: (ref) => this.#linkOf(ref),
      giveBack: () => this.#giveBack(),
    });
    arena.onReap((gone) => this.#recover(gone));
  }

  /** The slab caches of an arena. */
  static of(arena: Arena): Slabs {
    let slabs = slabsOf.get(arena);
    if (slabs === undefined) slabsOf.set(arena, slabs = new Slabs(arena));
    return slabs;
  }

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

  /**
   * Frees a chain of deferred refs. First it is parted into one chain a cache, so that each cache is locked once, however the
   * objects of several come by turns.
   */
  #reclaim(head: number, mayKeep: boolean): void {
    const { words } = this.#arena;
    const heads = new Uint32Array(MAX_CACHES + 1);
    for (let ref = head; ref !== 0;) {
      const frame = this.#arena.frameOf(this.#arena.pfnOf(ref));
      const { id, isPage } = deferredOwner(words, frame);
      if (isPage) {
        ref = this.#freePage(ref, frame);
        continue;
      }
      const link = this.#opened(id).linkIndex(ref);
      const next = words[link] >>> 0;
      words[link] = heads[id];
      heads[id] = ref;
      ref = next;
    }
    const mistakes: unknown[] = [];
    for (let id = 1; id <= MAX_CACHES; id++) {
      if (heads[id] !== 0) {
        this.#opened(id).reclaim(heads[id], mistakes, mayKeep);
      }
    }
    if (mistakes.length > 0) throw mistakes[0];
  }

  /** The word that links a deferred ref to the next. */
  #linkOf(ref: number): number {
    const frame = this.#arena.frameOf(this.#arena.pfnOf(ref));
    const { id, isPage } = deferredOwner(this.#arena.words, frame);
    return isPage ? deferredPageLink(frame) : this.#opened(id).linkIndex(ref);
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
  }

  /** Frees a page that its cache has given up; returns the next of the chain. */
  #freePage(ref: number, frame: number): number {
    const { words, pages } = this.#arena;
    const { next, tracking } = deferredPage(words, frame);
    if (tracking >= 0) pages.free(tracking);
    pages.free(this.#arena.pfnOf(ref));
    return next;
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
