import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { spy } from "@std/testing/mock";
import { Arena } from "../../src/memory/mod.ts";
import { type Entry, MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { CopiedEntries } from "../../src/range_tree/walk.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { rng, seeds } from "../seed.ts";
import { calledMany, entriesOf } from "./called_many.ts";
import { inTheMiddle } from "./in_the_middle.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import { points, test } from "./worlds.ts";

function treeOf(
  entries: Entry[],
  debug = false,
): { arena: Arena; tree: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 21, debug });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(entries);
  return { arena, tree };
}

test("RangeTree.entries() gives every entry that overlaps the window, whole", (debug) => {
  const { tree } = treeOf([
    { first: 10, last: 19, value: 1 },
    { first: 30, last: 39, value: 2 },
    { first: 40, last: 49, value: 3 },
  ], debug);
  const values = (from?: number, to?: number) => {
    const found = [...tree.entries(from, to)].map(({ value }) => value);
    const back = [...tree.entriesReverse(from, to)].map(({ value }) => value);
    assertEquals(back, found.toReversed());
    return found;
  };
  assertEquals(values(), [1, 2, 3]);
  assertEquals(values(19, 30), [1, 2]);
  assertEquals([...tree.entries(15, 15)], [{ first: 10, last: 19, value: 1 }]);
  assertEquals(values(20, 29), []);
  assertEquals(values(20, 30), [2]);
  assertEquals(values(39, 40), [2, 3]);
  assertEquals(values(40), [3]);
  assertEquals(values(50), []);
  assertEquals(values(MAX_INDEX), []);
  assertEquals(values(30, 29), []);
  assertEquals(values(0, 0), []);
});

for (const reverse of [false, true]) {
  test(`RangeTree.${reverse ? "entriesReverse" : "entries"}() has ended for good where the tree was emptied`, (debug) => {
    const { tree } = treeOf([
      { first: 1, last: 1, value: 1 },
      { first: 3, last: 3, value: 2 },
    ], debug);
    const entries = reverse ? tree.entriesReverse() : tree.entries();
    assertEquals(entries.next().done, false);
    tree.clear();
    assertEquals(entries.next().done, true);
    tree.storeRange(0, 9, 3);
    assertEquals(entries.next().done, true);
  });
}

test("RangeTree.entries() ends at the last index", (debug) => {
  const { tree } = treeOf([{ first: 5, last: MAX_INDEX - 1, value: 1 }, {
    first: MAX_INDEX,
    last: MAX_INDEX,
    value: 2,
  }], debug);
  assertEquals([...tree.entries(MAX_INDEX - 1)].length, 2);
  assertEquals([...tree.entries(MAX_INDEX)].length, 1);
});

test("RangeTree.entries() gives every window of a tree of many leaves as the mirror does", (debug) => {
  const mirror = new Mirror();
  mirror.entries = points(70, 3, 2);
  const { tree } = treeOf(mirror.entries, debug);
  for (let from = 0; from < 220; from++) {
    for (let to = from - 1; to < 220; to += 1 + (Math.max(to - from, 0) >> 4)) {
      if (to < 0) continue;
      assertEquals(
        [...tree.entries(from, to)].length,
        mirror.overlapping(from, to).length,
      );
    }
  }
});

test("RangeTree.entries() is done for good once it is done", (debug) => {
  const { tree } = treeOf(points(3), debug);
  const iterator = tree.entries(0, 1);
  assertEquals([...iterator].length, 2);
  assertEquals(iterator.next(), { done: true, value: undefined });
  assertEquals(iterator.next(), { done: true, value: undefined });
});

test("RangeTree.entries() holds nothing between its steps", (debug) => {
  for (const rcu of [false, true]) {
    const { arena, tree } = treeOf(points(100), debug);
    tree.setRcu(rcu);
    const iterator = tree.entries();
    iterator.next();
    assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
    arena.rcu.barrier();
    tree.destroy();
    assertThrows(() => iterator.next(), Error, "it was destroyed");
  }
});

