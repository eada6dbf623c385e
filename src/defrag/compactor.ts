/**
 * The compactor: empties the emptiest slabs of a cache by moving their objects into the others, so that whole pages go back
 * to the page allocator.
 *
 * One run over a cache: free what is deferred, plan, isolate the `k*` emptiest slabs (they take no new objects from here
 * on, so a move never lands in a slab that is being emptied), move their objects, go back to the busy ones a few times,
 * wait for one grace period for all of them, and put the slabs that did not become empty back. No lock is held between
 * moves and none is waited for.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import { Slabs } from "../slab/slabs.ts";
import { Evacuation, type MovableCache, movableOf } from "./evacuation.ts";
import { type HoldNanos, holdNanos } from "./hold_times.ts";
import {
  type CompactionPlan,
  emptiestFirst,
  fewestMoves,
  planCompaction,
} from "./planner.ts";
import { NodeMover } from "./relocate.ts";
import { emptiableWindows } from "./windows.ts";

/** What a run won, and how near it came to the optimum. */
export interface CompactionResult {
  /** What could be won at best. */
  readonly plan: CompactionPlan;
  /** Slabs whose page went back to the page allocator. */
  readonly freedSlabs: number;
  /** Objects that were moved. */
  readonly moves: number;
  /** Freed slabs / slabs that can be freed; 1 where none can. */
  readonly yield: number;
  /** The fewest moves that free so many slabs / moves made; 1 where none was made. */
  readonly moveEfficiency: number;
  /** Objects of the chosen slabs that nothing can be locked for. */
  readonly pinned: number;
  /** Objects of the chosen slabs that somebody was working on each time. */
  readonly busy: number;
  /** How long the run took. */
  readonly seconds: number;
  /** Moves a second, everything included. */
  readonly nodesPerSecond: number;
  /** How long a tree's lock was held for a move: of every 32nd. */
  readonly lockHoldNanos: HoldNanos;
}

/** What making one block took. */
export interface BlockResult {
  /** Whether there is a free block of that order now. */
  readonly made: boolean;
  /** Objects that were moved. */
  readonly moves: number;
  /** The fewest moves that could have made it; 0 where there was one. */
  readonly fewestMoves: number;
  /** How many windows were emptied, or tried. */
  readonly windows: number;
  /** How long it took. */
  readonly seconds: number;
}

/** So many windows are tried for one block. */
const WINDOWS_TRIED = 4;

/** What emptying some slabs came to. */
interface Emptied {
  readonly freedSlabs: number;
  readonly moves: number;
  readonly pinned: number;
  readonly busy: number;
}

/** What a run did to one cache. */
interface Outcome extends Emptied {
  readonly plan: CompactionPlan;
  readonly fewestMoves: number;
}

/**
 * Compacts the slabs of an arena's range trees while they are in use.
 *
 * Thread contract: an object belongs to one thread; other threads may read and write the trees meanwhile.
 *
 * - No tree changes for anyone who reads it.
 * - Trees without a lock that can be taken are reported as pinned and never touched.
 * - Where nothing is pinned or contended, a run frees as many slabs as can be freed, with the fewest moves.
 *
 * @example Win memory back
 * ```ts
 * import { Arena, Compactor, RangeTree } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 22 });
 * const trees = Array.from({ length: 100 }, () => RangeTree.create(arena));
 * trees.forEach((tree, i) => {
 *   for (let index = 0; index < 20 * (1 + i % 5); index++) tree.store(index, 1);
 * });
 * trees.forEach((tree, i) => i % 3 !== 0 && tree.destroy()); // fragments the slabs
 *
 * const result = new Compactor(arena).run();
 * assertEquals(result.yield, 1);
 * assertEquals(trees[0].load(7), 1);
 * ```
 */
export class Compactor {
  readonly #arena: Arena;
  readonly #movers: NodeMover[];

