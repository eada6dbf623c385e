/**
 * Workload: compacting slabs that are half empty, on one thread, uncontended.
 *
 * @module
 */
import { type Arena, Compactor } from "../mod.ts";
import { TreeMemory } from "../src/range_tree/tree_memory.ts";
import { fragmented } from "./fragmented.ts";
import { hashOfTree, onlyArenaFor } from "./trees.ts";
import { type Outcome, runVariant } from "./variant.ts";

function relocate(ranges: number, largest: number): Outcome {
  const { arena, kept } = fragmented(ranges, onlyArenaFor(2 * largest));
  const occupancy = occupancyOf(arena);
  const compactor = new Compactor(arena);
  const hash = hashOfTree(kept);
  const result = compactor.run();
  kept.validate();
  if (hashOfTree(kept) !== hash) {
    throw new Error(
      "Cannot go on: the tree reads differently after compaction",
    );
  }
  kept.destroy();
  return {
    hash,
    figures: {
      occupancy,
      moves: result.moves,
      nodesPerSecond: result.nodesPerSecond,
      yield: result.yield,
      moveEfficiency: result.moveEfficiency,
      holdNanosP50: result.lockHoldNanos.p50,
      holdNanosP99: result.lockHoldNanos.p99,
    },
  };
}

/** The share of the nodes' slabs that is in use. */
function occupancyOf(arena: Arena): number {
  const { movableNodes } = TreeMemory.of(arena);
  const { objects, slabs } = movableNodes.usage();
  return objects / (slabs * movableNodes.leaves.capacity);
}

if (import.meta.main) await runVariant({ tree: relocate });