test("RangeTree.entries() lets its reader erase what it was given", (debug) => {
  const { tree } = treeOf(points(500, 2), debug);
  const seen: Entry[] = [];
  for (const entry of tree) {
    seen.push(entry);
    assertEquals(tree.erase(entry.first), entry.value);
  }
  assertEquals(seen, points(500, 2));
  assertEquals([tree.count, tree.height], [0, 0]);
});

test("RangeTree.entries() does not give what was erased, and gives what was stored, ahead of it", (debug) => {
  const { tree } = treeOf(points(100, 2), debug);
  const seen: number[] = [];
  for (const { first, value } of tree.entries(0, 150)) {
    seen.push(first);
    if (value > 100) continue;
    tree.erase(first + 2);
    tree.store(first + 3, 1000);
  }
  // 0, then 3 in place of 2; 4 is left alone, and so on.
  assertEquals(seen.slice(0, 4), [0, 3, 4, 7]);
  assertEquals(seen, seen.toSorted((a, b) => a - b));
});

test("RangeTree.entries() sees a store in place of what it has not given yet", (debug) => {
  for (const rcu of [false, true]) {
    const { tree } = treeOf(points(50), debug);
    tree.setRcu(rcu);
    const iterator = tree.entries();
    iterator.next();
    tree.store(1, 777);
    assertEquals(iterator.next().value, { first: 1, last: 1, value: 777 });
  }
});

test("RangeTree.entries() goes on where it was after a step that was refused", (debug) => {
  const { arena, tree } = treeOf(points(100), debug);
  const other = RangeTree.create(arena);
  const iterator = tree.entries();
  let refused = 0;
  /** A step, under another tree's lock if that is not refused. */
  const step = () => {
    try {
      using _guard = other.lock();
      return iterator.next();
    } catch (error) {
      assert(error instanceof LockdepError, String(error));
      refused++;
    }
    return iterator.next();
  };
  for (const entry of points(100)) assertEquals(step().value, entry);
  assertEquals(step().done, true);
  assert(refused > 1, `${refused} steps were refused`);
});

Deno.test("RangeTree.entries() gives nothing that was replaced between two loads of its step before", () => {
  const { arena, tree } = treeOf(points(10, 2), true);
  tree.setRcu(true);
  const other = RangeTree.attach(Arena.attach(arena.buffer), tree.ref);
  for (let at = 1, came = true; came; at++) {
    // In turns one range, and ten of them.
    const store = () => {
      const length = at % 2 === 0 ? 20 : 2;
      for (let first = 0; first < 20; first += length) {
        other.storeRange(first, first + length - 1, at);
      }
    };
    const iterator = tree.entries();
    {
      using middle = inTheMiddle(at, store);
      iterator.next();
      came = middle.came;
    }
    for (const { first, value } of iterator) {
      assertEquals(value, tree.load(first), `stored after ${at} loads`);
    }
  }
});

test("RangeTree.entries() of two readers do not disturb each other, nor do lookups between them", (debug) => {
  const { tree } = treeOf(points(100, 2), debug);
  const other = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  const pairs: string[] = [];
  const second = tree.entries(100);
  for (const { first } of tree.entries(0, 50)) {
    tree.load(first * 3);
    tree.prev(199);
    tree.insert(7, 1);
    other.store(1, 1);
    pairs.push(`${first} ${second.next().value?.first}`);
  }
  assertEquals(pairs.length, 27);
  assertEquals(pairs[3], "6 106");
  assertEquals(pairs[4], "7 108");
});

const RANDOM =
  "RangeTree.entries() gives the first entry behind the last given one, whatever was stored meanwhile";
