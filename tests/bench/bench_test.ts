import { assert, assertEquals, assertMatch } from "@std/assert";
import { OPERATIONS } from "../../bench/operations.ts";
import type { Cell } from "../../bench/workload.ts";

const ENTRY = new URL("../../bench/main.ts", import.meta.url).href;

function bench(...args: string[]): { code: number; out: string; err: string } {
  const deno = Deno.execPath();
  const { code, stdout, stderr } = new Deno.Command(deno, {
    args: [
      "run",
      "--quiet",
      "--allow-read",
      `--allow-run=${deno}`,
      ENTRY,
      ...args,
    ],
    env: { NO_COLOR: "1" },
  }).outputSync();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("bench: every workload runs at a small size, and its variants agree", () => {
  const { code, out, err } = bench(
    "--ranges",
    "1000",
    "--runs",
    "1",
    "--cold",
    "--json",
  );
  assertEquals([code, err], [0, ""]);
  const { version, ranges, workloads } = JSON.parse(out);
  assertEquals([version, ranges], [1, 1000]);
  const names = new Set(workloads.map(({ name }: { name: string }) => name));
  assertEquals([...names], [
    "load",
    "store",
    "locks",
    "relocate",
    "relocate-live",
    "holds",
    "blocks",
    "sections",
    "attach",
    "scale",
    "va",
    "speed",
  ]);
  for (const { name, hashes, rows } of workloads) {
    assertEquals(hashes.length, name === "scale" ? 4 : 1);
    for (const { label, min, median, max } of rows) {
      assert(0 <= min && min <= median && median <= max, label);
    }
  }
  assertAllDone(workloads.at(-1).rows);
});

/** Every keeper of the workload `speed` did all that it can. */
function assertAllDone(rows: { cell: Cell }[]): void {
  const times = rows.filter(({ cell }) => cell.block === "ns an operation");
  const undone = Map.groupBy(times, ({ cell }) => cell.column).entries()
    .map(([keeper, done]) => [keeper, OPERATIONS.length - done.length]);
  assertEquals(Object.fromEntries(undone), {
    // Only a tree in RCU mode has read sections, only one that tracks gaps finds empty areas.
    "plain": 2,
    "RCU": 1,
    "gaps": 1,
    "gaps+RCU": 0,
    "no lock": 2,
    // Peers have no cursor either, no callback, and nothing for many at once.
    "sorted-btree": 8,
    "js-sdsl": 8,
    // These have no bulk load, the interval tree no clone either.
    "sorted array": 9,
    "interval-tree": 10,
  });
}

Deno.test("bench: a table shows the spread, the goal and the result hash", () => {
  const { code, out } = bench(
    "--ranges",
    "1000",
    "--runs",
    "2",
    "--only",
    "store",
  );
  assertEquals(code, 0);
  assertMatch(out, /min +median +max +goal/);
  assertMatch(
    out,
    /sorted-btree \/ tree( +[\d.]+){3} +≥ 1.50 +(reached|missed)/,
  );
  assertMatch(out, /result hash 0x[0-9a-f]{8}\n/);
});

Deno.test("bench: --help says what the options mean", () => {
  const { code, out } = bench("--help");
  assertEquals(code, 0);
  assertMatch(out, /--ranges N .*\n.*--runs N /);
});

Deno.test("bench: wrong usage is one line and exit code 2", () => {
  const wrong = [
    ["--ranges", "999"],
    ["--ranges", "many"],
    ["--ranges", "1000001"],
    ["--ranges", "10000001", "--only", "speed"],
    ["--runs", "0"],
    ["--only", "nothing"],
    ["--frobnicate"],
    ["load"],
  ];
  for (const args of wrong) {
    const { code, out, err } = bench(...args);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertMatch(err, /^Cannot run the benchmarks: found .*; usage: .*\n$/);
  }
});
