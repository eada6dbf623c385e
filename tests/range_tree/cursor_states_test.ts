import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  type Cursor,
  MAX_INDEX,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import { failAfter } from "./failures.ts";
import { bothOf } from "./both_caches.ts";
import { test } from "./worlds.ts";

// The tables of `docs/cursor.md`, row by row: each has its test here, and each test a row there.

type Range = [index: number, last: number];

/** What leads where. */
interface Case {
  /** What the tree holds; else what ENTRIES says. */
  readonly entries?: readonly Range[];
  /** The range that the cursor is set to first. */
  readonly from: Range;
  /** What brings it to where it begins. */
  readonly before?: (cursor: Cursor) => unknown;
  /** What the row is about. */
  readonly call: (cursor: Cursor, arena: Arena) => unknown;
  /** The range that it leads to; none where the row says that it stays. */
  readonly to?: Range;
  /** The state that it leads to, where it is not the row's, since the range is all indices. */
  readonly at?: "root" | "none";
}

const ENTRIES: readonly Range[] = [[10, 19], [20, 22], [30, 33]];
const ALL: Range = [0, MAX_INDEX];

const walk = (cursor: Cursor) => cursor.walk();
const pause = (cursor: Cursor) => cursor.pause();
/** Brings a cursor to `"overflow"` where it is. */
const overflow = (cursor: Cursor) => {
  cursor.walk();
  cursor.next(cursor.last);
  assertEquals(cursor.state, "overflow");
};

/** Brings a cursor to `"underflow"` where it is. */
const underflow = (cursor: Cursor) => {
  cursor.walk();
  cursor.prev(cursor.index);
  assertEquals(cursor.state, "underflow");
};

