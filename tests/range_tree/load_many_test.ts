import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { checkIndex, settled } from "../../src/range_tree/checks.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import { points } from "./worlds.ts";

/** A tree as a thread sees it that runs compiled loops, and as one sees it that runs none. */
function treesOf(
  options: Parameters<typeof RangeTree.create>[1] = {},
): RangeTree[] {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const tree = RangeTree.create(arena, options);
  const plain = Arena.attach(arena.buffer);
  return [tree, RangeTree.attach(plain, tree.ref)];
}

const AS_THE_MIRROR =
  "RangeTree.loadMany() finds what the mirror does, in every mode, for any number of indices in any order";
Deno.test(AS_THE_MIRROR, () => {
  for (const seed of seeds(AS_THE_MIRROR)) {
    for (let round = 0; round < 24; round++) {
      const random = rng(seed * 1000 + round);
      const run = chooseRun(random, 600);
      const lock = random.pick(["internal", "none"] as const);
      const options = { rcu: round % 2 === 1, gaps: (round & 2) !== 0, lock };
      const trees = treesOf(options);
      const mirror = new Mirror();
      mirror.entries = chooseEntries(random, run);
      trees[0].bulkLoad(mirror.entries);
      for (let step = 0; step < 20; step++) {
        doOne(trees[0], mirror, random, run);
        trees[0].validate();
        const indices = Array.from(
          { length: random.int(50) },
          () => random.pick([random.int(700), 0, MAX_INDEX]),
        );
        const expected = indices.map((index) => mirror.load(index));
        for (const tree of trees) {
          assertEquals([...tree.loadMany(indices)], expected);
        }
      }
    }
  }
});

Deno.test("RangeTree.loadMany() takes arrays of any kind, and none", () => {
  for (const tree of treesOf({ rcu: true })) {
    assertEquals([...tree.loadMany([])], []);
    assertEquals([...tree.loadMany([1, 2])], [0, 0]);
  }
  const trees = treesOf({ rcu: true });
  trees[0].bulkLoad(points(100, 2));
  const indices = Array.from({ length: 40 }, (_, i) => i);
  const expected = indices.map((index) => trees[0].load(index));
  for (const tree of trees) {
    for (
      const given of [
        indices,
        new Float64Array(indices),
        new Uint8Array(indices),
        Object.assign({}, indices, { length: 40 }),
      ]
    ) assertEquals([...tree.loadMany(given)], expected);
  }
});

Deno.test("RangeTree.loadMany() reads reserved ranges as empty, and the largest entry as it is", () => {
  for (const rcu of [false, true]) {
    for (const tree of treesOf({ rcu })) {
      tree.reserve(10, 19);
      tree.store(30, 2 ** 32 - 2);
      assertEquals([...tree.loadMany([10, 30, 19])], [0, 2 ** 32 - 2, 0]);
      tree.eraseRange(0, 100);
    }
  }
});

Deno.test("RangeTree.loadMany() follows the tree when its mode is switched by another thread", () => {
  const trees = treesOf();
  trees[0].bulkLoad(points(50));
  for (const rcu of [true, false, true]) {
    trees[1].setRcu(rcu);
    for (const tree of trees) {
      assertEquals([...tree.loadMany([3, 60])], [4, 0]);
    }
  }
});

Deno.test("RangeTree.loadMany() refuses what is no index, wherever it stands, and holds nothing then", () => {
  for (const tree of treesOf({ rcu: true })) {
    tree.store(1, 1);
    for (const bad of [-1, 0.5, NaN, 2 ** 53]) {
      for (const at of [0, 1, 15, 16, 20]) {
        const indices = Array.from({ length: 21 }, () => 1);
        indices[at] = bad;
        assertThrows(() => tree.loadMany(indices), RangeError, "no integer");
      }
    }
    assertEquals([...tree.loadMany([1])], [1]);
    tree.clear();
  }
});

Deno.test("RangeTree.loadMany() and storeMany() refuse what is no list of numbers", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.store(0, 1);
  const bad = [
    5,
    "12",
    "",
    () => 0,
    null,
    {},
    new ArrayBuffer(16),
    { length: -1 },
    [
      "10",
    ],
    [null],
    [true],
    { length: 1.5 },
  ];
  for (const list of bad as unknown as number[][]) {
    assertThrows(() => tree.loadMany(list), RangeError, "Cannot use");
    assertThrows(() => tree.storeMany(list, list, list), RangeError, "Cannot");
  }
  assertEquals([tree.count, tree.load(0)], [1, 1]);
});

Deno.test("settled() copies what another thread or the caller's code may change, and nothing else", () => {
  const isOwn = [new Float64Array(3), new Uint8Array(new ArrayBuffer(4), 1)];
  for (const list of isOwn) {
    assertStrictEquals(settled(list, checkIndex), list);
  }
  const shared = new Float64Array(new SharedArrayBuffer(16));
  for (const list of [shared, [0, 0], { length: 2, 0: 0, 1: 0 }]) {
    const copy = settled(list, checkIndex);
    assertNotStrictEquals(copy, list);
    shared[0] = 7;
    assertEquals(Array.from(copy), [0, 0]);
    shared[0] = 0;
  }
  assertThrows(() => settled({ length: 2 ** 50 }, checkIndex), RangeError);
});

Deno.test("RangeTree.loadMany() reads each index of a list once, before it looks anything up", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.storeRange(0, 99, 5);
  let asked = 0;
  const list = {
    length: 1,
    get 0() {
      tree.loadMany([200, 200]);
      return asked++ === 0 ? 3 : NaN;
    },
  };
  assertEquals([...tree.loadMany(list)], [5]);
  assertEquals(asked, 1);
});

/** A typed array that is shorter once its length was asked for so often. */
class Shrinking extends Float64Array<ArrayBuffer> {
  #asked = 0;
  readonly #most: number;

  constructor(most: number, numbers: number[]) {
    super(new ArrayBuffer(8 * numbers.length, { maxByteLength: 4096 }));
    this.set(numbers);
    this.#most = most;
  }

  override get length(): number {
    const { length } = this.subarray();
    if (this.#asked++ === this.#most) this.buffer.resize(8);
    return length;
  }
}

Deno.test("RangeTree.loadMany() and storeMany() use what they have checked, also if a length is one that lies", () => {
  const twenty = Array.from({ length: 20 }, (_, i) => i);
  for (const memory of ["shared", "buffer"] as const) {
    for (let most = 0; most < 6; most++) {
      const arena = Arena.attach(Arena.create({ byteLength: 2 ** 20 })[memory]);
      const tree = RangeTree.create(arena);
      const shrinking = () => new Shrinking(most, twenty);
      for (
        const use of [
          () => tree.storeMany(shrinking(), twenty, twenty),
          () => tree.storeMany(twenty, twenty, shrinking()),
          () => tree.loadMany(shrinking()),
        ]
      ) {
        try {
          use();
        } catch (error) {
          assert(error instanceof RangeError, String(error));
        }
        tree.validate();
        assert([0, 19].includes(tree.count), `${tree.count}`);
      }
    }
  }
});
