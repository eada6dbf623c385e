import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import type {
  MemoryPicture,
  Recording,
  ReplayScenarioResult,
} from "../../src/experiment/mod.ts";
import {
  demoReport,
  platformLine,
  replayJson,
  replayReport,
  type ReplayReportInput,
  verdict,
} from "../../src/report/mod.ts";

const RECORDINGS: Recording[] = [{
  name: "a.strace",
  trace: {
    events: [],
    lines: 1200,
    ignored: 1198,
    failed: 0,
    begun: 0,
    unreadable: [
      { line: 3, text: "x", reason: "y" },
      { line: 4, text: "x", reason: "y" },
    ],
  },
}];

function picture(slabs: number, freePages: number): MemoryPicture {
  return {
    figures: {
      slabs,
      objects: 24,
      occupancy: 24 / (16 * slabs),
      freePages,
      freeBlocksByOrder: [freePages, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      largestFreeOrder: 0,
      extfragIndex: 0.875,
    },
    caches: [],
    pageUse: new Float32Array(8),
  };
}

function result(freedSlabs: number, pinned: number): ReplayScenarioResult {
  return {
    pages: 8,
    processes: 3,
    events: 1500,
    alive: 10,
    ended: 6,
    trees: 4,
    mappings: 99,
    before: picture(4, 1),
    compaction: {
      policy: "greedy",
      plan: { slabs: 4, objects: 24, freeableSlabs: 2, fewestMoves: 5 },
      freedSlabs,
      moves: Math.ceil(freedSlabs * 2.5),
      yield: freedSlabs / 2,
      moveEfficiency: 1,
      pinned,
      busy: 0,
      seconds: 0.002,
      nodesPerSecond: 2500,
      lockHoldNanos: { p50: 500, p99: 1500, max: 2_000_000 },
      contiguity: [
        { order: 0, made: freedSlabs, most: 2, yield: freedSlabs / 2 },
        { order: 1, made: 0, most: 1, yield: 0 },
        { order: 2, made: 0, most: 0, yield: 1 },
      ],
    },
    after: picture(4 - freedSlabs, 1 + freedSlabs),
    digest: { before: "0123abcd", after: "0123abcd" },
  };
}

function input(result: ReplayScenarioResult): ReplayReportInput {
  const options = {
    copies: 5,
    exitShare: 0.6,
    seed: 42,
    lock: "internal",
  } as const;
  return { recordings: RECORDINGS, options, result };
}

Deno.test("replayReport says what was replayed, the memory before and after, plan, result and digest, and ends in a sentence", () => {
  const text = stripAnsiCode(replayReport(input(result(2, 0))));
  assertEquals(text.split("\n"), [
    "Pollard replay, seed 42",
    platformLine(),
    "",
    "Traces    1 file, 1 200 lines (2 unreadable), 0 events, 3 processes",
    "          a.strace",
    "Replayed  5 copies of each up to half-way, 1 500 events interleaved",
    "          in one arena of 8 pages, lock mode internal",
    "Ended     6 of 10 processes; 4 range trees with 99 mappings stay",
    "",
    "Before",
    "slabinfo - version: 2.1",
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>",
    "Node 0, zone   Normal      1      0      0      0      0      0      0      0      0      0      0 ",
    "Node slabs 37.5 % full; 1 of 8 pages free, largest free order 0, extfrag_index at order 9 0.875",
    "",
    "After",
    "slabinfo - version: 2.1",
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>",
    "Node 0, zone   Normal      3      0      0      0      0      0      0      0      0      0      0 ",
    "Node slabs 75.0 % full; 3 of 8 pages free, largest free order 0, extfrag_index at order 9 0.875",
    "",
    "Policy    greedy",
    "Plan      at most 2 of 4 slabs can be freed (k*), with 5 moves at least",
    "Result    2 slabs freed with 5 moves: yield 1.00, move efficiency 1.00",
    "          0 nodes pinned, 0 busy",
    "          2 ms, 2 500 nodes a second; a lock was held for 500 ns (p50), 1.5 µs (p99), 2 ms (max), of every 32nd",
    "Blocks    made free, of what can be, by order: 0: 2/2, 1: 0/1",
    "Digest    0123abcd before, 0123abcd after: equal",
    "",
    "Compaction freed 2 of 4 slabs (all that could be freed) with 5 moves, and no tree changed for anyone who reads it.",
    "",
  ]);
});

Deno.test("platformLine names what ran where", () => {
  assertStringIncludes(platformLine(), `Deno ${Deno.version.deno}, V8 `);
  assertStringIncludes(platformLine(), Deno.build.arch);
});

Deno.test("verdict says what happened, in each case", () => {
  const nothing = result(0, 0);
  const plan = { ...nothing.compaction.plan, freeableSlabs: 0 };
  for (
    const [run, sentence] of [
      [
        result(1, 0),
        "Compaction freed 1 of 4 slabs (2 could be freed) with 3 moves, and no tree changed for anyone who reads it.",
      ],
      [
        result(0, 5),
        "Compaction freed 0 of 4 slabs, though 2 could be freed: the trees' own locks are not in use, so their nodes can't be moved.",
      ],
      [
        { ...nothing, compaction: { ...nothing.compaction, plan } },
        "Compaction freed 0 of 4 slabs: the slabs are as full as they can be.",
      ],
      [
        {
          ...nothing,
          compaction: { ...nothing.compaction, plan: { ...plan, slabs: 0 } },
        },
        "There was nothing to compact.",
      ],
      [
        { ...result(2, 0), digest: { before: "0", after: "1" } },
        "The compaction changed what the trees hold, which it must never do.",
      ],
    ] as const
  ) assertEquals(verdict(run), sentence);
});

Deno.test("replayJson has exactly the fields of its format, in their order", () => {
  const figures = {
    slabs: 4,
    objects: 24,
    occupancy: 0.375,
    freePages: 1,
    freeBlocksByOrder: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    largestFreeOrder: 0,
    extfragIndex: 0.875,
  };
  assertEquals(
    JSON.stringify(replayJson(input(result(2, 0)))),
    JSON.stringify({
      version: 1,
      seed: 42,
      trace: {
        files: 1,
        lines: 1200,
        unreadable: 2,
        events: 0,
        processes: 3,
      },
      before: figures,
      plan: { freeableSlabs: 2, fewestMoves: 5 },
      result: {
        freedSlabs: 2,
        moves: 5,
        yield: 1,
        moveEfficiency: 1,
        pinned: 0,
        busy: 0,
        seconds: 0.002,
        nodesPerSecond: 2500,
        lockHoldNanos: { p50: 500, p99: 1500, max: 2_000_000 },
        contiguity: [
          { order: 0, made: 2, most: 2, yield: 1 },
          { order: 1, made: 0, most: 1, yield: 0 },
          { order: 2, made: 0, most: 0, yield: 1 },
        ],
        policy: "greedy",
      },
      after: {
        ...figures,
        slabs: 2,
        occupancy: 0.75,
        freePages: 3,
        freeBlocksByOrder: [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      },
      digest: { before: "0123abcd", after: "0123abcd" },
    }),
  );
});

Deno.test("demoReport shows both runs side by side, fits 80 columns, and ends in what the lock buys", () => {
  const text = stripAnsiCode(
    demoReport(input(result(2, 0)), input(result(0, 5))),
  );
  for (
    const line of [
      /^before +after, lock in the tree +after, no lock$/m,
      /^slabs before +4 +4$/m,
      /^slabs freed +2 +0$/m,
      /^ +yield +1\.00 +0\.00$/m,
      /^ +move efficiency +1\.00 +-$/m,
      /^nodes pinned +0 +5$/m,
      /^free memory after +12 kiB +4 kiB$/m,
      /^digest of the trees after +0123abcd +0123abcd$/m,
      /^after, no lock +1( +0){10} +4 kiB$/m,
    ]
  ) assert(line.test(text), `${line} is not in\n${text}`);
  const width = Math.max(...text.split("\n").map((line) => line.length));
  assert(width <= 80, `${width} columns`);
  assert(text.endsWith(
    "Compaction freed 2 of 4 slabs (all that could be freed) with 5 moves;\n" +
      "with no lock in the trees it freed 0.\n",
  ));
});
