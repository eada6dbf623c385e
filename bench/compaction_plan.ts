/**
 * What is measured of compaction.
 *
 * @module
 */
import { formatCount } from "../src/report/numbers.ts";
import { ORDERS } from "./blocks.ts";
import {
  COMPACTION_WARM_UP,
  figure,
  figureOf,
  growth,
  scaled,
  subjects,
} from "./rows.ts";
import type { Goal, Round, Row, Workload } from "./workload.ts";

/** Compaction on one thread. */
export function relocateWorkload(ranges: number): Workload {
  return {
    name: "relocate",
    title: `compaction under a tree of ${formatCount(ranges)} ranges`,
    file: "relocate.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: subjects(ranges, ["tree"]),
    rows: [
      figure("nodes moved a second", "nodesPerSecond", { atLeast: 2e6 }),
      figure("yield", "yield", { atLeast: 1 }),
      figure("move efficiency", "moveEfficiency", { atLeast: 0.99 }),
      figure("occupancy before", "occupancy"),
      figure("moves", "moves"),
      figure("lock held, ns, p50", "holdNanosP50"),
      figure("lock held, ns, p99", "holdNanosP99"),
    ],
    note:
      "Smaller trees are compacted first, 20 of them, so that what is measured is compiled code.",
  };
}

/** Moving nodes beside a reader and a writer. */
export function liveWorkload(ranges: number): Workload {
  return {
    name: "relocate-live",
    title: `moving nodes under a tree of ${
      formatCount(ranges)
    } ranges in use by a reader and a writer`,
    file: "live.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: subjects(ranges, ["alone", "live"]),
    rows: [
      figureOf("nodes a second at work, alone", 0, "nodesPerSecond"),
      figureOf("nodes a second at work, live", 1, "nodesPerSecond", {
        atLeast: 1e6,
      }),
      quotient("live / alone", [1, "nodesPerSecond"], [0, "nodesPerSecond"]),
      figureOf("nodes a second that passes, live", 1, "wallNodesPerSecond"),
      figureOf("moves", 1, "moves"),
      figureOf("passes", 1, "passes"),
      figureOf("lookups meanwhile", 1, "lookups"),
      figureOf("changes meanwhile", 1, "changes"),
    ],
    note:
      'Three threads on two cores: the system interrupts the compactor, and the writer while it holds the lock. "At work": half of\n' +
      "the nodes were moved in slices of 0.2 ms that were faster. What is waited for shows in the time that passes.",
  };
}

/** Locks held for moves and for splits. */
export function holdsWorkload(ranges: number): Workload {
  const against = (label: string, name: string) =>
    quotient(label, [0, `move${name}`], [0, `split${name}`], { atMost: 1 });
  return {
    name: "holds",
    title: `the lock of a tree of ${formatCount(ranges)} ranges is held, ns`,
    file: "holds.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: subjects(ranges, ["tree"]),
    rows: [
      figure("a store that splits a leaf, p50", "splitP50"),
      figure("  p99", "splitP99"),
      figure("  longest", "splitMax"),
      figure("the move of a node, p50", "moveP50"),
      figure("  p99", "moveP99"),
      figure("  longest", "moveMax"),
      against("move / split, p50", "P50"),
      against("move / split, p99", "P99"),
      against("move / split, longest", "Max"),
      figure("holds that were timed, of each", "samples"),
      figure("two readings of the clock, taken off", "clock"),
    ],
    note:
      "On the same tree in the same process, timed in the same way, as many of the one as of the other: first the moves of a\n" +
      "compaction, of which every 32nd is timed, then ordinary stores at random, of which those are that find their leaf full.",
  };
}

/** Large blocks out of half-empty slabs. */
export function blocksWorkload(ranges: number): Workload {
  return {
    name: "blocks",
    title: `a large block of pages under a tree of ${
      formatCount(ranges)
    } ranges`,
    file: "blocks.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: subjects(ranges, ["blocks"]),
    rows: [
      figure("order", "order"),
      figure("ms until it is allocated", "millis"),
      figure("  the longest", "longestMillis"),
      figure("moves a block", "moves"),
      figure("fewest moves / moves", "efficiency", { atLeast: 0.99 }),
      figure("blocks allocated", "blocks"),
    ],
    note:
      "No such block is free when arena.allocPages() is called. The order is 9 where there are slabs enough for it.",
  };
}

/** How contiguous is what compaction frees. */
export function contiguityWorkload(ranges: number): Workload {
  return {
    name: "blocks",
    title: `contiguity of what a compaction under ${
      formatCount(ranges)
    } ranges frees`,
    file: "blocks.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: subjects(ranges, ["greedy", "windows"]),
    rows: [
      ...["emptiest slabs", "aligned windows"].flatMap((policy, subject) => [
        figureOf(`${policy}: pages freed`, subject, "freedSlabs"),
        figureOf("  nodes moved", subject, "moves"),
        ...ORDERS.map((order) =>
          figureOf(
            `  blocks of order ${order} / at best`,
            subject,
            `order${order}`,
          )
        ),
      ]),
    ],
    note:
      "At best: the most blocks that emptying slabs can make. The windows are of order 9, or what there are slabs for.",
  };
}

/** How everything grows with the number of ranges. */
export function scaleWorkload(ranges: number): Workload {
  const sizes = [ranges / 100, ranges / 10, ranges, ranges * 10].map(
    Math.round,
  );
  const perLevel = (label: string, name: string) => [
    ...sizes.map((size, i) =>
      figureOf(`${label}, ${formatCount(size)} ranges`, i, name)
    ),
    growth(`${label}, largest / smallest`, name, sizes.length - 1),
  ];
  return {
    name: "scale",
    title: "growth with the number of ranges, ns an operation and level",
    file: "scale.ts",
    warmUp: scaled(COMPACTION_WARM_UP, ranges),
    subjects: sizes.map((size) => ({ variant: "tree", ranges: size })),
    rows: [
      ...perLevel("load, ascending", "loadAscending"),
      ...perLevel("load, random", "loadRandom"),
      ...perLevel("store, random", "build"),
      ...perLevel("validate", "validate"),
      ...perLevel("compact", "compact"),
      ...sizes.map((size, i) =>
        figureOf(`height, ${formatCount(size)} ranges`, i, "height")
      ),
      ...perLevel("one random read, not by level", "randomRead"),
      figureOf("yield of the largest", sizes.length - 1, "yield"),
      figureOf(
        "move efficiency of the largest",
        sizes.length - 1,
        "moveEfficiency",
      ),
    ],
    note:
      "What goes in ascending order finds its nodes in a cache at every size and shows the work alone. What goes at random\n" +
      "waits for memory in a tree that exceeds the caches: the last block says what one read of so much memory costs.",
  };
}

/** How two figures compare, each given by its subject and its name. */
function quotient(
  label: string,
  [over, overName]: [number, string],
  [under, underName]: [number, string],
  goal?: Goal,
): Row {
  const value = (round: Round) =>
    round[over][overName] / round[under][underName];
  return { label, value, goal };
}
