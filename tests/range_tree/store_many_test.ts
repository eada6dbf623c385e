import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  ExternalLock,
  LockdepError,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import { MAX_INDEX } from "../../src/range_tree/mod.ts";
import { compiledFor } from "../../src/range_tree/compiled.ts";
import { generationOf } from "../../src/range_tree/header.ts";
import { MAX_SLOTS } from "../../src/range_tree/node.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { failAfter, stateOf } from "./failures.ts";
import { Mirror } from "./mirror.ts";
import { scribble } from "../scribble.ts";
import { adjoining, assertSame, assertSameHeld, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

const ARENA = { byteLength: 2 ** 21 };

/** So many ranges in a space so large, and what to store over them. */
interface Many {
  readonly firsts: number[];
  readonly lasts: number[];
  readonly values: number[];
}

function manyOf(random: Rng, count: number, space: number): Many {
  const many: Many = { firsts: [], lasts: [], values: [] };
  const base = random.pick([0, MAX_INDEX - space - 60]);
  for (let i = 0; i < count; i++) {
    const first = base + random.int(space);
    many.firsts.push(first);
    many.lasts.push(first + random.int(random.pick([1, 4, 60])));
    many.values.push(
      random.pick([0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe]),
    );
  }
  return many;
}

/** Ranges that lie close together, so that some replace leaves that others were found in; some over exactly what is there. */
function overlappingOf(random: Rng, mirror: Mirror, count: number): Many {
  const many: Many = { firsts: [], lasts: [], values: [] };
  const near = random.int(mirror.entries.at(-1)?.last ?? 800);
  for (let i = 0; i < count; i++) {
    const first = near + random.int(random.pick([10, 100, 800]));
    const last = first + random.int(random.pick([1, 6, 300]));
    const there = random.int(2) === 0 ? mirror.find(first) : undefined;
    many.firsts.push(there?.first ?? first);
    many.lasts.push(there?.last ?? last);
    many.values.push(random.int(8) === 0 ? 0 : 1 + random.int(2 ** 32 - 2));
  }
  return many;
}

function storeOneByOne(
  to: Pick<Mirror, "storeRange">,
  { firsts, lasts, values }: Many,
  count = firsts.length,
): void {
  for (let i = 0; i < count; i++) to.storeRange(firsts[i], lasts[i], values[i]);
}

const LOCKS = ["internal", "external", "none"] as const;
for (const lock of LOCKS) {
  for (const memory of ["shared", "buffer"] as const) {
    const test =
      `RangeTree.storeMany() does what as many stores do, lock ${lock}, attached by its ${memory}`;
    Deno.test(test, () => {
      for (const seed of seeds(test)) {
        for (const [rcu, gaps] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
          const random = rng(seed);
          const arena = Arena.attach(Arena.create(ARENA)[memory]);
          const externalLock = lock === "external"
            ? ExternalLock.create(arena)
            : undefined;
          const modes = { rcu: rcu === 1, gaps: gaps === 1 };
          const tree = RangeTree.create(arena, {
            ...modes,
            lock,
            externalLock,
          });
          const mirror = new Mirror();
          using _guard = externalLock?.guard();
          const space = random.pick([40, 300, 3000]);
          for (let step = 0; step < 60; step++) {
            const count = random.pick([0, 1, 5, 16, 17, 40]);
            const many = manyOf(random, count, space);
            tree.storeMany(
              Float64Array.from(many.firsts),
              many.lasts,
              Uint32Array.from(many.values),
            );
            storeOneByOne(mirror, many);
            if (lock === "internal") assertSame(tree, mirror);
            else assertSameHeld(arena, tree, mirror);
          }
        }
      }
    });
  }
}

Deno.test("RangeTree.storeMany() changes nothing if anything of what it is given is out of bounds", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(50, 3));
  const before = stateOf(arena, tree);
  const twenty = Array.from({ length: 20 }, (_, i) => i);
  const but = (at: number, value: number) => twenty.with(at, value);
  const bad: [string, number[], number[], number[]][] = [
    [
      "there are 19 last indices and 20 entries",
      twenty,
      twenty.slice(1),
      twenty,
    ],
    ["there are 20 last indices and 21 entries", twenty, twenty, [
      ...twenty,
      1,
    ]],
    ["Cannot use index -1", but(19, -1), twenty, twenty],
    ["Cannot use index 0.5", twenty, but(17, 0.5), twenty],
    ["Cannot use index NaN", but(3, NaN), twenty, twenty],
    ["Cannot use range [19, 18]", twenty, but(19, 18), twenty],
    ["Cannot store 4294967296", twenty, twenty, but(18, 2 ** 32)],
    ["Cannot store -1", twenty, twenty, but(18, -1)],
  ];
  for (const [message, ...lists] of bad) {
    const [firsts, lasts, values] = lists;
    const typed = lists.map((list) => Float64Array.from(list));
    for (
      const store of [
        () => tree.storeMany(firsts, lasts, values),
        () => tree.storeMany(typed[0], typed[1], typed[2]),
      ]
    ) {
      assertThrows(store, RangeError, message);
      assertEquals(stateOf(arena, tree), before);
    }
  }
});

