import { assertEquals, assertNotEquals } from "@std/assert";
import { Arena, type Entry, RangeTree } from "../../mod.ts";
import { digestTrees } from "../../src/experiment/mod.ts";

const ENTRIES: Entry[] = [
  { first: 0, last: 0, value: 1 },
  { first: 7, last: 2 ** 40, value: 0xffff_ffff },
  { first: 2 ** 40 + 1, last: Number.MAX_SAFE_INTEGER, value: 2 },
];

/** FNV-1a over 32-bit words, with numbers that can't overflow. */
function slowDigest(trees: Entry[][]): string {
  let hash = 0x811c9dc5n;
  const take = (word: number | bigint) => {
    hash = ((hash ^ BigInt(word)) * 0x01000193n) & 0xffff_ffffn;
  };
  for (const tree of trees) {
    for (const { first, last, value } of tree) {
      for (const index of [BigInt(first), BigInt(last)]) {
        take(index & 0xffff_ffffn);
        take(index >> 32n);
      }
      take(value);
    }
    take(tree.length);
  }
  return hash.toString(16).padStart(8, "0");
}

Deno.test("digestTrees is FNV-1a over the words of the entries and their number, tree by tree", () => {
  for (const trees of [[], [[]], [ENTRIES], [ENTRIES, [], ENTRIES.slice(1)]]) {
    assertEquals(digestTrees(trees), slowDigest(trees));
  }
});

Deno.test("digestTrees changes with every field of an entry, and with the tree that it is in", () => {
  const digest = digestTrees([ENTRIES]);
  for (let i = 0; i < ENTRIES.length; i++) {
    for (const field of ["first", "last", "value"] as const) {
      for (const bit of [1, 2 ** 32]) {
        const changed = ENTRIES.map((entry) => ({ ...entry }));
        changed[i][field] += field === "value" ? -1 : bit;
        assertNotEquals(digestTrees([changed]), digest);
      }
    }
  }
  assertNotEquals(
    digestTrees([ENTRIES.slice(0, 1), ENTRIES.slice(1)]),
    digest,
  );
  assertNotEquals(digestTrees([ENTRIES, []]), digest);
});

Deno.test("digestTrees is the same for trees that hold the same in other nodes", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const entries = Array.from({ length: 500 }, (_, i) => ({
    first: 10 * i,
    last: 10 * i + 5,
    value: i + 1,
  }));
  const loaded = RangeTree.create(arena);
  loaded.bulkLoad(entries);
  const stored = RangeTree.create(arena, { rcu: true });
  for (const { first, last, value } of entries.toReversed()) {
    stored.storeRange(first, last, value);
  }
  assertNotEquals(loaded.stats().nodes, stored.stats().nodes);
  assertEquals(digestTrees([loaded]), digestTrees([stored]));
  assertEquals(digestTrees([loaded]), slowDigest([entries]));
});
