import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { BIND_LOCKS } from "../../src/experiment/mod.ts";
import type { BindJson } from "../../src/report/mod.ts";
import { pollard } from "./program.ts";

const SIZE = ["--ops", "64", "--tiles", "8192"];
const SMALL = ["bind", "--jobs", "20", ...SIZE];
/** The result of a run of so many jobs, with a compactor that never pauses. */
function runsOf(jobs: number): BindJson {
  const { code, stdout, stderr } = pollard([
    ...["bind", "--jobs", String(jobs), ...SIZE],
    ...["--duty", "1", "--json"],
  ]);
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

Deno.test("bind --json gives a run without and with the compactor for every lock, and the same mappings in all", () => {
  const { version, same, runs } = runsOf(20);
  assertEquals([version, same], [1, true]);
  assertEquals(
    runs.map((run) => [run.lock, run.compacts]),
    BIND_LOCKS.flatMap((lock) => [[lock, false], [lock, true]]),
  );
  for (const run of runs) {
    assert(run.opsPerSecond > 0 && run.p50 <= run.p99);
    assert(run.slabs >= run.slabsAtBest && run.mappings > 0);
    assert(run.compacts || run.moves === 0);
    // What nothing can be locked for does not move; the manager's nodes alone are in the arena.
    if (run.lock === "external" || run.lock === "none") {
      assertEquals(run.moves, 0);
    }
  }
});

Deno.test("bind wins slabs back that the jobs are not about, where the lock is in the tree", () => {
  // The compactor needs its turns, which on a busy machine come late.
  for (let jobs = 500;; jobs *= 4) {
    const { runs: [alone, beside] } = runsOf(jobs);
    if (beside.moves === 0 && jobs < 10_000) continue;
    assert(beside.moves > 0 && beside.slabs < beside.slabsBefore);
    assert(beside.slabs < alone.slabs);
    return;
  }
});

Deno.test("bind prints a table", () => {
  const { code, stdout } = pollard(SMALL);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "All runs ended with the same mappings.");
  assert(
    /^lock of the VA tree +internal +registered +external +none$/m.test(stdout),
  );
  // So few jobs are over too soon for a share of the speed.
  assertStringIncludes(stdout, "too soon to compare speeds");
  assert(/^ +of its speed( +-){4}$/m.test(stdout), stdout);
});

Deno.test("bind answers wrong usage with 2 and one line", () => {
  for (
    const [args, message] of [
      [["--ops", "4097"], "no integer in [1, 4096]"],
      [["--jobs", "x"], '--jobs "x"'],
      [["--duty", "0"], "could not work"],
      [["--fast"], "there is no such option"],
    ] as const
  ) {
    const { code, stdout, stderr } = pollard(["bind", ...args]);
    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, message);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
  }
});
