import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { spy, stub } from "@std/testing/mock";
import { RangeTree } from "../../mod.ts";
import { Cursor } from "../../src/range_tree/cursor.ts";
import { main, runFile } from "./main.ts";
import { formatReport, isClean, summarize } from "./report.ts";
import { VARIANTS } from "./runner.ts";
import { toIndex } from "./values.ts";

const TOP = (2n ** 64n - 1n).toString();
const BEYOND = (2n ** 60n).toString();

type Recorded = Record<string, unknown>;

/** A case with one operation of every kind; `true` results throughout. */
const SOUND: readonly Recorded[] = [
  { op: "init", flags: 0 },
  store(10, 19, "7", { count: 1 }),
  store(13, 15, "raw:7", { count: 3 }),
  { op: "load", index: "14", expect: "raw:7" },
  { op: "load", index: "9", expect: null },
  { op: "insert", index: "19", last: "25", value: "ptr:A", expect: -17 },
  { op: "insert", index: "20", last: "25", value: "ptr:A", expect: 0 },
  { op: "insert", index: "30", last: "29", value: "ptr:A", expect: -22 },
  { op: "insert", index: "90", last: "90", value: "ptr:A", expect: -12 },
  { op: "erase", index: "15", expect: "raw:7", count: 3 },
  contents(["10", "12", "7"], ["16", "19", "7"], ["20", "25", "ptr:A"]),
  { op: "destroy" },
  contents(),
  {
    op: "store_run",
    index: "0",
    last: "1",
    value: "100",
    count: 300,
    step: "4",
    value_step: "2",
  },
  {
    op: "insert_run",
    index: "2",
    last: "2",
    value: "ptr:B",
    count: 2,
    step: 4,
    value_step: 0,
  },
  {
    op: "load_run",
    index: "8",
    last: "20",
    step: 4,
    value_step: 2,
    expect: "104",
  },
  store(12, 1199, null),
  { op: "mt_find", index: "3", max: "9", expect: "102", index_after: "6" },
  { op: "mt_find", index: "12", max: TOP, expect: null, index_after: "12" },
  {
    op: "mt_for_each",
    index: "1",
    max: "8",
    expect: [["2", "100"], ["3", "ptr:B"], ["6", "102"], ["7", "ptr:B"], [
      "10",
      "104",
    ]],
  },
  { op: "dup", new: 1 },
  { op: "expect_same", tree: 1, count: 5 },
  { op: "set_rcu", on: true },
  { op: "store", index: "50", last: TOP, value: "zero", expect: 0 },
  { op: "load", index: "51", expect: null },
  { op: "mt_find", index: "12", max: TOP, expect: null, index_after: "12" },
  {
    op: "mas_store_gfp",
    mas: 0,
    value: "5",
    expect: 0,
    pre: ["60", TOP, "start"],
    post: ["60", TOP, "active"],
  },
  { op: "mt_find", index: "12", max: TOP, expect: "5", index_after: "0" },
  {
    op: "mas_store",
    mas: 0,
    value: "6",
    expect: null,
    pre: ["60", "70", "start"],
    post: ["60", "70", "error"],
  },
  {
    op: "mas_erase",
    mas: 0,
    expect: "5",
    pre: ["60", TOP, "active"],
    post: ["60", TOP, "active"],
  },
  {
    op: "alloc_range",
    min: "10",
    max: "49",
    size: "3",
    value: "9",
    expect: 0,
    start: "10",
  },
  {
    op: "mas_next",
    mas: 0,
    max: TOP,
    expect: "ptr:B",
    pre: ["0", "0", "start"],
    post: ["2", "2", "active"],
  },
  {
    op: "alloc_rrange",
    min: "10",
    max: "13",
    size: "2",
    value: "9",
    expect: -16,
  },
  { op: "validate" },
  { op: "set_non_kernel", n: 200 },
  contents(
    ["0", "1", "100"],
    ["2", "2", "ptr:B"],
    ["4", "5", "102"],
    ["6", "6", "ptr:B"],
    ["8", "9", "104"],
    ["10", "12", "9"],
    ["50", "59", "zero"],
  ),
  store(0, 2000, null),
  { ...run("store_run"), value: "1", value_step: "3" },
  { ...run("expect_contents_run"), value: "1", value_step: "3" },
];

const ERASED = { op: "erase", index: "5", expect: "1" };

