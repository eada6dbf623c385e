import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";
import type { ReplayJson } from "../../src/report/mod.ts";
import { pathOf, pollard } from "./program.ts";

const FILES = ["gcc-compile", "python-imports"].map((name) =>
  pathOf(`traces/${name}.strace`)
);
/** What the program's own memory and the kernel's pages in `/proc/PID/maps` are: no trace tells of them. */
const UNTRACED = /(?: cat|\[stack\]|\[v[a-z_]+\]| ld-linux\S*)$/;

function json(...args: string[]): ReplayJson {
  const { code, stdout, stderr } = pollard(["replay", "--json", ...args]);
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

/** The result without what the clock says. */
function timeless({ result, ...rest }: ReplayJson): unknown {
  const { seconds: _, nodesPerSecond: __, lockHoldNanos: ___, ...counts } =
    result;
  return { ...rest, result: counts };
}

/** The names of all fields of an object, nested ones with dots. */
function fields(value: unknown, name = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [name];
  }
  return Object.entries(value).flatMap(([key, field]) =>
    fields(field, name === "" ? key : `${name}.${key}`)
  );
}

Deno.test("replay --json prints one object of the format, and the optimum is reached", () => {
  const result = json(...FILES, "--copies", "30");
  const memory = (when: string) =>
    [
      "slabs",
      "objects",
      "occupancy",
      "freePages",
      "freeBlocksByOrder",
      "largestFreeOrder",
      "extfragIndex",
    ].map((field) => `${when}.${field}`);
  assertEquals(fields(result), [
    "version",
    "seed",
    "trace.files",
    "trace.lines",
    "trace.unreadable",
    "trace.events",
    "trace.processes",
    ...memory("before"),
    "plan.freeableSlabs",
    "plan.fewestMoves",
    "result.freedSlabs",
    "result.moves",
    "result.yield",
    "result.moveEfficiency",
    "result.pinned",
    "result.busy",
    "result.seconds",
    "result.nodesPerSecond",
    "result.lockHoldNanos.p50",
    "result.lockHoldNanos.p99",
    "result.lockHoldNanos.max",
    "result.contiguity",
    "result.policy",
    ...memory("after"),
    "digest.before",
    "digest.after",
  ]);
  assertEquals([result.version, result.seed], [1, 1]);
  assertEquals(result.trace, {
    files: 2,
    lines: 865,
    unreadable: 0,
    events: 828,
    processes: 11,
  });
  assertEquals(result.before.freeBlocksByOrder.length, 11);
  assert(result.plan.freeableSlabs > 10);
  assertEquals(result.result.freedSlabs, result.plan.freeableSlabs);
  assertEquals(result.result.yield, 1);
  assert(result.result.moveEfficiency >= 0.99);
  assertEquals(result.digest.before, result.digest.after);
});

Deno.test("replay --policy chooses what is emptied, and the result is measured against the same optimum", () => {
  const args = [...FILES, "--copies", "30"];
  const greedy = json(...args, "--policy", "greedy");
  assertEquals(timeless(greedy), timeless(json(...args)));
  for (const policy of ["windows", "cost-benefit", "address", "random"]) {
    const { plan, result, digest } = json(...args, "--policy", policy);
    assertEquals(plan, greedy.plan);
    assertEquals(digest, greedy.digest);
    assert(result.policy.startsWith(policy));
    assert(result.freedSlabs > 0 && result.moveEfficiency <= 1);
  }
  const windows = json(...args, "--policy", "windows", "--order", "3");
  assertEquals(windows.result.policy, "windows of order 3");
  const { made, most } = windows.result.contiguity[3];
  assert(most > greedy.result.contiguity[3].made);
  assertEquals(made, most);
});

Deno.test("replay --json is the same for the same seed but for the times, and another for another seed", () => {
  const args = [...FILES, "--copies", "8", "--exit-share", "5e-1"];
  const first = timeless(json(...args, "--seed", "7"));
  assertEquals(timeless(json("--seed=7", ...args)), first);
  assertNotEquals(timeless(json(...args, "--seed", "8")), first);
});

Deno.test("replay --lock none and external free nothing, and count what is pinned", () => {
  for (const lock of ["none", "external"]) {
    const { plan, result, before, after, digest } = json(
      ...FILES,
      "--lock",
      lock,
      "--copies=8",
    );
    assert(plan.freeableSlabs > 0);
    assertEquals(result.freedSlabs, 0);
    assertEquals(result.pinned, plan.fewestMoves);
    assertEquals(after, before);
    assertEquals(digest.before, digest.after);
  }
});

