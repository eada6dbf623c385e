import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena, ExternalLock, RangeTree, Slabs } from "../../mod.ts";
import { killHeader } from "../../src/range_tree/header.ts";
import { cacheOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// Handles of what was destroyed: each use of one is an error, whatever lies in its place by then.

/** Gives the pages of all empty slabs back, so that what comes there next finds them zeroed. */
function giveBack(arena: Arena): void {
  arena.rcu.barrier();
  for (const cache of Slabs.of(arena).all()) cache.shrink();
  arena.rcu.barrier();
}

const USES: Record<string, (tree: RangeTree) => unknown> = {
  load: (tree) => tree.load(1),
  store: (tree) => tree.store(1, 1),
  storeMany: (tree) => tree.storeMany([1], [1], [1]),
  insert: (tree) => tree.insert(1, 1),
  erase: (tree) => tree.erase(1),
  find: (tree) => tree.find(1),
  entries: (tree) => [...tree.entries()],
  count: (tree) => tree.count,
  height: (tree) => tree.height,
  rcu: (tree) => tree.rcu,
  clear: (tree) => tree.clear(),
  clone: (tree) => tree.clone(),
  bulkLoad: (tree) => tree.bulkLoad(points(100)),
  destroy: (tree) => tree.destroy(),
  lock: (tree) => tree.lock(),
  tryLock: (tree) => tree.tryLock(),
};

function assertStale(tree: RangeTree): void {
  for (const [name, use] of Object.entries(USES)) {
    assertThrows(
      () => use(tree),
      Error,
      `Cannot use the tree in RangeTree.${name}: it was destroyed`,
    );
  }
  assertEquals(String(tree), "RangeTree(destroyed)");
}

for (const rcu of [false, true]) {
  Deno.test(`RangeTree that was destroyed stays so when its header's page was away and is one of headers again, rcu ${rcu}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const create = () => RangeTree.create(arena, { rcu });
    const old = Array.from({ length: 100 }, create);
    for (const tree of old) tree.destroy();
    giveBack(arena);
    assertEquals(cacheOf(arena, "range_tree").stats().slabs, 0);
    const trees = Array.from({ length: 100 }, create);
    for (const tree of trees) tree.store(7, 70);
    assert(old.some(({ ref }) => ref === trees[0].ref));
    old.forEach(assertStale);
    for (const tree of trees) {
      assertEquals([...tree], [{ first: 7, last: 7, value: 70 }]);
      tree.validate();
    }
  });

  Deno.test(`RangeTree that was destroyed takes no lock in memory that is something else now, rcu ${rcu}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 18 });
    const keep = RangeTree.create(arena, { rcu });
    const old = Array.from(
      { length: 64 },
      () => RangeTree.create(arena, { rcu }),
    );
    for (const tree of old) tree.destroy();
    giveBack(arena);
    // Any word of it taken for a lock looks held by this thread.
    const objects: number[] = [];
    for (;;) {
      const object = bothOf(arena).tryAllocate();
      if (object === 0) break;
      arena.words.fill(arena.thread, object * 16, object * 16 + 64);
      objects.push(object);
    }
    const reused = old.filter(({ ref }) =>
      arena.words[ref * 16 + 16] === arena.thread
    );
    assert(reused.length >= 16, `${reused.length} headers' places`);
    reused.forEach(assertStale);
    for (const object of objects) {
      const words = arena.words.subarray(object * 16, object * 16 + 64);
      assert(words.every((word) => word === arena.thread));
    }
    assertEquals(keep.count, 0);
  });

  Deno.test(`RangeTree finds out that another thread destroyed the tree after the first look at it, rcu ${rcu}`, () => {
    for (const [name, use] of Object.entries(USES)) {
      // These enter nothing, or do not wait.
      if (["count", "rcu", "tryLock"].includes(name)) continue;
      const other = Arena.create({ byteLength: 2 ** 20 });
      // By its buffer: nobody can come between the steps of a compiled loop here.
      const arena = Arena.attach(other.buffer);
      const tree = RangeTree.create(arena, { name: "tree", rcu });
      const theirs = RangeTree.attach(other, "tree");
      let later: RangeTree | undefined;
      const meanwhile = () => {
        if (later !== undefined) return;
        theirs.destroy();
        other.rcu.barrier();
        later = RangeTree.create(other, { rcu });
        assertEquals(later.ref, tree.ref);
      };
      // What an operation does first, once it has looked whether the tree lives, if it did that before entering.
      const { lockdep, rcu: sections } = arena;
      const acquire = lockdep.acquire.bind(lockdep);
      const readLock = sections.readLock.bind(sections);
      using _acquire = stub(lockdep, "acquire", (lockClass, key, site) => {
        // The locks of slab caches are taken as well.
        if (site.startsWith("RangeTree.")) meanwhile();
        acquire(lockClass, key, site);
      });
      using _readLock = stub(sections, "readLock", () => {
        meanwhile();
        readLock();
      });
      assertThrows(
        () => use(tree),
        Error,
        `Cannot use the tree in RangeTree.${name}: it was destroyed`,
      );
      assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0], name);
      assert(later !== undefined, name);
      assertEquals([...later], []);
      later.store(1, 1);
    }
  });
}