/** Cases of which the last operation expects what no tree answers, with the start of what must be said of it. */
const UNSOUND: readonly [recorded: Recorded[], message: string][] = [
  [[store(1, 9, "1"), { op: "load", index: "5", expect: "2" }], "load of 5"],
  [[store(1, 9, "1"), { op: "load", index: "5", expect: null }], "load of 5"],
  [[store(1, 9, "1"), { op: "load", index: "10", expect: "1" }], "load of 10"],
  [[store(1, 9, "1", { count: 2 })], "number of entries"],
  [[store(1, 9, "1"), { ...ERASED, expect: null }], "erase of 5"],
  [[store(1, 9, "1"), { ...ERASED, count: 1 }], "number of entries"],
  [[store(1, 9, "1"), { ...store(9, 12, "1"), op: "insert" }], "insert of"],
  [[{ ...store(9, 12, "1", { expect: -17 }), op: "insert" }], "insert of"],
  [[store(1, 9, "1"), contents(["1", "9", "2"])], "entry 0"],
  [[store(1, 9, "1"), contents(["1", "8", "1"])], "entry 0"],
  [[store(1, 9, "1"), contents()], "entry 0"],
  [[contents(["1", "9", "1"])], "entry 0"],
  [
    [
      { ...run("store_run"), value: "1", value_step: 1 },
      { ...run("load_run"), expect: "1", value_step: 2 },
    ],
    "load of 2",
  ],
  [
    [store(1, 9, "1"), {
      op: "mt_find",
      index: "2",
      max: "5",
      expect: "1",
      index_after: "9",
    }],
    "last index found",
  ],
  [
    [store(1, 9, "1"), {
      op: "mt_for_each",
      index: "0",
      max: "5",
      expect: [],
    }],
    "iteration",
  ],
  [
    [store(1, 9, "1"), { op: "dup", new: 1 }, store(20, 20, "1"), {
      op: "expect_same",
      tree: 1,
      count: 1,
    }],
    "number of entries",
  ],
  [
    [store(1, 9, "1"), { op: "dup", new: 1 }, store(2, 9, "2"), {
      op: "expect_same",
      tree: 1,
      count: 1,
    }],
    "entry 0",
  ],
  [
    [store(1, 9, "1"), {
      op: "alloc_cyclic",
      value: "2",
      min: "0",
      max: "9",
      next: "9",
      expect: 0,
      start: "9",
      next_after: "10",
    }],
    "cyclic from 9",
  ],
  [
    [store(1, 9, "1"), {
      op: "alloc_cyclic",
      value: "2",
      min: "0",
      max: "9",
      next: "0",
      expect: 0,
      start: "0",
      next_after: "2",
    }],
    "next 2",
  ],
  [[store(1, 9, "1"), cursorCall("mas_walk", "2", 4, 1, 9)], "walk"],
  [
    [store(1, 9, "1"), cursorCall("mas_walk", "1", 4, 2, 9)],
    "range of walk",
  ],
  [
    [store(1, 9, "1"), {
      ...cursorCall("mas_empty_area", "1", 0, 1, 2),
      expect: 0,
      min: "0",
      max: "5",
      size: "2",
    }],
    "emptyArea",
  ],
];

function cursorCall(
  op: string,
  expect: string,
  index: number,
  first: number,
  last: number,
): Recorded {
  return {
    op,
    mas: 0,
    expect,
    pre: [String(index), String(index), "start"],
    post: [String(first), String(last), "active"],
  };
}

function store(
  first: number,
  last: number,
  value: string | null,
  more: Recorded = {},
): Recorded {
  const range = { index: String(first), last: String(last) };
  return { op: "store", ...range, value, expect: 0, ...more };
}

function contents(...entries: string[][]): Recorded {
  return { op: "expect_contents", entries };
}

function run(op: string): Recorded {
  const last = op === "load_run" ? "8" : "0";
  return { op, index: "0", last, count: 5, step: 2 };
}

function runOperations(ops: readonly unknown[]) {
  return runFile("a.json", JSON.stringify({ name: "a", ops }));
}

Deno.test("runFile() carries out mas_store_gfp, which may sleep for memory, by Cursor.storeBlocking", () => {
  using blocking = spy(Cursor.prototype, "storeBlocking");
  const report = runOperations(SOUND);
  assertEquals(report.status, "agreed");
  assertEquals(blocking.calls.length, report.replaysAgreed);
});

Deno.test("runFile() agrees with a sound case in every variant, and counts what it passes over", () => {
  const report = runOperations(SOUND);
  assertEquals(report.failures, []);
  assertEquals(report.status, "agreed");
  // It looks for room, which needs gaps.
  assertEquals(report.replaysAgreed, VARIANTS.length / 2);
  assertEquals(report.operations, SOUND.length);
  assertEquals(report.operationsSkipped, {
    "failed for want of memory in the reference": 2,
    "concerns the reference's own memory": 1,
  });
  assertEquals(report.operationsRun, SOUND.length - 3);
  assertEquals(report.operationsAgreed, SOUND.length - 3);
  assert(report.moves > 0, "no node was moved");
});

