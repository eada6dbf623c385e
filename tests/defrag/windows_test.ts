import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  Compactor,
  LockdepError,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import { emptiableWindows } from "../../src/defrag/windows.ts";
import type { Slab } from "../../src/slab/mod.ts";
import { stub } from "@std/testing/mock";
import { rng, seeds } from "../seed.ts";
import { digest, insideSection, points } from "../range_tree/worlds.ts";
import { bothOf } from "../range_tree/both_caches.ts";

const CHEAPEST =
  "emptiableWindows() gives exactly the windows that can be emptied, the cheapest first";
Deno.test(CHEAPEST, () => {
  for (const seed of seeds(CHEAPEST)) {
    const random = rng(seed);
    for (let round = 0; round < 300; round++) {
      const pages = 3 + random.int(20), capacity = 4;
      // A page is free, a slab, or somebody else's.
      const kinds = Array.from({ length: pages }, () => random.int(9));
      const free = kinds.flatMap((kind, pfn) =>
        kind < 3 ? [[pfn, 0] as const] : []
      );
      const all = kinds.flatMap((kind, pfn) =>
        kind >= 3 && kind < 8 ? [{ pfn, inUse: random.int(5) }] : []
      );
      // Of one cache, or of two.
      const share = random.pick([0, 1, 3]);
      const beside = all.filter(() => random.int(5) < share);
      const slabs = all.filter((slab) => !beside.includes(slab));
      for (const order of [0, 1, 2, 3]) {
        const size = 2 ** order;
        const expected = [];
        for (let first = 0; first + size <= pages; first += size) {
          const inside = (pfn: number) => pfn >= first && pfn < first + size;
          const inIt = (of: Slab[]) => of.filter(({ pfn }) => inside(pfn));
          const objects = (of: Slab[]) =>
            inIt(of).reduce((sum, slab) => sum + slab.inUse, 0);
          // New slabs one after the other, until there is room.
          const lacking = (of: Slab[]) => {
            let room = of.filter(({ pfn }) => !inside(pfn))
              .reduce((sum, slab) => sum + capacity - slab.inUse, 0);
            let added = 0;
            for (; objects(of) > room; added++) room += capacity;
            return added;
          };
          const whole = kinds.slice(first, first + size).every((kind) =>
            kind < 8
          );
          const freeElsewhere = free.filter(([pfn]) => !inside(pfn)).length;
          if (whole && lacking(slabs) + lacking(beside) <= freeElsewhere) {
            expected.push({
              pfn: first,
              slabs: inIt(slabs).map(({ pfn }) => pfn),
              beside: inIt(beside).map(({ pfn }) => pfn),
              moves: objects(all),
              slabsLacking: lacking(slabs),
              besideLacking: lacking(beside),
            });
          }
        }
        expected.sort((a, b) => a.moves - b.moves);
        assertEquals(
          emptiableWindows({ pages, free, slabs, beside, capacity }, order),
          expected,
        );
      }
    }
  }
});

/** An arena all of whose pages are slabs, a quarter full, of trees. */
function scattered(): { arena: Arena; trees: RangeTree[] } {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees: RangeTree[] = [];
  try {
    for (;;) {
      const tree = RangeTree.create(arena, { rcu: true });
      trees.push(tree);
      tree.bulkLoad(points(60, 2));
    }
  } catch (error) {
    assert(error instanceof OutOfMemoryError);
  }
  const kept = trees.filter((tree, i) => {
    if (i % 4 === 0) return true;
    tree.destroy();
    return false;
  });
  arena.rcu.barrier();
  bothOf(arena).shrink();
  arena.rcu.barrier();
  return { arena, trees: kept };
}

Deno.test("Arena.allocPages() compacts when only fragmentation stands in the way, with the fewest moves for one block", () => {
  const { arena, trees } = scattered();
  const before = trees.map(digest);
  assert(arena.pages.largestFreeOrder < 9);
  assertThrows(() => arena.allocPages(9), OutOfMemoryError);
  const compactor = new Compactor(arena);
  const { made, moves, fewestMoves, windows } = compactor.makeBlock(8);
  assertEquals([made, windows, moves], [true, 1, fewestMoves]);
  assert(moves > 0);
  const pfn = arena.allocPages(9);
  assertEquals(pfn % 512, 0);
  assertEquals(trees.map(digest), before);
  for (const tree of trees) tree.validate();
  bothOf(arena).validate();
  assertEquals(bothOf(arena).isolatedSlabs(), []);
  arena.pages.free(pfn);
  arena.pages.validate();
});

