/**
 * The background compactor: compaction in small slices, for a worker that has nothing else to do.
 *
 * A pass goes through the phases *look* (is there enough to win?), *evacuate* (move objects, a slice at a time), *settle* (wait
 * until the grace period of what was moved has passed, without blocking) and then looks again. It holds no lock between two
 * moves and waits for a tree's no longer than a store takes: a contended tree is visited later, and a reader that stays inside
 * a section only makes the settling take longer.
 *
 * What keeps it modest:
 *
 * - it starts when the slabs' occupancy falls below one threshold and stops above another, higher one;
 * - a slice ends when its time is up: the clock is read after every move;
 * - a slice ends, too, behind a slab of a tree whose lock is not to be had, so that its holder gets the processor;
 * - between slices it sleeps so long that its share of the time stays within its duty;
 * - a pass isolates few slabs at a time, so allocations keep finding room in the others;
 * - a cache of which a pass frees nothing is left out of the next looks, of more each time.
 *
 * What the slice's time does not bound: the beginning of a pass, and its end, when what was moved is freed. Both are work on the
 * slabs of one pass, at most 64 of each cache and 1024 objects in them unless the policy wants a larger window at once.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { Slabs } from "../slab/slabs.ts";
import { Compactor, type CompactorOptions } from "./compactor.ts";
import { Evacuation, type MovableCache, movableOf } from "./evacuation.ts";
import { type HoldNanos, holdNanos, HoldTimes } from "./hold_times.ts";
import { greedy } from "./policies.ts";
import { NodeMover } from "./relocate.ts";
import { SlabAges, slabWorldOf } from "./slab_world.ts";

/** Slabs that one pass empties at most. */
const SLABS_A_PASS = 64;
/** How long to sleep at least where others are to get on: readers out of a section, a thread on with the lock that it holds. */
const BREAK_MILLIS = 0.5;
/** The back-off doubles this often at most. */
const MAX_DOUBLINGS = 6;

/** How a background compactor behaves. */
export interface BackgroundOptions extends CompactorOptions {
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
   * How long it sleeps between two looks when there is nothing to win, in milliseconds. A cache of which a pass frees nothing is
   * left out of the next look, then of the next 2, and so on up to 64.
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
  /** How long it was at work, in seconds: what it had to wait for a processor meanwhile counts, too. */
  readonly seconds: number;
  /** The longest slice, in milliseconds. */
  readonly longestSliceMillis: number;
  /** How long a tree's lock was held for a move: of every 32nd. */
  readonly lockHoldNanos: HoldNanos;
}

/** What is to be done next. */
type Phase = "idle" | "evacuate" | "settle";

/** What is known of one cache. */
interface CacheState {
  /** Whether compaction has started and not reached the upper threshold yet. */
  isActive: boolean;
  /** How many looks it is left out of. */
  rest: number;
  /** How often a pass has freed nothing of it lately. */
  doublings: number;
  readonly ages: SlabAges;
}

/** One cache in one pass. */
interface Work {
  readonly state: CacheState;
  readonly evacuation: Evacuation;
}