Deno.test("RangeTree.storeMany() keeps what was stored before memory gave out, and says how many", () => {
  const many = manyOf(rng(7), 40, 3000);
  const counts = new Set<number>();
  for (let allocations = 0;; allocations++) {
    const arena = Arena.create(ARENA);
    const tree = RangeTree.create(arena, { rcu: true });
    const mirror = new Mirror();
    mirror.entries = points(200, 10);
    tree.bulkLoad(mirror.entries);
    const nodes = bothOf(arena);
    let stored = 40;
    {
      using _failing = failAfter(nodes, allocations);
      try {
        tree.storeMany(many.firsts, many.lasts, many.values);
      } catch (error) {
        assert(error instanceof OutOfMemoryError, String(error));
        stored = Number(
          /the first (\d+) of the ranges/.exec(error.message)![1],
        );
      }
    }
    counts.add(stored);
    storeOneByOne(mirror, many, stored);
    assertSame(tree, mirror);
    assertEquals(arena.lockdep.held, 0);
    if (stored === 40) break;
  }
  assert(counts.size > 10);
});

Deno.test("RangeTree.storeMany() says why it stopped, and throws on what is no want of memory", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(300, 2));
  const store = () => tree.storeMany([11], [301], [7]);
  arena.lockdep.forbidAllocation("a section that others wait for");
  assertThrows(store, LockdepError);
  arena.lockdep.allowAllocation();
  using _failing = failAfter(bothOf(arena), 0);
  const error = assertThrows(store, OutOfMemoryError);
  assert(error.cause instanceof OutOfMemoryError);
});

Deno.test("RangeTree.storeMany() stores nothing twice where a compiled loop stops in between", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(1000, 2));
  const before = generationOf(arena.words, tree.ref);
  // The last one needs more nodes than there are at hand.
  tree.storeMany([0, 0, 5], [0, 0, 1500], [8, 9, 10]);
  assertEquals(generationOf(arena.words, tree.ref) - before, 3);
});

Deno.test("RangeTree.storeMany() holds the lock once for sixteen stores, and leaves it free", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(1000, 2));
  using calls = stub(
    compiledFor(arena)!,
    "enterStoreMany",
    compiledFor(arena)!.enterStoreMany,
  );
  const firsts = Array.from({ length: 40 }, (_, i) => 40 * i);
  tree.storeMany(firsts, firsts, firsts.map(() => 9));
  assertEquals(calls.calls.map(({ args }) => args[2]), [16, 16, 8]);
  assertEquals(tree.countIn(0, 2000), 1000);
  assertEquals(tree.load(40 * 39), 9);
  tree.lock()[Symbol.dispose]();
});

const FOUND_BEFORE =
  "RangeTree.storeMany() stores in what it found before only if that is still in the tree, and covers the same";
Deno.test(FOUND_BEFORE, () => {
  for (const seed of seeds(FOUND_BEFORE)) {
    for (let round = 0; round < 32; round++) {
      const random = rng(seed * 1000 + round);
      const arena = Arena.create(ARENA);
      const lock = random.pick(["internal", "none"] as const);
      const rcu = round % 2 === 1, gaps = (round & 2) !== 0;
      const tree = RangeTree.create(arena, { rcu, gaps, lock });
      const mirror = new Mirror();
      // One leaf, some under a root, or three levels.
      mirror.entries = points(random.pick([4, 200, 1500]), 3, 2);
      tree.bulkLoad(mirror.entries);
      for (let step = 0; step < 25; step++) {
        const many = overlappingOf(random, mirror, random.int(40));
        scribble(arena);
        tree.storeMany(many.firsts, many.lasts, many.values);
        storeOneByOne(mirror, many);
        tree.validate();
        assertEquals([...tree], mirror.entries, `round ${round} step ${step}`);
        assertEquals(tree.count, mirror.entries.length);
      }
    }
  }
});

const ALL_OVER =
  "RangeTree.storeMany() stores over parts of ranges all over a tree of three levels";
Deno.test(ALL_OVER, () => {
  for (const seed of seeds(ALL_OVER)) {
    for (let round = 0; round < 12; round++) {
      const random = rng(seed * 1000 + round);
      const arena = Arena.create(ARENA);
      const tree = RangeTree.create(arena, { rcu: true });
      const mirror = new Mirror();
      mirror.entries = adjoining(1500);
      tree.bulkLoad(mirror.entries);
      // The last leaf but one under each node gets room for what comes from the last one, so that both are replaced together.
      for (const under of [0, 1, 2].map((i) => i * MAX_SLOTS ** 2)) {
        const first = 10 * (under + MAX_SLOTS * (MAX_SLOTS - 2) + 5);
        for (const to of [tree, mirror]) to.storeRange(first, first + 59, 9);
      }
      // Splits a leaf twice: afterwards the thread has nodes of both kinds at hand, without which nothing is stored compiled.
      for (const first of [14_000, 14_100]) {
        for (const to of [tree, mirror]) to.storeRange(first, first + 3, 9);
      }
      // From within one range to the end of it, or into the next one: often where a leaf's bounds stand further up.
      const more = random.pick([9, 14]);
      const many: Many = { firsts: [], lasts: [], values: [] };
      for (let i = 0; i < 40; i++) {
        const under = MAX_SLOTS ** 2 * random.int(3);
        const beforeLastLeaf = under + MAX_SLOTS * (MAX_SLOTS - 1) - 1;
        const range = random.pick([random.int(1499), under, beforeLastLeaf]);
        const first = 10 * range;
        many.firsts.push(first + random.int(6));
        many.lasts.push(first + more);
        many.values.push(2000 + i);
      }
      scribble(arena);
      tree.storeMany(many.firsts, many.lasts, many.values);
      storeOneByOne(mirror, many);
      tree.validate();
      assertEquals([...tree], mirror.entries, `round ${round}`);
    }
  }
});