Deno.test("Compactor.makeBlock() moves full slabs, and the only one of a kind, to pages outside of the window", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const { pages } = arena;
  const tree = RangeTree.create(arena, { rcu: true });
  const nodes = bothOf(arena);
  const held = new Set<number>();
  for (let pfn = 0; (pfn = pages.tryAllocate(0, "movable")) >= 0;) {
    held.add(pfn);
  }
  const giveBack = (pfn: number) => {
    assert(held.delete(pfn), `page ${pfn} is not held`);
    pages.free(pfn);
  };
  // In the window there are two slabs of leaves, of which one is full, and the only one of inner nodes.
  const window = [48, 49, 50, 51, 52, 53, 54, 55];
  window.forEach(giveBack);
  tree.bulkLoad(points(170, 2));
  assertEquals(nodes.leaves.slabs().map(({ inUse }) => inUse), [1, 16]);
  assertEquals(nodes.inner.slabs().length, 1);
  const before = digest(tree);
  const compactor = new Compactor(arena);
  // Where there are pages for two of three, nothing is moved. They are no single ones, as that one in the window that is taken first.
  [120, 121].forEach(giveBack);
  assertEquals(compactor.makeBlock(3).windows, 0);
  [200, 201].forEach(giveBack);
  const { made, moves, fewestMoves, windows } = compactor.makeBlock(3);
  assertEquals([made, windows, moves], [true, 1, fewestMoves]);
  assertEquals(moves, nodes.stats().objects);
  assertEquals(pages.freeBlocksByOrder(), [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals(digest(tree), before);
  tree.validate();
  nodes.validate();
  pages.validate();
});

Deno.test("Compactor.makeBlock() moves nothing where such a block is free, and gives up where none can be made", () => {
  const { arena, trees } = scattered();
  const compactor = new Compactor(arena);
  assertEquals(compactor.makeBlock(0).moves, 0);
  const held: number[] = [];
  for (let pfn = 0; (pfn = arena.pages.tryAllocate(0, "movable")) >= 0;) {
    held.push(pfn);
  }
  // Every window of four holds a page of somebody else's, or too much for the rest.
  const { made } = compactor.makeBlock(10);
  assertEquals(made, false);
  assertThrows(() => arena.allocPages(10), OutOfMemoryError);
  for (const tree of trees) tree.validate();
  bothOf(arena).validate();
});

Deno.test("Compactor.makeBlock() goes on with the cheapest window that it has not tried, also where the first one can't be had any more", () => {
  const { arena, trees } = scattered();
  const cache = bothOf(arena).leaves;
  const { pages } = arena;
  const order = 7;
  const freeBlocks = pages.freeBlocks.bind(pages);
  const shrink = cache.shrink.bind(cache);
  const best: number[] = [];
  let taken = 0;
  const compactor = new Compactor(arena);
  {
    using _look = stub(pages, "freeBlocks", () => {
      const free = freeBlocks();
      const [slabs, beside] = bothOf(arena).all.map((of) => of.slabs());
      const memory = { pages: pages.count, free, slabs, beside, capacity: 16 };
      best.push(emptiableWindows(memory, order)[0].pfn);
      return free;
    });
    using _emptied = stub(cache, "shrink", () => {
      // Somebody takes the pages of the first window that are free before the last ones are.
      if (best.length === 1 && taken === 0) {
        const held: number[] = [];
        for (let pfn = 0; (pfn = pages.tryAllocate(0, "movable")) >= 0;) {
          held.push(pfn);
        }
        for (const pfn of held) {
          if (pfn >> order === best[0] >> order) taken++;
          else pages.free(pfn);
        }
      }
      return shrink();
    });
    const { made, windows, moves, fewestMoves } = compactor.makeBlock(order);
    assert(taken > 0);
    assertEquals([made, windows, best.length], [true, 2, 2]);
    assert(moves > fewestMoves);
  }
  const [first, second] = best;
  assert(first !== second);
  assert(
    freeBlocks().some(([pfn, have]) =>
      have >= order && second >= pfn && second < pfn + 2 ** have
    ),
  );
  for (const tree of trees) tree.validate();
  pages.validate();
});

Deno.test("Compactor.makeBlock() goes round trees whose locks are held, and Arena.allocPages() never waits where it may not", () => {
  const { arena, trees } = scattered();
  const other = Arena.attach(arena.buffer);
  const locked = trees.map((tree) => RangeTree.attach(other, tree.ref));
  const compactor = new Compactor(arena);
  {
    // One tree's nodes lie in one window or two: the others can still be emptied.
    using _guard = locked[0].lock();
    assertEquals(compactor.makeBlock(7).made, true);
  }
  {
    using _section = arena.rcu.read();
    assertThrows(() => arena.allocPages(3), LockdepError);
  }
  using _reader = insideSection(arena);
  assert(arena.allocPages(0) >= 0); // there is one: nothing is waited for
});
