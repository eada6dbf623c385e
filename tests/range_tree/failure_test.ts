import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { failAfter, failEach, stateOf, throwsOutOfMemory } from "./failures.ts";
import { cacheOf, digest, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

interface Operation {
  readonly needs: number;
  readonly run: (tree: RangeTree) => unknown;
}

const OPERATIONS: Record<string, Operation> = {
  "store() that splits a range": {
    needs: 1,
    run: (tree) => tree.store(30_001, 9),
  },
  "storeRange() within a leaf": {
    needs: 1,
    run: (tree) => tree.storeRange(12, 20, 9),
  },
  "storeRange() over two leaves": {
    needs: 2,
    run: (tree) => tree.storeRange(12, 120, 9),
  },
  "storeRange() over levels": {
    needs: 4,
    run: (tree) => tree.storeRange(30, 30_000, 9),
  },
  "storeRange() over all": {
    needs: 1,
    run: (tree) => tree.storeRange(0, MAX_INDEX, 9),
  },
  "storeRange() over all but the ends": {
    needs: 1,
    run: (tree) => tree.storeRange(1, MAX_INDEX - 1, 9),
  },
  "insertRange() into a gap": {
    needs: 1,
    run: (tree) => tree.insertRange(23, 23, 9),
  },
  "reserve() of a part of a gap": {
    needs: 1,
    run: (tree) => tree.reserve(23, 23),
  },
  "erase() of a range": { needs: 1, run: (tree) => tree.erase(25) },
  "eraseRange() over levels": {
    needs: 4,
    run: (tree) => tree.eraseRange(30, 30_000),
  },
};

/** What needs a tree that tracks gaps; the gaps of the tree below are two indices each. */
const ALLOCATIONS: Record<string, Operation> = {
  "allocRange() within a leaf": {
    needs: 1,
    run: (tree) => assertEquals(tree.allocRange(1, 9), 3),
  },
  "allocRange() of the gap behind all": {
    needs: 1,
    run: (tree) => assertEquals(tree.allocRange(3, 9), 39_998),
  },
  "allocRangeReverse() within a leaf": {
    needs: 1,
    run: (tree) => {
      const window = { max: 20_000 };
      assertEquals(tree.allocRangeReverse(1, 9, window), 19_999);
    },
  },
  "allocRangeReverse() at the last index": {
    needs: 1,
    run: (tree) => assertEquals(tree.allocRangeReverse(1, 9), MAX_INDEX),
  },
  "allocCyclic() ahead": {
    needs: 1,
    run: (tree) => {
      assertEquals(tree.allocCyclic(9, { next: 20_000 })?.index, 20_003);
    },
  },
  "allocCyclic() that wraps": {
    needs: 1,
    run: (tree) => {
      const found = tree.allocCyclic(9, { max: 20_002, next: 20_000 });
      assertEquals([found?.index, found?.wrapped], [3, true]);
    },
  },
};

for (
  const [lock, gaps] of [["internal", false], ["none", false], [
    "internal",
    true,
  ]] as const
) {
  const operations = { ...OPERATIONS, ...(gaps ? ALLOCATIONS : {}) };
  for (const [name, { needs, run }] of Object.entries(operations)) {
    Deno.test(`RangeTree.${name} leaves all as it was when any of its allocations fails, lock ${lock}, gaps ${gaps}`, () => {
      const arena = Arena.create({ byteLength: 2 ** 23 });
      const tree = RangeTree.create(arena, { lock, gaps, rcu: true });
      // Full leaves, so that every store into a gap splits, up to the root.
      tree.bulkLoad(
        points(8000, 5).map((entry) => ({ ...entry, last: entry.first + 2 })),
      );
      const needed = failEach(arena, tree, () => run(tree));
      assert(needed >= needs, `${needed} allocations`);
      tree.validate();
    });
  }
}

Deno.test("RangeTree.store() that adds a level leaves all as it was when any of its allocations fails", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(21 ** 3 - 1));
  assertEquals(tree.height, 3);
  // 2 nodes on each of 3 levels, and the new root.
  assertEquals(
    failEach(arena, tree, () => tree.storeRange(4000, MAX_INDEX - 1, 9)) > 1,
    true,
  );
  tree.clear();
  tree.bulkLoad(
    points(21 ** 3 - 1, 1, 1).with(0, { first: 0, last: 1, value: 1 }),
  );
  assertEquals(failEach(arena, tree, () => tree.store(0, 9)), 7);
  assertEquals(tree.height, 4);
});

