/**
 * Workload: moving nodes while a reader and a writer use the tree from workers of their own.
 *
 * The three threads share two cores, so the time that passes is not all the compactor's. It works in slices, each timed; the
 * middle one tells how fast it moves nodes while it is at work, as long as the system interrupts less than half of them.
 *
 * @module
 */
import { Compactor, type RangeTree } from "../mod.ts";
import { Evacuation, type MovableCache } from "../src/defrag/evacuation.ts";
import { TreeMemory } from "../src/range_tree/tree_memory.ts";
import { store } from "../src/sync/atomics.ts";
import { fragmented } from "./fragmented.ts";
import type { LiveAnswer, LiveCommand } from "./live_worker.ts";
import { hashOfTree } from "./trees.ts";
import { medianOf, type Outcome, runVariant, type Variant } from "./variant.ts";
import { BenchWorker } from "./worker.ts";

const SLICE_MILLIS = 0.2;

function relocate(roles: readonly LiveCommand["role"][]): Variant {
  return async (ranges) => {
    const { arena, kept } = fragmented(ranges);
    const compactor = new Compactor(arena);
    const signals = new Int32Array(new SharedArrayBuffer(64));
    using workers = new DisposableStack();
    const started = roles.map((role) => {
      const worker = workers.use(new BenchWorker("live_worker.ts"));
      const { buffer } = arena, { ref: tree } = kept;
      worker.port.postMessage({ role, buffer, tree, ranges, signals });
      return worker;
    });
    for (const worker of started) await worker.answer();
    const { freeableSlabs } = compactor.plan();
    const nodes = TreeMemory.of(arena).movableNodes as MovableCache;
    const evacuation = new Evacuation(
      arena,
      nodes,
      nodes.emptiestSlabs(freeableSlabs),
    );
    const figures = timeSlices(evacuation);
    store(signals, 0, 1);
    const operations: number[] = [];
    for (const worker of started) {
      operations.push((await worker.answer<LiveAnswer>()).operations);
    }
    arena.rcu.barrier();
    evacuation.unisolate();
    const [lookups = 0, changes = 0] = operations;
    return outcome(kept, { ...figures, lookups, changes });
  };
}

/** Moves all that is to be moved. */
function timeSlices(evacuation: Evacuation): Record<string, number> {
  const rates: number[] = [];
  const begin = performance.now();
  let start = begin, moves = 0, hasMore = true;
  while (hasMore) {
    hasMore = evacuation.step(start + SLICE_MILLIS);
    const end = performance.now();
    rates.push((evacuation.moves - moves) / (end - start) * 1000);
    start = end;
    moves = evacuation.moves;
  }
  evacuation.finish();
  const seconds = (performance.now() - begin) / 1000;
  return {
    moves,
    nodesPerSecond: medianOf(rates),
    wallNodesPerSecond: moves / seconds,
  };
}

function outcome(
  tree: RangeTree,
  figures: Record<string, number>,
): Outcome {
  tree.validate();
  return { hash: hashOfTree(tree), figures };
}

if (import.meta.main) {
  await runVariant({
    alone: relocate([]),
    live: relocate(["reader", "writer"]),
  });
}
