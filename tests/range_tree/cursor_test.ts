import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  Arena,
  type Cursor,
  type Entry,
  LockdepError,
  RangeTree,
} from "../../mod.ts";
import { rng, seeds } from "../seed.ts";
import { test } from "./worlds.ts";

function treeOf(
  rcu: boolean,
  entries: Entry[],
  debug: boolean,
): { arena: Arena; tree: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 22, debug });
  const tree = RangeTree.create(arena, { rcu });
  tree.bulkLoad(entries);
  return { arena, tree };
}

function every(step: number, count: number): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    return { first: i * step, last: i * step + 1, value: i + 1 };
  });
}

function at(cursor: Cursor, value: number): Entry {
  return { first: cursor.index, last: cursor.last, value };
}

test("Cursor.walk() goes to the range, stored or empty, that covers the index", (debug) => {
  const { tree } = treeOf(false, every(10, 100), debug);
  using _guard = tree.lock();
  const cursor = tree.cursor(501);
  assertEquals(at(cursor, cursor.walk()), { first: 500, last: 501, value: 51 });
  cursor.setRange(505, 505);
  assertEquals(at(cursor, cursor.walk()), { first: 502, last: 509, value: 0 });
});

test("Cursor.find(), next() and prev() visit every entry of a window once", (debug) => {
  const entries = every(10, 300);
  const { arena, tree } = treeOf(true, entries, debug);
  using _section = arena.rcu.read();
  const found: Entry[] = [];
  const cursor = tree.cursor(995);
  for (let value = cursor.find(2000); value !== 0; value = cursor.find(2000)) {
    found.push(at(cursor, value));
  }
  assertEquals(found, entries.slice(100, 201));
  const back: Entry[] = [];
  for (let value = cursor.prev(1500); value !== 0; value = cursor.prev(1500)) {
    back.push(at(cursor, value));
  }
  assertEquals(back, entries.slice(150, 200).reverse());
  // It stopped before the first one, so the next one is that.
  assertEquals(at(cursor, cursor.next()), entries[150]);
});

const RANDOM_TEST = "Cursor.store() and erase() agree with an array";
for (const seed of seeds(RANDOM_TEST)) {
  for (const rcu of [false, true]) {
    test(`${RANDOM_TEST} (rcu ${rcu}, seed ${seed})`, (debug) => {
      const random = rng(seed);
      const { tree } = treeOf(rcu, [], debug);
      const owners = new Array(500).fill(0);
      for (let step = 1; step <= 1000; step++) {
        using _guard = tree.lock();
        const index = random.int(500);
        const cursor = tree.cursor(
          index,
          Math.min(499, index + random.int(30)),
        );
        if (random.int(3) > 0) {
          cursor.store(step);
          owners.fill(step, cursor.index, cursor.last + 1);
          assertEquals(cursor.walk(), step);
        } else {
          const owner = owners[index];
          assertEquals(cursor.erase(), owner);
          for (let i = index; owner !== 0 && owners[i] === owner; i++) {
            owners[i] = 0;
          }
          for (let i = index - 1; owner !== 0 && owners[i] === owner; i--) {
            owners[i] = 0;
          }
        }
      }
      tree.validate();
      for (let i = 0; i < 500; i++) assertEquals(tree.load(i), owners[i]);
    });
  }
}

test("Cursor goes on in the changed tree after a store under the same hold", (debug) => {
  const { tree } = treeOf(false, every(10, 200), debug);
  using _guard = tree.lock();
  const cursor = tree.cursor();
  const other = tree.cursor(10, 1989);
  cursor.find();
  other.store(7);
  assertEquals(at(cursor, cursor.next()), { first: 10, last: 1989, value: 7 });
  assertEquals(at(cursor, cursor.next()), {
    first: 1990,
    last: 1991,
    value: 200,
  });
  assertEquals(cursor.next(), 0);
});

test("Cursor goes back in the changed tree after a store under the same hold, wherever that was", (debug) => {
  for (let at = 1; at < 60; at++) {
    const { tree } = treeOf(true, every(2, 100), debug);
    using _guard = tree.lock();
    const cursor = tree.cursor(2 * at);
    cursor.walk();
    tree.cursor(2 * at - 1).store(1000);
    assertEquals([cursor.prev(), cursor.prev()], [1000, at]);
  }
});

test("Cursor without a lock or a read section is a suspicious rcu_dereference_check()", (debug) => {
  const { tree } = treeOf(true, every(10, 10), debug);
  const cursor = tree.cursor();
  for (
    const use of [
      () => cursor.walk(),
      () => cursor.find(),
      () => cursor.next(),
      () => cursor.prev(),
    ]
  ) {
    const error = assertThrows(use, LockdepError);
    assertStringIncludes(
      error.message,
      "suspicious rcu_dereference_check() usage",
    );
    assertStringIncludes(error.message, "no locks held by thread 1");
  }
});

test("Cursor writes without the lock are a suspicious rcu_dereference_protected()", (debug) => {
  const { arena, tree } = treeOf(true, every(10, 10), debug);
  using _section = arena.rcu.read();
  const cursor = tree.cursor();
  for (const use of [() => cursor.store(1), () => cursor.erase()]) {
    const error = assertThrows(use, LockdepError);
    assertStringIncludes(
      error.message,
      "suspicious rcu_dereference_protected() usage",
    );
  }
  assertEquals([...tree], every(10, 10));
});