  /** Gives the caches of range-tree nodes a mover, and stores that may wait for memory a way to win it back. */
  constructor(arena: Arena) {
    Slabs.of(arena).compact = () => void this.run();
    arena.setBlockMaker((order) => this.makeBlock(order).made);
    this.#arena = arena;
    const { movableNodes, pinnedNodes } = TreeMemory.of(arena);
    this.#movers = [movableNodes, pinnedNodes].map((cache) => {
      const mover = new NodeMover(arena, cache);
      cache.mover = mover;
      return mover;
    });
  }

  /** How long a tree's lock was held for the moves since the last run, in milliseconds: of every 32nd. */
  holdTimes(): number[] {
    return this.#movers.flatMap((mover) => mover.holdTimes.samples());
  }

  /** The optimum for the slabs as they are now. Frees what is deferred first. */
  plan(): CompactionPlan {
    this.#settle();
    return sumPlans(
      this.#movable().map((cache) =>
        planCompaction(cache.slabs(), cache.capacity)
      ),
    );
  }

  /**
   * Compacts all caches once.
   *
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  run(): CompactionResult {
    const start = performance.now();
    this.#settle();
    const runs = this.#movable().map((cache) => this.#evacuate(cache));
    const seconds = (performance.now() - start) / 1000;
    const sum = (of: (run: Outcome) => number) =>
      runs.reduce((n, run) => n + of(run), 0);
    const plan = sumPlans(runs.map((run) => run.plan));
    const freedSlabs = sum((run) => run.freedSlabs);
    const moves = sum((run) => run.moves);
    return {
      plan,
      freedSlabs,
      moves,
      yield: plan.freeableSlabs === 0 ? 1 : freedSlabs / plan.freeableSlabs,
      moveEfficiency: moves === 0 ? 1 : sum((run) => run.fewestMoves) / moves,
      pinned: sum((run) => run.pinned),
      busy: sum((run) => run.busy),
      seconds,
      nodesPerSecond: seconds === 0 ? 0 : moves / seconds,
      lockHoldNanos: holdNanos(
        this.#movers.flatMap((mover) => mover.holdTimes.take()),
      ),
    };
  }

  /**
   * Makes a free block of 2^order pages by emptying the pages of the cheapest aligned window, where there is none. What is
   * deferred is freed first. If something in a window turns out to be pinned or busy, the next cheapest is tried.
   *
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  makeBlock(order: number): BlockResult {
    const start = performance.now();
    this.#settle();
    const cache = TreeMemory.of(this.#arena).movableNodes as MovableCache;
    let moves = 0, windows = 0, fewestMoves = 0;
    const { pages } = this.#arena;
    const isMade = () => pages.largestFreeOrder >= order;
    for (; !isMade() && windows < WINDOWS_TRIED; windows++) {
      const [window] = emptiableWindows({
        pages: pages.count,
        free: pages.freeBlocks(),
        slabs: cache.slabs(),
        capacity: cache.capacity,
      }, order).slice(windows);
      if (window === undefined) break;
      if (windows === 0) fewestMoves = window.moves;
      moves += this.#emptySlabs(cache, window.slabs).moves;
    }
    const seconds = (performance.now() - start) / 1000;
    return { made: isMade(), moves, fewestMoves, windows, seconds };
  }

  #movable(): MovableCache[] {
    return movableOf(Slabs.of(this.#arena).all());
  }

  /** Frees what is deferred and gives empty slabs back: what is left is fragmentation. */
  #settle(): void {
    this.#arena.rcu.barrier();
    for (const cache of this.#movable()) cache.shrink();
    this.#arena.rcu.barrier();
  }

  #evacuate(cache: MovableCache): Outcome {
    const slabs = cache.slabs();
    const plan = planCompaction(slabs, cache.capacity);
    const chosen = emptiestFirst(slabs).slice(0, plan.freeableSlabs);
    const emptied = this.#emptySlabs(cache, chosen.map((slab) => slab.pfn));
    return {
      plan,
      ...emptied,
      fewestMoves: fewestMoves(slabs, emptied.freedSlabs),
    };
  }

  /**
   * Empties slabs, and waits until what was moved is freed. Slabs that did not become empty are put back, also where it fails.
   */
  #emptySlabs(cache: MovableCache, slabs: readonly number[]): Emptied {
    const evacuation = new Evacuation(this.#arena, cache, slabs);
    let freedSlabs = 0;
    try {
      try {
        evacuation.step();
      } finally {
        evacuation.finish();
      }
      this.#arena.rcu.barrier();
      // In debug mode, what was freed is still in quarantine.
      cache.shrink();
      this.#arena.rcu.barrier();
    } finally {
      freedSlabs = evacuation.unisolate();
    }
    const { moves, pinned, busy } = evacuation;
    return { freedSlabs, moves, pinned, busy };
  }
}

function sumPlans(plans: readonly CompactionPlan[]): CompactionPlan {
  const sum = (of: (plan: CompactionPlan) => number) =>
    plans.reduce((n, plan) => n + of(plan), 0);
  return {
    slabs: sum((plan) => plan.slabs),
    objects: sum((plan) => plan.objects),
    freeableSlabs: sum((plan) => plan.freeableSlabs),
    fewestMoves: sum((plan) => plan.fewestMoves),
  };
}
