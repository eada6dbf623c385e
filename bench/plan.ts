/**
 * What is measured, what it is compared with, and what it is to reach.
 *
 * @module
 */
import { formatCount } from "../src/report/numbers.ts";
import { speedWorkloads } from "./speed_plan.ts";
import type { Figures } from "./variant.ts";

/** What a row is to reach. */
export type Goal =
  | { readonly atLeast: number }
  | { readonly atMost: number }
  | { readonly below: number };

/** One variant at one size: a process. */
export interface Subject {
  /** The variant's name in its file. */
  readonly variant: string;
  /** How many ranges. */
  readonly ranges: number;
}

/** The figures of one round, by subject in the order of the workload. */
export type Round = readonly Figures[];

/** Where a value stands in tables of many columns. */
export interface Cell {
  /** The heading of its table. */
  readonly block: string;
  /** Its line in there. */
  readonly line: string;
  /** Its column. */
  readonly column: string;
}

/** One line of a workload's table. */
export interface Row {
  /** What it says. */
  readonly label: string;
  /** Its place, if all rows of the workload are cells. */
  readonly cell?: Cell;
  /**
   * Its value in one round: only figures of the same round are compared. None if a variant has no such figure; then a cell
   * stays empty, and anything else is a mistake.
   */
  value(round: Round): number | undefined;
  /** What it is to reach. */
  readonly goal?: Goal;
}

/** What a process does before it measures. */
export interface WarmUp {
  /** How many ranges. */
  readonly ranges: number;
  /** How often. */
  readonly times: number;
}

/** Variants that run by turns, and the table that comes of them. */
export interface Workload {
  /** For `--only`. Several may share one. */
  readonly name: string;
  /** The heading. */
  readonly title: string;
  /** The file whose variants these are. */
  readonly file: string;
  /** What each of their processes does first. */
  readonly warmUp: WarmUp;
  /** What runs, in this order, in every round. */
  readonly subjects: readonly Subject[];
  /** The table. */
  readonly rows: readonly Row[];
  /** What one must know to read it. */
  readonly note?: string;
}

/** Enough for loops of loads and stores to be compiled. */
const LOOP_WARM_UP = { ranges: 20_000, times: 1 };
/** Compaction moves few nodes a range, so it takes more. (Measured: once leaves it a third slower than five times.) */
const COMPACTION_WARM_UP = { ranges: 200_000, times: 5 };
const LOCKDEP_GOAL: Goal = { below: 1.15 };

/** All workloads for trees of so many ranges. */
export function workloadsFor(ranges: number): Workload[] {
  return [
    loadWorkload(ranges, "packed"),
    loadWorkload(ranges, "gapped"),
    storeWorkload(ranges, "packed"),
    storeWorkload(ranges, "gapped"),
    lockWorkload(ranges),
    lockdepStoreWorkload(ranges),
    lockdepLoadWorkload(ranges),
    relocateWorkload(ranges),
    scaleWorkload(ranges),
    vaWorkload(ranges),
    vaWorkload(Math.min(ranges, VA_RANGES)),
    ...speedWorkloads(ranges),
  ];
}

function loadWorkload(ranges: number, layout: string): Workload {
  return {
    name: "load",
    title: `load at random in ${formatCount(ranges)} ${layout} ranges, ns`,
    file: "load.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, [
      `${layout} sorted-btree`,
      `${layout} sections`,
      `${layout} one-section`,
    ]),
    rows: [
      nanos("sorted-btree, floor lookup", 0),
      nanos("tree, a read section for each", 1),
      nanos("tree, one read section for all", 2),
      ratio("sorted-btree / a section for each", 0, 1, { atLeast: 2 }),
      ratio("sorted-btree / one section for all", 0, 2, { atLeast: 2 }),
    ],
  };
}

/** The size at which the best published bind figure of a kernel driver was measured. */
const VA_RANGES = 65_536;
const VA_NANOS = 744;
/** There is more to compile than for a bare store. */
const BIND_WARM_UP = { ranges: 20_000, times: 8 };

