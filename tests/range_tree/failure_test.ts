import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import type { SlabCache } from "../../src/slab/mod.ts";
import { cacheOf, digest, nodesOf, points } from "./worlds.ts";

/** What a failed operation must leave as it was: all of the tree, and how much of each cache is in use. */
function stateOf(arena: Arena, tree: RangeTree): unknown {
  arena.rcu.barrier();
  tree.validate();
  return {
    digest: digest(tree),
    header: arena.words.slice(tree.ref * 16, tree.ref * 16 + 32),
    nodes: nodesOf(arena, tree).map((node) =>
      arena.words.slice(node * 16, node * 16 + 63)
    ),
    stats: tree.stats(),
    objects: ["range_node", "range_node_pinned", "range_tree"].map((name) =>
      cacheOf(arena, name).stats().objects
    ),
    names: arena.roots.names(),
    held: arena.lockdep.held,
    depth: arena.rcu.depth,
  };
}

/** Lets a cache hand out so many objects and none after them, until disposed of. */
function failAfter(
  cache: SlabCache,
  allocations: number,
): Disposable & { failed: boolean } {
  const allocate = cache.tryAllocate.bind(cache);
  const allocateInto = cache.allocateInto.bind(cache);
  let left = allocations;
  const state = { failed: false };
  const one = stub(cache, "tryAllocate", () => {
    if (left-- > 0) return allocate();
    state.failed = true;
    return 0;
  });
  // Fewer than were asked for is no failure yet: the rest may not be needed.
  const some = stub(cache, "allocateInto", (refs, count) => {
    const granted = Math.max(0, Math.min(count, left));
    left -= granted;
    allocateInto(refs, granted);
  });
  return Object.assign(state, {
    [Symbol.dispose]() {
      one.restore();
      some.restore();
    },
  });
}

/**
 * Fails each node allocation of an operation in turn, until it needs no more of them: each time nothing has changed.
 *
 * @returns How many allocations the operation needs.
 */
function failEach(
  arena: Arena,
  tree: RangeTree,
  operation: () => unknown,
): number {
  const cache = cacheOf(
    arena,
    tree.lockMode === "internal" ? "range_node" : "range_node_pinned",
  );
  const before = stateOf(arena, tree);
  for (let allocations = 0;; allocations++) {
    using failing = failAfter(cache, allocations);
    if (!throwsOutOfMemory(operation)) {
      assert(
        !failing.failed,
        "the operation went on after a failed allocation",
      );
      return allocations;
    }
    assertEquals(
      stateOf(arena, tree),
      before,
      `allocation ${allocations} failed`,
    );
  }
}

function throwsOutOfMemory(operation: () => unknown): boolean {
  try {
    operation();
    return false;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return true;
    throw error;
  }
}

const OPERATIONS: Record<
  string,
  { needs: number; run: (tree: RangeTree) => unknown }
> = {
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
  "erase() of a range": { needs: 1, run: (tree) => tree.erase(25) },
  "eraseRange() over levels": {
    needs: 4,
    run: (tree) => tree.eraseRange(30, 30_000),
  },
};

for (
  const [lock, gaps] of [["internal", false], ["none", false], [
    "internal",
    true,
  ]] as const
) {
  for (const [name, { needs, run }] of Object.entries(OPERATIONS)) {
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

Deno.test("RangeTree.bulkLoad() leaves the tree empty when any of its allocations fails", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  for (const count of [1, 25, 1000]) {
    failEach(arena, tree, () => tree.bulkLoad(points(count, 2)));
    assertEquals(tree.count, count);
    assertEquals(cacheOf(arena).stats().objects, tree.stats().nodes);
    tree.clear();
  }
});

for (const name of [undefined, "copy"]) {
  Deno.test(`RangeTree.clone() leaves nothing behind when any of its allocations fails, name ${name}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const tree = RangeTree.create(arena);
    tree.bulkLoad(points(1000, 2));
    const nodes = tree.stats().nodes;
    assertEquals(failEach(arena, tree, () => tree.clone({ name })), nodes);
  });
}

Deno.test("RangeTree.create() leaves nothing behind when there is no room for a header", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.store(1, 1);
  const before = stateOf(arena, tree);
  {
    using _failing = failAfter(cacheOf(arena, "range_tree"), 0);
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
  using _failing = failAfter(cacheOf(arena), 0);
  tree.clear();
  tree.destroy();
  arena.rcu.barrier();
  assertEquals(cacheOf(arena).stats().objects, 0);
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
    cacheOf(arena).shrink();
    assertEquals(cacheOf(arena).stats().objects, tree.stats().nodes);
    cacheOf(arena).validate();
    arena.pages.validate();
  });
}
