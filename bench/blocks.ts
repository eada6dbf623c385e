/**
 * Workload: large blocks of pages out of slabs that are half empty: how long it takes until an allocation that failed
 * succeeds, and how much of what an ordinary compaction frees lies in blocks of an order.
 *
 * @module
 */
import {
  type Arena,
  type CompactionPolicy,
  Compactor,
  OutOfMemoryError,
  policies,
} from "../mod.ts";
import { TreeMemory } from "../src/range_tree/tree_memory.ts";
import { fragmented } from "./fragmented.ts";
import { hashOfTree } from "./trees.ts";
import { medianOf, type Outcome, runVariant, type Variant } from "./variant.ts";

/** A huge page of 2 MiB. */
const HUGE_ORDER = 9;
/** Blocks that are allocated at most, one after the other. */
const BLOCKS = 4;
/** The slabs of so many blocks must be there: half of them hold the objects of the others. */
const BLOCKS_AT_LEAST = 4;
/** The orders that the contiguity is told of. */
export const ORDERS = [1, 3, 5, 7, 9];

function blocks(ranges: number): Outcome {
  const { arena, kept } = fragmented(ranges);
  const { slabs } = settle(arena);
  const order = largestOrder(slabs);
  takeAll(arena, order);
  const compactor = new Compactor(arena);
  let moves = 0, fewestMoves = 0;
  arena.setBlockMaker((order) => {
    const result = compactor.makeBlock(order);
    moves += result.moves;
    fewestMoves += result.fewestMoves;
    return result.made;
  });
  const millis: number[] = [];
  while (millis.length < BLOCKS) {
    const start = performance.now();
    if (!allocates(arena, order)) break;
    millis.push(performance.now() - start);
  }
  if (millis.length === 0) {
    throw new Error(`Cannot make a block of order ${order}`);
  }
  kept.validate();
  return {
    hash: hashOfTree(kept),
    figures: {
      order,
      blocks: millis.length,
      millis: medianOf(millis),
      longestMillis: Math.max(...millis),
      moves: moves / millis.length,
      efficiency: moves === 0 ? 1 : fewestMoves / moves,
    },
  };
}

/** Compacts for blocks of an order, and says of every order how many there are of those that there could be. */
function contiguity(policyFor: (order: number) => CompactionPolicy): Variant {
  return (ranges) => {
    const { arena, kept } = fragmented(ranges);
    const order = largestOrder(settle(arena).slabs);
    // What is free after the compaction is what it freed.
    takeAll(arena, 0);
    const compactor = new Compactor(arena, { policy: policyFor(order) });
    const { freedSlabs, moves, contiguity } = compactor.run();
    kept.validate();
    const shares = contiguity.map((each) => [`order${each.order}`, each.yield]);
    return {
      hash: hashOfTree(kept),
      figures: { freedSlabs, moves, ...Object.fromEntries(shares) },
    };
  };
}

/** The largest order of which there are slabs for some blocks, up to that of a huge page. */
function largestOrder(slabs: number): number {
  return Math.min(HUGE_ORDER, Math.floor(Math.log2(slabs / BLOCKS_AT_LEAST)));
}

/** Frees what is deferred and gives empty slabs back; says what is left. */
function settle(arena: Arena): { slabs: number } {
  const nodes = TreeMemory.of(arena).movableNodes;
  arena.rcu.barrier();
  nodes.shrink();
  arena.rcu.barrier();
  return nodes.usage();
}

/** Takes all free blocks of an order and above, for good. */
function takeAll(arena: Arena, order: number): void {
  while (arena.pages.tryAllocate(order, "unmovable") >= 0);
}

function allocates(arena: Arena, order: number): boolean {
  try {
    arena.allocPages(order);
    return true;
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    return false;
  }
}

if (import.meta.main) {
  await runVariant({
    blocks,
    greedy: contiguity(() => policies.greedy),
    windows: contiguity(policies.alignedWindows),
  });
}