/**
 * Compacts an arena bit by bit while others use it.
 *
 * Thread contract: an object belongs to one thread, best a worker of its own.
 *
 * - No tree changes for anyone who reads it.
 * - It never waits for a grace period, nor for a tree's lock longer than a store takes, and ends within a slice when it is told to.
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
  readonly #movers: readonly NodeMover[];
  readonly #options: Required<BackgroundOptions>;
  readonly #holdTimes = new HoldTimes();
  readonly #states = new Map<MovableCache, CacheState>();
  #phase: Phase = "idle";
  #works: Work[] = [];
  /** Whether somebody else is waited for: a reader inside an older section, or the holder of a lock. */
  #needsBreak = false;
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
   * @throws {TypeError} If the policy is none.
   */
  constructor(arena: Arena, options: BackgroundOptions = {}) {
    this.#arena = arena;
    this.#options = checked(options);
    // Allocations of this thread that can't be served compact at once, under the same policy.
    new Compactor(arena, { policy: this.#options.policy });
    this.#movers = NodeMover.allOf(arena);
  }

  /** How long to sleep before the next slice, in milliseconds, so that the duty is kept. */
  get pauseMillis(): number {
    return this.#pauseMillis;
  }

  /** The longest time that a tree's lock was held for a move, in nanoseconds: of every 32nd. */
  get longestHoldNanos(): number {
    return this.#holdTimes.longestNanos;
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
      lockHoldNanos: holdNanos(this.#holdTimes.samples()),
    };
  }

  /** Goes on until the signal says stop, or an error; then puts back what it has isolated. Returns what it did. */
  async run(signal: AbortSignal): Promise<BackgroundTotals> {
    try {
      while (!signal.aborted) {
        this.slice();
        await sleep(this.#pauseMillis, signal);
      }
    } finally {
      this.stop();
    }
    return this.totals();
  }

  /**
   * Works for one slice; says whether it has more to do.
   *
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  slice(): boolean {
    this.#arena.rcu.assertMayWait("BackgroundCompactor.slice");
    for (const mover of this.#movers) mover.holdTimes = this.#holdTimes;
    const start = performance.now();
    this.#slices++;
    this.#needsBreak = false;
    const hasMore = this.#work(start + this.#options.sliceMillis);
    const millis = performance.now() - start;
    this.#millis += millis;
    this.#longestSliceMillis = Math.max(this.#longestSliceMillis, millis);
    const { duty, idleMillis, sliceMillis } = this.#options;
    const atLeast = this.#needsBreak ? BREAK_MILLIS : 0;
    // What is far beyond a slice was no work: another thread had the processor.
    const worked = Math.min(millis, sliceMillis);
    this.#pauseMillis = Math.max(
      worked * (1 - duty) / duty,
      hasMore ? atLeast : idleMillis,
    );
    return hasMore;
  }

  /** Gives up the pass that is under way: what was isolated and is not empty takes objects again. */
  stop(): void {
    for (const { evacuation } of this.#works) evacuation.finish();
    this.#endPass();
    this.#phase = "idle";
  }

  /** One slice's work; says whether there is more to do. */
  #work(until: number): boolean {
    if (this.#phase === "idle" && !this.#beginPass()) return false;
    if (this.#phase === "evacuate") {
      for (const { evacuation } of this.#works) {
        if (!evacuation.step(until)) continue;
        this.#needsBreak = evacuation.isHeldUp;
        return true;
      }
      for (const { evacuation } of this.#works) evacuation.finish();
      this.#phase = "settle";
    }
    // Frees what a grace period has passed for; a reader inside an older section only makes this take longer.
    this.#needsBreak = !this.#arena.rcu.flush();
    if (this.#needsBreak) return true;
    this.#phase = "idle";
    return this.#endPass() > 0;
  }

  /** Looks whether there is enough to win, and chooses the slabs; says whether there are any. */
  #beginPass(): boolean {
    const choices: { cache: MovableCache; chosen: readonly number[] }[] = [];
    for (const cache of movableOf(Slabs.of(this.#arena).all())) {
      const state = this.#stateOf(cache);
      const { slabs, objects } = cache.usage();
      const freeableSlabs = slabs - Math.ceil(objects / cache.capacity);
      const occupancy = objects / (slabs * cache.capacity);
      if (freeableSlabs === 0 || !this.#isWorthwhile(state, occupancy)) {
        continue;
      }
      if (state.rest > 0) {
        state.rest--;
        continue;
      }
      const chosen = this.#options.policy.choose(
        slabWorldOf(this.#arena, cache, {
          freeableSlabs,
          slabsWanted: Math.min(freeableSlabs, SLABS_A_PASS),
          ages: state.ages,
        }),
      ).slice(0, freeableSlabs);
      if (chosen.length === 0) rest(state);
      else choices.push({ cache, chosen });
    }
    // Only now: a policy that looks at the slabs of two caches is to see both as they are.
    for (const { cache, chosen } of choices) {
      const evacuation = new Evacuation(this.#arena, cache, chosen);
      this.#works.push({ state: this.#stateOf(cache), evacuation });
    }
    if (this.#works.length === 0) return false;
    this.#passes++;
    this.#phase = "evacuate";
    return true;
  }

  #stateOf(cache: MovableCache): CacheState {
    let state = this.#states.get(cache);
    if (state === undefined) {
      const ages = new SlabAges();
      state = { isActive: false, rest: 0, doublings: 0, ages };
      this.#states.set(cache, state);
    }
    return state;
  }

  /** Whether a cache's occupancy asks for a pass: between the thresholds it does if it has started. */
  #isWorthwhile(state: CacheState, occupancy: number): boolean {
    const { startBelow, stopAbove } = this.#options;
    state.isActive = occupancy < (state.isActive ? stopAbove : startBelow);
    if (!state.isActive) state.rest = state.doublings = 0;
    return state.isActive;
  }

  #endPass(): number {
    let freed = 0;
    for (const { state, evacuation } of this.#works) {
      const won = evacuation.unisolate();
      if (won > 0) state.doublings = 0;
      else rest(state);
      freed += won;
      this.#moves += evacuation.moves;
      this.#busy += evacuation.busy;
      this.#pinned += evacuation.pinned;
    }
    this.#works = [];
    this.#freedSlabs += freed;
    return freed;
  }
}

/** Leaves a cache out of the next looks, of which nothing was freed: each time of twice as many. */
function rest(state: CacheState): void {
  state.rest = 2 ** state.doublings;
  state.doublings = Math.min(state.doublings + 1, MAX_DOUBLINGS);
}

function checked(
  {
    startBelow = 0.8,
    stopAbove = 0.97,
    sliceMillis = 1,
    duty = 0.2,
    idleMillis = 20,
    policy = greedy,
  }: BackgroundOptions,
): Required<BackgroundOptions> {
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
  return { startBelow, stopAbove, sliceMillis, duty, idleMillis, policy };
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
