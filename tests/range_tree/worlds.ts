/**
 * What the tests of the range tree share: comparing a tree with its mirror, and looking at its nodes.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type Entry, MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { rootOf } from "../../src/range_tree/header.ts";
import { validateTree } from "../../src/range_tree/inspect.ts";
import {
  countOf,
  heightOf,
  MAX_GAP_SLOTS,
  MAX_SLOTS,
  slotOf,
} from "../../src/range_tree/node.ts";
import { guardIndexOf } from "../../src/range_tree/tree_lock.ts";
import { Compactor } from "../../src/defrag/mod.ts";
import { rng } from "../seed.ts";
import { type SlabCache, Slabs } from "../../src/slab/mod.ts";
import { bothOf } from "./both_caches.ts";
import type { Mirror } from "./mirror.ts";

/** Registers a test twice: in an arena as it is by default, and in one for debugging, where no compiled loops run. */
export function test(name: string, body: (debug: boolean) => void): void {
  Deno.test(name, () => body(false));
  Deno.test(`${name}, debug`, () => body(true));
}

/** The slab cache of that name, as the arena's trees use it. */
export function cacheOf(arena: Arena, name: string): SlabCache {
  const cache = Slabs.of(arena).all().find((cache) => cache.name === name);
  assert(cache !== undefined, `there is no cache "${name}"`);
  return cache;
}

/** The refs of a tree's nodes, parents first. */
export function nodesOf(arena: Arena, tree: RangeTree): number[] {
  const root = rootOf(arena.words, tree.ref);
  const nodes = root === 0 ? [] : [root];
  for (const node of nodes) {
    if (heightOf(arena.words, node) === 0) continue;
    for (let slot = 0; slot < countOf(arena.words, node); slot++) {
      nodes.push(slotOf(arena.words, node, slot));
    }
  }
  return nodes;
}

/** A tree's entries as one string: equal trees have equal ones. */
export function digest(tree: RangeTree): string {
  return toText(tree.entries());
}

/** Entries as text. */
export function toText(entries: Iterable<Entry>): string {
  let text = "";
  for (const { first, last, value } of entries) {
    text += `${first}-${last}:${value} `;
  }
  return text;
}

/** The tree is sound and holds what the mirror holds, what is reserved included. */
export function assertSame(tree: RangeTree, mirror: Mirror): void {
  tree.validate();
  const { entries, visible } = mirror;
  // The comparison by assertEquals would show where they differ, but costs too much to do it each time.
  if (!areAlike(tree, visible)) assertEquals([...tree], visible);
  if (visible.length < entries.length) {
    using _guard = tree.lockMode === "internal" ? tree.lock() : undefined;
    assertSameEntries(tree, mirror);
  }
  assertEquals(tree.count, entries.length);
}

/** As {@linkcode assertSame}, where the caller holds the tree's lock, whatever lock that is. */
export function assertSameHeld(
  arena: Arena,
  tree: RangeTree,
  mirror: Mirror,
): void {
  const isMovable = guardIndexOf(arena.words, tree.ref) >= 0;
  const { nodes } = bothOf(arena, isMovable);
  validateTree(arena.words, arena.doubles, tree.ref, nodes);
  assertSameEntries(tree, mirror);
  assertEquals(tree.count, mirror.entries.length);
}

function assertSameEntries(tree: RangeTree, mirror: Mirror): void {
  const found = allEntries(tree);
  if (!areAlike(found, mirror.entries)) assertEquals(found, mirror.entries);
}

function areAlike(found: Iterable<Entry>, expected: readonly Entry[]): boolean {
  let at = 0;
  for (const { first, last, value } of found) {
    const entry = expected[at++];
    if (
      entry === undefined || entry.first !== first || entry.last !== last ||
      entry.value !== value
    ) return false;
  }
  return at === expected.length;
}

/** Every entry of a tree, reserved ones too. Under its lock. */
export function allEntries(tree: RangeTree): Entry[] {
  const cursor = tree.cursor();
  const entries: Entry[] = [];
  for (let value = cursor.find(); value !== 0; value = cursor.find()) {
    entries.push({ first: cursor.index, last: cursor.last, value });
  }
  return entries;
}