Deno.test("replay prints tables, plan, result and digest without colours, and a sentence at the end", () => {
  const { code, stdout, stderr } = pollard([
    "replay",
    ...FILES,
    "--copies",
    "8",
    "--seed",
    "5",
  ]);
  assertEquals([code, stderr], [0, ""]);
  assert(!stdout.includes("\x1b"));
  assertMatch(stdout, /^Pollard replay, seed 5$/m);
  assertEquals(stdout.match(/^slabinfo - version: 2\.1$/gm)?.length, 2);
  assertEquals(
    stdout.match(/^Node 0, zone {3}Normal( +\d+){11} $/gm)?.length,
    2,
  );
  assertMatch(stdout, /^Digest {4}([0-9a-f]{8}) before, \1 after: equal$/m);
  assertMatch(
    stdout,
    /\nCompaction freed (\d+) of \d+ slabs \(all that could be freed\) with \d+ moves, [^\n]*\.\n$/,
  );
});

Deno.test("replay reports lines that it can't read with their numbers, counts them, and goes on", () => {
  const file = pathOf("cli/damaged.strace");
  const { code, stdout, stderr } = pollard(["replay", "--json", file]);
  assertEquals(code, 0);
  const lines = stderr.trimEnd().split("\n");
  assertEquals(lines.length, 2);
  assert(lines[0].startsWith(`${file}:2: `), lines[0]);
  assert(lines[0].endsWith(': "what is this"'), lines[0]);
  assert(lines[1].startsWith(`${file}:4: `), lines[1]);
  const { trace }: ReplayJson = JSON.parse(stdout);
  assertEquals(trace, {
    files: 1,
    lines: 4,
    unreadable: 2,
    events: 2,
    processes: 1,
  });
});

Deno.test("replay of what is no strace output shows five lines, says how many more, and ends with 1", () => {
  const file = pathOf("../deno.json");
  const lines = Deno.readTextFileSync(file).trimEnd().split("\n").length;
  for (const flags of [[], ["--json"], ["--maps"]]) {
    const { code, stdout, stderr } = pollard(["replay", ...flags, file]);
    assertEquals([code, stdout], [1, ""]);
    const errors = stderr.trimEnd().split("\n");
    assertEquals(errors.length, 7, stderr);
    for (let i = 0; i < 5; i++) {
      assert(errors[i].startsWith(`${file}:${i + 1}: `), errors[i]);
    }
    assertEquals(errors[5], `${file}: ${lines - 5} more lines like these`);
    assert(
      errors[6].startsWith(
        `pollard: Cannot replay: no line of "${file}" is strace output`,
      ),
      errors[6],
    );
  }
  // One that is strace output is enough.
  assertEquals(pollard(["replay", "--copies=1", file, FILES[0]]).code, 0);
});

Deno.test("replay names no move efficiency where nothing was moved", () => {
  const { stdout } = pollard(["replay", "--lock=none", "--copies=8", FILES[0]]);
  assertMatch(stdout, /with 0 moves: yield 0\.00, move efficiency -$/m);
});

Deno.test("replay --maps prints the maps that the recorded program printed of itself", () => {
  const { code, stdout, stderr } = pollard([
    "replay",
    "--maps",
    pathOf("traces/cat-maps.strace"),
  ]);
  assertEquals([code, stderr], [0, ""]);
  const printed = Deno.readTextFileSync(pathOf("traces/cat-maps.maps"));
  const expected = printed.trimEnd().split("\n")
    .filter((line) => !UNTRACED.test(line))
    .map((line) => line.split(" ").slice(0, 2).join(" "));
  assertEquals(stdout.trimEnd().split("\n"), ["process 29919", ...expected]);
});

Deno.test("replay --maps prints every copy's maps, those of ended processes too, moved or not", () => {
  const maps = (...args: string[]) => {
    const { code, stdout } = pollard(["replay", "--maps", FILES[0], ...args]);
    assertEquals(code, 0);
    return stdout;
  };
  const once = maps();
  assertEquals(once.match(/^process \d+$/gm)?.length, 5);
  assertEquals(maps("--copies", "4"), once.repeat(4));
  assertEquals(maps("--copies", "4", "--lock", "none"), once.repeat(4));
  const ended = maps("--exit-share", "1");
  assert(ended.startsWith("process ") && ended.length < once.length);
});

Deno.test("replay --release hands memory back with the permission, and names the flag without it", () => {
  const args = ["replay", "--copies", "20", "--release", FILES[0]];
  const without = pollard(args);
  assertEquals(without.code, 0);
  assertMatch(
    without.stdout,
    /Handed back no memory: .*\(deno run --allow-read --allow-ffi …\)\./,
  );
  const { code, stdout } = pollard([...args, "--json"], {
    permissions: ["--allow-read", "--allow-ffi"],
  });
  assertEquals(code, 0);
  const { release, after }: ReplayJson = JSON.parse(stdout);
  assertEquals(release?.bytes, after.freePages * 4096);
  assert(release!.residentBefore > 0 && release!.residentAfter > 0);
});
