import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { Compactor } from "../../src/defrag/mod.ts";
import { Arena } from "../../src/memory/mod.ts";
import {
  type Cursor,
  ExternalLock,
  RangeTree,
} from "../../src/range_tree/mod.ts";
import { parentOf } from "../../src/range_tree/node.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { allEntries, nodesOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// What belongs to one hold of the lock ends with it, and what belongs to a tree ends with the tree.

function treeOf(): { arena: Arena; tree: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { gaps: true, rcu: true });
  tree.bulkLoad(points(200, 10));
  return { arena, tree };
}

/** What gives a cursor a position. */
const COMES: Record<string, (cursor: Cursor) => unknown> = {
  walk: (cursor) => cursor.walk(),
  findRange: (cursor) => cursor.findRange(),
  store: (cursor) => cursor.store(7),
  insert: (cursor) => {
    cursor.store(0);
    assert(cursor.insert(7));
  },
  erase: (cursor) => cursor.erase(),
  emptyArea: (cursor) => cursor.emptyArea(500, 700, 5),
  emptyAreaReverse: (cursor) => cursor.emptyAreaReverse(500, 700, 5),
};

/** What must not be done with a position of another hold. */
const USES: Record<string, (cursor: Cursor) => unknown> = {
  store: (cursor) => cursor.store(8),
  storeBlocking: (cursor) => cursor.storeBlocking(8),
  insert: (cursor) => cursor.insert(8),
  erase: (cursor) => cursor.erase(),
  preallocate: (cursor) => cursor.preallocate(8),
  emptyArea: (cursor) => cursor.emptyArea(500, 700, 5),
  emptyAreaReverse: (cursor) => cursor.emptyAreaReverse(500, 700, 5),
  walk: (cursor) => cursor.walk(),
  find: (cursor) => cursor.find(),
  next: (cursor) => cursor.next(),
  prev: (cursor) => cursor.prev(),
};

for (const [use, call] of Object.entries(USES)) {
  Deno.test(`Cursor.${use}() with a position of an earlier hold of the lock is found, however it came there`, () => {
    for (const [come, goTo] of Object.entries(COMES)) {
      const { tree } = treeOf();
      const cursor = tree.cursor(101, 105);
      {
        using _guard = tree.lock();
        goTo(cursor);
        call(cursor); // in the same hold it is none
      }
      cursor.setRange(101, 105);
      {
        using _guard = tree.lock();
        goTo(cursor);
      }
      {
        using _guard = tree.lock();
        const place = [cursor.index, cursor.last, cursor.state];
        const entries = allEntries(tree);
        const error = assertThrows(() => call(cursor), LockdepError, "", come);
        assertStringIncludes(
          error.message,
          `Cursor.${use}: the cursor's position is of another hold`,
        );
        assertEquals([cursor.index, cursor.last, cursor.state], place);
        assertEquals(allEntries(tree), entries);
        cursor.reset();
        call(cursor);
        cursor.destroy();
      }
    }
  });
}

for (const way of ["lock", "tryLock"] as const) {
  for (const mode of ["internal", "external"] as const) {
    Deno.test(`RangeTree.${way}() of a destroyed tree is an error that leaves nothing locked, lock ${mode}`, () => {
      const arena = Arena.create({ byteLength: 2 ** 20 });
      const externalLock = mode === "external"
        ? ExternalLock.create(arena)
        : undefined;
      const tree = RangeTree.create(arena, { lock: mode, externalLock });
      {
        using _guard = externalLock?.guard();
        tree.destroy();
      }
      assertThrows(
        () => tree[way](),
        Error,
        `Cannot use the tree in RangeTree.${way}: it was destroyed`,
      );
      assertEquals(arena.lockdep.held, 0);
      // Nor is it locked for anybody else: another tree in its place, or one with the same external lock.
      arena.rcu.barrier();
      const next = RangeTree.create(arena, { lock: mode, externalLock });
      using guard = next.tryLock();
      assert(guard !== undefined);
    });
  }
}

Deno.test("Cursor of an empty tree notices that it was destroyed", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { lock: "none" });
  const cursor = tree.cursor(5);
  for (const search of [() => cursor.find(), () => cursor.findReverse()]) {
    cursor.reset();
    cursor.walk();
    assertEquals(search(), 0);
  }
  cursor.reset();
  cursor.walk();
  tree.destroy();
  for (const name of ["find", "findReverse"] as const) {
    assertThrows(
      () => cursor[name](),
      Error,
      `Cannot use the tree in Cursor.${name}: it was destroyed`,
    );
  }
});

Deno.test("Cursor.preallocate() links its nodes nowhere, so that a mover leaves them alone", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const [tree, gone] = [1, 2].map(() => RangeTree.create(arena));
  for (const one of [tree, gone]) one.bulkLoad(points(441, 2));
  // What is allocated now was a node of a tree before, and is marked dead.
  const dead = new Set(nodesOf(arena, gone));
  gone.destroy();
  arena.rcu.barrier();
  new Compactor(arena);
  const both = bothOf(arena);
  const nodes: number[] = [];
  using cursor = tree.cursor(11, 601);
  {
    using stubs = new DisposableStack();
    for (const cache of both.all) {
      const allocate = cache.tryAllocate.bind(cache);
      stubs.use(stub(cache, "tryAllocate", () => {
        const node = allocate();
        nodes.push(node);
        return node;
      }));
    }
    using _guard = tree.lock();
    cursor.preallocate(7);
  }
  assert(nodes.length >= 2, `${nodes.length} nodes`);
  assert(nodes.some((node) => dead.has(node)), "they are all new");
  for (const node of nodes) {
    assertEquals(parentOf(arena.words, node), 0);
    // It may be linked at any moment; dead it would be nobody's.
    assertEquals(both.mover().relocate(node), "busy");
  }
  using _guard = tree.lock();
  cursor.store(7);
  assertEquals(allEntries(tree).length, 441 - 295 + 1);
});

Deno.test("RangeTree.store() in a full arena takes nodes that are deferred and whose grace period is over, without waiting", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const [tree, filler] = [1, 2].map(() =>
    RangeTree.create(arena, { rcu: true })
  );
  tree.bulkLoad(points(441, 2));
  filler.bulkLoad(points(400, 2));
  arena.rcu.barrier();
  while (arena.pages.freePages > 0) arena.pages.allocate(0, "unmovable");
  while (bothOf(arena).tryAllocate() !== 0);
  filler.destroy();
  assert(arena.rcu.pending > 0, "they were freed at once");
  const other = Arena.attach(arena.buffer);
  {
    using _section = other.rcu.read();
    // A reader may be inside them.
    assertThrows(() => tree.storeRange(11, 301, 7), Error, "Cannot store");
  }
  tree.storeRange(11, 301, 7);
  tree.validate();
  assertEquals(tree.load(200), 7);
  other.leave();
});
