import { assertEquals, assertStringIncludes } from "@std/assert";
import { readVaFile, toAddress } from "./va/cases.ts";
import { formatVaReports, runVaFile, VA_VARIANTS } from "./va/runner.ts";

const VM = { start: "0x0", end: "0x800000000000", reserved: null };
const A = { start: "0x1000", end: "0x4000", obj: "a", offset: "0x0" };

/** A case that agrees: a hole is punched. */
const PUNCH = {
  name: "punch",
  variant: "final",
  vm: VM,
  existing: [A],
  request: { op: "unmap", start: "0x2000", end: "0x3000" },
  expected_error: null,
  expected_ops: [{
    op: "remap",
    prev: { ...A, end: "0x2000" },
    next: { ...A, start: "0x3000", offset: "0x2000" },
    unmap: { va: A, keep: false },
  }],
  expected_state: [
    { ...A, end: "0x2000" },
    { ...A, start: "0x3000", offset: "0x2000" },
  ],
  remap_unmap_ranges: [{ start: "0x2000", end: "0x3000" }],
};

const SEQUENCE = {
  name: "sequence",
  variant: "nouveau-uapi",
  vm: VM,
  bos: { a: "0x10000" },
  steps: [{
    ops: [
      { op: "map_sparse", start: "0x0", end: "0x8000" },
      { op: "map", start: "0x4000", end: "0x9000", obj: "a", offset: "0x0" },
    ],
    expected_error: "ENOSPC",
    expected_state: { regions: [], vas: [] },
  }, {
    ops: [{
      op: "map",
      start: "0x4000",
      end: "0x8000",
      obj: "a",
      offset: "0x0",
    }],
    expected_error: null,
    expected_state: {
      regions: [],
      vas: [{ start: "0x4000", end: "0x8000", obj: "a", offset: "0x0" }],
    },
  }],
};

function run(...entries: unknown[]) {
  return runVaFile("file", readVaFile(JSON.stringify(entries))!);
}

Deno.test("runVaFile() replays cases and sequences in every variant, and compacts in half of them", () => {
  const report = run(PUNCH, SEQUENCE);
  assertEquals(report.failures, []);
  assertEquals([report.ran, report.agreed], [2, 2]);
  assertEquals(report.replaysAgreed, 2 * VA_VARIANTS.length);
  assertEquals(report.compactions > 0 && report.moves > 0, true);
});

for (
  const [what, change] of Object.entries({
    operations: { expected_ops: [] },
    state: { expected_state: [] },
    error: { expected_error: "EINVAL" },
    "unmap ranges": { remap_unmap_ranges: [] },
  })
) {
  Deno.test(`runVaFile() finds a case that departs in its ${what}`, () => {
    const report = run({ ...PUNCH, ...change }, SEQUENCE);
    assertEquals([report.ran, report.agreed], [2, 1]);
    assertEquals(report.failures.length, VA_VARIANTS.length);
    assertStringIncludes(
      report.failures[0],
      `punch (commit): ${what}: expected`,
    );
  });
}

Deno.test("runVaFile() finds a sequence that departs", () => {
  const [first, second] = SEQUENCE.steps;
  const report = run({
    ...SEQUENCE,
    steps: [first, { ...second, expected_error: "EEXIST" }],
  });
  assertEquals(report.agreed, 0);
  assertStringIncludes(
    formatVaReports([report]),
    "error of step 1: expected EEXIST",
  );
});

Deno.test("runVaFile() skips a case whose addresses have no place", () => {
  const report = run({ ...PUNCH, vm: { ...VM, end: "0x100000000000000" } });
  assertEquals([report.cases, report.ran, report.agreed], [1, 0, 0]);
  assertStringIncludes(formatVaReports([report]), "skipped: punch: Cannot map");
});

Deno.test("toAddress() keeps what touches an end of 64 or 57 bits touching", () => {
  assertEquals(toAddress("0xffffffffffffffff"), Number.MAX_SAFE_INTEGER);
  assertEquals(toAddress("0x10000000000000000"), 2 ** 53);
  assertEquals(toAddress("0x1fffffffffff000"), 2 ** 52 - 4096);
  assertEquals(toAddress("0x1000"), 4096);
});

Deno.test("readVaFile() leaves other files alone", () => {
  assertEquals(readVaFile("{"), undefined);
  assertEquals(readVaFile("[]"), undefined);
  assertEquals(readVaFile('{"operations":[]}'), undefined);
});
