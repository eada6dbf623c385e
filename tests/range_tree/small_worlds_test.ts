import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import {
  type Entry,
  MAX_INDEX,
  RangeTree,
  RESERVED,
} from "../../src/range_tree/mod.ts";
import { countOf, heightOf } from "../../src/range_tree/node.ts";
import { Mirror } from "./mirror.ts";
import { assertSame, cacheOf, leanTree, nodesOf, points } from "./worlds.ts";

type Operation = (tree: RangeTree, mirror: Mirror, value: number) => void;

/** Every operation that there is over a few indices. */
function operationsOver(indices: readonly number[]): Operation[] {
  const operations: Operation[] = [];
  indices.forEach((first, i) => {
    operations.push((tree, mirror) => {
      assertEquals(tree.erase(first), mirror.erase(first));
    });
    for (const last of indices.slice(i)) {
      operations.push(
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
      );
      if (first === last) continue;
      operations.push((tree, mirror, value) => {
        const room = { min: first, max: last };
        const [place] = mirror.places(2, first, last);
        assertEquals(tree.allocRange(2, value, room), place);
        if (place !== undefined) mirror.storeRange(place, place + 1, value);
      });
    }
  });
  return operations;
}

/** A tree that a sequence of operations leads to. */
interface State {
  readonly path: readonly Operation[];
  readonly entries: Entry[];
}

/**
 * Carries out every sequence of up to `length` operations on copies of a tree. Of sequences that lead to the same tree, but
 * for the names of the entries, one is continued: the others would only repeat it.
 *
 * @returns How many trees were compared with the mirror.
 */
function exhaust(
  arena: Arena,
  base: RangeTree,
  indices: readonly number[],
  length: number,
): number {
  const operations = operationsOver(indices);
  const seen = new Set<string>();
  let states: State[] = [{ path: [], entries: [...base] }];
  let compared = 0;
  for (let step = 1; step <= length; step++) {
    const reached: State[] = [];
    for (const { path, entries } of states) {
      for (const operation of operations) {
        const tree = base.clone();
        const mirror = new Mirror();
        mirror.entries = [...base];
        path.forEach((earlier, i) => earlier(tree, mirror, i + 1));
        assertEquals(mirror.entries.length, entries.length);
        operation(tree, mirror, step);
        assertSame(tree, mirror);
        compared++;
        const shape = step < length ? shapeOf(arena, tree, mirror) : "";
        if (step < length && !seen.has(shape)) {
          seen.add(shape);
          reached.push({
            path: [...path, operation],
            entries: mirror.entries,
          });
        }
        tree.destroy();
      }
    }
    states = reached;
  }
  return compared;
}

/** Equal for trees that are equal but for the names of their entries. */
function shapeOf(arena: Arena, tree: RangeTree, mirror: Mirror): string {
  const names = new Map<number, number>();
  const nameOf = (value: number) => {
    if (value === RESERVED) return "r";
    if (!names.has(value)) names.set(value, names.size);
    return names.get(value);
  };
  const counts = nodesOf(arena, tree).map((node) => countOf(arena.words, node));
  const entries = mirror.entries.map(({ first, last, value }) =>
    `${first}-${last}:${nameOf(value)}`
  );
  return `${counts} ${entries}`;
}

for (
  const { where, indices, length } of [
    {
      where: "6 indices at both ends",
      indices: [0, 1, 2, MAX_INDEX - 2, MAX_INDEX - 1, MAX_INDEX],
      length: 3,
    },
    {
      where: "6 indices in the middle",
      indices: [3, 4, 5, 6, 7, 8],
      length: 4,
    },
  ]
) {
  Deno.test(`RangeTree agrees with the mirror after every ${length} operations over ${where}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const base = RangeTree.create(arena, { gaps: true, rcu: length === 3 });
    const compared = exhaust(arena, base, indices, length);
    assert(compared > 10_000, `${compared} trees`);
    arena.rcu.barrier();
    assertEquals(cacheOf(arena).stats().objects, 0);
  });
}

Deno.test("RangeTree agrees with the mirror after every 3 operations over 6 indices in full leaves", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const base = RangeTree.create(arena, { gaps: true });
  base.bulkLoad(points(63, 1, 0)); // three full leaves but for the gap behind them
  const compared = exhaust(arena, base, [19, 20, 21, 22, 41, 42], 3);
  assert(compared > 10_000, `${compared} trees`);
});

Deno.test("RangeTree agrees with the mirror after every 2 operations around the edges of leaves that are a third full", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const base = leanTree(arena, 2, 4, true);
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
  assert(exhaust(arena, base, indices, 2) > 1000);
});
