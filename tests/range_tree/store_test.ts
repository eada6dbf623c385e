import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { rootOf } from "../../src/range_tree/header.ts";
import {
  countOf,
  heightOf,
  pivotOf,
  slotOf,
} from "../../src/range_tree/node.ts";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import {
  assertSame,
  assertSameAt,
  cacheOf,
  leanTree,
  nodesOf,
  points,
} from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

Deno.test("RangeTree agrees with the mirror after every range stored or erased in lean trees of heights 2 and 3", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  for (const [height, gaps] of [[2, false], [3, false], [3, true]] as const) {
    const base = leanTree(arena, height, 3, gaps);
    const entries = [...base];
    const cuts = [
      0,
      MAX_INDEX,
      ...entries.flatMap(({ first, last }) => [first, last + 1]),
    ]
      .filter((_, i) => height === 2 || i % 6 < 2).sort((a, b) => a - b);
    cuts.forEach((first, i) => {
      for (const last of cuts.slice(i)) {
        for (const value of [0, 7]) {
          const tree = base.clone();
          const mirror = new Mirror();
          mirror.entries = entries;
          tree.storeRange(first, last, value);
          mirror.storeRange(first, last, value);
          assertSame(tree, mirror);
          tree.destroy();
        }
      }
    });
    base.destroy();
  }
  arena.rcu.barrier();
  assertEquals(bothOf(arena).stats().objects, 0);
});

/** The first index of every node of a height, in order. */
function firstsAt(arena: Arena, tree: RangeTree, height: number): number[] {
  const firsts: number[] = [];
  const descend = (node: number, first: number, last: number) => {
    if (heightOf(arena.words, node) === height) firsts.push(first);
    else {
      for (let slot = 0; slot < countOf(arena.words, node); slot++) {
        const end = pivotOf(arena.doubles, node, slot, last);
        descend(slotOf(arena.words, node, slot), first, end);
        first = end + 1;
      }
    }
  };
  descend(rootOf(arena.words, tree.ref), 0, MAX_INDEX);
  return firsts;
}

Deno.test("RangeTree agrees with the mirror after every range from about one edge of a subtree to about another", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  // What is left at both ends of such a range is too little for a node, and what it is joined with is no sibling.
  for (
    const [height, below, gaps] of [[3, 1, false], [3, 1, true], [4, 2, true], [
      4,
      2,
      false,
    ], [4, 1, false]] as const
  ) {
    const base = leanTree(arena, height, 4, gaps);
    const entries = [...base];
    const edges = firstsAt(arena, base, below);
    assert(edges.length >= 3, `${edges.length} subtrees`);
    const reach = 4;
    const near = edges.filter((_, i) => i < 3 || i > edges.length - 3)
      .flatMap((edge) =>
        Array.from({ length: 2 * reach + 1 }, (_, i) => edge + i - reach)
      )
      .filter((cut) => cut >= 0);
    const cuts = [...new Set(near), MAX_INDEX].toSorted((a, b) => a - b);
    cuts.forEach((first, i) => {
      for (const last of cuts.slice(i)) {
        // Alternately, for time.
        const value = (first + last) % 2 === 0 ? 0 : 7;
        const tree = base.clone();
        const mirror = new Mirror();
        mirror.entries = entries;
        tree.storeRange(first, last, value);
        mirror.storeRange(first, last, value);
        assertSame(tree, mirror);
        tree.destroy();
      }
    });
    arena.rcu.barrier();
    assertEquals(bothOf(arena).stats().objects, base.stats().nodes);
    base.destroy();
  }
});

/** Steps of a random run over a window; what each costs grows with the window. */
const STEPS = new Map([[40, 800], [400, 600], [5000, 200]]);

for (const debug of [false, true]) {
  for (const window of STEPS.keys()) {
    const name =
      `RangeTree agrees with the mirror after every random operation over ${window} indices` +
      (debug ? " in a debug arena" : "");
    Deno.test(name, () => {
      for (const seed of seeds(name)) {
        for (let round = 0; round < (debug ? 2 : 5); round++) {
          const random = rng(seed * 100 + round);
          const arena = Arena.create({ byteLength: 2 ** 22, debug });
          const tree = RangeTree.create(arena, {
            rcu: round % 2 === 0,
            gaps: seed % 2 === 1,
          });
          const mirror = new Mirror();
          const run = chooseRun(random, window);
          if (random.int(2) === 0) {
            mirror.entries = chooseEntries(random, run);
            tree.bulkLoad(mirror.entries);
          }
          for (let step = 0; step < STEPS.get(window)!; step++) {
            const [first, last] = doOne(tree, mirror, random, run);
            assertSame(tree, mirror);
            assertSameAt(tree, mirror, first, last);
            assertSameAt(tree, mirror, last, first);
            if (step % 50 === 0) tree.setRcu(random.int(2) === 0);
          }
          bothOf(arena).validate();
          tree.destroy();
          assertNothingLeft(arena);
        }
      }
    });
  }
}