Deno.test("RangeTree.store() into an empty tree leaves it empty when its allocation fails", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  assertEquals(failEach(arena, tree, () => tree.store(5, 1)), 1);
});

Deno.test("RangeTree.storeBlocking() leaves all as it was when any of its allocations fails and no room can be made", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(8000, 5));
  const needed = failEach(
    arena,
    tree,
    () => tree.storeBlocking(30, 30_000, 9),
  );
  assert(needed >= 4, `${needed} allocations`);
});

Deno.test("RangeTree.bulkLoad() leaves the tree empty when any of its allocations fails", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  for (const count of [1, 25, 1000]) {
    failEach(arena, tree, () => tree.bulkLoad(points(count, 2)));
    assertEquals(tree.count, count);
    assertEquals(bothOf(arena).stats().objects, tree.stats().nodes);
    tree.clear();
  }
});

for (const name of [undefined, "copy"]) {
  Deno.test(`RangeTree.clone() leaves nothing behind when any of its allocations fails, name ${name}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const tree = RangeTree.create(arena);
    tree.bulkLoad(points(1000, 2));
    const nodes = tree.stats().nodes;
    const needed = failEach(arena, tree, () => tree.clone({ name }));
    // What it takes at once of one kind may be missing of the other.
    assert(needed >= nodes && needed < nodes + 16, `${needed} of ${nodes}`);
  });
}

Deno.test("RangeTree.create() leaves nothing behind when there is no room for a header", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.store(1, 1);
  const before = stateOf(arena, tree);
  {
    using _failing = failAfter({ all: [cacheOf(arena, "range_tree")] }, 0);
    assertThrows(
      () => RangeTree.create(arena, { name: "vm" }),
      OutOfMemoryError,
    );
    assertThrows(() => tree.clone({ name: "vm" }), OutOfMemoryError);
  }
  assertEquals(stateOf(arena, tree), before);
});

Deno.test("RangeTree.clear() and destroy() need no memory", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(1000, 2));
  using _failing = failAfter(bothOf(arena), 0);
  tree.clear();
  tree.destroy();
  arena.rcu.barrier();
  assertEquals(bothOf(arena).stats().objects, 0);
});

for (const debug of [false, true]) {
  Deno.test(`RangeTree in a full arena keeps what it holds, and goes on once there is room, debug ${debug}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 19, debug });
    const [tree, other] = [1, 2].map(() =>
      RangeTree.create(arena, { rcu: true })
    );
    let stored = 0;
    while (
      !throwsOutOfMemory(() =>
        [tree, other][stored % 2].store(stored * 2, stored + 1)
      )
    ) stored++;
    assert(stored > 500, `${stored} entries`);

    let failures = 0;
    for (let first = 1; first < stored * 2; first += 31) {
      const before = digest(tree);
      if (
        !throwsOutOfMemory(() =>
          tree.storeRange(first, first + first % 7, first)
        )
      ) continue;
      failures++;
      tree.validate();
      assertEquals(digest(tree), before);
    }
    assert(failures > 0, "every store found room");

    other.destroy();
    for (let i = 0; i < stored / 4; i++) tree.store(i * 2 + 1, 1);
    tree.validate();
    arena.rcu.barrier();
    // Empties the quarantine of a debug arena too.
    bothOf(arena).shrink();
    assertEquals(bothOf(arena).stats().objects, tree.stats().nodes);
    bothOf(arena).validate();
    arena.pages.validate();
  });
}
