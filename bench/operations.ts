/**
 * The operations of the benchmark `speed`, what a native tree takes for them, and what the range tree is to reach.
 *
 * The native tree is the Linux maple tree built as C for user space, in RCU mode, on a machine of this kind. Where nothing
 * is said it was not measured.
 *
 * @module
 */
import type { Goal } from "./workload.ts";

/** An operation, as the figures name it. */
export type OperationName =
  | "loop"
  | "loadRandom"
  | "loadOneSection"
  | "loadMany"
  | "loadInOrder"
  | "iterate"
  | "iterateCallback"
  | "iterateMany"
  | "iterateCursor"
  | "buildInOrder"
  | "buildRandom"
  | "buildMany"
  | "bulkLoad"
  | "overwrite"
  | "overwriteMany"
  | "splitRejoin"
  | "erase"
  | "emptyArea"
  | "clone";

/** A tree that is compared with others: one that many threads read, that also with gaps, or one that a single thread has. */
export type TreeName = "RCU" | "gaps+RCU" | "no lock";

/** By number of ranges. */
export type BySize<Value> = Readonly<Record<number, Value>>;

/** A line of the table. */
export interface Operation {
  /** Its name among the figures. */
  readonly name: OperationName;
  /** What the table calls it. */
  readonly label: string;
  /** The trees that are compared with others. */
  readonly trees: readonly TreeName[];
  /** What a peer does instead, if it is not the same. */
  readonly ofPeers?: OperationName;
  /** How many times as fast as each peer it is to be. */
  readonly peerGoal?: BySize<Goal>;
  /** Nanoseconds that the native tree takes. */
  readonly native?: BySize<number>;
  /** How many times as long as the native tree it may take. */
  readonly nativeGoal?: BySize<Goal>;
}

const LOAD_NATIVE = { 1e3: 36, 1e5: 81, 1e6: 251 };
const LOAD_GOAL = atMost(1.2);
/** Known as 7 to 29 over the sizes: taken as the least for the smallest, the most for the others. */
const ITERATE_NATIVE = { 1e3: 7, 1e5: 29, 1e6: 29 };
const ITERATE_GOAL = atMost(2);
/** Half the time of native code, which allocates each node on its own; a tree of 1 000 ranges is no goal. */
const WRITE_GOAL = { 1e5: { atMost: 0.5 }, 1e6: { atMost: 0.5 } };
const BUILD_NATIVE = { 1e3: 1061, 1e5: 1637, 1e6: 3491 };
const OVERWRITE_NATIVE = { 1e3: 59, 1e5: 108, 1e6: 343 };
const BOTH: readonly TreeName[] = ["RCU", "no lock"];
const PEER_GOAL = { 1e6: { atLeast: 2.5 } };

/** All operations, in the order of the table. */
export const OPERATIONS: readonly Operation[] = [
  { name: "loop", label: "the loop of loads alone", trees: ["RCU"] },
  {
    name: "loadRandom",
    label: "load, random",
    trees: BOTH,
    peerGoal: PEER_GOAL,
    native: LOAD_NATIVE,
    nativeGoal: LOAD_GOAL,
  },
  {
    name: "loadOneSection",
    label: "load, random, one section",
    trees: ["RCU"],
    ofPeers: "loadRandom",
    peerGoal: PEER_GOAL,
    native: LOAD_NATIVE,
    nativeGoal: LOAD_GOAL,
  },
  {
    name: "loadMany",
    label: "load, random, many at once",
    trees: BOTH,
    ofPeers: "loadRandom",
    peerGoal: PEER_GOAL,
    native: LOAD_NATIVE,
    nativeGoal: LOAD_GOAL,
  },
  { name: "loadInOrder", label: "load, in order", trees: ["RCU"] },
  {
    name: "iterate",
    label: "iterate, an entry",
    trees: ["RCU"],
    native: ITERATE_NATIVE,
    nativeGoal: ITERATE_GOAL,
  },
  {
    name: "iterateCallback",
    label: "iterate, callback",
    trees: ["RCU"],
    ofPeers: "iterate",
    native: ITERATE_NATIVE,
    nativeGoal: ITERATE_GOAL,
  },
  {
    name: "iterateMany",
    label: "iterate, many at once",
    trees: ["RCU"],
    ofPeers: "iterate",
    native: ITERATE_NATIVE,
    nativeGoal: ITERATE_GOAL,
  },
  {
    name: "iterateCursor",
    label: "iterate, cursor, one section",
    trees: ["RCU"],
    ofPeers: "iterate",
    native: ITERATE_NATIVE,
    nativeGoal: ITERATE_GOAL,
  },
  { name: "buildInOrder", label: "build, in order", trees: ["RCU"] },
  {
    name: "buildRandom",
    label: "build, random",
    trees: BOTH,
    peerGoal: PEER_GOAL,
    native: BUILD_NATIVE,
    nativeGoal: WRITE_GOAL,
  },
  {
    name: "buildMany",
    label: "build, random, many at once",
    trees: BOTH,
    ofPeers: "buildRandom",
    peerGoal: PEER_GOAL,
    native: BUILD_NATIVE,
    nativeGoal: WRITE_GOAL,
  },
  { name: "bulkLoad", label: "bulk load", trees: ["RCU"] },
  {
    name: "overwrite",
    label: "overwrite, exact",
    trees: BOTH,
    native: OVERWRITE_NATIVE,
    nativeGoal: WRITE_GOAL,
  },
  {
    name: "overwriteMany",
    label: "overwrite, exact, many at once",
    trees: BOTH,
    ofPeers: "overwrite",
    native: OVERWRITE_NATIVE,
    nativeGoal: WRITE_GOAL,
  },
  { name: "splitRejoin", label: "split and rejoin", trees: ["RCU"] },
  {
    name: "erase",
    label: "erase",
    trees: ["RCU"],
    native: { 1e3: 946, 1e5: 2574, 1e6: 4501 },
    nativeGoal: WRITE_GOAL,
  },
  {
    name: "emptyArea",
    label: "find empty area",
    trees: ["gaps+RCU"],
    native: { 1e5: 210 },
    nativeGoal: atMost(1.5),
  },
  { name: "clone", label: "clone, an entry", trees: ["RCU"] },
];

function atMost(value: number): BySize<Goal> {
  return {
    1e3: { atMost: value },
    1e5: { atMost: value },
    1e6: { atMost: value },
  };
}