Deno.test("runFile() disagrees in every variant with each case that expects something wrong", () => {
  for (const [ops, message] of UNSOUND) {
    const report = runOperations(ops);
    assertEquals(report.status, "disagreed", message);
    assertEquals(report.failures.length, report.replays, message);
    for (const failure of report.failures) {
      assertEquals(failure.position, ops.length - 1);
      assertStringIncludes(failure.message, message);
      assertStringIncludes(failure.message, ": expected ");
    }
  }
});

Deno.test("runFile() disagrees where an operation throws", () => {
  const report = runOperations([store(9, 1, "1")]);
  assertEquals(report.status, "disagreed");
});

Deno.test("runFile() skips a case for an index out of reach, even of an operation that is passed over", () => {
  const walk = { op: "mas_walk", pre: [BEYOND, BEYOND, "start"] };
  for (const operation of [store(0, 1, "1", { last: BEYOND }), walk]) {
    const { status, reason } = runOperations([operation]);
    assertEquals(status, "skipped");
    assertStringIncludes(`${reason}`, BEYOND);
  }
});

Deno.test("runFile() names what it cannot read", () => {
  const unreadable: [operation: unknown, reason: string][] = [
    [{ op: "mas_fly" }, "operation 0 (mas_fly): no such operation"],
    [{ op: "load", expect: null }, '(load): "index" is nothing'],
    [{ op: "load", index: 3, expect: null }, '(load): "index" is 3'],
    [{ op: "load", index: "-3", expect: null }, "found -3"],
    [store(1, 2, "1", { expect: -16 }), '"expect" is -16'],
    [{ ...run("store_run"), value: "ptr:A", value_step: 1 }, '"value_step"'],
    [{ ...run("load_run"), step: 0, expect: null, value_step: 0 }, '"step"'],
    [{ op: "expect_contents", entries: [["1", "2"]] }, '["1","2"]'],
    [7, "operation 0"],
  ];
  for (const [operation, expected] of unreadable) {
    const { status, reason } = runOperations([operation]);
    assertEquals(status, "unreadable");
    assertStringIncludes(`${reason}`, expected);
  }
  assertEquals(runFile("a.json", "{").status, "unreadable");
  assertEquals(runFile("a.json", "[]").status, "unreadable");
  assertEquals(runFile("a.json", "{}").status, "unreadable");
});

Deno.test("isClean() holds unless a file disagreed or could not be read", () => {
  const agreed = runOperations(SOUND);
  const skipped = runOperations([store(0, 1, "1", { last: BEYOND })]);
  const clean = summarize(VARIANTS, [agreed, skipped], 0);
  assert(isClean(clean));
  assertEquals(clean.files, {
    agreed: 1,
    disagreed: 0,
    skipped: 1,
    unreadable: 0,
  });
  const disagreed = runOperations(UNSOUND[0][0]);
  assert(!isClean(summarize(VARIANTS, [agreed, disagreed], 0)));
  assert(!isClean(summarize(VARIANTS, [runOperations([7])], 0)));
  const text = formatReport(summarize(VARIANTS, [agreed, disagreed], 0));
  assertStringIncludes(text, "agreed 1, disagreed 1, skipped 0, unreadable 0");
  assertStringIncludes(text, "at operation 1, load: load of 5: expected 2");
});

Deno.test("toIndex() keeps small indices and maps the top of the 64-bit space to the top of the tree's", () => {
  assertEquals(toIndex("0"), 0);
  assertEquals(toIndex(String(2 ** 53 - 1)), Number.MAX_SAFE_INTEGER);
  assertEquals(toIndex(TOP), Number.MAX_SAFE_INTEGER);
  const lowest = (2n ** 64n - 2n ** 20n).toString();
  assertEquals(toIndex(lowest), Number.MAX_SAFE_INTEGER - 2 ** 20 + 1);
});

Deno.test("runFile() takes nothing for a refusal but a RangeError", () => {
  const refused = [
    { op: "init", flags: 0 },
    { op: "insert", index: "30", last: "29", value: "7", expect: -22 },
  ];
  assertEquals(runOperations(refused).failures, []);
  using _broken = stub(RangeTree.prototype, "insertRange", () => {
    throw new TypeError("undefined is not a function");
  });
  const { failures } = runOperations(refused);
  assertEquals(failures.length, VARIANTS.length);
  assertStringIncludes(failures[0].message, "undefined is not a function");
});

Deno.test("main() answers wrong usage with 2 and one line", () => {
  for (const args of [[], ["--cases"], ["--cases", "a", "b"], ["--folder"]]) {
    using print = stub(console, "error");
    assertEquals(main(args), 2);
    assertEquals(print.calls.length, 1);
    assert(!String(print.calls[0].args[0]).includes("\n"));
  }
});

Deno.test("main() refuses a folder that is not there", () => {
  using print = stub(console, "error");
  assertEquals(main(["--cases", "no/such/folder"]), 2);
  assertEquals(print.calls.length, 1);
});