/** What each row says, by its first cell. */
const ROWS: Record<string, readonly Case[]> = {
  "`setRange`": [
    { from: [1, 2], call: (c) => c.setRange(4, 5), to: [4, 5] },
    { from: [12, 12], before: walk, call: (c) => c.setRange(7), to: [7, 7] },
  ],
  "`reset`": [
    { from: [12, 13], call: (c) => c.reset() },
    { from: [12, 13], before: walk, call: (c) => c.reset() },
    { from: [12, 13], before: overflow, call: (c) => c.reset() },
  ],
  "`pause`": [
    { from: [12, 13], call: pause },
    { from: [12, 13], before: walk, call: pause },
  ],
  "`walk`": [
    { from: [12, 13], call: walk, to: [10, 19] },
    { from: [25, 99], call: walk, to: [23, 29] },
    { from: [25, 99], entries: [], call: walk, to: ALL, at: "none" },
    { from: [25, 99], entries: [ALL], call: walk, to: ALL, at: "root" },
  ],
  "`find`, `findRange`": [
    { from: [12, 13], call: (c) => c.find(), to: [10, 19] },
    { from: [23, 23], call: (c) => c.find(30), to: [30, 33] },
    { from: [12, 13], before: walk, call: (c) => c.find(), to: [20, 22] },
    { from: [12, 13], before: pause, call: (c) => c.find(), to: [10, 19] },
    { from: [12, 19], before: pause, call: (c) => c.find(), to: [20, 22] },
    { from: [12, 13], before: overflow, call: (c) => c.find(), to: [20, 22] },
    { from: [20, 20], before: walk, call: (c) => c.findRange(), to: [23, 29] },
    {
      from: [5, 5],
      entries: [ALL],
      call: (c) => c.find(),
      to: ALL,
      at: "root",
    },
  ],
  "`find`, `findRange` that find nothing": [
    {
      from: [31, 31],
      before: walk,
      call: (c) => c.find(),
      to: [34, MAX_INDEX],
    },
    { from: [23, 23], call: (c) => c.find(29), to: [23, 29] },
    { from: [12, 12], before: walk, call: (c) => c.find(5), to: [10, 19] },
    {
      from: [12, 12],
      before: walk,
      call: (c) => c.findRange(19),
      to: [10, 19],
    },
    { from: [5, 5], entries: [], call: (c) => c.find(), to: ALL, at: "none" },
    {
      from: [5, 5],
      entries: [ALL],
      before: walk,
      call: (c) => c.find(),
      to: ALL,
      at: "root",
    },
  ],
  '`find`, `findRange` from `"start"` with `index` above `max`': [
    { from: [12, 13], call: (c) => c.find(11) },
    { from: [12, 13], entries: [], call: (c) => c.findRange(11) },
  ],
  '`find`, `findRange` from `"paused"` or `"overflow"` with `last` not below `max`':
    [
      { from: [12, 13], before: pause, call: (c) => c.find(13) },
      { from: [12, 13], before: pause, call: (c) => c.findRange(5) },
      { from: [12, 13], before: overflow, call: (c) => c.find(19) },
      { from: [12, 13], before: overflow, call: (c) => c.findRange(5) },
    ],
  '`find`, `findRange` from `"underflow"` with `index` above `max`': [
    { from: [12, 13], before: underflow, call: (c) => c.find(9) },
    { from: [12, 13], before: underflow, call: (c) => c.findRange(0) },
  ],
  "`findReverse`, `findRangeReverse`": [
    { from: [25, 99], call: (c) => c.findReverse(), to: [20, 22] },
    {
      from: [31, 31],
      before: walk,
      call: (c) => c.findReverse(),
      to: [20, 22],
    },
    {
      from: [30, 31],
      before: pause,
      call: (c) => c.findReverse(),
      to: [20, 22],
    },
    {
      from: [12, 13],
      before: overflow,
      call: (c) => c.findReverse(),
      to: [10, 19],
    },
    {
      from: [31, 31],
      before: walk,
      call: (c) => c.findRangeReverse(),
      to: [23, 29],
    },
  ],
  "`findReverse`, `findRangeReverse` that find nothing": [
    { from: [12, 12], before: walk, call: (c) => c.findReverse(), to: [0, 9] },
    { from: [25, 99], call: (c) => c.findReverse(23), to: [23, 29] },
    { from: [5, 5], entries: [], call: (c) => c.findReverse(), to: ALL },
    {
      from: [12, 13],
      before: pause,
      call: (c) => c.findReverse(12),
      to: [12, 13],
    },
  ],
  '`findReverse`, `findRangeReverse` from `"start"` with `index` below `min`': [
    { from: [12, 13], call: (c) => c.findReverse(13) },
    { from: [12, 13], call: (c) => c.findRangeReverse(99) },
  ],
  "`next`, `nextRange`": [
    { from: [15, 25], call: (c) => c.next(), to: [20, 22] },
    { from: [12, 13], before: walk, call: (c) => c.next(), to: [20, 22] },
    { from: [12, 13], before: pause, call: (c) => c.next(), to: [20, 22] },
    { from: [20, 20], call: (c) => c.nextRange(), to: [23, 29] },
  ],
  "`next`, `nextRange` that find nothing": [
    { from: [12, 13], call: (c) => c.next(19), to: [10, 19] },
    { from: [15, 25], call: (c) => c.next(25), to: [15, 25] },
    { from: [31, 31], call: (c) => c.next(), to: [34, MAX_INDEX] },
    { from: [5, 5], entries: [], call: (c) => c.next(), to: ALL },
    { from: [5, 5], entries: [ALL], call: (c) => c.next(), to: ALL },
  ],
  "`prev`, `prevRange`": [
    { from: [25, 99], call: (c) => c.prev(), to: [20, 22] },
    { from: [21, 21], call: (c) => c.prev(), to: [10, 19] },
    { from: [31, 31], call: (c) => c.prevRange(), to: [23, 29] },
  ],
  "`prev`, `prevRange` that find nothing": [
    { from: [12, 13], call: (c) => c.prev(), to: [0, 9] },
    { from: [12, 13], call: (c) => c.prev(12), to: [12, 13] },
    { from: [25, 99], call: (c) => c.prev(23), to: [23, 29] },
    { from: [5, 5], entries: [], call: (c) => c.prev(), to: ALL },
  ],
  "`store`, `storeBlocking`, `insert`": [
    { from: [12, 25], call: (c) => c.store(7) },
    { from: [12, 25], before: walk, call: (c) => c.storeBlocking(7) },
    { from: [12, 25], call: (c) => c.store(0) },
    { from: [23, 24], call: (c) => c.insert(7) },
    { from: ALL, call: (c) => c.store(7), to: ALL, at: "root" },
    { from: ALL, call: (c) => c.store(0), to: ALL, at: "none" },
    {
      from: ALL,
      entries: [],
      call: (c) => c.insert(7),
      to: ALL,
      at: "root",
    },
  ],
  "`insert` where not all is free": [
    { from: [15, 25], call: (c) => assertEquals(c.insert(7), false) },
    { from: [15, 25], before: walk, call: (c) => c.insert(7) },
    { from: [15, 25], before: pause, call: (c) => c.insert(7) },
    { from: ALL, call: (c) => c.insert(7) },
  ],
  "`erase`": [
    { from: [15, 25], call: (c) => c.erase(), to: [10, 19] },
    { from: [25, 99], call: (c) => c.erase(), to: [23, 29] },
    { from: [5, 5], entries: [], call: (c) => c.erase(), to: ALL, at: "none" },
    {
      from: [5, 5],
      entries: [ALL],
      call: (c) => c.erase(),
      to: ALL,
      at: "none",
    },
  ],
  "`preallocate`, `destroy`": [
    { from: [15, 25], call: (c) => c.preallocate(7) },
    { from: [15, 25], before: walk, call: (c) => c.preallocate(7) },
    { from: [15, 25], before: pause, call: (c) => c.destroy() },
  ],
  "`emptyArea`, `emptyAreaReverse`": [
    { from: [15, 25], call: (c) => c.emptyArea(15, 99, 3), to: [23, 25] },
    {
      from: [15, 25],
      call: (c) => c.emptyAreaReverse(15, 29, 3),
      to: [27, 29],
    },
    {
      from: [5, 5],
      entries: [],
      call: (c) => c.emptyArea(...ALL, MAX_INDEX + 1),
      to: ALL,
      at: "none",
    },
  ],
  "`emptyArea`, `emptyAreaReverse` that find nothing": [
    { from: [15, 25], call: (c) => c.emptyArea(10, 25, 4) },
    {
      from: [15, 25],
      before: walk,
      call: (c) => c.emptyAreaReverse(10, 25, 4),
    },
  ],
  "an error": [
    {
      from: [15, 25],
      call: (c) => assertThrows(() => c.setRange(5, 4), RangeError),
    },
    {
      from: [15, 25],
      before: walk,
      call: (c) => assertThrows(() => c.store(2 ** 32), RangeError),
    },
    {
      from: [15, 25],
      before: pause,
      call: (c) => assertThrows(() => c.emptyArea(5, 7, 4), RangeError),
    },
    ...[
      (c: Cursor) => c.store(7),
      (c: Cursor) => c.erase(),
      (c: Cursor) => c.preallocate(7),
    ].map((use) => ({
      from: [15, 25] as Range,
      call: (c: Cursor, arena: Arena) => {
        using _full = failAfter(bothOf(arena), 0);
        assertThrows(() => use(c), OutOfMemoryError);
      },
    })),
  ],
};