/** Once all trees are destroyed, every object is free, and every page once the empty slabs are given back. */
function assertNothingLeft(arena: Arena): void {
  const caches = [
    bothOf(arena),
    bothOf(arena, false),
    cacheOf(arena, "range_tree"),
  ];
  arena.rcu.barrier();
  for (const cache of caches) cache.shrink();
  arena.rcu.barrier();
  for (const cache of caches) assertEquals(cache.stats().objects, 0);
  arena.pages.validate();
  assertEquals(arena.pages.freePages, arena.pages.count);
}

const ORDERS = {
  ascending: (i: number) => i,
  descending: (i: number, count: number) => count - 1 - i,
  // 1619 shares no factor with the counts below, so every index comes once.
  scattered: (i: number, count: number) => (i * 1619) % count,
};

for (const [order, indexAt] of Object.entries(ORDERS)) {
  for (const gaps of [false, true]) {
    Deno.test(`RangeTree of height 4 and more is built and taken down in ${order} order, gaps ${gaps}`, () => {
      const count = 10_000;
      const arena = Arena.create({ byteLength: 2 ** 23 });
      const tree = RangeTree.create(arena, { rcu: gaps, gaps });
      for (let i = 0; i < count; i++) {
        const index = indexAt(i, count) * 3;
        tree.storeRange(index, index + 1, index + 1);
        if (i % 499 === 0) tree.validate();
      }
      tree.validate();
      assert(tree.height >= 4, `height ${tree.height}`);
      assertEquals(tree.count, count);
      let at = 0;
      for (const { first, last, value } of tree) {
        assert(first === at && last === at + 1 && value === at + 1);
        at += 3;
      }
      for (let i = 0; i < count; i++) {
        const index = indexAt(i, count) * 3;
        assertEquals(tree.erase(index + 1), index + 1);
        if (i % 499 === 0) tree.validate();
      }
      assertEquals([tree.count, tree.height], [0, 0]);
      tree.destroy();
      assertNothingLeft(arena);
    });
  }
}

Deno.test("RangeTree built in ascending or descending order has fuller nodes than in scattered order", () => {
  const fill = (indexAt: (i: number, count: number) => number) => {
    const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 22 }));
    for (let i = 0; i < 5000; i++) tree.store(indexAt(i, 5000), 1);
    return tree.stats().fill;
  };
  const scattered = fill(ORDERS.scattered);
  assert(fill(ORDERS.ascending) > scattered);
  assert(fill(ORDERS.descending) > scattered);
});

Deno.test("RangeTree.storeRange() over whole levels of a tree of height 4 leaves a sound tree, and frees what it covered", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const base = RangeTree.create(arena, { rcu: true });
  base.bulkLoad(points(12_000, 2));
  const mirrorOf = () => {
    const mirror = new Mirror();
    mirror.entries = points(12_000, 2);
    return mirror;
  };
  const nodes = base.stats().nodes;
  const spans = [
    [0, MAX_INDEX],
    [1, MAX_INDEX],
    [0, 23_997],
    [1, 23_997],
    [0, 20],
    [23_000, MAX_INDEX],
    [
      41,
      23_957,
    ],
    [6000, 18_000],
  ];
  for (const [first, last] of spans) {
    for (const value of [0, 9]) {
      const tree = base.clone();
      const mirror = mirrorOf();
      tree.storeRange(first, last, value);
      mirror.storeRange(first, last, value);
      assertSame(tree, mirror);
      arena.rcu.barrier();
      assertEquals(
        bothOf(arena).stats().objects,
        nodes + nodesOf(arena, tree).length,
      );
      tree.destroy();
      arena.rcu.barrier();
    }
  }
});

Deno.test("RangeTree overwrites exactly one range in place", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(1000, 2));
  const before = nodesOf(arena, tree);
  for (const { first, last } of [...tree]) {
    tree.storeRange(first, last, 0xffff_fffe);
  }
  // A gap is one range too.
  tree.store(1, 5);
  assertEquals(nodesOf(arena, tree), before);
  assertEquals([tree.count, tree.load(0), tree.load(1)], [
    1001,
    0xffff_fffe,
    5,
  ]);
  tree.validate();
});

Deno.test("RangeTree.eraseRange() of what is empty changes nothing", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(1000, 5));
  const before = arena.words.slice(tree.ref * 16, tree.ref * 16 + 32);
  const nodes = nodesOf(arena, tree);
  tree.eraseRange(1, 4);
  tree.eraseRange(2, 2);
  tree.eraseRange(4996, MAX_INDEX);
  assertEquals(nodesOf(arena, tree), nodes);
  assertEquals(arena.words.slice(tree.ref * 16, tree.ref * 16 + 32), before);
});
