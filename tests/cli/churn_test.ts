import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { ChurnJson } from "../../src/report/mod.ts";
import { pollard } from "./program.ts";

const SMALL = ["churn", "--seconds", "1", "--ranges", "20000"];

Deno.test("churn --json gives both halves, no wrong answer, and slabs that the compactor freed", () => {
  const { code, stdout, stderr } = pollard([
    ...SMALL,
    "--json",
    "--readers",
    "2",
    "--duty",
    "0.5",
  ]);
  assertEquals([code, stderr], [0, ""]);
  const { version, options, off, on, ratios }: ChurnJson = JSON.parse(stdout);
  assertEquals([version, options.readers, options.compacts], [1, 2, true]);
  assert(on !== undefined && ratios !== undefined);
  for (const half of [off, on]) {
    assertEquals(half.wrong, 0);
    assert(half.readers.perSecond > 0 && half.writer.perSecond > 0);
    assert(half.readers.p50 <= half.readers.p99);
    assert(half.readers.p99 <= half.readers.p999);
    assert(half.slabs >= half.slabsAtBest && half.gracePeriods > 0);
    assert(half.residentBytes > 2 ** 20);
    assertStringIncludes(half.released.reason!, "--allow-ffi");
  }
  assertEquals(options.policy.name, "greedy");
  assertEquals(off.compactor, undefined);
  assert(on.compactor!.moves > 0 && on.compactor!.freedSlabs > 0);
  assertEquals(ratios.slabsOfBest, on.slabs / on.slabsAtBest);
});

Deno.test("churn --no-compact prints one column", () => {
  const { code, stdout } = pollard([...SMALL, "--no-compact"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "Without a compactor the nodes take");
  assert(/^compactor +off$/m.test(stdout), stdout);
});

Deno.test("churn --policy names the policy, and says why no memory was handed back", () => {
  const { code, stdout } = pollard([...SMALL, "--policy", "windows"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "policy windows of order 4.");
  assertStringIncludes(stdout, "(deno run --allow-read --allow-ffi …).");
});

Deno.test("churn answers wrong usage with 2 and one line", () => {
  for (
    const [args, message] of [
      [["--seconds", "0"], '--seconds "0"'],
      [["--readers", "99"], "no integer in [1, 16]"],
      [["--live-share", "2"], "no number in [0, 1]"],
      [["--duty", "0"], "that is --no-compact"],
      [["--policy", "worst"], "it is none of greedy, windows"],
      [["--order", "11"], "no integer in [0, 10]"],
      [["--fast"], "there is no such option"],
    ] as const
  ) {
    const { code, stdout, stderr } = pollard(["churn", ...args]);
    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, message);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
  }
});