test("Cursor used after its lock was dropped is found, unless it was reset or paused", (debug) => {
  const { tree } = treeOf(false, every(10, 10), debug);
  const cursor = tree.cursor();
  {
    using _guard = tree.lock();
    assertEquals(cursor.find(), 1);
  }
  using _guard = tree.lock();
  const error = assertThrows(() => cursor.find(), LockdepError);
  assertStringIncludes(
    error.message,
    "the cursor's position is of another hold",
  );
  assertStringIncludes(error.message, "taken at RangeTree.lock");
  cursor.pause();
  assertEquals(cursor.find(), 2);
  cursor.reset();
  assertEquals(cursor.walk(), 2);
});

test("Cursor used after its read section, or in a later one, is found", (debug) => {
  const { arena } = treeOf(true, [], debug);
  for (const lock of ["internal", "none"] as const) {
    const tree = RangeTree.create(arena, { rcu: true, lock });
    tree.bulkLoad(every(10, 10));
    const cursor = tree.cursor();
    const assertFound = () => {
      for (const use of [() => cursor.next(), () => cursor.prev()]) {
        assertThrows(use, LockdepError);
      }
    };
    arena.rcu.readLock();
    assertEquals(cursor.find(), 1);
    arena.rcu.readUnlock();
    assertFound();
    arena.rcu.readLock();
    assertFound();
    assertThrows(
      () => cursor.next(),
      LockdepError,
      "the cursor's position is of another hold of the lock, or of another read section",
    );
    arena.rcu.readUnlock();
  }
});

test("Cursor refuses bad ranges and entries, and stays where it is", (debug) => {
  const { tree } = treeOf(false, every(10, 10), debug);
  assertThrows(() => tree.cursor(5, 4), RangeError);
  using _guard = tree.lock();
  const cursor = tree.cursor(20);
  assertEquals(cursor.walk(), 3);
  for (const [index, last] of [[-1, 5], [3, 2], [0.5, 1], [0, 2 ** 53]]) {
    assertThrows(() => cursor.setRange(index, last), RangeError);
  }
  assertThrows(() => cursor.store(2 ** 32), RangeError);
  assertEquals([cursor.index, cursor.last], [20, 21]);
});

Deno.test("Cursor refuses bounds that are no indices in every search, and stays where it is", () => {
  const BAD = [Infinity, -Infinity, NaN, -1, 1.5, 2 ** 53, "12", null, 3n];
  const SEARCHES = [
    "find",
    "findRange",
    "findReverse",
    "findRangeReverse",
    "next",
    "nextRange",
    "prev",
    "prevRange",
  ] as const;
  for (const by of ["shared", "buffer"] as const) {
    const owner = Arena.create({ byteLength: 2 ** 20 });
    const arena = Arena.attach(owner[by]);
    const tree = RangeTree.create(arena);
    for (let i = 0; i < 30; i++) tree.store(i * 2, i + 1);
    using _guard = tree.lock();
    for (const search of SEARCHES) {
      for (const isThere of [false, true]) {
        for (const bound of BAD) {
          const cursor = tree.cursor(20);
          if (isThere) cursor.walk();
          const before = String(cursor);
          assertThrows(
            () => cursor[search](bound as number),
            RangeError,
            "Cannot use index",
          );
          assertEquals(String(cursor), before);
          assertEquals(cursor.walk(), 11);
        }
      }
    }
  }
});

Deno.test("Cursor searches beyond an end as far as the bound of the new search", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.storeRange(10, 19, 1);
  tree.storeRange(50, 59, 2);
  using _guard = tree.lock();
  const cursor = tree.cursor(50);
  cursor.walk();
  assertEquals([cursor.prev(50), cursor.state], [0, "underflow"]);
  assertEquals([cursor.find(40), cursor.state], [0, "overflow"]);
  cursor.setRange(10);
  cursor.walk();
  assertEquals([cursor.next(15), cursor.state], [0, "overflow"]);
  assertEquals([cursor.findReverse(30), cursor.state], [0, "underflow"]);
  assertEquals(cursor.find(10), 1);
});

Deno.test("Cursor of a tree whose lock is not known is not confused by read sections beside it", () => {
  for (const rcu of [false, true]) {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const other = RangeTree.create(arena, { rcu: true });
    const tree = RangeTree.create(arena, { lock: "none", rcu });
    tree.store(0, 1);
    tree.store(10, 2);
    const cursor = tree.cursor();
    assertEquals(cursor.find(), 1);
    arena.rcu.readLock();
    other.load(3);
    assertEquals(cursor.find(), 2);
    arena.rcu.readUnlock();
    assertEquals(tree.height, 1);
    cursor.store(7);
    assertEquals(tree.load(10), 7);
  }
});

Deno.test("Cursor in a read section of a tree that never was in RCU mode is told that it needs the lock", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.store(0, 1);
  arena.rcu.readLock();
  const error = assertThrows(() => tree.cursor().walk(), LockdepError);
  arena.rcu.readUnlock();
  assert(!error.message.includes("or a read section"), error.message);
});
