import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type Cursor, RangeTree } from "../../src/range_tree/mod.ts";
import { failAfter, stateOf, throwsOutOfMemory } from "./failures.ts";
import { points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** A tree of full leaves: ranges of three indices with gaps of two, from 0 on. */
function worldOf(): { arena: Arena; tree: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const tree = RangeTree.create(arena, { gaps: true, rcu: true });
  tree.bulkLoad(
    points(8000, 5).map((entry) => ({ ...entry, last: entry.first + 2 })),
  );
  return { arena, tree };
}

/** How a cursor comes to each state, its range staying what it was set to. */
const STARTS: Record<string, (cursor: Cursor) => unknown> = {
  start: () => {},
  active: (cursor) => {
    const { index, last } = cursor;
    // Either all of it is free, or it is one entry.
    return cursor.emptyArea(index, last, last - index + 1) || cursor.walk();
  },
  paused: (cursor) => cursor.pause(),
  overflow: (cursor) => cursor.next(cursor.last),
  underflow: (cursor) => cursor.prev(cursor.index),
};

/** What needs memory, and the range that it needs it for. */
const USES: Record<
  string,
  { first: number; last: number; call: (cursor: Cursor) => unknown }
> = {
  "store()": { first: 101, last: 30_001, call: (cursor) => cursor.store(9) },
  "store(0)": { first: 101, last: 30_001, call: (cursor) => cursor.store(0) },
  "insert()": { first: 103, last: 103, call: (cursor) => cursor.insert(9) },
  "erase()": { first: 100, last: 102, call: (cursor) => cursor.erase() },
  "preallocate()": {
    first: 101,
    last: 30_001,
    call: (cursor) => cursor.preallocate(9),
  },
  "storeBlocking()": {
    first: 101,
    last: 30_001,
    call: (cursor) => cursor.storeBlocking(9),
  },
};

function placeOf(cursor: Cursor): unknown {
  return [cursor.index, cursor.last, cursor.state];
}

/** Calls with so many allocations granted; says whether that was too few, after which the cursor must be as it was. */
function fails(
  tree: RangeTree,
  allocations: number,
  { first, last, call }: typeof USES[string],
  start: (cursor: Cursor) => unknown,
  arena: Arena,
): boolean {
  using _guard = tree.lock();
  const [cursor, twin] = [tree.cursor(first, last), tree.cursor(first, last)];
  using _cursor = cursor;
  start(cursor);
  const place = placeOf(cursor);
  {
    using failing = failAfter(bothOf(arena), allocations);
    if (!throwsOutOfMemory(() => call(cursor))) {
      assert(!failing.failed, "it went on after a failed allocation");
      return false;
    }
  }
  assertEquals(placeOf(cursor), place);
  // It also goes on as one that never failed.
  start(twin);
  assertEquals(cursor.findRange(), twin.findRange());
  assertEquals(placeOf(cursor), placeOf(twin));
  return true;
}

for (const [name, use] of Object.entries(USES)) {
  for (const [state, start] of Object.entries(STARTS)) {
    // A cursor is not active at a range of several entries before it has stored there.
    if (state === "active" && use.last > use.first + 2) continue;
    Deno.test(`Cursor.${name} leaves tree and cursor as they were when any of its allocations fails, cursor ${state}`, () => {
      const { arena, tree } = worldOf();
      {
        using _guard = tree.lock();
        const cursor = tree.cursor(use.first, use.last);
        start(cursor);
        assertEquals(placeOf(cursor), [use.first, use.last, state]);
      }
      const before = stateOf(arena, tree);
      let allocations = 0;
      for (; fails(tree, allocations, use, start, arena); allocations++) {
        assertEquals(
          stateOf(arena, tree),
          before,
          `allocation ${allocations} failed`,
        );
      }
      const least = use.last > use.first + 2 ? 4 : 1;
      assert(allocations >= least, `${allocations} allocations`);
      tree.validate();
    });
  }
}

for (const name of ["store()", "preallocate()", "storeBlocking()"]) {
  Deno.test(`Cursor.${name} keeps what was preallocated when any of its further allocations fails`, () => {
    const { first, last, call } = USES[name];
    for (let allocations = 0;; allocations++) {
      const { arena, tree } = worldOf();
      const cache = bothOf(arena);
      using _guard = tree.lock();
      // Two ranges and the gap between them: one leaf in the place of another.
      using cursor = tree.cursor(100, 107);
      cursor.preallocate(9);
      const { objects } = cache.stats();
      cursor.setRange(first, last);
      {
        using _failing = failAfter(cache, allocations);
        if (!throwsOutOfMemory(() => call(cursor))) {
          assert(allocations > 0, "it needs no more");
          return;
        }
      }
      assertEquals(cache.stats().objects, objects);
      cursor.setRange(100, 107);
      using failing = failAfter(cache, 0);
      cursor.store(9);
      assert(!failing.failed);
    }
  });
}
