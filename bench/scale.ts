/**
 * Workload: how the time of an operation grows with the number of ranges: build, look up, check, compact.
 *
 * An operation touches one node a level, so the work grows as the height does. The time does not do so by itself: a node
 * of a large tree is not in a cache. So beside the look-up at random, which waits for memory, stands the one in ascending
 * order, which does not; and what a read of as much memory at random costs is measured too.
 *
 * @module
 */
import { Compactor } from "../mod.ts";
import { Random } from "../src/experiment/random.ts";
import { emptyMixed, storeInBoth } from "./fragmented.ts";
import { ascendingIndices, emptyHash, fold, randomIndices } from "./keys.ts";
import { onlyArenaFor } from "./trees.ts";
import { nanosEach, type Outcome, runVariant } from "./variant.ts";

const NODE_BYTES = 256;
const CELL_WORDS = 16;

function scale(ranges: number, largest: number): Outcome {
  // The smallest trees are smaller than those that it warms up with.
  const mixed = emptyMixed(ranges, onlyArenaFor(2 * Math.max(ranges, largest)));
  const { arena, kept, other } = mixed;
  let start = performance.now();
  storeInBoth(mixed, ranges);
  const build = nanosEach(start, 2 * ranges);
  const { height, nodes } = kept.stats();

  const random = timeLoads((index) => kept.load(index), randomIndices(ranges));
  const ascending = timeLoads(
    (index) => kept.load(index),
    ascendingIndices(ranges),
  );
  start = performance.now();
  kept.validate();
  const validate = nanosEach(start, ranges);

  other.destroy();
  const result = new Compactor(arena).run();
  kept.validate();
  kept.destroy();
  return {
    hash: random.hash ^ ascending.hash,
    figures: {
      height,
      nodes,
      build: build / height,
      loadRandom: random.nanos / height,
      loadAscending: ascending.nanos / height,
      validate: validate / height,
      compact: result.seconds * 1e9 / result.moves / height,
      randomRead: timeRandomReads(nodes * NODE_BYTES),
      yield: result.yield,
      moveEfficiency: result.moveEfficiency,
    },
  };
}

function timeLoads(
  load: (index: number) => number,
  indices: Int32Array,
): { nanos: number; hash: number } {
  const start = performance.now();
  let hash = emptyHash();
  for (let i = 0; i < indices.length; i++) hash = fold(hash, load(indices[i]));
  return { nanos: nanosEach(start, indices.length), hash };
}

/** What a read costs that needs the read before it, in that much memory: each cache line names the next one. */
function timeRandomReads(bytes: number): number {
  const words = new Int32Array(bytes / 4);
  const cells = words.length / CELL_WORDS;
  const order = Int32Array.from({ length: cells }, (_, i) => i);
  new Random(1).shuffle(order);
  for (let i = 0; i < cells; i++) {
    words[order[i] * CELL_WORDS] = order[(i + 1) % cells] * CELL_WORDS;
  }
  const start = performance.now();
  let at = 0;
  for (let i = 0; i < cells; i++) at = words[at];
  const nanos = nanosEach(start, cells);
  if (at !== 0) throw new Error("Cannot measure: the cells are no cycle");
  return nanos;
}

if (import.meta.main) await runVariant({ tree: scale });