Deno.test("RangeTree.tryLock() looks again once it has the lock, and gives it back if the tree is gone", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  const { lockdep } = arena;
  const tryAcquire = lockdep.tryAcquire.bind(lockdep);
  using _tryAcquire = stub(lockdep, "tryAcquire", (...args) => {
    killHeader(arena.words, tree.ref);
    tryAcquire(...args);
  });
  assertThrows(() => tree.tryLock(), Error, "it was destroyed");
  assertEquals([lockdep.held, arena.words[tree.ref * 16 + 16]], [0, 0]);
});

Deno.test("ExternalLock that was destroyed stays so when its page was away and is one of locks again", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const create = () => ExternalLock.create(arena);
  const old = Array.from({ length: 100 }, create);
  for (const lock of old) lock.destroy();
  giveBack(arena);
  const locks = Array.from({ length: 100 }, create);
  assert(old.some(({ ref }) => ref === locks[0].ref));
  for (const lock of old) {
    assertThrows(() => lock.lock(), Error, "it was destroyed");
    assertThrows(() => lock.tryLock(), Error, "it was destroyed");
    assertThrows(() => lock.trees, Error, "it was destroyed");
    assertThrows(() => lock.destroy(), Error, "it was destroyed");
  }
  for (const lock of locks) lock.destroy();
});

Deno.test("RangeTree.entries() of a destroyed tree gives nothing of it, also where a tree with as many changes is in its place", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  RangeTree.create(arena); // keeps the page
  for (let changes = 1; changes < 6; changes++) {
    const tree = RangeTree.create(arena, { rcu: true });
    tree.store(1, 11);
    tree.store(5, 12);
    const entries = tree.entries();
    assertEquals(entries.next().value, { first: 1, last: 1, value: 11 });
    tree.destroy();
    arena.rcu.barrier();
    const later = RangeTree.create(arena, { rcu: true });
    assertEquals(later.ref, tree.ref);
    for (let change = 0; change < changes; change++) later.store(100, 7);
    assertThrows(() => entries.next(), Error, "it was destroyed");
    later.destroy();
    arena.rcu.barrier();
  }
});

Deno.test("Cursor of a destroyed tree without a lock is an error, also where a tree with as many changes is in its place", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  RangeTree.create(arena); // keeps the page
  for (let changes = 1; changes < 6; changes++) {
    const tree = RangeTree.create(arena, { lock: "none" });
    tree.store(1, 11);
    tree.store(5, 12);
    const cursor = tree.cursor();
    assertEquals(cursor.find(), 11);
    tree.destroy();
    arena.rcu.barrier();
    const later = RangeTree.create(arena, { lock: "none" });
    assertEquals(later.ref, tree.ref);
    for (let change = 0; change < changes; change++) later.store(100, 7);
    assertThrows(
      () => cursor.next(),
      Error,
      "Cannot use the tree in Cursor.next: it was destroyed",
    );
    assertEquals([cursor.index, cursor.last, cursor.state], [1, 1, "active"]);
    later.destroy();
    arena.rcu.barrier();
  }
});

Deno.test("Cursor stays as it was when a call throws since its tree was destroyed", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { lock: "none" });
  tree.bulkLoad(points(10, 4));
  const cursors = (["start", "active", "paused"] as const).map((state) => {
    const cursor = tree.cursor(8);
    if (state !== "start") cursor.walk();
    if (state === "paused") cursor.pause();
    assertEquals(cursor.state, state);
    return cursor;
  });
  tree.destroy();
  for (const cursor of cursors) {
    const before = `${cursor}`;
    for (
      const use of [
        () => cursor.walk(),
        () => cursor.find(),
        () => cursor.findRange(),
        () => cursor.findReverse(),
        () => cursor.findRangeReverse(),
        () => cursor.next(),
        () => cursor.nextRange(),
        () => cursor.prev(),
        () => cursor.prevRange(),
        () => cursor.store(1),
        () => cursor.insert(1),
        () => cursor.erase(),
        () => cursor.preallocate(1),
      ]
    ) {
      assertThrows(use, Error, "it was destroyed");
      assertEquals(`${cursor}`, before);
    }
  }
});

Deno.test("RangeTree that was destroyed is reported as that, also where another lock is held or its own is not", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const other = RangeTree.create(arena);
  for (const rcu of [false, true]) {
    const tree = RangeTree.create(arena, { rcu });
    const cursor = tree.cursor(0);
    tree.destroy();
    assertThrows(() => cursor.walk(), Error, "it was destroyed");
    using _guard = other.lock();
    assertThrows(() => tree.store(1, 1), Error, "it was destroyed");
    assertThrows(() => cursor.walk(), Error, "it was destroyed");
  }
});

Deno.test("RangeTree that was destroyed refuses a cursor, an empty window and an allocation as what it is", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.destroy();
  for (
    const use of [
      () => tree.cursor(),
      () => tree.forEach(() => {}, 5, 1),
      () => tree.forEachMany(() => {}, 5, 1),
      () => tree.entries(5, 1),
      () => tree.entriesReverse(5, 1),
      () => tree.allocRange(1, 1),
    ]
  ) assertThrows(use, Error, "it was destroyed");
});
