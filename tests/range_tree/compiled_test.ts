/**
 * The loops that are compiled, against their twins in TypeScript and a mirror: one arena is seen twice, by a thread that was handed
 * the WebAssembly memory and by one that has the buffer alone.
 */
import { assertEquals, assertNotEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { compiledFor } from "../../src/range_tree/compiled.ts";
import { GapSearch } from "../../src/range_tree/gaps.ts";
import { MAX_SLOTS } from "../../src/range_tree/node.ts";
import {
  type Cursor,
  type Entry,
  MAX_INDEX,
  RangeTree,
  RESERVED,
} from "../../src/range_tree/mod.ts";
import { assertSucceeds } from "../compiler_program.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { calledMany } from "./called_many.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import { scribbled } from "../scribble.ts";
import { points } from "./worlds.ts";

const MODES = [false, true].flatMap((rcu) =>
  [false, true].map((gaps) => ({ rcu, gaps }))
);

/** A tree as both threads see it. */
interface Pair {
  readonly arenas: readonly Arena[];
  readonly trees: readonly RangeTree[];
}

function pairOf(mode: { rcu: boolean; gaps: boolean }): Pair {
  const compiled = scribbled(Arena.create({ byteLength: 2 ** 22 }));
  const plain = Arena.attach(compiled.buffer);
  assertNotEquals(compiledFor(compiled), undefined);
  assertEquals(compiledFor(plain), undefined);
  const tree = RangeTree.create(compiled, mode);
  const arenas = [compiled, plain];
  return {
    arenas,
    trees: [tree, RangeTree.attach(plain, tree.ref)],
  };
}

function assertAlike<T>(
  trees: readonly RangeTree[],
  expected: T,
  what: string,
  ask: (tree: RangeTree) => T,
): void {
  for (const tree of trees) assertEquals(ask(tree), expected, what);
}

/** Everything that can be asked of an index. */
function assertIndex({ trees }: Pair, mirror: Mirror, index: number): void {
  const at = `at ${index}`;
  assertAlike(trees, mirror.load(index), at, (tree) => tree.load(index));
  assertAlike(trees, mirror.find(index), at, (tree) => tree.find(index));
  assertAlike(trees, mirror.next(index), at, (tree) => tree.next(index));
  assertAlike(trees, mirror.prev(index), at, (tree) => tree.prev(index));
  assertAlike(
    trees,
    mirror.findAfter(index),
    at,
    (tree) => tree.findAfter(index),
  );
  const run = mirror.freeRuns().find(([first, last]) =>
    first <= index && index <= last
  );
  const held = mirror.entries.find(({ first, last }) =>
    first <= index && index <= last
  );
  const [first, last] = run ?? [held!.first, held!.last];
  assertAlike(trees, [held?.value ?? 0, first, last], at, (tree) => {
    using _guard = tree.lock();
    const cursor = tree.cursor(index);
    return [cursor.walk(), cursor.index, cursor.last];
  });
}

/** Everything that can be asked of a window. */
function assertWindow(
  { arenas, trees }: Pair,
  mirror: Mirror,
  from: number,
  to: number,
): void {
  const inside = `in ${from} … ${to}`;
  const entries = from > to ? [] : mirror.overlapping(from, to);
  assertAlike(trees, entries, inside, (tree) => [...tree.entries(from, to)]);
  assertAlike(
    trees,
    entries.toReversed(),
    inside,
    (tree) => [...tree.entriesReverse(from, to)],
  );
  assertAlike(trees, entries, inside, (tree) => {
    const called: Entry[] = [];
    tree.forEach(
      (first, last, value) => called.push({ first, last, value }),
      from,
      to,
    );
    return called;
  });
  assertAlike(trees, entries, inside, (tree) => calledMany(tree, from, to));
  assertAlike(
    trees,
    entries.length,
    inside,
    (tree) => tree.countIn(from, to),
  );
  assertAlike(
    trees,
    mirror.find(from, to),
    inside,
    (tree) => tree.find(from, to),
  );
  assertAlike(
    trees,
    mirror.next(from, to),
    inside,
    (tree) => tree.next(from, to),
  );
  assertAlike(
    trees,
    mirror.prev(to, from),
    inside,
    (tree) => tree.prev(to, from),
  );
  if (from > to) return;
  assertSteps(trees, mirror, from, to);
  if (!trees[0].gaps) return;
  for (const size of [1, 2, 7, to - from + 1]) {
    if (size > to - from + 1) continue;
    for (const highest of [false, true]) {
      const room = mirror.room(size, from, to, highest);
      for (const [i, tree] of trees.entries()) {
        using _guard = tree.lock();
        const search = GapSearch.of(arenas[i]);
        const found = highest
          ? search.highest(tree.ref, size, from, to)
          : search.lowest(tree.ref, size, from, to);
        assertEquals(found, room, `${size} ${inside}`);
      }
    }
  }
}

/** What cursors do in a window, forwards and backwards, among entries and among ranges. (`cursor_swarm_test.ts` has the mirror.) */
function assertSteps(
  trees: readonly RangeTree[],
  mirror: Mirror,
  from: number,
  to: number,
): void {
  const count = 2 * mirror.overlapping(from, to).length + 3;
  const ways: readonly [number, (cursor: Cursor) => number][] = [
    [from, (cursor) => cursor.find(to)],
    [from, (cursor) => cursor.nextRange(to)],
    [to, (cursor) => cursor.findReverse(from)],
    [to, (cursor) => cursor.prevRange(from)],
  ];
  for (const [start, step] of ways) {
    const [compiled, plain] = trees.map((tree) => {
      using _guard = tree.lock();
      const cursor = tree.cursor(start);
      return Array.from(
        { length: count },
        () => [step(cursor), cursor.index, cursor.last, cursor.state],
      );
    });
    assertEquals(compiled, plain, `steps in ${from} … ${to}`);
  }
}

/** The ends of all ranges and what lies beside them, and those of all indices. */
function edgesOf(mirror: Mirror): number[] {
  const edges = new Set([0, 1, MAX_INDEX - 1, MAX_INDEX]);
  for (const { first, last } of mirror.entries) {
    for (const edge of [first - 1, first, last, last + 1]) {
      if (edge >= 0 && edge <= MAX_INDEX) edges.add(edge);
    }
  }
  return [...edges].sort((a, b) => a - b);
}

function assertAll(pair: Pair, mirror: Mirror, random: Rng): void {
  pair.trees[0].validate();
  const edges = edgesOf(mirror);
  for (const index of edges) assertIndex(pair, mirror, index);
  assertWindow(pair, mirror, 0, MAX_INDEX);
  assertWindow(pair, mirror, MAX_INDEX, MAX_INDEX);
  assertWindow(pair, mirror, 0, 0);
  for (let i = 0; i < 60; i++) {
    assertWindow(pair, mirror, random.pick(edges), random.pick(edges));
  }
}

const FULL_LEAVES = 3 * MAX_SLOTS;
const LAYOUTS: Readonly<Record<string, readonly Entry[]>> = {
  "nothing": [],
  "everything in one entry": [{ first: 0, last: MAX_INDEX, value: 9 }],
  "the first index and the last": [
    { first: 0, last: 0, value: 1 },
    { first: MAX_INDEX, last: MAX_INDEX, value: 2 },
  ],
  "a root leaf": points(5, 10),
  "a root leaf without a slot to spare": [
    ...points(MAX_SLOTS - 1),
    { first: MAX_SLOTS - 1, last: MAX_INDEX, value: 3 },
  ],
  "full leaves up to the last index": [
    ...points(FULL_LEAVES - 1),
    { first: FULL_LEAVES - 1, last: MAX_INDEX, value: 0xffff_fffe },
  ],
  "packed ranges": points(200),
  "ranges with gaps": points(200, 7),
  "ranges far apart": points(40, 2 ** 40),
};

for (const mode of MODES) {
  for (const [name, entries] of Object.entries(LAYOUTS)) {
    Deno.test(`Compiled readers agree with their twins: ${name}, ${JSON.stringify(mode)}`, () => {
      const pair = pairOf(mode);
      pair.trees[0].bulkLoad(entries);
      const mirror = new Mirror();
      mirror.entries = [...entries];
      assertAll(pair, mirror, rng(1));
    });
  }

  Deno.test(`Compiled readers pass over leaves of reserved entries as their twins do, ${JSON.stringify(mode)}`, () => {
    const pair = pairOf(mode);
    const mirror = new Mirror();
    for (let first = 0; first < 1000; first += 5) {
      const value = first % 400 === 0 ? 7 : RESERVED;
      if (value === RESERVED) pair.trees[first % 2].reserve(first, first + 1);
      else pair.trees[first % 2].storeRange(first, first + 1, value);
      mirror.storeRange(first, first + 1, value);
    }
    assertAll(pair, mirror, rng(2));
  });
}

const RANDOM_TEST = "Compiled readers agree with their twins and the mirror";
for (const seed of seeds(RANDOM_TEST)) {
  for (const mode of MODES) {
    Deno.test(`${RANDOM_TEST}, ${JSON.stringify(mode)} (seed ${seed})`, () => {
      const random = rng(seed);
      for (let round = 0; round < 4; round++) {
        const pair = pairOf(mode);
        const run = chooseRun(random, random.pick([12, 60, 300]));
        const mirror = new Mirror();
        mirror.entries = chooseEntries(random, run);
        pair.trees[0].bulkLoad(mirror.entries);
        for (let step = 0; step < 60; step++) {
          doOne(random.pick(pair.trees), mirror, random, run);
          pair.trees[0].validate();
          if (step % 20 === 0) assertAll(pair, mirror, random);
        }
        assertAll(pair, mirror, random);
      }
    });
  }
}

Deno.test("Compiled readers find out that a tree was switched between the lock and RCU", () => {
  const { trees: [tree, other] } = pairOf({ rcu: true, gaps: false });
  tree.bulkLoad(points(100, 2));
  for (const rcu of [false, true, false]) {
    other.setRcu(rcu);
    assertEquals(tree.load(4), 3);
    assertEquals(tree.find(3), { first: 4, last: 4, value: 3 });
    assertEquals(tree.prev(4), { first: 2, last: 2, value: 2 });
    assertEquals([...tree].length, 100);
    assertEquals([...tree.entriesReverse()].length, 100);
    assertEquals(tree.rcu, rcu);
  }
});

Deno.test("Readers that leave a leaf copy only what was in the tree, and pass what contains the index, whatever is stored meanwhile", () => {
  assertSucceeds(new URL("./compiled_races.ts", import.meta.url));
});
