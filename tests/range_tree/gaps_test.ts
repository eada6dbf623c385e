import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree, RESERVED } from "../../src/range_tree/mod.ts";
import { Compactor } from "../../src/defrag/mod.ts";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import { assertSame, points, test } from "./worlds.ts";

function gapTree(debug: boolean): { tree: RangeTree; arena: Arena } {
  const arena = Arena.create({ byteLength: 2 ** 22, debug });
  return { arena, tree: RangeTree.create(arena, { gaps: true }) };
}

test("RangeTree.allocRange() takes the lowest free run that is large enough", (debug) => {
  const { tree } = gapTree(debug);
  tree.storeRange(10, 19, 1);
  tree.storeRange(25, 29, 2);
  assertEquals(tree.allocRange(5, 7), 0);
  assertEquals(tree.allocRange(5, 8), 5);
  assertEquals(tree.allocRange(5, 9), 20);
  assertEquals(tree.allocRange(5, 10), 30);
  assertEquals(tree.load(24), 9);
  assertEquals(tree.count, 6);
});

test("RangeTree.allocRangeReverse() takes the highest free run that is large enough, at its end", (debug) => {
  const { tree } = gapTree(debug);
  tree.storeRange(90, 99, 1);
  const window = { min: 0, max: 104 };
  assertEquals(tree.allocRangeReverse(6, 7, window), 84);
  assertEquals(tree.allocRangeReverse(5, 8, window), 100);
  assertEquals(tree.allocRangeReverse(84, 9, window), 0);
  assertEquals(tree.allocRangeReverse(1, 9, window), undefined);
  assertEquals(tree.allocRangeReverse(1, 9), MAX_INDEX);
});

test("RangeTree.allocRange() in an empty tree, over all indices, and in a full one", (debug) => {
  const { tree } = gapTree(debug);
  assertEquals(tree.allocRange(MAX_INDEX + 1, 7), 0);
  assertEquals([...tree], [{ first: 0, last: MAX_INDEX, value: 7 }]);
  assertEquals(tree.allocRange(1, 8), undefined);
  assertEquals(tree.allocRangeReverse(1, 8), undefined);
  assertEquals(tree.allocCyclic(8), undefined);
});

test("RangeTree.allocCyclic() goes on behind the last one, wraps once, and says so", (debug) => {
  const { tree } = gapTree(debug);
  const window = { min: 2, max: 5 };
  let next = 0;
  const found = [];
  for (let i = 0; i < 5; i++) {
    const allocation = tree.allocCyclic(i + 1, { ...window, next });
    if (allocation === undefined) break;
    found.push([allocation.index, allocation.wrapped]);
    next = allocation.next;
    if (i === 2) tree.erase(2);
  }
  assertEquals(found, [[2, false], [3, false], [4, false], [5, false], [
    2,
    true,
  ]]);
  assertEquals(tree.allocCyclic(9, { ...window, next }), undefined);
  const last = tree.allocCyclic(9, { next: MAX_INDEX });
  assertEquals(last, { index: MAX_INDEX, wrapped: false, next: 2 ** 53 });
  assertEquals(tree.allocCyclic(9, { next: last!.next }), {
    index: 0,
    wrapped: true,
    next: 1,
  });
});

Deno.test("RangeTree.allocRange() in a tree without gap tracking is an error, and changes nothing", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  for (
    const alloc of [
      () => tree.allocRange(1, 1),
      () => tree.allocRangeReverse(1, 1),
      () => tree.allocCyclic(1),
    ]
  ) assertThrows(alloc, Error, "the tree does not track gaps");
  assertEquals([tree.gaps, tree.count], [false, 0]);
});