/** The cells of the tables of `docs/cursor.md`, by the heading of the first column. */
function tablesOf(text: string): Map<string, string[][]> {
  const tables = new Map<string, string[][]>();
  let rows: string[][] | undefined;
  for (const line of text.split("\n")) {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    if (cells.length === 0) rows = undefined;
    else if (rows === undefined) tables.set(cells[0], rows = []);
    else if (!cells[0].startsWith("---")) rows.push(cells);
  }
  return tables;
}

const tables = tablesOf(
  await Deno.readTextFile(new URL("../../docs/cursor.md", import.meta.url)),
);
const rows = tables.get("what") ?? [];

Deno.test("cursor.md has a row for every test of a cursor's states, and a test for every row", () => {
  assertEquals(rows.map(([what]) => what), Object.keys(ROWS));
  const states = (tables.get("state") ?? []).map(([state]) => state);
  assertEquals(states, Object.keys(SEARCHES));
});

function worldOf(
  entries: readonly Range[],
  debug: boolean,
): { arena: Arena; tree: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 20, debug });
  // In RCU mode each store needs a node, which there may be none for.
  const tree = RangeTree.create(arena, { gaps: true, rcu: true });
  tree.bulkLoad(
    entries.map(([first, last], i) => ({ first, last, value: i + 1 })),
  );
  return { arena, tree };
}

