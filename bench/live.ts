/**
 * Workload: moving nodes while a reader and a writer use the tree from workers of their own.
 *
 * The three threads share two cores, so the time that passes is not all the compactor's, and while the system interrupts the
 * writer under its lock, no node can be moved at all. The compactor works in slices, each timed: half of the nodes are moved
 * in slices that are faster than the figure, half in slower ones, interrupted ones among them. Where a pass found the tree
 * locked, another one follows.
 *
 * @module
 */
import { type Arena, Compactor, type RangeTree } from "../mod.ts";
import {
  Evacuation,
  type MovableCache,
  movableOf,
} from "../src/defrag/evacuation.ts";
import { planOf } from "../src/defrag/planner.ts";
import { TreeMemory } from "../src/range_tree/tree_memory.ts";
import { store } from "../src/sync/atomics.ts";
import { fragmented } from "./fragmented.ts";
import type { LiveAnswer, LiveCommand } from "./live_worker.ts";
import { hashOfTree, onlyArenaFor } from "./trees.ts";
import { type Outcome, runVariant, type Variant } from "./variant.ts";
import { BenchWorker } from "./worker.ts";

const SLICE_MILLIS = 0.2;
/** It is over when so small a share of what could be freed at first can be freed still: the writer makes new holes. */
const FREEABLE_LEFT = 0.05;
const MOST_PASSES = 64;

interface Slice {
  readonly moves: number;
  readonly millis: number;
}

function relocate(roles: readonly LiveCommand["role"][]): Variant {
  return async (ranges, largest) => {
    const { arena, kept } = fragmented(ranges, onlyArenaFor(2 * largest));
    const compactor = new Compactor(arena);
    const signals = new Int32Array(new SharedArrayBuffer(64));
    using workers = new DisposableStack();
    const started = roles.map((role) => {
      const worker = workers.use(new BenchWorker("live_worker.ts"));
      const { shared: memory } = arena, { ref: tree } = kept;
      worker.port.postMessage({ role, memory, tree, ranges, signals });
      return worker;
    });
    for (const worker of started) await worker.answer();
    const figures = moveAll(arena, compactor);
    store(signals, 0, 1);
    const operations: number[] = [];
    for (const worker of started) {
      operations.push((await worker.answer<LiveAnswer>()).operations);
    }
    const [lookups = 0, changes = 0] = operations;
    return outcome(kept, { ...figures, lookups, changes });
  };
}

/** Moves nodes in passes until nearly nothing is left to win. */
function moveAll(arena: Arena, compactor: Compactor): Record<string, number> {
  const caches = movableOf(TreeMemory.of(arena).movableNodes.all);
  const slices: Slice[] = [];
  const start = performance.now();
  let { freeableSlabs } = compactor.plan();
  const enough = freeableSlabs * FREEABLE_LEFT;
  let passes = 0;
  for (; freeableSlabs > enough && passes < MOST_PASSES; passes++) {
    for (const cache of caches) slices.push(...empty(arena, cache));
    ({ freeableSlabs } = compactor.plan());
  }
  const seconds = (performance.now() - start) / 1000;
  const moves = slices.reduce((sum, slice) => sum + slice.moves, 0);
  return {
    passes,
    moves,
    nodesPerSecond: middleRate(slices, moves),
    wallNodesPerSecond: moves / seconds,
  };
}

/** Moves the nodes of all slabs of a cache that can be freed, the emptiest first. */
function empty(arena: Arena, cache: MovableCache): Slice[] {
  const plan = planOf(cache.slabsByOccupancy(), cache.capacity);
  const chosen = cache.emptiestSlabs(plan.freeableSlabs);
  const evacuation = new Evacuation(arena, cache, chosen);
  const slices = timeSlices(evacuation);
  arena.rcu.barrier();
  evacuation.unisolate();
  return slices;
}

function timeSlices(evacuation: Evacuation): Slice[] {
  const slices: Slice[] = [];
  let start = performance.now(), moves = 0, hasMore = true;
  while (hasMore) {
    hasMore = evacuation.step(start + SLICE_MILLIS);
    const end = performance.now();
    slices.push({ moves: evacuation.moves - moves, millis: end - start });
    start = end;
    moves = evacuation.moves;
  }
  evacuation.finish();
  return slices;
}

/** The rate of the slice in which the middle one of all nodes was moved, when they are ordered by rate; 0 if none was. */
function middleRate(slices: readonly Slice[], moves: number): number {
  const rate = (slice: Slice) => slice.moves / slice.millis * 1000;
  let before = 0;
  for (const slice of slices.toSorted((a, b) => rate(a) - rate(b))) {
    before += slice.moves;
    if (before > moves / 2) return rate(slice);
  }
  return 0;
}

function outcome(
  tree: RangeTree,
  figures: Record<string, number>,
): Outcome {
  tree.validate();
  const hash = hashOfTree(tree);
  tree.destroy();
  return { hash, figures };
}

if (import.meta.main) {
  await runVariant({
    alone: relocate([]),
    live: relocate(["reader", "writer"]),
  });
}