function vaWorkload(ranges: number): Workload {
  const figure = (
    label: string,
    at: number,
    key: string,
    goal?: Goal,
  ): Row => ({
    label,
    value: (round) => round[at][key],
    goal,
  });
  const of = (
    label: string,
    at: number,
    key: string,
    goal?: Goal,
  ): Row => ({
    label,
    value: (round) => round[at][key] / round[0][key],
    goal,
  });
  const published = ranges === VA_RANGES ? { below: VA_NANOS } : undefined;
  return {
    name: "va",
    title: `a VA manager of ${formatCount(ranges)} mappings of a page, ns`,
    file: "va.ts",
    warmUp: scaled(BIND_WARM_UP, ranges),
    subjects: subjects(ranges, ["bare tree", "operations", "at once", "jobs"]),
    rows: [
      figure("bare tree, storeRange over a page", 0, "over"),
      figure("bind() over a mapping", 2, "over", published),
      figure("mapOps() and commit() over a mapping", 1, "over"),
      figure("bare tree, storeRange into a hole", 0, "fill"),
      figure("bind() into a hole", 2, "fill"),
      figure("mapOps() and commit() into a hole", 1, "fill"),
      figure("bare tree, load", 0, "lookup"),
      figure("translate()", 2, "translate"),
      figure("lookup()", 2, "lookup"),
      of("bind() / storeRange, over a mapping", 2, "over", { atMost: 3 }),
      of("bind() / storeRange, into a hole", 2, "fill", { atMost: 3 }),
      of("mapOps() and commit() / storeRange, over", 1, "over", { atMost: 3 }),
      of("mapOps() and commit() / storeRange, hole", 1, "fill", { atMost: 3 }),
      {
        label: "translate() / load",
        value: (round) => round[2].translate / round[0].lookup,
        goal: { atMost: 1.3 },
      },
      of("lookup() / load", 2, "lookup", { atMost: 1.3 }),
      figure("an operation of a job of 4096", 3, "over", { atMost: 2000 }),
      figure("  of the fastest job", 3, "fastest"),
    ],
  };
}

function storeWorkload(ranges: number, layout: string): Workload {
  return {
    name: "store",
    title: `building ${
      formatCount(ranges)
    } ${layout} ranges at random, RCU mode, ns a range`,
    file: "store.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, [`${layout} sorted-btree`, `${layout} tree`]),
    rows: [
      nanos("sorted-btree, set", 0),
      nanos("tree, storeRange", 1),
      ratio("sorted-btree / tree", 0, 1, { atLeast: 1.5 }),
    ],
  };
}

function lockWorkload(ranges: number): Workload {
  return {
    name: "locks",
    title: "the tree's lock, lockdep off, ns a store",
    file: "locks.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, ["store none", "store internal", "pair"]),
    rows: [
      nanos("store, lock none", 0),
      nanos("store, lock internal", 1),
      nanos("lock and unlock alone", 2),
      ratio("lock internal / none", 1, 0, { below: 1.1 }),
      ratio("lock and unlock / store", 2, 1, { below: 0.1 }),
    ],
  };
}

function lockdepStoreWorkload(ranges: number): Workload {
  return {
    name: "locks",
    title: "lockdep, ns a store",
    file: "locks.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, ["store internal", "store lockdep"]),
    rows: [
      nanos("store, lockdep off", 0),
      nanos("store, lockdep on", 1),
      ratio("lockdep on / off", 1, 0, LOCKDEP_GOAL),
    ],
  };
}

function lockdepLoadWorkload(ranges: number): Workload {
  return {
    name: "locks",
    title: "lockdep, ns a load",
    file: "locks.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, [
      "load rcu",
      "load rcu lockdep",
      "load locked",
      "load locked lockdep",
    ]),
    rows: [
      nanos("RCU mode, lockdep off", 0),
      nanos("RCU mode, lockdep on", 1),
      nanos("under the lock, lockdep off", 2),
      nanos("under the lock, lockdep on", 3),
      ratio("RCU mode, lockdep on / off", 1, 0, LOCKDEP_GOAL),
      ratio("under the lock, lockdep on / off", 3, 2, LOCKDEP_GOAL),
    ],
  };
}

function relocateWorkload(ranges: number): Workload {
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
      "Five smaller arenas are compacted first, so that what is measured is compiled code.",
  };
}

function scaleWorkload(ranges: number): Workload {
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

function scaled(warmUp: WarmUp, ranges: number): WarmUp {
  return { ...warmUp, ranges: Math.min(ranges, warmUp.ranges) };
}

function subjects(ranges: number, variants: readonly string[]): Subject[] {
  return variants.map((variant) => ({ variant, ranges }));
}

function nanos(label: string, subject: number): Row {
  return figureOf(label, subject, "nanos");
}

function figure(label: string, name: string, goal?: Goal): Row {
  return figureOf(label, 0, name, goal);
}

function figureOf(
  label: string,
  subject: number,
  name: string,
  goal?: Goal,
): Row {
  return { label, value: (round) => round[subject][name], goal };
}

function ratio(label: string, over: number, under: number, goal: Goal): Row {
  const value = (round: Round) => round[over].nanos / round[under].nanos;
  return { label, value, goal };
}

function growth(label: string, name: string, largest: number): Row {
  return { label, value: (round) => round[largest][name] / round[0][name] };
}