for (const [what, state, range] of rows) {
  test(`Cursor after ${what}: ${state}, its range: ${range}`, (debug) => {
    for (const one of ROWS[what] ?? []) {
      const { arena, tree } = worldOf(one.entries ?? ENTRIES, debug);
      using _guard = tree.lock();
      using cursor = tree.cursor(...one.from);
      one.before?.(cursor);
      const was = { state: cursor.state, range: [cursor.index, cursor.last] };
      one.call(cursor, arena);
      const expected = state === "stays" ? was.state : JSON.parse(
        state.replaceAll("`", ""),
      );
      const why = `${one.call} from ${one.from}`;
      assertEquals(cursor.state, one.at ?? expected, why);
      assertEquals([cursor.index, cursor.last], one.to ?? was.range, why);
      // A range that stays is no range that was found, and the other way round.
      if (range === "stays") assertEquals(one.to, undefined, why);
      else assert(one.to !== undefined || range.includes("stays"), why);
    }
  });
}

/** What the next searches find from each state. */
const SEARCHES: Record<string, (assertSearch: AssertSearch) => void> = {
  '`"start"`': (assertSearch) => {
    assertSearch(ENTRIES, [15, 25], () => {}, "find", [10, 19]);
    assertSearch(ENTRIES, [15, 25], () => {}, "next", [20, 22]);
    assertSearch(ENTRIES, [21, 25], () => {}, "prev", [10, 19]);
  },
  '`"active"`': (assertSearch) => {
    assertSearch(ENTRIES, [12, 12], walk, "find", [20, 22]);
    assertSearch(ENTRIES, [12, 12], walk, "next", [20, 22]);
    assertSearch(ENTRIES, [21, 21], walk, "findReverse", [10, 19]);
    const store = (cursor: Cursor) => cursor.store(7);
    assertSearch(ENTRIES, [12, 20], store, "find", [21, 22]);
    assertSearch(ENTRIES, [12, 20], store, "findReverse", [10, 11]);
  },
  '`"root"`': (assertSearch) => {
    for (const search of ["find", "next", "prev", "findReverse"] as const) {
      assertSearch([ALL], [5, 5], walk, search, undefined);
    }
  },
  '`"none"`': (assertSearch) => {
    for (const search of ["find", "next", "prev", "findReverse"] as const) {
      assertSearch([], [5, 5], walk, search, undefined);
    }
  },
  '`"paused"`': (assertSearch) => {
    assertSearch(ENTRIES, [10, 19], pause, "find", [20, 22]);
    assertSearch(ENTRIES, [20, 22], pause, "findReverse", [10, 19]);
    assertSearch(ENTRIES, [10, 19], pause, "next", [20, 22]);
    // What somebody stores before the search: over the rest of the range, or over more than that.
    const cut = pausedBefore(15, 17), grown = pausedBefore(5, 25);
    assertSearch(ENTRIES, [10, 19], cut, "find", [20, 22]);
    assertSearch(ENTRIES, [10, 19], cut, "next", [15, 17]);
    assertSearch(ENTRIES, [10, 19], grown, "find", [5, 25]);
    assertSearch(ENTRIES, [10, 19], grown, "next", [30, 33]);
    assertSearch(ENTRIES, [20, 22], pausedBefore(15, 15), "findReverse", [
      16,
      19,
    ]);
    assertSearch(ENTRIES, [15, 15], pausedBefore(12, 13), "prev", [12, 13]);
  },
  '`"overflow"`': (assertSearch) => {
    assertSearch(ENTRIES, [20, 22], overflow, "prev", [20, 22]);
    assertSearch(ENTRIES, [20, 22], overflow, "findReverse", [20, 22]);
    assertSearch(ENTRIES, [20, 22], overflow, "next", [30, 33]);
    assertSearch(ENTRIES, [20, 22], overflow, "find", [30, 33]);
    // Where the bound is the end of the range.
    assertSearch(ENTRIES, [20, 22], overflow, "prev", undefined, 20);
    assertSearch(ENTRIES, [20, 22], overflow, "prev", [20, 22], 19);
    assertSearch(ENTRIES, [20, 22], overflow, "findReverse", [20, 22], 20);
  },
  '`"underflow"`': (assertSearch) => {
    assertSearch(ENTRIES, [20, 22], underflow, "next", [20, 22]);
    assertSearch(ENTRIES, [20, 22], underflow, "find", [20, 22]);
    assertSearch(ENTRIES, [20, 22], underflow, "prev", [10, 19]);
    assertSearch(ENTRIES, [20, 22], underflow, "findReverse", [10, 19]);
    assertSearch(ENTRIES, [20, 22], underflow, "next", undefined, 22);
    assertSearch(ENTRIES, [20, 22], underflow, "next", [20, 22], 23);
    assertSearch(ENTRIES, [20, 22], underflow, "find", [20, 22], 22);
  },
};

