/**
 * The compactor: empties slabs of a cache by moving their objects into the others, so that whole pages go back to the page
 * allocator.
 *
 * One run over a cache: free what is deferred, plan, isolate the slabs that the policy chooses, by default the `k*` emptiest
 * (they take no new objects from here on, so a move never lands in a slab that is being emptied), move their objects, go back
 * to the busy ones a few times, wait until a grace period has passed for all of them, and put the slabs that did not become
 * empty back. No lock is held between moves, and none is waited for longer than a store takes.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { Slabs } from "../slab/slabs.ts";
import { Evacuation, type MovableCache, movableOf } from "./evacuation.ts";
import { type HoldNanos, holdNanos, HoldTimes } from "./hold_times.ts";
import { type CompactionPlan, fewestMoves, planOf } from "./planner.ts";
import { type CompactionPolicy, greedy } from "./policies.ts";
import { NodeMover } from "./relocate.ts";
import { SlabAges, slabWorldOf, windowMemoryOf } from "./slab_world.ts";
import { type Contiguity, contiguityOf, emptiableWindows } from "./windows.ts";

/** How a compactor works. */
export interface CompactorOptions {
  /**
   * What is emptied.
   *
   * @default {greedy}
   */
  policy?: CompactionPolicy;
}

/** What a run won, and how near it came to the optimum. */
export interface CompactionResult {
  /** The name of the policy. */
  readonly policy: string;
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
  /** Free blocks that were made, by order from 0 to 10, of the slabs whose objects can be moved. */
  readonly contiguity: readonly Contiguity[];
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
  readonly #policy: CompactionPolicy;
  readonly #movers: NodeMover[];
  readonly #ages = new Map<SlabCache, SlabAges>();

  /**
   * Gives the caches of range-tree nodes a mover, and stores that may wait for memory a way to win it back.
   *
   * @throws {TypeError} If the policy is none.
   */
  constructor(arena: Arena, options: CompactorOptions = {}) {
    const policy = options.policy ?? greedy;
    assertPolicy(policy);
    Slabs.of(arena).compact = () => void this.#compact();
    arena.setBlockMaker((order) => this.makeBlock(order).made);
    this.#arena = arena;
    this.#policy = policy;
    this.#movers = NodeMover.allOf(arena);
  }

  /** The optimum for the slabs as they are now. Frees what is deferred first. */
  plan(): CompactionPlan {
    this.#settle();
    return sumPlans(
      this.#movable().map((cache) =>
        planOf(cache.slabsByOccupancy(), cache.capacity)
      ),
    );
  }

  /**
   * Compacts all caches once.
   *
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  run(): CompactionResult {
    const holdTimes = this.#timeHolds();
    const start = performance.now();
    this.#settle();
    const settled = performance.now();
    const { leaves } = TreeMemory.of(this.#arena).movableNodes;
    const before = windowMemoryOf(this.#arena, leaves, leaves.slabs());
    const looked = performance.now();
    const runs = this.#evacuateAll();
    // What is looked at for the report is none of the run's work.
    const seconds = (performance.now() - looked + settled - start) / 1000;
    const sum = (of: (run: Outcome) => number) =>
      runs.reduce((n, run) => n + of(run), 0);
    const plan = sumPlans(runs.map((run) => run.plan));
    const freedSlabs = sum((run) => run.freedSlabs);
    const moves = sum((run) => run.moves);
    return {
      policy: this.#policy.name,
      plan,
      freedSlabs,
      moves,
      yield: plan.freeableSlabs === 0 ? 1 : freedSlabs / plan.freeableSlabs,
      moveEfficiency: moves === 0 ? 1 : sum((run) => run.fewestMoves) / moves,
      pinned: sum((run) => run.pinned),
      busy: sum((run) => run.busy),
      seconds,
      nodesPerSecond: seconds === 0 ? 0 : moves / seconds,
      lockHoldNanos: holdNanos(holdTimes.samples()),
      contiguity: contiguityOf(before, this.#arena.pages.freeBlocks()),
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
    this.#timeHolds();
    this.#settle();
    const [leaves, inner] = movableOf(
      TreeMemory.of(this.#arena).movableNodes.all,
    );
    let moves = 0, fewestMoves = 0;
    const tried = new Set<number>();
    const { pages } = this.#arena;
    const isMade = () => pages.largestFreeOrder >= order;
    while (!isMade() && tried.size < WINDOWS_TRIED) {
      const memory = windowMemoryOf(this.#arena, leaves, leaves.slabs());
      const window = emptiableWindows(memory, order)
        .find(({ pfn }) => !tried.has(pfn));
      if (window === undefined) break;
      if (tried.size === 0) fewestMoves = window.moves;
      tried.add(window.pfn);
      const { pfn, slabs, slabsLacking, beside, besideLacking } = window;
      const end = pfn + 2 ** order;
      leaves.addSlabsOutside(pfn, end, slabsLacking);
      moves += this.#emptySlabs(leaves, slabs).moves;
      inner.addSlabsOutside(pfn, end, besideLacking);
      moves += this.#emptySlabs(inner, beside).moves;
    }
    const seconds = (performance.now() - start) / 1000;
    return { made: isMade(), moves, fewestMoves, windows: tried.size, seconds };
  }

  /** As {@linkcode Compactor.run}, for those who want no report. */
  #compact(): void {
    this.#settle();
    this.#evacuateAll();
  }

  #evacuateAll(): Outcome[] {
    return this.#movable().map((cache) => this.#evacuate(cache));
  }

  /** Has the moves from now on timed apart from those of the thread's other compactors. */
  #timeHolds(): HoldTimes {
    const holdTimes = new HoldTimes();
    for (const mover of this.#movers) mover.holdTimes = holdTimes;
    return holdTimes;
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
    const slabsByOccupancy = cache.slabsByOccupancy();
    const plan = planOf(slabsByOccupancy, cache.capacity);
    const { freeableSlabs } = plan;
    const chosen = this.#policy.choose(slabWorldOf(this.#arena, cache, {
      freeableSlabs,
      slabsWanted: freeableSlabs,
      ages: this.#agesOf(cache),
    })).slice(0, freeableSlabs);
    const emptied = this.#emptySlabs(cache, chosen);
    return {
      plan,
      ...emptied,
      fewestMoves: fewestMoves(slabsByOccupancy, emptied.freedSlabs),
    };
  }

  #agesOf(cache: SlabCache): SlabAges {
    const ages = this.#ages.get(cache) ?? new SlabAges();
    this.#ages.set(cache, ages);
    return ages;
  }

  /**
   * Empties slabs, and waits until what was moved is freed. Slabs that did not become empty are put back, also where it fails.
   */
  #emptySlabs(cache: MovableCache, slabs: readonly number[]): Emptied {
    if (slabs.length === 0) {
      return { freedSlabs: 0, moves: 0, pinned: 0, busy: 0 };
    }
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

/** Asserts that a policy is one: what has no type may be its name. */
function assertPolicy(policy: CompactionPolicy): void {
  if (typeof policy.choose === "function") return;
  throw new TypeError(
    `Cannot compact by policy ${
      JSON.stringify(policy)
    }: it has no function "choose", as policies.greedy has`,
  );
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
