import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena, LockdepError, RangeTree } from "../../mod.ts";
import { compiledFor } from "../../src/range_tree/compiled.ts";
import { killHeader, lockIndexOf } from "../../src/range_tree/header.ts";
import { spinLockOwner } from "../../src/sync/spin_lock.ts";
import { bothOf } from "./both_caches.ts";
import { inTheMiddle } from "./in_the_middle.ts";
import { points, test } from "./worlds.ts";

// How operations begin and end: what may come between, and what they do last.

const ARENA = { byteLength: 2 ** 20 };

Deno.test("RangeTree.attach() while another thread destroys the tree gives no handle that works", () => {
  let handles = 0;
  for (let at = 1, came = true; came; at++) {
    const arena = Arena.create({ ...ARENA, debug: true });
    const tree = RangeTree.create(arena, { rcu: true });
    const other = Arena.attach(arena.buffer);
    RangeTree.attach(other, tree.ref); // its caches are known then
    let handle: RangeTree | undefined;
    {
      using middle = inTheMiddle(at, () => tree.destroy());
      try {
        handle = RangeTree.attach(other, tree.ref);
      } catch (error) {
        assert(error instanceof Error, String(error));
      }
      came = middle.came;
    }
    if (!came || handle === undefined) continue;
    handles++;
    for (const use of [() => handle.store(1, 1), () => handle.load(1)]) {
      assertThrows(use, Error, "it was destroyed", `after ${at} loads`);
    }
  }
  assert(handles > 0, "it was found out each time");
});

const USES: Record<string, (tree: RangeTree) => unknown> = {
  enterStoreRange: (tree) => tree.store(1, 1),
  enterLookUp: (tree) => tree.load(1),
};

for (const [name, use] of Object.entries(USES)) {
  Deno.test(`RangeTree releases the lock that a compiled call has taken of a tree that was destroyed meanwhile: ${name}`, () => {
    const arena = Arena.create(ARENA);
    const tree = RangeTree.create(arena);
    // What such a call does that waited for the lock: nobody can come between its steps here.
    const lost = (header: number) => {
      arena.words[lockIndexOf(header)] = arena.thread;
      killHeader(arena.words, header);
      return -5;
    };
    const compiled = compiledFor(arena)!;
    using _call = stub(compiled, name as "enterStoreRange", lost);
    assertThrows(() => use(tree), Error, "it was destroyed");
    assertEquals(spinLockOwner(arena.words, lockIndexOf(tree.ref)), 0);
    assertEquals(arena.lockdep.held, 0);
  });
}

test("RangeTree frees what was deferred once it has released the lock, so that nobody waits for it", (debug) => {
  const arena = Arena.create({ ...ARENA, debug });
  const tree = RangeTree.create(arena);
  const held: number[] = [];
  using _poll = stub(arena.rcu, "poll", () => {
    held.push(arena.lockdep.held);
  });
  tree.store(1, 1);
  tree.setRcu(true);
  tree.storeMany([1], [5], [2]);
  assert(held.length >= 2, `${held.length} times`);
  assert(held.every((locks) => locks === 0), `${held}`);
});

/** What replaces nodes, each time. */
const STORES: Record<string, (tree: RangeTree, at: number) => unknown> = {
  "store()": (tree, at) => tree.store(at % 9, 1 + at % 7),
  "storeRange()": (tree, at) => tree.storeRange(at % 9, at % 9 + 3, 1 + at % 7),
  "storeMany()": (tree, at) =>
    tree.storeMany([at % 9], [at % 9 + 3], [1 + at % 7]),
  "allocRange()": (tree, at) => {
    tree.allocRange(1, 7, { min: 0, max: 9 });
    if (at % 9 < 8) return;
    // Frees nothing by itself.
    using _guard = tree.lock();
    tree.cursor(0, 9).store(0);
  },
};

for (const [name, store] of Object.entries(STORES)) {
  test(`RangeTree.${name} frees by and by what it has replaced, without any other call`, (debug) => {
    const arena = Arena.create({ byteLength: 2 ** 22, debug });
    const tree = RangeTree.create(arena, { rcu: true, gaps: true });
    for (let at = 0; at < 3000; at++) store(tree, at);
    const { objects } = bothOf(arena).stats();
    assert(objects < 600, `${objects} nodes`);
  });
}

test("RangeTree's stores are errors where nothing may be allocated, also if there are nodes at hand", (debug) => {
  const arena = Arena.create({ ...ARENA, debug });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(100, 2));
  if (!debug) bothOf(arena).stockUp();
  const before = [...tree];
  const cursor = tree.cursor(3, 5);
  const underLock = () => {
    using _guard = tree.lock();
    cursor.store(1);
  };
  arena.lockdep.forbidAllocation("a section that others wait for");
  for (
    const store of [
      () => tree.storeRange(3, 5, 1),
      () => tree.insert(1000, 1),
      () => tree.erase(4),
      () => tree.storeMany([3], [5], [1]),
      underLock,
    ]
  ) assertThrows(store, LockdepError);
  arena.lockdep.allowAllocation();
  assertEquals([...tree], before);
});
