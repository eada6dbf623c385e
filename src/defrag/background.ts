/**
 * The background compactor: compaction in small slices, for a worker that has nothing else to do.
 *
 * A pass goes through the phases *look* (is there enough to win?), *evacuate* (move objects, a slice at a time), *settle* (wait
 * until the grace period of what was moved has passed, without blocking) and then looks again. It holds no lock between two
 * moves and waits for nobody: a contended tree is visited later, and a reader that stays inside a section only makes the
 * settling take longer.
 *
 * What keeps it modest:
 *
 * - it starts when the slabs' occupancy falls below one threshold and stops above another, higher one;
 * - a slice ends when its time is up: the clock is read after every move;
 * - between slices it sleeps so long that its share of the time stays within its duty;
 * - a pass isolates few slabs at a time, so allocations keep finding room in the others;
 * - when a pass frees nothing it backs off, longer each time.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { Slabs } from "../slab/slabs.ts";
import { Compactor } from "./compactor.ts";
import { Evacuation, type MovableCache, movableOf } from "./evacuation.ts";
import { type HoldNanos, holdNanos } from "./hold_times.ts";

/** Slabs that one pass empties at most. */
const SLABS_A_PASS = 64;
/** How long to sleep at least before the next look whether a grace period has passed. */
const SETTLE_MILLIS = 0.5;
/** The back-off doubles this often at most. */
const MAX_DOUBLINGS = 6;

/** How a background compactor behaves. */
export interface BackgroundOptions {
  /**
   * It starts when so large a share of the slabs' objects, or less, is in use.
   *
   * @default {0.8}
   */
  startBelow?: number;
  /**
   * It stops when so large a share is in use.
   *
   * @default {0.97}
   */
  stopAbove?: number;
  /**
   * The longest slice, in milliseconds.
   *
   * @default {1}
   */
  sliceMillis?: number;
  /**
   * The share of the time that it may be at work, over 0 up to 1.
   *
   * @default {0.2}
   */
  duty?: number;
  /**
   * How long it sleeps when there is nothing to win, in milliseconds. Doubles with each pass that frees nothing, up to 64
   * times as long.
   *
   * @default {20}
   */
  idleMillis?: number;
}

/** What a background compactor has done so far. */
export interface BackgroundTotals {
  /** Passes that were begun. */
  readonly passes: number;
  /** Slices. */
  readonly slices: number;
  /** Slabs whose page went back to the page allocator. */
  readonly freedSlabs: number;
  /** Objects that were moved. */
  readonly moves: number;
  /** Objects that somebody was working on each time. */
  readonly busy: number;
  /** Objects that nothing can be locked for, each time that they were met. */
  readonly pinned: number;
  /** How long it was at work, in seconds. */
  readonly seconds: number;
  /** The longest slice, in milliseconds. */
  readonly longestSliceMillis: number;
  /** How long a tree's lock was held for a move: of every 32nd. */
  readonly lockHoldNanos: HoldNanos;
}

/** What is to be done next. */
type Phase = "idle" | "evacuate" | "settle";

/**
 * Compacts an arena bit by bit while others use it.
 *
 * Thread contract: an object belongs to one thread, best a worker of its own.
 *
 * - No tree changes for anyone who reads it.
 * - It never waits for a lock or a grace period, and ends within a slice when it is told to.
 *
 * @example In a worker
 * ```ts
 * import { Arena, BackgroundCompactor, RangeTree } from "@pollard/pollard";
 * import { assert } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 22 });
 * const trees = Array.from({ length: 200 }, () => RangeTree.create(arena));
 * for (const tree of trees) for (let i = 0; i < 60; i++) tree.store(i, 1);
 * trees.forEach((tree, i) => i % 4 !== 0 && tree.destroy());
 *
 * const compactor = new BackgroundCompactor(arena);
 * while (compactor.slice()); // in a worker: await compactor.run(signal)
 * assert(compactor.totals().freedSlabs > 0);
 * ```
 */
export class BackgroundCompactor {
  readonly #arena: Arena;
  readonly #compactor: Compactor;
  readonly #options: Required<BackgroundOptions>;
  #phase: Phase = "idle";
  /** Whether it has started and not reached the upper threshold yet. */
  #active = false;
  #evacuations: Evacuation[] = [];
  /** Whether a reader still holds up the grace period of what was moved. */
  #settling = false;
  #doublings = 0;
  #passes = 0;
  #slices = 0;
  #freedSlabs = 0;
  #moves = 0;
  #busy = 0;
  #pinned = 0;
  #millis = 0;
  #longestSliceMillis = 0;
  #pauseMillis = 0;