Deno.test("RangeTree.storeMany() erases the last range of a leaf where the next one begins with a free run, whatever the thread did before", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  // Full leaves, each but for the first one with a free slot at its beginning, under full nodes.
  const entries = adjoining(2 * MAX_SLOTS ** 3)
    .filter(({ first }) => first === 0 || first / 10 % MAX_SLOTS !== 0);
  for (let leaf = 1; leaf <= 2 * MAX_SLOTS; leaf++) {
    const tree = RangeTree.create(arena, { rcu: true });
    const mirror = RangeTree.create(arena, { rcu: true });
    for (const to of [tree, mirror]) {
      to.bulkLoad(entries);
      // A path elsewhere, on which nodes of both kinds come to be at hand.
      for (const first of [100_004, 100_204]) to.storeRange(first, first, 9);
    }
    const first = 10 * (MAX_SLOTS * leaf - 1);
    scribble(arena);
    tree.storeMany([first], [first + 9], [0]);
    mirror.erase(first);
    tree.validate();
    assertEquals([...tree], [...mirror], `leaf ${leaf}`);
    for (const each of [tree, mirror]) each.destroy();
    arena.rcu.barrier();
  }
});

Deno.test("RangeTree.storeMany() stores over the end of a range alone, whatever leaf that is the first one of", () => {
  for (const gaps of [false, true]) {
    // One leaf, some under a root, and three levels.
    for (const count of [4, 60, 500]) {
      const arena = Arena.create(ARENA);
      const entries = adjoining(count);
      for (let range = 0; range < count; range++) {
        const tree = RangeTree.create(arena, { rcu: true, gaps });
        tree.bulkLoad(entries);
        const mirror = new Mirror();
        mirror.entries = [...entries];
        const { first, last } = entries[range];
        for (const [at, value] of [[first + 4, 9], [first, 8]]) {
          tree.storeMany([at], [last], [value]);
          mirror.storeRange(at, last, value);
          assertEquals([...tree], mirror.entries, `${gaps} ${count} ${range}`);
        }
        tree.destroy();
      }
    }
  }
});

Deno.test("RangeTree.storeMany() counts every range that it stores in place as a change", () => {
  const tree = RangeTree.create(Arena.create(ARENA), { rcu: true });
  tree.bulkLoad(points(100));
  const iterator = tree.entries();
  iterator.next();
  tree.storeMany([5, 6, 7, 1], [5, 6, 7, 1], [50, 60, 70, 10]);
  assertEquals(iterator.next().value, { first: 1, last: 1, value: 10 });
  assertEquals(tree.count, 100);
});

Deno.test("RangeTree.storeMany() and loadMany() of nothing are errors too once the tree was destroyed", () => {
  for (const memory of ["shared", "buffer"] as const) {
    const arena = Arena.attach(Arena.create(ARENA)[memory]);
    const tree = RangeTree.create(arena);
    tree.storeMany([], [], []);
    tree.loadMany([]);
    tree.destroy();
    for (const some of [[], [1]]) {
      assertThrows(
        () => tree.storeMany(some, some, some),
        Error,
        "Cannot use the tree in RangeTree.storeMany: it was destroyed",
      );
      assertThrows(
        () => tree.loadMany(some),
        Error,
        "Cannot use the tree in RangeTree.loadMany: it was destroyed",
      );
    }
  }
});

Deno.test("RangeTree.storeMany() holds nothing, and stores nothing that is out of bounds, when its lists change meanwhile", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  for (const good of [true, false]) {
    let asked = 0;
    const fickle = {
      length: 1,
      get 0() {
        return (asked++ === 0) === good ? 5 : -1;
      },
    };
    const store = () => tree.storeMany(fickle, [5], [1]);
    if (good) store();
    else assertThrows(store, RangeError, "index -1");
    assertEquals(
      [asked, tree.count, tree.load(5)],
      good ? [1, 1, 1] : [1, 0, 0],
    );
    const failing = {
      length: 1,
      get 0(): number {
        throw new Error("enough");
      },
    };
    assertThrows(() => tree.storeMany([1], failing, [1]), Error, "enough");
    assertEquals(tree.load(1), 0);
    assertEquals(arena.lockdep.held, 0);
    tree.validate();
    tree.clear();
  }
});
