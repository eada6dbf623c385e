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
import type { Mover, SlabCache } from "../slab/slab_cache.ts";
import { Slabs } from "../slab/slabs.ts";
import { type HoldNanos, holdNanos } from "./hold_times.ts";
import {
  type CompactionPlan,
  emptiestFirst,
  fewestMoves,
  planCompaction,
} from "./planner.ts";
import { NodeMover } from "./relocate.ts";

/** How often the objects that were busy are tried again. */
const PASSES = 4;

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

/** A cache whose objects can be moved. */
type MovableCache = SlabCache & { readonly mover: Mover };

/** What a run did to one cache. */
interface Evacuation {
  readonly plan: CompactionPlan;
  readonly freedSlabs: number;
  readonly fewestMoves: number;
  readonly moves: number;
  readonly pinned: number;
  readonly busy: number;
}

/** What became of the objects of the slabs that were chosen. */
interface Tally {
  moves: number;
  pinned: number;
  busy: number;
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
    this.#arena = arena;
    const { movableNodes, pinnedNodes } = TreeMemory.of(arena);
    this.#movers = [movableNodes, pinnedNodes].map((cache) => {
      const mover = new NodeMover(arena, cache);
      cache.mover = mover;
      return mover;
    });
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
    const runs = this.#movable().map((cache) =>
      this.#evacuate(cache, cache.mover)
    );
    const seconds = (performance.now() - start) / 1000;
    const sum = (of: (run: Evacuation) => number) =>
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

  /** The caches whose owners have made their objects movable. */
  #movable(): MovableCache[] {
    return Slabs.of(this.#arena).all().filter((cache): cache is MovableCache =>
      cache.mover !== undefined
    );
  }

  /** Frees what is deferred and gives empty slabs back: what is left is fragmentation. */
  #settle(): void {
    this.#arena.rcu.barrier();
    for (const cache of this.#movable()) cache.shrink();
    this.#arena.rcu.barrier();
  }

  #evacuate(cache: SlabCache, mover: Mover): Evacuation {
    const slabs = cache.slabs();
    const plan = planCompaction(slabs, cache.capacity);
    const chosen = emptiestFirst(slabs).slice(0, plan.freeableSlabs).map((
      slab,
    ) => slab.pfn)
      .filter((pfn) => cache.isolate(pfn));
    const tally: Tally = { moves: 0, pinned: 0, busy: 0 };
    let left = chosen;
    for (let pass = 0; pass < PASSES && left.length > 0; pass++) {
      tally.busy = 0;
      left = left.filter((pfn) => {
        // One read section for a slab's objects: the sections of the single moves nest in it for nothing.
        const busy = this.#inSection(() =>
          this.#empty(cache, mover, pfn, tally)
        );
        // Moved objects keep their slab until they are freed; batches of them are freed on the way.
        this.#arena.rcu.poll();
        return busy > 0;
      });
    }
    mover.finish();
    this.#arena.rcu.barrier();
    // In debug mode, what was freed is still in quarantine.
    cache.shrink();
    this.#arena.rcu.barrier();
    const ours = new Set(chosen);
    const kept = cache.isolatedSlabs()
      .filter((pfn) => ours.has(pfn) && cache.unisolate(pfn)).length;
    const freedSlabs = chosen.length - kept;
    return {
      plan,
      freedSlabs,
      fewestMoves: fewestMoves(slabs, freedSlabs),
      ...tally,
    };
  }

  #inSection<T>(section: () => T): T {
    this.#arena.rcu.readLock();
    try {
      return section();
    } finally {
      this.#arena.rcu.readUnlock();
    }
  }

  /** Moves a slab's objects out; returns how many are worth another try. */
  #empty(
    cache: SlabCache,
    mover: Mover,
    pfn: number,
    tally: Tally,
  ): number {
    let busy = 0;
    const objects = cache.objectsOf(pfn);
    mover.prepare(objects.length);
    for (const ref of objects) {
      const outcome = mover.relocate(ref);
      if (outcome === "moved") tally.moves++;
      else if (outcome === "busy") busy++;
      else if (outcome === "pinned") {
        // One pinned object keeps the slab, so moving the others would win nothing.
        tally.pinned += cache.objectsOf(pfn).filter((object) =>
          mover.isPinned(object)
        ).length;
        return 0;
      }
    }
    tally.busy += busy;
    return busy;
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
