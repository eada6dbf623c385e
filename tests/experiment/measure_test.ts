import { assertAlmostEquals, assertEquals } from "@std/assert";
import { RangeTree } from "../../mod.ts";
import { EXTFRAG_ORDER, measure } from "../../src/experiment/mod.ts";
import { arenaOfPages } from "../memory/arenas.ts";

Deno.test("measure counts the nodes of both caches, and every page once", () => {
  const arena = arenaOfPages(16);
  const trees = Array.from(
    { length: 20 },
    (_, i) => RangeTree.create(arena, { lock: i < 4 ? "none" : "internal" }),
  );
  for (const tree of trees) tree.store(1, 1);
  // 16 nodes fill one slab, 4 a quarter of another; 20 headers lie in a slab of 32.
  const { figures, caches, pageUse } = measure(arena);
  assertEquals(figures, {
    slabs: 2,
    objects: 20,
    occupancy: 20 / 32,
    freePages: 13,
    freeBlocksByOrder: figures.freeBlocksByOrder,
    largestFreeOrder: 3,
    extfragIndex: arena.pages.extfragIndex(EXTFRAG_ORDER),
  });
  const blocks = figures.freeBlocksByOrder;
  assertEquals(blocks.length, 11);
  assertEquals(blocks.reduce((sum, n, order) => sum + n * 2 ** order, 0), 13);
  assertEquals(caches.map(({ name, objects }) => [name, objects]), [
    ["range_node", 16],
    ["range_inner", 0],
    ["range_node_pinned", 4],
    ["range_inner_pinned", 0],
    ["range_tree", 20],
  ]);
  assertEquals([...pageUse].filter((use) => use > 0).sort(), [
    4 / 16,
    20 / 32,
    1,
  ]);
  assertEquals(pageUse.length, 16);
});

Deno.test("measure takes no slab for full ones, and gives -1 where a large block is free", () => {
  const { figures } = measure(arenaOfPages(1024));
  assertEquals([figures.slabs, figures.occupancy, figures.freePages], [
    0,
    1,
    1024,
  ]);
  assertEquals([figures.largestFreeOrder, figures.extfragIndex], [10, -1]);
});

Deno.test("measure gives the index of order 9: 16 free pages in one block lack memory, not order", () => {
  const { extfragIndex } = measure(arenaOfPages(16)).figures;
  assertAlmostEquals(extfragIndex, 1 - (1 + 16 / 512) / 1);
});