test("RangeTree.allocRange() refuses bad sizes, windows and entries, and changes nothing", (debug) => {
  const { tree } = gapTree(debug);
  for (const size of [0, -1, 0.5, NaN]) {
    assertThrows(
      () => tree.allocRange(size, 1, { min: 5, max: 15 }),
      RangeError,
      `Cannot find room for ${size} indices: it is no integer from 1 on`,
    );
  }
  assertThrows(
    () => tree.allocRange(12, 1, { min: 5, max: 15 }),
    RangeError,
    "Cannot find room: the window [5, 15] has 11 indices, fewer than 12",
  );
  assertThrows(() => tree.allocRange(1, 1, { min: 5, max: 4 }), RangeError);
  assertThrows(() => tree.allocRangeReverse(1, 1, { min: -1 }), RangeError);
  assertThrows(() => tree.allocCyclic(1, { max: 2 ** 53 }), RangeError);
  assertThrows(() => tree.allocCyclic(1, { next: 2 ** 54 }), RangeError);
  assertThrows(() => tree.allocRange(1, 0), RangeError, "means empty");
  for (const bad of [0, -1, 1.5, 2 ** 32]) {
    assertThrows(() => tree.allocRange(1, bad), RangeError);
    assertThrows(() => tree.allocCyclic(bad), RangeError);
  }
  assertEquals(tree.count, 0);
});

test("RangeTree keeps no two free runs side by side, also where leaves meet", (debug) => {
  const { tree } = gapTree(debug);
  tree.bulkLoad(points(500));
  for (let first = 0; first < 500; first += 2) {
    tree.erase(first);
    tree.validate();
  }
  for (let first = 1; first < 500; first += 2) {
    tree.erase(first);
    tree.validate();
  }
  assertEquals([tree.count, tree.height], [0, 0]);
});

test("RangeTree.reserve() occupies a range that reads as empty", (debug) => {
  const { tree } = gapTree(debug);
  tree.storeRange(10, 19, 1);
  assertEquals(tree.reserve(15, 25), false);
  assertEquals(tree.reserve(20, 29), true);
  assertEquals(tree.reserve(20, 29), false);
  assertEquals(tree.insertRange(25, 40, 2), false);
  assertEquals(tree.allocRange(1, 3, { min: 15, max: 30 }), 30);
  assertEquals(tree.load(20), 0);
  assertEquals(tree.find(20), { first: 30, last: 30, value: 3 });
  assertEquals(tree.next(10), { first: 30, last: 30, value: 3 });
  assertEquals(tree.prev(30), { first: 10, last: 19, value: 1 });
  assertEquals([...tree].map((entry) => entry.value), [1, 3]);
  assertEquals(tree.count, 3);
  tree.storeRange(25, 25, 4); // over it, as over any other entry
  assertEquals(tree.count, 5);
  assertEquals(tree.erase(20), 0);
  assertEquals(tree.count, 4);
  assertEquals(tree.insertRange(20, 24, RESERVED), true);
  tree.validate();
});

test("RangeTree.clone() and Compactor.run() carry gaps along", (debug) => {
  const { arena, tree } = gapTree(debug);
  tree.bulkLoad(points(3000, 3));
  for (let index = 0; index < 9000; index += 6) tree.erase(index);
  const copy = tree.clone();
  copy.validate();
  assert(copy.gaps);
  assertEquals(copy.allocRange(5, 1), tree.allocRange(5, 1));
  assert(new Compactor(arena).run().moves > 0);
  tree.validate();
  copy.validate();
  assertEquals(copy.allocRange(5, 1), tree.allocRange(5, 1));
});

const ROOM = "RangeTree finds the room that the mirror finds";
test(ROOM, (debug) => {
  for (const seed of seeds(ROOM)) {
    for (const window of [30, 3000]) {
      const random = rng(seed * 1000 + window);
      const { tree } = gapTree(debug);
      const mirror = new Mirror();
      const run = chooseRun(random, window);
      mirror.entries = chooseEntries(random, run);
      tree.bulkLoad(mirror.entries);
      const operations = ["alloc", "eraseRange", "allocCyclic"] as const;
      for (let step = 0; step < 200; step++) {
        doOne(tree, mirror, random, { ...run, operations });
        assertSame(tree, mirror);
      }
    }
  }
});
