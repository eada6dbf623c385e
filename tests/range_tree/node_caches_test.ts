import { assert, assertEquals } from "@std/assert";
import { Compactor } from "../../src/defrag/mod.ts";
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { heightOf } from "../../src/range_tree/node.ts";
import { rng, seeds } from "../seed.ts";
import { bothOf } from "./both_caches.ts";
import { digest, insideSection, nodesOf, points } from "./worlds.ts";

/** Every leaf lies in a slab of leaves, and every other node in one of those. */
function assertApart(arena: Arena, tree: RangeTree): void {
  const { nodes } = bothOf(arena, tree.lockMode === "internal");
  for (const node of nodesOf(arena, tree)) {
    const height = heightOf(arena.words, node);
    assert(nodes.ofHeight(height).owns(node), `${node} of height ${height}`);
  }
}

/** With all trees gone, nothing is left in either cache. */
function assertEmpty(arena: Arena): void {
  arena.rcu.barrier();
  for (const movable of [true, false]) {
    for (const cache of bothOf(arena, movable).all) {
      cache.shrink();
      assertEquals([cache.stats().objects, cache.stats().slabs], [0, 0]);
    }
  }
}

/** Stores and erases at random, so that nodes of all heights are split and joined. */
function churn(tree: RangeTree, seed: number): void {
  const random = rng(seed);
  for (let step = 0; step < 4000; step++) {
    const first = random.int(20_000);
    if (random.int(3) === 0) tree.erase(first);
    else tree.storeRange(first, first + random.int(4), 1 + random.int(99));
    if (step % 500 === 0) tree.eraseRange(first, first + 3000);
  }
}

/** An arena whose thread runs compiled loops, or the TypeScript. */
function arenaOf(isCompiled: boolean, debug = false): Arena {
  const arena = Arena.create({ byteLength: 2 ** 22, debug });
  return isCompiled ? arena : Arena.attach(arena.buffer);
}

const APART =
  "Leaves and inner nodes lie in slabs of their own after stores at random, and after a compaction";
Deno.test(APART, () => {
  for (const seed of seeds(APART)) {
    for (const isCompiled of [true, false]) {
      for (const lock of ["internal", "none"] as const) {
        for (const gaps of [false, true]) {
          const arena = arenaOf(isCompiled, seed % 2 === 0);
          const trees = Array.from(
            { length: 3 },
            () => RangeTree.create(arena, { rcu: true, lock, gaps }),
          );
          trees.forEach((tree, i) => churn(tree, seed + i));
          trees.pop()!.destroy();
          const before = trees.map(digest);
          for (const tree of trees) {
            assert(tree.height > 2, `${tree.height} levels`);
            assertApart(arena, tree);
          }
          const { moves } = new Compactor(arena).run();
          assertEquals(moves > 0, lock === "internal");
          for (const tree of trees) {
            tree.validate();
            assertApart(arena, tree);
          }
          assertEquals(trees.map(digest), before);
          for (const tree of trees) tree.destroy();
          assertEmpty(arena);
        }
      }
    }
  }
});

Deno.test("Leaves and inner nodes lie in slabs of their own after a bulk load, in a copy, and after a store that was preallocated", () => {
  for (const isCompiled of [true, false]) {
    const arena = arenaOf(isCompiled);
    const tree = RangeTree.create(arena);
    tree.bulkLoad(points(2000, 3));
    assertApart(arena, tree);
    const copy = tree.clone();
    assertApart(arena, copy);
    {
      using _guard = copy.lock();
      using cursor = copy.cursor(301, 3001);
      cursor.preallocate(7);
      cursor.store(7);
    }
    copy.validate();
    assertApart(arena, copy);
    tree.clear();
    copy.destroy();
    assertEmpty(arena);
  }
});

for (const debug of [false, true]) {
  Deno.test(`Nodes come from the other cache where their own has no room, and go back to it, debug ${debug}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20, debug });
    const { nodes } = bothOf(arena);
    const tree = RangeTree.create(arena);
    tree.bulkLoad(points(60, 2));
    nodes.shrink();
    while (arena.pages.freePages > 8) arena.pages.allocate(0, "unmovable");
    const taken: number[] = [];
    for (let node = 0; (node = nodes.leaves.tryAllocate()) !== 0;) {
      taken.push(node);
    }
    while (nodes.inner.tryAllocate() !== 0);
    for (const node of taken.splice(0, 12)) nodes.free(node);
    nodes.leaves.shrink();
    const copy = tree.clone();
    const strays = nodesOf(arena, copy)
      .filter((node) => heightOf(arena.words, node) > 0);
    assert(strays.length > 0);
    assert(strays.every((node) => nodes.leaves.owns(node)));
    copy.validate();
    assertEquals(digest(copy), digest(tree));
    // In debug mode what was allocated in vain is kept in quarantine.
    nodes.shrink();
    const { objects } = nodes.leaves.stats();
    const count = nodesOf(arena, copy).length;
    {
      using _section = insideSection(arena);
      copy.destroy();
    }
    arena.rcu.barrier();
    nodes.shrink();
    assertEquals(nodes.leaves.stats().objects, objects - count);
    tree.validate();
  });
}
