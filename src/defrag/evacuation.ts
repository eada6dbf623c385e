/**
 * Emptying chosen slabs of a cache, a few moves at a time.
 *
 * The slabs are isolated: they take no new objects from here on, so a move never lands in a slab that is being emptied. No
 * lock is held between moves and no tree's is waited for longer than a store takes; what is busy is tried again in a later
 * round, which, where there is no limit of time, begins with a short sleep. Moved objects keep their
 * slab until a grace period has passed, which is shared by as many as there are; nothing here waits for one.
 *
 * Where there is no limit of time, a few slabs are emptied at once first: their objects are listed, their new places allocated and
 * all of it fetched together, and moved in runs. Only the slabs where that meets an obstacle are visited one by one.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { Mover } from "../slab/mover.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { wait } from "../sync/atomics.ts";

/** How often the objects that were busy are tried. */
const ROUNDS = 4;
/**
 * So many slabs are emptied together where there is no limit of time. (Measured: with 4 a move takes a tenth longer, with 2 more
 * still; half-empty slabs of 8 hold as many nodes as a mover takes at once.)
 */
const SWEPT_AT_ONCE = 8;
/** What a thread that was displaced while it held a lock has between two rounds, to release it. */
const ROUND_MILLIS = 1;
/** A word to sleep on. */
const NEVER_WRITTEN = new Int32Array(new SharedArrayBuffer(4));

/** A cache whose objects can be moved. */
export type MovableCache = SlabCache & { readonly mover: Mover };

/** The caches of an arena whose owners have made their objects movable, of those given. */
export function movableOf(caches: readonly SlabCache[]): MovableCache[] {
  return caches.filter((cache): cache is MovableCache =>
    cache.mover !== undefined
  );
}

/**
 * One evacuation of some slabs.
 *
 * Thread contract: an object belongs to one thread; other threads may use the cache's objects meanwhile.
 */
export class Evacuation {
  /** Moves made. */
  moves = 0;
  /** Objects that nothing can be locked for, in the slabs that were visited. */
  pinned = 0;
  /** Objects that somebody was working on in the last round. */
  busy = 0;
  readonly #arena: Arena;
  readonly #cache: MovableCache;
  readonly #chosen: number[];
  /** The slabs of this round that are still to be visited, in reverse order. */
  #left: number[];
  /** Those that are worth another round. */
  #again: number[] = [];
  #round = 1;
  /** The objects of the slab that is being visited, from `at` on. */
  #objects: number[] = [];
  #at = 0;
  #pfn = -1;
  #busyInSlab = 0;

  /** Isolates the slabs, as far as they are still there. */
  constructor(arena: Arena, cache: MovableCache, slabs: readonly number[]) {
    this.#arena = arena;
    this.#cache = cache;
    // Another compactor of this thread may have prepared places in these slabs.
    cache.mover.finish();
    this.#chosen = cache.isolateAll(slabs);
    this.#left = this.#chosen.toReversed();
  }

  /** Whether the last step stopped behind a slab with busy objects. */
  get isHeldUp(): boolean {
    return this.#busyInSlab > 0 && this.#at === this.#objects.length;
  }