  /**
   * Makes the arena's caches of range-tree nodes movable.
   *
   * @throws {RangeError} If an option is out of bounds.
   */
  constructor(arena: Arena, options: BackgroundOptions = {}) {
    this.#arena = arena;
    this.#options = checked({
      startBelow: 0.8,
      stopAbove: 0.97,
      sliceMillis: 1,
      duty: 0.2,
      idleMillis: 20,
      ...options,
    });
    this.#compactor = new Compactor(arena);
  }

  /** How long to sleep before the next slice, in milliseconds, so that the duty is kept. */
  get pauseMillis(): number {
    return this.#pauseMillis;
  }

  /** What it has done so far. */
  totals(): BackgroundTotals {
    return {
      passes: this.#passes,
      slices: this.#slices,
      freedSlabs: this.#freedSlabs,
      moves: this.#moves,
      busy: this.#busy,
      pinned: this.#pinned,
      seconds: this.#millis / 1000,
      longestSliceMillis: this.#longestSliceMillis,
      lockHoldNanos: holdNanos(this.#compactor.holdTimes()),
    };
  }

  /** Goes on until the signal says stop; then puts back what it has isolated and returns what it did. */
  async run(signal: AbortSignal): Promise<BackgroundTotals> {
    while (!signal.aborted) {
      this.slice();
      await sleep(this.#pauseMillis, signal);
    }
    this.stop();
    return this.totals();
  }

  /**
   * Works for one slice; says whether it has more to do.
   *
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  slice(): boolean {
    this.#arena.rcu.assertMayWait("BackgroundCompactor.slice");
    const start = performance.now();
    this.#slices++;
    const hasMore = this.#work(start + this.#options.sliceMillis);
    const millis = performance.now() - start;
    this.#millis += millis;
    this.#longestSliceMillis = Math.max(this.#longestSliceMillis, millis);
    const { duty, idleMillis } = this.#options;
    this.#pauseMillis = hasMore
      ? Math.max(millis * (1 - duty) / duty, this.#settling ? SETTLE_MILLIS : 0)
      : idleMillis * 2 ** this.#doublings;
    return hasMore;
  }

  /** Gives up the pass that is under way: what was isolated and is not empty takes objects again. */
  stop(): void {
    for (const evacuation of this.#evacuations) evacuation.finish();
    this.#endPass();
    this.#phase = "idle";
  }

  /** One slice's work; says whether there is more to do. */
  #work(until: number): boolean {
    if (this.#phase === "idle" && !this.#beginPass()) return false;
    if (this.#phase === "evacuate") {
      for (const evacuation of this.#evacuations) {
        if (evacuation.step(until)) return true;
      }
      for (const evacuation of this.#evacuations) evacuation.finish();
      this.#phase = "settle";
    }
    // Frees what a grace period has passed for; a reader inside an older section only makes this take longer.
    this.#settling = !this.#arena.rcu.flush();
    if (this.#settling) return true;
    this.#phase = "idle";
    const won = this.#endPass() > 0;
    this.#doublings = won ? 0 : Math.min(this.#doublings + 1, MAX_DOUBLINGS);
    return won;
  }

  /** Looks whether there is enough to win, and chooses the slabs; says whether there are any. */
  #beginPass(): boolean {
    this.#evacuations = [];
    for (const cache of movableOf(Slabs.of(this.#arena).all())) {
      const { slabs, objects } = cache.usage();
      const freeable = slabs - Math.ceil(objects / cache.capacity);
      if (freeable === 0 || !this.#isWorthwhile(cache, slabs, objects)) {
        continue;
      }
      const chosen = cache.emptiestSlabs(Math.min(freeable, SLABS_A_PASS));
      this.#evacuations.push(new Evacuation(this.#arena, cache, chosen));
    }
    this.#active = this.#evacuations.length > 0;
    if (!this.#active) return false;
    this.#passes++;
    this.#phase = "evacuate";
    return true;
  }

  /** Between the thresholds it goes on if it has started. */
  #isWorthwhile(
    cache: MovableCache,
    slabs: number,
    objects: number,
  ): boolean {
    const { startBelow, stopAbove } = this.#options;
    return objects / (slabs * cache.capacity) <
      (this.#active ? stopAbove : startBelow);
  }

  #endPass(): number {
    let freed = 0;
    for (const evacuation of this.#evacuations) {
      freed += evacuation.unisolate();
      this.#moves += evacuation.moves;
      this.#busy += evacuation.busy;
      this.#pinned += evacuation.pinned;
    }
    this.#evacuations = [];
    this.#freedSlabs += freed;
    return freed;
  }
}

function checked(
  options: Required<BackgroundOptions>,
): Required<BackgroundOptions> {
  const { startBelow, stopAbove, sliceMillis, duty, idleMillis } = options;
  const fail = (what: string): never => {
    throw new RangeError(`Cannot compact in the background: ${what}`);
  };
  if (!(startBelow >= 0 && startBelow <= stopAbove && stopAbove <= 1)) {
    fail(
      `thresholds ${startBelow} and ${stopAbove} are not in order within [0, 1]`,
    );
  }
  if (!(sliceMillis > 0)) fail(`a slice of ${sliceMillis} ms is none`);
  if (!(duty > 0 && duty <= 1)) fail(`duty ${duty} is outside (0, 1]`);
  if (!(idleMillis > 0)) fail(`idling for ${idleMillis} ms is none`);
  return options;
}

/** Sleeps, at least one turn of the event loop, but not beyond an abort. */
function sleep(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, millis);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
