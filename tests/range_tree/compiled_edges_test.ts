/**
 * Stores at the edges of what compiled loops do: where a leaf or its parent is full, or has slots that were never used, where the root is
 * a leaf, where a node covers all indices, and where the store before was one of another tree.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type Entry, MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { MAX_SLOTS } from "../../src/range_tree/node.ts";
import { bothOf } from "./both_caches.ts";
import { Mirror } from "./mirror.ts";
import {
  adjoining,
  assertSame,
  insideSection,
  nodesOf,
  points,
} from "./worlds.ts";

const ARENA = { byteLength: 2 ** 21 };

/** The last entry reaches up to the last index. */
function upToTheEnd(entries: Entry[]): Entry[] {
  return entries.with(-1, { ...entries.at(-1)!, last: MAX_INDEX });
}

/** The tree and its mirror hold the entries, and the thread has nodes at hand. */
function load(
  arena: Arena,
  tree: RangeTree,
  entries: Entry[],
): { tree: RangeTree; mirror: Mirror } {
  const mirror = new Mirror();
  mirror.entries = [...entries];
  tree.bulkLoad(entries);
  bothOf(arena).stockUp();
  return { tree, mirror };
}

Deno.test("RangeTree.storeMany() stores over a part of what the last slot of a full leaf covers", () => {
  const arena = Arena.create(ARENA);
  // The last slot has no pivot. Where it would stand are the first two slots: nothing, and what makes the number 100 of both.
  const [none, upper] = new Uint32Array(Float64Array.of(100).buffer);
  assertEquals(none, 0);
  const [begin, ...rest] = upToTheEnd(points(MAX_SLOTS - 1, 1, 10));
  const entries = [{ ...begin, value: upper }, ...rest];
  const { tree, mirror } = load(
    arena,
    RangeTree.create(arena, { rcu: true }),
    entries,
  );
  assertEquals([tree.height, entries.at(-1)!.first], [1, 29]);
  tree.storeMany([29], [100], [5]);
  mirror.storeRange(29, 100, 5);
  assertSame(tree, mirror);
});

Deno.test("RangeTree.storeMany() stores in a full leaf that is the root, whatever the next header holds", () => {
  const arena = Arena.create(ARENA);
  // The parent word of a root names its tree's header, which is no node.
  const all = Array.from({ length: 200 }, () => {
    const tree = RangeTree.create(arena);
    return load(arena, tree, upToTheEnd(adjoining(MAX_SLOTS)));
  });
  for (const { tree, mirror } of all) {
    tree.storeMany([30], [49], [99]);
    mirror.storeRange(30, 49, 99);
    assertSame(tree, mirror);
  }
});

for (const rcu of [true, false]) {
  Deno.test(`Compiled stores join a leaf to the one beside it, whichever it is under a full node, rcu ${rcu}`, () => {
    const arena = Arena.create(ARENA);
    const entries = adjoining(1000);
    for (let leaf = 0; leaf < 47; leaf++) {
      const { tree, mirror } = load(
        arena,
        RangeTree.create(arena, { rcu }),
        entries,
      );
      assertEquals(tree.height, 3);
      const first = 10 * (MAX_SLOTS * leaf + 2);
      for (const to of [tree, mirror]) to.storeRange(first, first + 169, 7777);
      assertSame(tree, mirror);
      for (const entry of mirror.entries) {
        assertEquals(tree.find(entry.first), entry, `leaf ${leaf}`);
      }
      tree.destroy();
      arena.rcu.barrier();
    }
  });

  Deno.test(`Compiled stores that leave as many entries as there were are changes all the same, rcu ${rcu}`, () => {
    const arena = Arena.create(ARENA);
    const entries = adjoining(3 * MAX_SLOTS);
    for (let range = 1; range < entries.length - 1; range++) {
      // All of a range; or the end of one and all of the next one, over the bound of two leaves, too.
      for (const [from, to] of [[0, 9], [5, 19]]) {
        const { tree, mirror } = load(
          arena,
          RangeTree.create(arena, { rcu }),
          entries,
        );
        // Copies entries ahead.
        const iterator = tree.entries();
        iterator.next();
        tree.storeRange(10 * range + from, 10 * range + to, 999);
        mirror.storeRange(10 * range + from, 10 * range + to, 999);
        assertEquals(tree.count, entries.length);
        assertEquals([...iterator], mirror.overlapping(10, MAX_INDEX));
        tree.destroy();
        arena.rcu.barrier();
      }
    }
  });
}