/** Pauses a cursor, and has another one store. */
function pausedBefore(first: number, last: number) {
  return (cursor: Cursor, tree: RangeTree) => {
    cursor.pause();
    tree.cursor(first, last).store(9);
  };
}

type AssertSearch = ReturnType<typeof searchIn>;

/** Searches in trees of arenas as they are by default, or for debugging. */
function searchIn(debug: boolean) {
  return (
    entries: readonly Range[],
    from: Range,
    before: (cursor: Cursor, tree: RangeTree) => unknown,
    search: "find" | "next" | "prev" | "findReverse",
    found: Range | undefined,
    bound?: number,
  ): void => {
    const { tree } = worldOf(entries, debug);
    using _guard = tree.lock();
    const cursor = tree.cursor(...from);
    before(cursor, tree);
    const value = cursor[search](bound);
    assertEquals(value !== 0, found !== undefined);
    if (found !== undefined) assertEquals([cursor.index, cursor.last], found);
  };
}

test("Cursor that finds nothing takes the whole free run that it is in a part of, but by next and prev", (debug) => {
  for (const search of ["find", "findReverse", "next", "prev"] as const) {
    const { tree } = worldOf(ENTRIES, debug);
    using _guard = tree.lock();
    const cursor = tree.cursor();
    cursor.emptyArea(24, 26, 2);
    const forward = search === "find" || search === "next";
    assertEquals(cursor[search](forward ? 25 : 24), 0);
    const found: Range = search.startsWith("find") ? [23, 29] : [24, 25];
    assertEquals([cursor.index, cursor.last], found, search);
  }
});

for (const [state, check] of Object.entries(SEARCHES)) {
  test(`Cursor searches from ${state} as cursor.md says`, (debug) => {
    check(searchIn(debug));
  });
}
