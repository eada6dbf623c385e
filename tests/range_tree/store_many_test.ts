import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { failAfter } from "./failures.ts";
import { Mirror } from "./mirror.ts";
import { cacheOf, digest, points } from "./worlds.ts";

interface Columns {
  readonly firsts: number[];
  readonly lasts: number[];
  readonly values: number[];
}

/** Ranges that lie close together, so that some replace leaves that others were found in; some over exactly what is there. */
function chooseColumns(random: Rng, mirror: Mirror, count: number): Columns {
  const columns: Columns = { firsts: [], lasts: [], values: [] };
  const near = random.int(800);
  for (let i = 0; i < count; i++) {
    let first = near + random.int(random.pick([10, 100, 800]));
    let last = first + random.int(random.pick([1, 6, 300]));
    const there = mirror.find(first);
    if (there !== undefined && random.int(2) === 0) {
      ({ first, last } = there);
    }
    columns.firsts.push(first);
    columns.lasts.push(random.int(40) === 0 ? MAX_INDEX : last);
    columns.values.push(random.int(8) === 0 ? 0 : 1 + random.int(2 ** 32 - 2));
  }
  return columns;
}

function storeInMirror(mirror: Mirror, { firsts, lasts, values }: Columns) {
  firsts.forEach((first, i) => mirror.storeRange(first, lasts[i], values[i]));
}

const AS_THE_MIRROR =
  "RangeTree.storeMany() stores what the mirror does, one after the other, in every mode";
Deno.test(AS_THE_MIRROR, () => {
  for (const seed of seeds(AS_THE_MIRROR)) {
    for (let round = 0; round < 32; round++) {
      const random = rng(seed * 1000 + round);
      const arena = Arena.create({ byteLength: 2 ** 22 });
      const lock = random.pick(["internal", "none"] as const);
      const rcu = round % 2 === 1, gaps = (round & 2) !== 0;
      const tree = RangeTree.create(arena, { rcu, gaps, lock });
      // The same tree as a thread sees it that runs nothing compiled.
      const plain = Arena.attach(arena.buffer);
      const trees = [tree, RangeTree.attach(plain, tree.ref)];
      const mirror = new Mirror();
      mirror.entries = points(200, 3, 2);
      tree.bulkLoad(mirror.entries);
      for (let step = 0; step < 25; step++) {
        const columns = chooseColumns(random, mirror, random.int(40));
        const { firsts, lasts, values } = columns;
        random.pick(trees).storeMany(firsts, lasts, values);
        storeInMirror(mirror, columns);
        tree.validate();
        assertEquals([...tree], mirror.entries, `round ${round} step ${step}`);
        assertEquals(tree.count, mirror.entries.length);
      }
    }
  }
});

Deno.test("RangeTree.storeMany() stores in a slot that was found before only if that is still in the tree", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(2000, 2));
  // The first store replaces the leaf that the second one was found in; the third one that of both.
  tree.storeMany([1001, 1004, 1003, 1006], [1001, 1004, 1003, 1006], [
    7,
    8,
    9,
    10,
  ]);
  tree.validate();
  assertEquals([...tree.loadMany([1001, 1002, 1003, 1004, 1005, 1006])], [
    7,
    502,
    9,
    8,
    0,
    10,
  ]);
});

Deno.test("RangeTree.storeMany() counts every range that it stores in place as a change", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(100));
  const iterator = tree.entries();
  iterator.next();
  tree.storeMany([5, 6, 7, 1], [5, 6, 7, 1], [50, 60, 70, 10]);
  assertEquals(iterator.next().value, { first: 1, last: 1, value: 10 });
  assertEquals(tree.count, 100);
});

Deno.test("RangeTree.storeMany() takes arrays of any kind, and none", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena);
  tree.storeMany([], [], []);
  assertEquals(tree.count, 0);
  const indices = Array.from({ length: 40 }, (_, i) => i);
  tree.storeMany(
    new Float64Array(indices),
    indices,
    Uint32Array.from(indices, (index) => 2 ** 32 - 2 - index),
  );
  assertEquals(
    [...tree.loadMany(indices)],
    indices.map((index) => 2 ** 32 - 2 - index),
  );
});

Deno.test("RangeTree.storeMany() stores nothing if anything is wrong with any range", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(100));
  const before = digest(tree);
  const ones = () => Array.from({ length: 30 }, () => 1);
  for (const at of [0, 15, 16, 29]) {
    for (
      const [first, last, value] of [
        [-1, 1, 1],
        [0.5, 1, 1],
        [2, 1, 1],
        [
          1,
          2 ** 53,
          1,
        ],
        [1, 1, -1],
        [1, 1, 2 ** 32],
        [1, 1, NaN],
      ]
    ) {
      const [firsts, lasts, values] = [ones(), ones(), ones()];
      [firsts[at], lasts[at], values[at]] = [first, last, value];
      assertThrows(() => tree.storeMany(firsts, lasts, values), RangeError);
    }
  }
  assertThrows(
    () => tree.storeMany(ones(), [1], ones()),
    RangeError,
    "Cannot store 30 ranges: there are 1 last indices and 30 entries",
  );
  assertThrows(() => tree.storeMany(ones(), ones(), []), RangeError);
  assertEquals(digest(tree), before);
});

Deno.test("RangeTree.storeMany() says which range found no room; those before it are stored, the others are not", () => {
  for (const rcu of [false, true]) {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const tree = RangeTree.create(arena, { rcu });
    const cache = cacheOf(arena, "range_node");
    const firsts = Array.from({ length: 50 }, (_, i) => 10 * ((i * 29) % 50));
    const columns = {
      firsts,
      lasts: firsts.map((first) => first + 4),
      values: firsts.map((first) => first + 1),
    };
    for (let allocations = 0;; allocations++) {
      tree.clear();
      arena.rcu.barrier();
      let error: unknown;
      using failing = failAfter(cache, allocations);
      try {
        tree.storeMany(columns.firsts, columns.lasts, columns.values);
      } catch (thrown) {
        error = thrown;
      }
      if (!failing.failed) break;
      assert(error instanceof OutOfMemoryError);
      const stored = Number(
        /Cannot store range (\d+) of 50, those before it/.exec(
          error.message,
        )?.[1],
      );
      const mirror = new Mirror();
      storeInMirror(mirror, {
        firsts: columns.firsts.slice(0, stored),
        lasts: columns.lasts,
        values: columns.values,
      });
      tree.validate();
      assertEquals([...tree], mirror.entries, `after ${allocations}`);
      assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
    }
    assertEquals(tree.count, 50);
  }
});