test(RANDOM, (debug) => {
  for (const seed of seeds(RANDOM)) {
    for (let round = 0; round < 30; round++) {
      const random = rng(seed * 1000 + round);
      const run = chooseRun(random, 300);
      const mirror = new Mirror();
      mirror.entries = chooseEntries(random, run);
      const { tree } = treeOf(mirror.entries, debug);
      tree.setRcu(random.int(2) === 0);
      const to = random.pick([MAX_INDEX, 200]);
      let at = random.int(100);
      const iterator = tree.entries(at, to);
      for (;;) {
        for (let changes = random.int(3); changes > 0; changes--) {
          doOne(tree, mirror, random, run);
        }
        const expected = mirror.find(at, to);
        const { value, done = false } = iterator.next();
        assertEquals(value, expected);
        if (done) break;
        at = value.last + 1;
      }
    }
  }
});

const CALLED_BACK =
  "RangeTree.forEach() calls back for the first entry behind the last one, whatever its callback stores";
test(CALLED_BACK, (debug) => {
  for (const seed of seeds(CALLED_BACK)) {
    for (let round = 0; round < 30; round++) {
      const random = rng(seed * 1000 + round);
      const run = chooseRun(random, 300);
      const mirror = new Mirror();
      mirror.entries = chooseEntries(random, run);
      const { tree } = treeOf(mirror.entries, debug);
      tree.setRcu(random.int(2) === 0);
      const to = random.pick([MAX_INDEX, 200]);
      let at = random.int(100);
      tree.forEach(
        (first, last, value) => {
          assertEquals({ first, last, value }, mirror.find(at, to));
          at = last + 1;
          for (let changes = random.int(3); changes > 0; changes--) {
            doOne(tree, mirror, random, run);
          }
        },
        at,
        to,
      );
      assertEquals(at > to ? undefined : mirror.find(at, to), undefined);
    }
  }
});

test("RangeTree.forEach() ends at what its callback throws, and holds nothing then", (debug) => {
  for (const rcu of [false, true]) {
    const { arena, tree } = treeOf(points(100, 2), debug);
    tree.setRcu(rcu);
    const seen: number[] = [];
    const stop = new Error("enough");
    const call = () =>
      tree.forEach((first) => {
        seen.push(first);
        if (first === 60) throw stop;
      });
    assertThrows(call, Error, "enough");
    assertEquals(seen.length, 31);
    assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
    tree.destroy();
    assertThrows(() => tree.forEach(() => {}), Error, "it was destroyed");
  }
});

const MANY =
  "RangeTree.forEachMany() calls back with what follows the last ones, whatever its callback stores";
test(MANY, (debug) => {
  const counts = new Set<number>();
  for (const seed of seeds(MANY)) {
    for (let round = 0; round < 30; round++) {
      const random = rng(seed * 1000 + round);
      const run = chooseRun(random, 300);
      const mirror = new Mirror();
      mirror.entries = chooseEntries(random, run);
      const { tree } = treeOf(mirror.entries, debug);
      tree.setRcu(random.int(2) === 0);
      const to = random.pick([MAX_INDEX, 200]);
      let at = random.int(100);
      tree.forEachMany(
        (entries) => {
          const { count } = entries;
          const expected = mirror.overlapping(at, to).slice(0, count);
          assertEquals(entriesOf(entries), expected);
          counts.add(count);
          at = expected[count - 1].last + 1;
          for (let changes = random.int(3); changes > 0; changes--) {
            doOne(tree, mirror, random, run);
          }
        },
        at,
        to,
      );
      assertEquals(at > to ? undefined : mirror.find(at, to), undefined);
    }
  }
  assert(counts.size > 5, "calls with different numbers of entries");
});

