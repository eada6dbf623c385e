/**
 * The benchmark `speed`: one workload a size and layout, whose table has a line for each operation and a column for each keeper.
 *
 * @module
 */
import { formatCount } from "../src/report/numbers.ts";
import { TREES } from "./keepers.ts";
import { type Layout, WIDTHS } from "./keys.ts";
import {
  type Operation,
  type OperationName,
  OPERATIONS,
  type TreeName,
} from "./operations.ts";
import type { Goal, Round, Row, WarmUp, Workload } from "./workload.ts";

/** The sizes that the native tree was measured at. */
const SIZES = [1e3, 1e5, 1e6];
const TREE_NAMES = Object.keys(TREES);
const PEERS = ["sorted-btree", "js-sdsl", "interval-tree", "sorted array"];
const KEEPERS = [...TREE_NAMES, ...PEERS];
/** Not tried with more ranges: js-sdsl was not done with 10 000 000 after four minutes, and had 3.6 GB. */
const LARGE_PEERS = ["js-sdsl", "interval-tree"];
const LARGE_PEERS_MAX = 1e6;
/**
 * Every operation is a loop, and V8 compiles it for good only when it was begun some times: here with three trees each time. (Measured
 * at 100 000 ranges: after one tree a build is 40 % slower than after five, and a bulk load takes five times as long; ten are no better.)
 */
const WARM_UP: WarmUp = { ranges: 20_000, times: 2 };
/**
 * Smaller trees are over before V8 has compiled what clones and iterates: after 30 times with 30 trees an entry of many takes half as
 * long again as after 50.
 */
const SMALL_WARM_UPS = 50;

const TIMES = "ns an operation";
const AGAINST_PEERS = "times as fast as";
const AGAINST_NATIVE = "against native C";

/** The workloads for trees of up to so many ranges. */
export function speedWorkloads(ranges: number): Workload[] {
  const sizes = [...SIZES.filter((size) => size < ranges), ranges];
  return sizes.flatMap((size) =>
    (Object.keys(WIDTHS) as Layout[]).map((layout) => workloadOf(size, layout))
  );
}

function workloadOf(ranges: number, layout: Layout): Workload {
  const keepers = KEEPERS.filter((name) =>
    ranges <= LARGE_PEERS_MAX || !LARGE_PEERS.includes(name)
  );
  const peers = keepers.filter((name) => PEERS.includes(name));
  const figure = (keeper: string, operation: OperationName) => (round: Round) =>
    round[keepers.indexOf(keeper)][operation];
  return {
    name: "speed",
    title: `every operation on ${formatCount(ranges)} ${layout} ranges`,
    file: "speed.ts",
    warmUp: ranges < WARM_UP.ranges
      ? { ranges, times: SMALL_WARM_UPS }
      : WARM_UP,
    subjects: keepers.map((name) => ({ variant: `${layout} ${name}`, ranges })),
    rows: [
      ...OPERATIONS.flatMap(({ name, label }) =>
        keepers.map((keeper) =>
          cell(TIMES, label, keeper, figure(keeper, name))
        )
      ),
      ...comparisons().flatMap(({ operation, tree, label }) =>
        operation.name === "loop" ? [] : peers.map((peer) =>
          cell(
            AGAINST_PEERS,
            label,
            peer,
            quotient(
              figure(peer, operation.ofPeers ?? operation.name),
              figure(tree, operation.name),
            ),
            operation.peerGoal?.[ranges],
          )
        )
      ),
      ...comparisons().flatMap(({ operation, tree, label }) =>
        againstNative(operation, label, ranges, figure(tree, operation.name))
      ),
    ],
    note:
      "The range tree that is compared is the one in RCU mode; for finding empty areas, the one that tracks gaps too; and where\n" +
      "it says so, the one without a lock, which is for a program with one thread.\n" +
      "A peer's split and rejoin is the six to eight changes that do the same to a map of ranges.",
  };
}

/** Each operation of each tree that is compared. */
function comparisons(): {
  operation: Operation;
  tree: TreeName;
  label: string;
}[] {
  return OPERATIONS.flatMap((operation) =>
    operation.trees.map((tree) => ({
      operation,
      tree,
      label: tree === "no lock"
        ? `${operation.label}, no lock`
        : operation.label,
    }))
  );
}

function againstNative(
  { native, nativeGoal }: Operation,
  label: string,
  ranges: number,
  nanos: Row["value"],
): Row[] {
  const reference = native?.[ranges];
  if (reference === undefined) return [];
  return [
    cell(AGAINST_NATIVE, label, "C, ns", () => reference),
    cell(
      AGAINST_NATIVE,
      label,
      "tree / C",
      quotient(nanos, () => reference),
      nativeGoal?.[ranges],
    ),
  ];
}

function cell(
  block: string,
  line: string,
  column: string,
  value: Row["value"],
  goal?: Goal,
): Row {
  const label = `${line}, ${block} ${column}`;
  return { label, cell: { block, line, column }, value, goal };
}

function quotient(over: Row["value"], under: Row["value"]): Row["value"] {
  return (round) => {
    const [numerator, denominator] = [over(round), under(round)];
    return numerator === undefined || denominator === undefined
      ? undefined
      : numerator / denominator;
  };
}