Deno.test("Compiled stores around the end of a full node that is the last one under a full node", () => {
  const entries = adjoining(2 * MAX_SLOTS ** 3);
  const leaf = 10 * MAX_SLOTS, end = MAX_SLOTS ** 2 * leaf - 1;
  // From the last leaf but one into the last one; so much of either that it is joined to the other; and beyond the last one.
  const ranges = [
    [end - leaf - 4, end - 5],
    [end - leaf - 189, end - leaf - 20],
    [end - 189, end - 20],
    [end - leaf - 4, end + 5],
    [end - 5, end + 5],
  ];
  for (const rcu of [true, false]) {
    for (const [first, last] of ranges) {
      for (const value of [0, 7]) {
        const arena = Arena.create({ byteLength: 2 ** 22 });
        const { tree, mirror } = load(
          arena,
          RangeTree.create(arena, { rcu }),
          entries,
        );
        assertEquals(tree.height, 4);
        for (const to of [tree, mirror]) to.storeRange(first, last, value);
        assertSame(tree, mirror);
      }
    }
  }
});

Deno.test("Compiled stores in a tree that tracks gaps and in one that does not, by turns", () => {
  const arena = Arena.create(ARENA);
  const entries = points(3000, 10).map((each) => ({
    ...each,
    last: each.first + 4,
  }));
  const both = [true, false].map((gaps) =>
    load(arena, RangeTree.create(arena, { gaps, rcu: true }), entries)
  );
  for (let first = 0; first < 30_000; first += 70) {
    for (const { tree, mirror } of both) {
      tree.storeRange(first, first, 5000 + first);
      mirror.storeRange(first, first, 5000 + first);
      assertEquals(tree.load(first), 5000 + first);
    }
    for (const { tree, mirror } of both) {
      tree.storeMany([first + 1], [first + 1], [9000 + first]);
      mirror.storeRange(first + 1, first + 1, 9000 + first);
      assertEquals(tree.load(first + 1), 9000 + first);
    }
  }
  for (const { tree, mirror } of both) assertSame(tree, mirror);
});

Deno.test("RangeTree.storeMany() in a tree of any height after a store in one of another", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const all = [4, 100, 1000, 10_000].map((count) =>
    load(arena, RangeTree.create(arena, { rcu: true }), adjoining(count))
  );
  assertEquals(all.map(({ tree }) => tree.height), [1, 2, 3, 4]);
  for (const [before] of all.entries()) {
    for (const [after, { tree, mirror }] of all.entries()) {
      const first = 10 * (mirror.entries.length / 2);
      for (const to of [all[before].tree, all[before].mirror]) {
        to.storeRange(3, 12, 100 + after);
      }
      // Over the end of a range and all of the next one: the leaf stays as full as it is.
      tree.storeMany([first + 5], [first + 19], [200 + before]);
      mirror.storeRange(first + 5, first + 19, 200 + before);
      assertSame(tree, mirror);
    }
  }
});

Deno.test("Compiled stores that replace leaves and their parent leave all of them dead, as movers find", () => {
  const arena = Arena.create(ARENA);
  const { tree } = load(
    arena,
    RangeTree.create(arena, { rcu: true }),
    points(60, 4),
  );
  const nodes = nodesOf(arena, tree);
  const mover = bothOf(arena).mover();
  // The section keeps what is replaced from being freed.
  using _section = insideSection(arena);
  // The first leaf ends at 40.
  tree.storeRange(37, 45, 9);
  const left = new Set(nodesOf(arena, tree));
  const replaced = nodes.filter((node) => !left.has(node));
  assertEquals(replaced, nodes.slice(0, 3));
  for (const node of replaced) assertEquals(mover.relocate(node), "gone");
});

Deno.test("RangeTree.erase() of an entry over all indices leaves no node", () => {
  for (const rcu of [true, false]) {
    const tree = RangeTree.create(Arena.create(ARENA), { rcu });
    tree.storeRange(0, MAX_INDEX, 9);
    assertEquals(tree.erase(4), 9);
    assertEquals([tree.count, tree.stats().nodes], [0, 0]);
    tree.validate();
  }
});

Deno.test("RangeTree.allocRangeReverse() finds room in a leaf that ends before the window does, and no further", () => {
  const arena = Arena.create(ARENA);
  const entries = adjoining(30);
  for (const { first, last } of entries.slice(0, -1)) {
    for (let max = last + 6; max < 300; max += 30) {
      // In memory that was never used, so the slots that leaves do not use look free.
      const tree = RangeTree.create(arena, { rcu: true, gaps: true });
      for (const entry of entries) {
        tree.storeRange(entry.first, entry.last, entry.value);
      }
      assertEquals(tree.height, 2);
      tree.erase(first);
      assertEquals(tree.allocRangeReverse(5, 7, { max }), last - 4);
    }
  }
});
