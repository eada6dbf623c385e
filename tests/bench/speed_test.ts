import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { OperationName } from "../../bench/operations.ts";
import { formatReport, reportOf } from "../../bench/report.ts";
import { speedWorkloads } from "../../bench/speed_plan.ts";
import type { Figures } from "../../bench/variant.ts";

type Nanos = Partial<Record<OperationName, number>>;

/** The report of gapped ranges for rounds that are given by keeper; the keepers that are not named did nothing. */
function report(ranges: number, rounds: Record<string, Nanos>[]) {
  const workload = speedWorkloads(ranges).at(-1)!;
  return reportOf(workload, {
    rounds: rounds.map((round) =>
      workload.subjects.map(({ variant }) =>
        (round[variant.replace("gapped ", "")] ?? {}) as Figures
      )
    ),
    hashes: new Map([[ranges, 1]]),
  });
}

Deno.test("speedWorkloads: the sizes of the native tree up to the one that is asked for, and that, with gaps and without", () => {
  const sizes = (ranges: number) =>
    speedWorkloads(ranges).map(({ subjects }) => subjects[0].ranges);
  assertEquals(sizes(1e3), [1e3, 1e3]);
  assertEquals(sizes(2e3), [1e3, 1e3, 2e3, 2e3]);
  assertEquals(sizes(1e6), [1e3, 1e3, 1e5, 1e5, 1e6, 1e6]);
  assertEquals(sizes(1e7), [1e3, 1e3, 1e5, 1e5, 1e6, 1e6, 1e7, 1e7]);
});

Deno.test("speedWorkloads: peers that do not fit the memory are left out above 1 000 000 ranges", () => {
  const keepers = (ranges: number) =>
    speedWorkloads(ranges).at(-1)!.subjects.map(({ variant }) => variant);
  const missing = keepers(1e6).filter((name) => !keepers(1e7).includes(name));
  assertEquals(missing, ["gapped js-sdsl", "gapped interval-tree"]);
});

Deno.test("speedWorkloads: native code and peers are compared within a round, the goals judged by the middle one", () => {
  const { rows } = report(1e6, [
    { RCU: { loadRandom: 300 }, "sorted-btree": { loadRandom: 600 } },
    { RCU: { loadRandom: 200 }, "sorted-btree": { loadRandom: 520 } },
    { RCU: { loadRandom: 400 }, "sorted-btree": { loadRandom: 1080 } },
  ]);
  const judged = rows.filter(({ goal }) => goal !== undefined).map((
    { label, median, reached },
  ) => [label, median, reached]);
  assertEquals(judged, [
    ["load, random, times as fast as sorted-btree", 2.6, true],
    ["load, random, against native C tree / C", 300 / 251, true],
  ]);
});

Deno.test("speedWorkloads: a write reaches its goal at half the time of native code, no later", () => {
  const reached = (buildRandom: number) =>
    report(1e5, [{ RCU: { buildRandom } }]).rows
      .find(({ goal }) => goal !== undefined)!.reached;
  assertEquals(reached(1637 / 2), true);
  assertEquals(reached(1637 / 2 + 1), false);
});

Deno.test("speedWorkloads: loading within one section is compared with any peer's loading", () => {
  const { rows } = report(1e6, [
    { RCU: { loadOneSection: 100 }, "js-sdsl": { loadRandom: 900 } },
  ]);
  const row = rows.find(({ cell }) =>
    cell!.block === "times as fast as" && cell!.column === "js-sdsl"
  )!;
  assertEquals([row.cell!.line, row.median, row.reached], [
    "load, random, one section",
    9,
    true,
  ]);
});

Deno.test("formatReport: cells stand in columns, a missing one is a dash, a goal shows spread and verdict", () => {
  const text = formatReport(report(1e5, [
    { "gaps": { iterate: 9 }, "gaps+RCU": { emptyArea: 420 } },
    { "gaps": { iterate: 11 }, "gaps+RCU": { emptyArea: 630 } },
  ]));
  const lines = text.split("\n");
  const line = (start: string) =>
    lines.find((line) => line.trim().startsWith(start))!.trim().split(/ {2,}/);
  assertEquals(line("ns an operation"), [
    "ns an operation",
    "gaps",
    "gaps+RCU",
  ]);
  assertEquals(line("iterate"), ["iterate, an entry", "10.00", "–"]);
  assert(text.startsWith("every operation on 100 000 gapped ranges\n"));
  assertStringIncludes(
    lines.findLast((line) => line.includes("find empty area"))!,
    "2.50 ±0.50 missed  ≤ 1.50",
  );
});