/** Every way to look something up answers as the mirror does, at an index. */
export function assertSameAt(
  tree: RangeTree,
  mirror: Mirror,
  index: number,
  bound: number,
): void {
  assertEquals(tree.load(index), mirror.load(index), `load(${index})`);
  for (const way of ["find", "findAfter", "next"] as const) {
    assertEquals(tree[way](index), mirror[way](index), `${way}(${index})`);
    assertEquals(
      tree[way](index, bound),
      mirror[way](index, bound),
      `${way}(${index}, ${bound})`,
    );
  }
  assertEquals(tree.prev(index), mirror.prev(index), `prev(${index})`);
  assertEquals(
    tree.prev(index, bound),
    mirror.prev(index, bound),
    `prev(${index}, ${bound})`,
  );
  const to = Math.min(index + 40, MAX_INDEX);
  const overlapping = mirror.overlapping(index, to);
  assertEquals([...tree.entries(index, to)], overlapping);
  assertEquals([...tree.entriesReverse(index, to)], overlapping.toReversed());
  assertEquals(tree.countIn(index, to), overlapping.length);
}

/** Entries of one index each, `count` of them from `from` on, each `step` after the one before. */
export function points(count: number, step = 1, from = 0): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    const first = from + i * step;
    return { first, last: first, value: i + 1 };
  });
}

/** So many ranges of ten indices, one behind the other. */
export function adjoining(count: number): Entry[] {
  return points(count, 10).map((each) => ({ ...each, last: each.first + 9 }));
}

/** A reader in an attachment of its own, inside a read section until it is disposed of: nothing is freed meanwhile. */
export function insideSection(
  arena: Arena,
): Disposable & { readonly arena: Arena } {
  const reader = Arena.attach(arena.buffer);
  // Whoever leaves frees what is deferred, for which it needs the caches.
  Slabs.of(reader);
  reader.rcu.readLock();
  return {
    arena: reader,
    [Symbol.dispose]() {
      reader.rcu.readUnlock();
      reader.leave();
    },
  };
}

/**
 * Trees that the nodes of a test's own lie among. Alone in its arena a tree stays dense, and next to nothing of it is moved.
 * Residents stay, half a slab of them: what a small tree can be moved to. Bystanders go before each compaction: they leave
 * the nodes that were allocated beside them in slabs that are nearly empty.
 */
export class Crowd {
  /** How many nodes of the test's own were moved. */
  moves = 0;
  readonly #arena: Arena;
  readonly #compactor: Compactor;
  readonly #residents: RangeTree;
  #bystander: RangeTree;

  /** Residents and bystanders, in an arena that holds nothing yet. */
  constructor(arena: Arena) {
    this.#arena = arena;
    this.#compactor = new Compactor(arena);
    this.#residents = filled(arena, 7);
    this.#bystander = filled(arena, 20);
  }

  /** How many nodes they have. */
  get nodes(): number {
    return this.#residents.stats().nodes + this.#bystander.stats().nodes;
  }

  /** Has the nodes of some trees moved, as far as they lie among those of bystanders. */
  compact(...trees: RangeTree[]): void {
    const nodes = () => trees.flatMap((tree) => nodesOf(this.#arena, tree));
    const before = nodes();
    this.#bystander.destroy();
    this.#compactor.run();
    this.#bystander = filled(this.#arena, 20);
    this.moves += nodes().filter((node, i) => node !== before[i]).length;
    this.#residents.validate();
  }
}

/** A tree of so many full leaves, and one more for the gap behind them. */
function filled(arena: Arena, leaves: number): RangeTree {
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(leaves * MAX_SLOTS));
  return tree;
}

/** A tree of that height whose nodes were thinned out at random, and whose root has `children`. */
export function leanTree(
  arena: Arena,
  height: number,
  children: number,
  gaps: boolean,
): RangeTree {
  const tree = RangeTree.create(arena, { rcu: true, gaps });
  // Each entry and the gap behind it are a slot each.
  const inner = (gaps ? MAX_GAP_SLOTS : MAX_SLOTS) ** (height - 2);
  const entries = Math.ceil(children * inner * MAX_SLOTS / 2) * 2;
  tree.bulkLoad(points(entries, 2, 5));
  // A node is joined with a neighbour only when it is too small, so erasing at random leaves small ones behind.
  const random = rng(height);
  const root = () => rootOf(arena.words, tree.ref);
  while (tree.height > height || countOf(arena.words, root()) > children) {
    tree.erase((tree.find(random.int(entries * 2)) ?? tree.find(0)!).first);
  }
  assertEquals([tree.height, countOf(arena.words, root())], [height, children]);
  return tree;
}
