import { assertEquals, assertNotEquals } from "@std/assert";
import { Arena, MAX_INDEX, RangeTree } from "../../mod.ts";
import { bothOf } from "./both_caches.ts";
import { cacheOf, insideSection, points, test } from "./worlds.ts";

// What is done to a whole tree: that it takes what it needs and no more, and gives all of it back.

Deno.test("RangeTree.clone() keeps no node that it does not use", () => {
  for (const count of [1, 30, 60, 100, 500, 2000]) {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const tree = RangeTree.create(arena, { rcu: true });
    tree.bulkLoad(points(count, 2));
    const { nodes } = tree.stats();
    const objects = () => bothOf(arena).stats().objects;
    assertEquals(objects(), nodes);
    const copy = tree.clone();
    assertEquals(objects(), 2 * nodes, `${count} entries`);
    copy.destroy();
    arena.rcu.barrier();
    assertEquals(objects(), nodes, `${count} entries`);
  }
});

test("RangeTree.bulkLoad() leaves the last index free, also if that is all that is free behind the entries", (debug) => {
  const arena = Arena.create({ byteLength: 2 ** 20, debug });
  const tree = RangeTree.create(arena, { gaps: true });
  tree.bulkLoad([{ first: 0, last: MAX_INDEX - 1, value: 7 }]);
  tree.validate();
  assertEquals(tree.load(MAX_INDEX), 0);
  assertEquals(tree.allocRange(1, 8), MAX_INDEX);
});

Deno.test("RangeTree.destroy() frees the header once no reader can be at it any more", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { rcu: true });
  const objects = () => cacheOf(arena, "range_tree").stats().objects;
  {
    using _section = insideSection(arena);
    tree.destroy();
    assertNotEquals(RangeTree.create(arena).ref, tree.ref);
    assertEquals(objects(), 2);
  }
  arena.rcu.barrier();
  assertEquals(objects(), 1);
});
