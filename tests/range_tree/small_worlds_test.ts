import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import {
  type Cursor,
  type Entry,
  MAX_INDEX,
  RangeTree,
  RESERVED,
} from "../../src/range_tree/mod.ts";
import { countOf, heightOf } from "../../src/range_tree/node.ts";
import { Mirror } from "./mirror.ts";
import { scribbled } from "../scribble.ts";
import { allEntries, assertSame, leanTree, nodesOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** What is done to a tree and its mirror, whose answers must agree. */
type Operation = (tree: RangeTree, mirror: Mirror, value: number) => void;
/** What is done by a cursor, under one hold of the lock. */
type CursorUse = (cursor: Cursor, mirror: Mirror, value: number) => void;

/** Every operation that there is over a few indices; those that look for room where the tree tracks gaps. */
function operationsOver(
  indices: readonly number[],
  gaps: boolean,
): Operation[] {
  const operations: Operation[] = [];
  indices.forEach((first, i) => {
    operations.push(...operationsAt(first));
    for (const last of indices.slice(i)) {
      operations.push(...storesOver(first, last));
      // In a window of one index it would be an insertion.
      if (gaps && first < last) operations.push(...allocationsIn(first, last));
    }
  });
  return operations;
}

function operationsAt(index: number): Operation[] {
  return [
    (tree, mirror) => assertEquals(tree.erase(index), mirror.erase(index)),
    withCursor(index, index, (cursor, mirror) => {
      const run = runAt(mirror, index);
      assertEquals(cursor.erase(), run.value);
      assertEquals([cursor.index, cursor.last], [run.first, run.last]);
      mirror.erase(index);
    }),
    // Overwrites what follows, in the middle of an iteration, then removes what follows that.
    withCursor(index, index, (cursor, mirror, value) => {
      const next = () =>
        mirror.entries.find(({ first }) => first > cursor.last);
      const begun = mirror.entries.find(({ last }) => last >= index);
      assertEquals(cursor.find(), begun?.value ?? 0);
      if (begun === undefined) return;
      assertEquals(cursor.store(value), begun.value);
      mirror.storeRange(begun.first, begun.last, value);
      const behind = next();
      assertEquals(cursor.next(), behind?.value ?? 0);
      if (behind === undefined) return;
      assertEquals(cursor.erase(), behind.value);
      mirror.erase(behind.first);
    }),
  ];
}

function storesOver(first: number, last: number): Operation[] {
  return [
    (tree, mirror, value) => {
      tree.storeRange(first, last, value);
      mirror.storeRange(first, last, value);
    },
    (tree, mirror) => {
      tree.eraseRange(first, last);
      mirror.storeRange(first, last, 0);
    },
    (tree, mirror, value) => {
      assertEquals(
        tree.insertRange(first, last, value),
        mirror.insertRange(first, last, value),
      );
    },
    (tree, mirror) => {
      assertEquals(
        tree.reserve(first, last),
        mirror.insertRange(first, last, RESERVED),
      );
    },
    withCursor(first, last, (cursor, mirror, value) => {
      cursor.preallocate(value);
      assertEquals(cursor.store(value), runAt(mirror, first).value);
      mirror.storeRange(first, last, value);
    }),
    withCursor(first, last, (cursor, mirror) => {
      assertEquals(cursor.store(0), runAt(mirror, first).value);
      mirror.storeRange(first, last, 0);
    }),
    withCursor(first, last, (cursor, mirror, value) => {
      assertEquals(
        cursor.insert(value),
        mirror.insertRange(first, last, value),
      );
      assertEquals([cursor.index, cursor.last], [first, last]);
    }),
  ];
}

/** Room for one index, or two, in a window, from below and from above, and from inside of it or behind it round to its start. */
function allocationsIn(min: number, max: number): Operation[] {
  const operations = [false, true].flatMap((highest) => [
    allocation(min, max, 1, highest),
    allocation(min, max, 2, highest),
    cursorAllocation(min, max, 2, highest),
  ]);
  for (const next of [min + 1, max + 1]) {
    operations.push((tree, mirror, value) => {
      const found = tree.allocCyclic(value, { min, max, next });
      assertEquals(found, mirror.cyclic(min, max, next));
      if (found) mirror.storeRange(found.index, found.index, value);
    });
  }
  return operations;
}

function allocation(
  min: number,
  max: number,
  size: number,
  highest: boolean,
): Operation {
  return (tree, mirror, value) => {
    const place = mirror.room(size, min, max, highest);
    const found = highest
      ? tree.allocRangeReverse(size, value, { min, max })
      : tree.allocRange(size, value, { min, max });
    assertEquals(found ?? -1, place);
    if (place >= 0) mirror.storeRange(place, place + size - 1, value);
  };
}

function cursorAllocation(
  min: number,
  max: number,
  size: number,
  highest: boolean,
): Operation {
  return withCursor(min, max, (cursor, mirror, value) => {
    const place = mirror.room(size, min, max, highest);
    const found = highest
      ? cursor.emptyAreaReverse(min, max, size)
      : cursor.emptyArea(min, max, size);
    assertEquals(found, place >= 0);
    if (!found) return;
    assertEquals([cursor.index, cursor.last], [place, place + size - 1]);
    assertEquals(cursor.store(value), 0);
    mirror.storeRange(place, place + size - 1, value);
  });
}

function withCursor(first: number, last: number, use: CursorUse): Operation {
  return (tree, mirror, value) => {
    using _guard = tree.lock();
    using cursor = tree.cursor(first, last);
    use(cursor, mirror, value);
  };
}

/** The range, stored or empty, that covers an index, as a cursor sees it. */
function runAt(
  mirror: Mirror,
  index: number,
): { first: number; last: number; value: number } {
  const stored = mirror.entries.find(({ first, last }) =>
    first <= index && index <= last
  );
  if (stored !== undefined) return stored;
  const [first, last] = mirror.freeRuns().find(([_, last]) => last >= index)!;
  return { first, last, value: 0 };
}

/**
 * Carries out every sequence of up to `length` operations on copies of a tree. Of sequences that lead to the same tree, but
 * for the names of the entries, one is continued: the others would only repeat it.
 *
 * @returns How many operations were compared with the mirror.
 */
function exhaust(
  arena: Arena,
  base: RangeTree,
  indices: readonly number[],
  length: number,
): number {
  const operations = operationsOver(indices, base.gaps);
  const seen = new Set<string>();
  // Each tree is copied from the one that it comes of, so that only the last operation is carried out.
  let trees = [base];
  let compared = 0;
  for (let step = 1; step <= length; step++) {
    const reached: RangeTree[] = [];
    for (const before of trees) {
      const entries = heldEntries(before);
      for (const [number, operation] of operations.entries()) {
        const tree = before.clone();
        const mirror = new Mirror();
        mirror.entries = entries;
        try {
          operation(tree, mirror, step);
          assertSame(tree, mirror);
        } catch (cause) {
          throw new Error(
            `Operation ${number} fails: ${operation}\n${before.dump()}`,
            { cause },
          );
        }
        compared++;
        const shape = step < length ? shapeOf(arena, tree, mirror) : "";
        if (step === length || seen.has(shape)) tree.destroy();
        else {
          seen.add(shape);
          reached.push(tree);
        }
      }
      if (before !== base) before.destroy();
    }
    trees = reached;
  }
  return compared;
}

function heldEntries(tree: RangeTree): Entry[] {
  using _guard = tree.lock();
  return allEntries(tree);
}

/**
 * Equal for trees that are equal but for the names of their entries, which no operation looks at: its entries and how many
 * slots each node has are all that there is to a tree.
 */
function shapeOf(arena: Arena, tree: RangeTree, mirror: Mirror): string {
  let shape = "";
  for (const node of nodesOf(arena, tree)) {
    shape += `${countOf(arena.words, node)} `;
  }
  for (const { first, last, value } of mirror.entries) {
    shape += `${first}-${last}${value === RESERVED ? "r" : ""} `;
  }
  return shape;
}

const WORLDS = {
  "6 indices at both ends": [
    0,
    1,
    2,
    MAX_INDEX - 2,
    MAX_INDEX - 1,
    MAX_INDEX,
  ],
  "6 indices in the middle": [3, 4, 5, 6, 7, 8],
};

for (const [where, indices] of Object.entries(WORLDS)) {
  for (const gaps of [false, true]) {
    for (const rcu of [false, true]) {
      Deno.test(`RangeTree agrees with the mirror after every 4 operations over ${where}, gaps ${gaps}, rcu ${rcu}`, () => {
        const arena = Arena.create({ byteLength: 2 ** 22 });
        const base = RangeTree.create(arena, { gaps, rcu });
        const compared = exhaust(arena, base, indices, 4);
        assert(compared > 80_000, `${compared} operations`);
        arena.rcu.barrier();
        assertEquals(bothOf(arena).stats().objects, 0);
      });
    }
  }
}

for (const gaps of [false, true]) {
  Deno.test(`RangeTree agrees with the mirror after every 3 operations over 6 indices in full leaves, gaps ${gaps}`, () => {
    const arena = scribbled(Arena.create({ byteLength: 2 ** 23 }));
    const base = RangeTree.create(arena, { gaps });
    base.bulkLoad(points(63, 1, 0)); // three full leaves but for the gap behind them
    const indices = [19, 20, 21, 22, 41, 42];
    const compared = exhaust(arena, base, indices, 3);
    assert(compared > 10_000, `${compared} operations`);
  });
}

for (const gaps of [false, true]) {
  Deno.test(`RangeTree agrees with the mirror after every 2 operations around the edges of leaves that are a third full, gaps ${gaps}`, () => {
    const arena = scribbled(Arena.create({ byteLength: 2 ** 22 }));
    const base = leanTree(arena, 2, 4, gaps);
    const entries = [...base];
    const leaves = nodesOf(arena, base).filter((node) =>
      heightOf(arena.words, node) === 0
    );
    const firstLeaf = countOf(arena.words, leaves[0]) >> 1;
    const indices = [
      entries[0],
      entries[firstLeaf - 1],
      entries[firstLeaf],
      entries.at(-1)!,
    ].map(({ first }) => first);
    const compared = exhaust(arena, base, indices, 2);
    assert(compared > 1000, `${compared} operations`);
  });
}
