/**
 * What is measured, what it is compared with, and what it is to reach. Here is what one thread does with a tree; beside it
 * stand the plans of compaction, of threads, and of every operation beside its peers.
 *
 * @module
 */
import { formatCount } from "../src/report/numbers.ts";
import {
  blocksWorkload,
  contiguityWorkload,
  holdsWorkload,
  liveWorkload,
  relocateWorkload,
  scaleWorkload,
} from "./compaction_plan.ts";
import { LOOP_WARM_UP, nanos, ratio, scaled, subjects } from "./rows.ts";
import { speedWorkloads } from "./speed_plan.ts";
import { attachWorkload, sectionsWorkload } from "./thread_plan.ts";
import type { Goal, Row, Workload } from "./workload.ts";

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
    liveWorkload(ranges),
    holdsWorkload(ranges),
    blocksWorkload(ranges),
    contiguityWorkload(ranges),
    sectionsWorkload(ranges),
    attachWorkload(ranges),
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
  const elsewhere = (label: string, key: string): Row[] => [
    figure(`another worker, ${label}`, 4, key),
    {
      label: `another worker, ${label} / load()`,
      value: (round) => round[4][key] / round[4].load,
      goal: { atMost: 1.3 },
    },
  ];
  const published = ranges === VA_RANGES ? { below: VA_NANOS } : undefined;
  return {
    name: "va",
    title: `a VA manager of ${formatCount(ranges)} mappings of a page, ns`,
    file: "va.ts",
    warmUp: scaled(BIND_WARM_UP, ranges),
    subjects: subjects(ranges, [
      "bare tree",
      "operations",
      "at once",
      "jobs",
      "another worker",
      "operations, looked at",
    ]),
    rows: [
      figure("bare tree, storeRange over a page", 0, "over"),
      figure("bind() over a mapping", 2, "over", published),
      figure("mapOps() and commit() over a mapping", 1, "over"),
      figure("  the operations are looked at between", 5, "over"),
      figure("bare tree, storeRange into a hole", 0, "fill"),
      figure("bind() into a hole", 2, "fill"),
      figure("mapOps() and commit() into a hole", 1, "fill"),
      figure("bare tree, load", 0, "lookup"),
      figure("translate()", 2, "translate"),
      figure("lookup()", 2, "lookup"),
      of("bind() / storeRange, over a mapping", 2, "over", { atMost: 3 }),
      of("bind() / storeRange, into a hole", 2, "fill", { atMost: 3 }),
      of("mapOps() and commit() / storeRange, over", 1, "over", { atMost: 3 }),
      of("  the operations are looked at between", 5, "over"),
      of("mapOps() and commit() / storeRange, hole", 1, "fill", { atMost: 3 }),
      figure("another worker, load() of the tree", 4, "load"),
      ...elsewhere("translate()", "translate"),
      ...elsewhere("lookup()", "lookup"),
      ...elsewhere("translateMany()", "translateMany"),
      ...elsewhere("lookupMany()", "lookupMany"),
      figure("another worker, loadMany() of the tree", 4, "loadMany"),
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
