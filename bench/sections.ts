/**
 * Workload: what entering and leaving an RCU read section costs, alone and while another thread ends grace periods, which
 * looks at the word that every section writes.
 *
 * @module
 */
import { type Arena, RangeTree } from "../mod.ts";
import { store } from "../src/sync/atomics.ts";
import { emptyHash, fold, GAPPED, randomIndices, storeOrder } from "./keys.ts";
import { onlyArenaFor, storeAll } from "./trees.ts";
import { nanosEach, type Outcome, runVariant } from "./variant.ts";
import { BenchWorker } from "./worker.ts";

/** Sections that are entered for each range. */
const SECTIONS = 4;

function alone(ranges: number, largest: number): Outcome {
  const { arena, tree } = filled(ranges, largest);
  const outcome = measured(arena, tree, ranges);
  tree.destroy();
  return outcome;
}

async function observed(ranges: number, largest: number): Promise<Outcome> {
  const { arena, tree } = filled(ranges, largest);
  const signals = new Int32Array(new SharedArrayBuffer(64));
  using worker = new BenchWorker("live_worker.ts");
  worker.port.postMessage({
    role: "synchronizer",
    memory: arena.shared,
    tree: tree.ref,
    ranges,
    signals,
  });
  await worker.answer();
  const outcome = measured(arena, tree, ranges);
  store(signals, 0, 1);
  await worker.answer();
  tree.destroy();
  return outcome;
}

function filled(
  ranges: number,
  largest: number,
): { arena: Arena; tree: RangeTree } {
  const arena = onlyArenaFor(largest);
  const tree = RangeTree.create(arena, { rcu: true });
  storeAll(tree, storeOrder(ranges), GAPPED);
  return { arena, tree };
}

function measured(arena: Arena, tree: RangeTree, ranges: number): Outcome {
  const section = timeSections(arena, ranges * SECTIONS);
  arena.rcu.readLock();
  const nested = timeSections(arena, ranges * SECTIONS);
  arena.rcu.readUnlock();
  const indices = randomIndices(ranges);
  const start = performance.now();
  let hash = emptyHash();
  for (let i = 0; i < ranges; i++) hash = fold(hash, tree.load(indices[i]));
  const load = nanosEach(start, ranges);
  return { hash, figures: { section, nested, load } };
}

function timeSections({ rcu }: Arena, sections: number): number {
  const start = performance.now();
  for (let i = 0; i < sections; i++) {
    rcu.readLock();
    rcu.readUnlock();
  }
  return nanosEach(start, sections);
}

if (import.meta.main) await runVariant({ alone, observed });