Deno.test("RangeTree.forEachMany() gives all of many entries, some dozens at a time but for the first ones", () => {
  for (const memory of ["shared", "buffer"] as const) {
    const { arena } = treeOf(points(2000, 5));
    const tree = RangeTree.create(Arena.attach(arena[memory]));
    tree.bulkLoad(points(2000, 5));
    const counts: number[] = [];
    const seen: Entry[] = [];
    tree.forEachMany((entries) => {
      counts.push(entries.count);
      seen.push(...entriesOf(entries));
    });
    assertEquals(seen, points(2000, 5));
    assert(counts.every((count) => count <= 124), `${counts}`);
    if (memory === "shared") assert(counts.length < 2000 / 50, `${counts}`);
  }
});

test("RangeTree.forEachMany() leaves the columns alone until its callback returns", (debug) => {
  const { tree } = treeOf(points(200, 2), debug);
  let calls = 0;
  tree.forEachMany((entries) => {
    calls++;
    const before = entriesOf(entries);
    assertEquals(calledMany(tree, 0, MAX_INDEX), points(200, 2));
    assertEquals([...tree], points(200, 2));
    assertEquals([...tree.entriesReverse(3, 9)].length, 3);
    assertEquals(entriesOf(entries), before);
  });
  assert(calls > 2);
});

test("RangeTree.forEachMany() lets its callback write to the columns", (debug) => {
  for (const changes of [false, true]) {
    const { tree } = treeOf(points(200, 2), debug);
    const seen: Entry[] = [];
    tree.forEachMany((entries) => {
      seen.push(...entriesOf(entries));
      entries.firsts.fill(-1);
      entries.lasts.fill(MAX_INDEX);
      entries.values.fill(0);
      if (changes) tree.store(0, 5 + seen.length);
    });
    assertEquals(seen, points(200, 2));
  }
});

test("RangeTree.forEachMany() lets its callback transfer the columns, and goes on with others", (debug) => {
  for (const column of ["firsts", "lasts", "values"] as const) {
    for (const changes of [false, true]) {
      const { tree } = treeOf(points(200, 2), debug);
      const seen: Entry[] = [];
      tree.forEachMany((entries) => {
        seen.push(...entriesOf(entries));
        structuredClone(entries, { transfer: [entries[column].buffer] });
        if (changes) tree.store(0, 5 + seen.length);
      });
      assertEquals(seen, points(200, 2));
      assertEquals([...tree.entries(1)], points(200, 2).slice(1));
      assertEquals(calledMany(tree, 1, MAX_INDEX), points(200, 2).slice(1));
    }
  }
});

test("RangeTree.forEachMany() lets its callback change nothing of how it goes on", (debug) => {
  const { tree } = treeOf(points(200, 2), debug);
  const seen: Entry[] = [];
  tree.forEachMany((entries) => {
    seen.push(...entriesOf(entries));
    const { count } = entries;
    Object.assign(entries, { count: count - 1, reached: 5, generation: -1 });
  });
  assertEquals(seen, points(200, 2));
});

test("RangeTree.forEachMany() ends at what its callback throws, and holds nothing then", (debug) => {
  for (const rcu of [false, true]) {
    const { arena, tree } = treeOf(points(100, 2), debug);
    tree.setRcu(rcu);
    let calls = 0;
    const call = () =>
      tree.forEachMany(() => {
        if (++calls === 2) throw new Error("enough");
      });
    assertThrows(call, Error, "enough");
    assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
    assertEquals(calledMany(tree, 0, MAX_INDEX), points(100, 2));
    assertThrows(() => tree.forEachMany(() => {}, -1), RangeError, "index -1");
    tree.destroy();
    assertThrows(() => tree.forEachMany(() => {}), Error, "it was destroyed");
  }
});

Deno.test("CopiedEntries has a buffer that was given back taken once", () => {
  const first = CopiedEntries.take(), second = CopiedEntries.take();
  assertNotStrictEquals(second, first);
  first.give();
  assertStrictEquals(CopiedEntries.take(), first);
  assertNotStrictEquals(CopiedEntries.take(), first);
  second.give();
  structuredClone(second.lasts, { transfer: [second.lasts.buffer] });
  assertNotStrictEquals(CopiedEntries.take(), second);
});

