import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { Compactor } from "../../src/defrag/mod.ts";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "./mirror.ts";
import { assertSame, digest, points, test } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** While it lasts, the caches of nodes hand out so many objects more; counts those that were wanted. */
function limit(
  arena: Arena,
  allocations: number,
): Disposable & { wanted: number } {
  const state = { wanted: 0 };
  const stubs = bothOf(arena).all.map((cache) => {
    const allocate = cache.tryAllocate.bind(cache);
    return stub(
      cache,
      "tryAllocate",
      () => state.wanted++ < allocations ? allocate() : 0,
    );
  });
  return Object.assign(state, {
    [Symbol.dispose]: () => stubs.forEach((each) => each.restore()),
  });
}

for (const attached of [false, true]) {
  for (const isEmpty of [false, true]) {
    Deno.test(`Cursor.preallocate() keeps a leaf that comes from the other cache for the leaf it is for, attached ${attached}, empty ${isEmpty}`, () => {
      const made = Arena.create({ byteLength: 2 ** 21 });
      const arena = attached ? Arena.attach(made.buffer) : made;
      const { leaves, inner } = bothOf(arena);
      const other = RangeTree.create(arena), tree = RangeTree.create(arena);
      if (!isEmpty) tree.storeRange(10, 20, 5);
      // So that there are objects that were inner nodes.
      for (let i = 0; i < 800; i++) other.store(i * 2, 1);
      other.clear();
      arena.rcu.barrier();
      while (arena.pages.tryAllocate(0, "movable") >= 0);
      while (leaves.tryAllocate() !== 0);
      using _guard = tree.lock();
      using cursor = tree.cursor(30, 40);
      cursor.preallocate(9);
      while (leaves.tryAllocate() !== 0);
      while (inner.tryAllocate() !== 0);
      cursor.store(9);
      assertEquals(tree.cursor(35).walk(), 9);
    });
  }
}

const EXACT =
  "Cursor.preallocate() takes exactly the nodes that the store needs, which then needs none";
Deno.test(EXACT, () => {
  for (const seed of seeds(EXACT)) {
    const random = rng(seed);
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const tree = RangeTree.create(arena, { gaps: seed % 2 === 0 });
    const mirror = new Mirror();
    mirror.entries = points(1500, 3);
    tree.bulkLoad(mirror.entries);
    for (let step = 0; step < 300; step++) {
      const first = random.pick([0, random.int(5000)]);
      const longest = random.pick([1, 30, 3000]);
      const last = random.int(50) === 0
        ? MAX_INDEX
        : first + random.int(longest);
      const value = random.int(3);
      {
        using _guard = tree.lock();
        using cursor = tree.cursor(first, last);
        const before = digestOf(tree);
        cursor.preallocate(value);
        assertEquals(digestOf(tree), before);
        arena.rcu.flush();
        const held = bothOf(arena).stats().objects;
        using none = limit(arena, 0);
        cursor.store(value);
        assertEquals(none.wanted, 0);
        // Exact: none of them is left over.
        cursor.destroy();
        assert(bothOf(arena).stats().objects <= held);
        assertEquals(held, bothOf(arena).stats().objects);
      }
      mirror.storeRange(first, last, value);
      assertSame(tree, mirror);
    }
    tree.destroy();
    arena.rcu.barrier();
    assertEquals(bothOf(arena).stats().objects, 0);
  }
});

/** Under the lock only a cursor can look. */
function digestOf(tree: RangeTree): string {
  const cursor = tree.cursor();
  let text = "";
  for (let value = cursor.find(); value !== 0; value = cursor.find()) {
    text += `${cursor.index}-${cursor.last}:${value} `;
  }
  return text;
}

Deno.test("Cursor.preallocate() after an unrelated change checks anew and takes only what is missing", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena);
  // Full leaves of 21 points each.
  tree.bulkLoad(points(21 * 21));
  using cursor = tree.cursor(3, 10);
  {
    using _guard = tree.lock();
    cursor.preallocate(7);
  }
  const before = bothOf(arena).stats().objects;
  tree.storeRange(4, 100, 9); // now the range spans another leaf's slots
  arena.rcu.barrier();
  {
    using _guard = tree.lock();
    {
      using few = limit(arena, 5);
      cursor.preallocate(7);
      assert(few.wanted <= 2, `${few.wanted} nodes were missing`);
    }
    using none = limit(arena, 0);
    cursor.store(7);
    assertEquals(none.wanted, 0);
  }
  tree.validate();
  assertEquals(tree.load(3), 7);
  assertEquals(tree.load(11), 9);
  assert(before > 0);
});

