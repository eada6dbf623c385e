/**
 * Workload: how long the tree's lock is held for the move of a node, and how long for a store that splits a leaf.
 *
 * Both are measured in one process on one tree: first it is compacted, and the compactor times every 32nd of its holds; then
 * ranges are stored until as many leaves have been split, and those holds are timed. Both are timed in the same way, from
 * behind the taking of the lock to before its release. What two readings of the clock take by themselves is taken off.
 *
 * @module
 */
import { Compactor, type RangeTree } from "../mod.ts";
import { type HoldNanos, holdNanos } from "../src/defrag/hold_times.ts";
import { rootOf } from "../src/range_tree/header.ts";
import {
  countOf,
  heightOf,
  heldSlotOf,
  maxSlots,
  slotFor,
} from "../src/range_tree/node.ts";
import type { Arena } from "../src/memory/arena.ts";
import { fragmented } from "./fragmented.ts";
import { changeOrder, GAPPED, SPAN } from "./keys.ts";
import { hashOfTree, onlyArenaFor } from "./trees.ts";
import { type Outcome, runVariant } from "./variant.ts";

/** The compactor times one hold of so many. */
const TIMED = 32;
/** Slots that a range takes inside a gap: itself, and one half of the gap. */
const SLOTS_A_RANGE = 2;
const CLOCK_READINGS = 10_000;

function holds(ranges: number, largest: number): Outcome {
  const { arena, kept } = fragmented(ranges, onlyArenaFor(2 * largest));
  const result = new Compactor(arena).run();
  const samples = Math.ceil(result.moves / TIMED);
  const splits = holdNanos(timeSplits(arena, kept, ranges, samples));
  const clock = clockNanos();
  kept.validate();
  const hash = hashOfTree(kept);
  kept.destroy();
  return {
    hash,
    figures: {
      samples,
      clock,
      ...named("split", splits, clock),
      ...named("move", result.lockHoldNanos, clock),
    },
  };
}

function named(
  name: string,
  { p50, p99, max }: HoldNanos,
  clock: number,
): Record<string, number> {
  const net = (nanos: number) => Math.max(1, nanos - clock);
  return {
    [`${name}P50`]: net(p50),
    [`${name}P99`]: net(p99),
    [`${name}Max`]: net(max),
  };
}

/** Stores ranges in gaps at random until so many leaves were split; how long the lock was held for those, in milliseconds. */
function timeSplits(
  arena: Arena,
  tree: RangeTree,
  ranges: number,
  wanted: number,
): number[] {
  const { nodes } = tree.stats();
  const millis: number[] = [];
  const cursor = tree.cursor();
  const order = changeOrder(ranges, 0);
  for (let i = 0; i < ranges && millis.length < wanted; i++) {
    const first = order[i] * SPAN + GAPPED + 1;
    using _guard = tree.lock();
    const isFull = slotsAt(arena, tree, first) + SLOTS_A_RANGE >
      maxSlots(0, false);
    cursor.setRange(first, first + 1);
    const start = performance.now();
    cursor.store(order[i] + 1);
    const end = performance.now();
    if (isFull) millis.push(end - start);
  }
  const grown = tree.stats().nodes - nodes;
  if (millis.length < wanted || grown < wanted) {
    throw new Error(
      `Cannot measure ${wanted} splits: found ${millis.length}, which added ${grown} nodes`,
    );
  }
  return millis;
}

/** How many slots the leaf of an index uses. Under the tree's lock. */
function slotsAt(
  { words, doubles }: Arena,
  tree: RangeTree,
  index: number,
): number {
  let node = rootOf(words, tree.ref);
  while (heightOf(words, node) > 0) {
    node = heldSlotOf(words, node, slotFor(doubles, node, index));
  }
  return countOf(words, node);
}

/** What reading the clock twice takes, in the middle. */
function clockNanos(): number {
  const millis: number[] = [];
  for (let i = 0; i < CLOCK_READINGS; i++) {
    const start = performance.now();
    millis.push(performance.now() - start);
  }
  return holdNanos(millis).p50;
}

if (import.meta.main) await runVariant({ tree: holds });