test("RangeTree.entries(), forEach() and forEachMany() take one buffer, one after the other, of all trees", (debug) => {
  const { tree } = treeOf(points(200, 2), debug);
  using taken = spy(CopiedEntries, "take");
  using given = spy(CopiedEntries.prototype, "give");
  assertEquals([...tree].length, 200);
  tree.forEach(() => {});
  tree.forEachMany(() => {});
  treeOf(points(20, 2), debug).tree.forEach(() => {});
  const buffers = new Set(taken.calls.map(({ returned }) => returned));
  assertEquals([taken.calls.length, given.calls.length], [4, 4]);
  assertEquals(buffers.size, 1);
});

test("RangeTree.entries() that has ended lets another have its buffer, and never looks at it again", (debug) => {
  const { tree } = treeOf(points(200, 2), debug);
  const ended = tree.entries(0, 3);
  assertEquals([...ended].length, 2);
  const second = tree.entries(100);
  assertEquals(second.next().value?.first, 100);
  for (let i = 0; i < 3; i++) assertEquals(ended.next().done, true);
  const third = tree.entries(200);
  assertEquals(third.next().value?.first, 200);
  assertEquals(second.next().value?.first, 102);
  assertEquals(third.next().value?.first, 202);
});

const REVERSE =
  "RangeTree.entriesReverse() gives the last entry before the last given one, whatever was stored meanwhile";
test(REVERSE, (debug) => {
  for (const seed of seeds(REVERSE)) {
    for (let round = 0; round < 30; round++) {
      const random = rng(seed * 1000 + round);
      const run = chooseRun(random, 300);
      const mirror = new Mirror();
      mirror.entries = chooseEntries(random, run);
      const { tree } = treeOf(mirror.entries, debug);
      tree.setRcu(random.int(2) === 0);
      const from = random.pick([0, 100]);
      let at = random.pick([MAX_INDEX, 100 + random.int(200)]);
      const iterator = tree.entriesReverse(from, at);
      for (;;) {
        for (let changes = random.int(3); changes > 0; changes--) {
          doOne(tree, mirror, random, run);
        }
        const expected = at < from
          ? undefined
          : mirror.overlapping(from, at).at(-1);
        const { value, done = false } = iterator.next();
        assertEquals(value, expected);
        if (done) break;
        at = value.first - 1;
      }
    }
  }
});

test("RangeTree.countIn() counts what overlaps a window, over many leaves and at both ends", (debug) => {
  const { tree } = treeOf(points(2000, 5), debug);
  assertEquals(tree.countIn(0, MAX_INDEX), 2000);
  assertEquals(tree.countIn(5, 9994), 1998);
  assertEquals(tree.countIn(6, 9), 0);
  assertEquals(tree.countIn(9, 6), 0);
  tree.store(MAX_INDEX, 7);
  assertEquals(tree.countIn(0, MAX_INDEX), 2001);
  assertEquals(treeOf([], debug).tree.countIn(0, MAX_INDEX), 0);
  const { tree: one } = treeOf([{ first: 10, last: 19, value: 1 }], debug);
  assertEquals([one.countIn(12, 15), one.countIn(15, 12)], [1, 0]);
});

test("RangeTree is shown as one line, also once it is destroyed", (debug) => {
  const { tree } = treeOf(points(3, 5), debug);
  const text = `RangeTree(3 entries, lock internal${tree.rcu ? ", rcu" : ""})`;
  assertEquals(`${tree}`, text);
  assertEquals(Deno.inspect(tree), text);
  const gapped = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }), {
    gaps: true,
    lock: "none",
  });
  assertEquals(`${gapped}`, "RangeTree(0 entries, lock none, gaps)");
  tree.destroy();
  assertEquals(Deno.inspect(tree), "RangeTree(destroyed)");
});