Deno.test("Cursor.preallocate() for another range gives back what that one does not need", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(5000, 2));
  using _guard = tree.lock();
  const { objects } = bothOf(arena).stats();
  const cursor = tree.cursor();
  // How many nodes each needs, by itself and after every other.
  const ranges = [[33, 8001], [4, 4], [4, 5], [100, 400]] as const;
  const held = () => bothOf(arena).stats().objects - objects;
  const needs = ranges.map(([first, last]) => {
    using fresh = tree.cursor(first, last);
    fresh.preallocate(7);
    return held();
  });
  assert(needs[0] >= 4, `${needs}`);
  // A range of the tree's own is overwritten in place.
  assertEquals(needs.slice(1, 3), [0, 1]);
  for (const one of [0, 1, 2, 3]) {
    for (const two of [0, 1, 2, 3]) {
      for (const at of [one, two]) {
        const [first, last] = ranges[at];
        cursor.setRange(first, last);
        cursor.preallocate(7);
        assertEquals(held(), needs[at], `${one}, ${two}`);
      }
    }
  }
  cursor.destroy();
  assertEquals(held(), 0);
});

Deno.test("Cursor.store() takes preallocated nodes first, and others if they do not suffice", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(21 * 21 * 3, 2));
  const cursor = tree.cursor(4, 4);
  using _guard = tree.lock();
  cursor.preallocate(7); // one node
  cursor.setRange(5, 1500);
  {
    using few = limit(arena, 1);
    assertThrows(() => cursor.store(8), OutOfMemoryError);
    assert(few.wanted > 1);
  }
  using enough = limit(arena, 100);
  cursor.store(8);
  assert(enough.wanted > 1);
  cursor.destroy();
  assertEquals(tree.cursor(5).walk(), 8);
});

for (const way of ["store", "preallocate"] as const) {
  test(`Cursor.${way}() that fails leaves nobody else what was preallocated`, (debug) => {
    const arena = Arena.create({ byteLength: 2 ** 20, debug });
    const tree = RangeTree.create(arena, { rcu: true });
    tree.bulkLoad(points(300, 2));
    const cursor = tree.cursor(11, 15);
    {
      using _guard = tree.lock();
      cursor.preallocate(7); // a leaf
      while (arena.pages.freePages > 0) arena.pages.allocate(0, "unmovable");
      while (bothOf(arena).tryAllocate() !== 0);
      cursor.setRange(101, 499);
      assertThrows(() => cursor[way](7), OutOfMemoryError);
    }
    assertThrows(() => tree.storeRange(31, 40, 7), OutOfMemoryError);
    {
      using _guard = tree.lock();
      cursor.setRange(11, 15);
      cursor.store(7);
    }
    // Where nothing was: a rehearsal that had not ended would have stored nothing.
    assertEquals(tree.load(13), 7);
    tree.validate();
  });
}

Deno.test("Cursor.destroy() gives the nodes back once, however often it is called", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(10, 2, 1)); // one full leaf
  const nodes = bothOf(arena);
  const { objects } = nodes.stats();
  {
    using _guard = tree.lock();
    const cursor = tree.cursor(100);
    cursor.preallocate(7); // two leaves and a root
    assertEquals(nodes.stats().objects, objects + 3);
    cursor.destroy();
    cursor.destroy();
    assertEquals(nodes.stats().objects, objects);
    cursor.store(7); // takes nothing of what was given back
  }
  assertEquals(tree.load(100), 7);
  nodes.validate();
  const refs = Array.from({ length: 60 }, () => nodes.allocate());
  assertEquals(new Set(refs).size, refs.length);
});

Deno.test("Cursor.preallocate() takes nothing for what is no entry", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  using _guard = tree.lock();
  const cursor = tree.cursor(100);
  for (const bad of [-1, 1.5, 2 ** 32, NaN, "7"] as number[]) {
    assertThrows(() => cursor.preallocate(bad), RangeError, "Cannot store");
  }
  assertEquals(bothOf(arena).stats().objects, 0);
});

Deno.test("Cursor.preallocate() leaves all as it was when any of its allocations fails", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena, { gaps: true });
  tree.bulkLoad(points(5000, 2));
  const text = digest(tree);
  for (let allocations = 0;; allocations++) {
    const objects = bothOf(arena).stats().objects;
    using cursor = tree.cursor(33, 8001);
    {
      using _guard = tree.lock();
      using limited = limit(arena, allocations);
      try {
        cursor.preallocate(7);
      } catch (error) {
        assert(error instanceof OutOfMemoryError);
        assertEquals(bothOf(arena).stats().objects, objects);
        continue;
      }
      assertEquals(limited.wanted, allocations);
    }
    assert(allocations >= 4, `${allocations} allocations`);
    assertEquals(
      bothOf(arena).stats().objects,
      objects + allocations,
    );
    break;
  }
  assertEquals(digest(tree), text);
  tree.validate();
});

Deno.test("Compactor.run() leaves preallocated nodes alone, and the store that they are for still works", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const trees = Array.from({ length: 60 }, () => RangeTree.create(arena));
  for (const tree of trees) tree.bulkLoad(points(40, 2));
  const [tree] = trees;
  using cursor = tree.cursor(10, 20);
  {
    using _guard = tree.lock();
    cursor.preallocate(7);
  }
  trees.forEach((tree, i) => i % 5 !== 0 && tree.destroy());
  assert(new Compactor(arena).run().freedSlabs > 0);
  {
    using _guard = tree.lock();
    using none = limit(arena, 0);
    cursor.store(7);
    assertEquals(none.wanted, 0);
  }
  tree.validate();
  assertEquals(tree.load(15), 7);
});