  /**
   * Moves objects until all slabs were visited often enough, or the clock says stop; says whether anything is left to do. Also
   * stops behind a slab with busy objects: a lock that is held for longer than a store takes is most often that of a thread
   * which this one has displaced from its processor, and goes on only when this one sleeps.
   *
   * @param until A time of `performance.now()`, read after every move; `Infinity` for no limit and no stop. Then a round of
   * busy objects begins with a short sleep.
   */
  step(until = Infinity): boolean {
    // Where there is no limit, nothing has to be looked at between two moves.
    if (until === Infinity) this.#sweep();
    for (;;) {
      if (this.#at === this.#objects.length) {
        if (!this.#nextSlab(until === Infinity)) return false;
      }
      // One section for a slab's objects: the sections of the single moves nest in it for nothing.
      this.#arena.rcu.readLock();
      try {
        if (!this.#visit(until)) return true;
      } finally {
        this.#arena.rcu.readUnlock();
      }
      // Batches of what was moved are freed on the way.
      this.#arena.rcu.poll();
      if (this.#busyInSlab > 0 && until !== Infinity) return true;
    }
  }

  /**
   * Moves the objects of the slabs that are still to be visited in this round, of some at once: so what is done once for all of
   * them costs each little. Slabs of which an object can't be moved at once are left to be visited one by one.
   */
  #sweep(): void {
    const left = this.#left.splice(0);
    while (left.length > 0) {
      const slabs = left.splice(-SWEPT_AT_ONCE).reverse();
      this.#arena.rcu.readLock();
      try {
        const swept = this.#moveAllOf(slabs);
        this.#left.push(...slabs.slice(swept));
      } finally {
        this.#arena.rcu.readUnlock();
      }
      this.#arena.rcu.poll();
    }
    this.#left.reverse();
  }

  /** Moves the objects of slabs until one can't be moved at once; returns how many slabs were got through. */
  #moveAllOf(slabs: readonly number[]): number {
    const { mover } = this.#cache;
    const objects: number[] = [];
    const ends = this.#cache.objectsInto(slabs, objects);
    mover.prepare(objects);
    let at = 0;
    for (;;) {
      at += mover.relocateRun(objects, at);
      if (at === objects.length || mover.relocate(objects[at]) !== "moved") {
        break;
      }
      at++;
    }
    this.moves += at;
    return at === objects.length
      ? slabs.length
      : ends.findIndex((end) => end > at);
  }

  /** Ends it: hands over what was moved. Slabs that are empty after its grace period go back by themselves. */
  finish(): void {
    this.#cache.mover.finish();
  }

  /** Puts the slabs back that did not become empty; returns how many did. To be called after the grace period. */
  unisolate(): number {
    const isolated = this.#cache.isolatedSlabs();
    if (isolated.length === 0) return this.#chosen.length;
    const ours = new Set(this.#chosen);
    const kept = isolated
      .filter((pfn) => ours.has(pfn) && this.#cache.unisolate(pfn)).length;
    return this.#chosen.length - kept;
  }

  /** Goes on to the next slab; says whether there is one. */
  #nextSlab(maySleep: boolean): boolean {
    if (this.#busyInSlab > 0) this.#again.push(this.#pfn);
    this.#busyInSlab = 0;
    if (this.#left.length === 0) {
      if (this.#round === ROUNDS || this.#again.length === 0) return false;
      this.#round++;
      if (maySleep) wait(NEVER_WRITTEN, 0, 0, ROUND_MILLIS);
      // Each round counts anew what is busy.
      this.busy = 0;
      this.#left = this.#again.toReversed();
      this.#again = [];
    }
    this.#pfn = this.#left.pop()!;
    this.#objects = this.#cache.objectsOf(this.#pfn);
    this.#at = 0;
    return true;
  }

  /** Moves a slab's objects; says whether it got through before the time was up. */
  #visit(until: number): boolean {
    const { mover } = this.#cache;
    if (this.#at === 0) mover.prepare(this.#objects);
    while (this.#at < this.#objects.length) {
      const outcome = mover.relocate(this.#objects[this.#at++]);
      if (outcome === "moved") this.moves++;
      else if (outcome === "busy") {
        this.busy++;
        this.#busyInSlab++;
      } else if (outcome === "pinned") this.#skipPinned(mover);
      if (until !== Infinity && performance.now() >= until) return false;
    }
    return true;
  }

  /** One pinned object keeps the slab, so moving the others would win nothing. */
  #skipPinned(mover: Mover): void {
    this.pinned += this.#cache.objectsOf(this.#pfn)
      .filter((object) => mover.isPinned(object)).length;
    this.#at = this.#objects.length;
    this.busy -= this.#busyInSlab;
    this.#busyInSlab = 0;
  }
}
