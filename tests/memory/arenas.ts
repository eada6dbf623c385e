import { Arena, type ArenaOptions, PAGE_BYTES } from "../../src/memory/mod.ts";

/** An arena in which exactly that many pages can be allocated. */
export function arenaOfPages(
  pages: number,
  options: Omit<ArenaOptions, "byteLength"> = {},
): Arena {
  // The page frame table grows with the arena, so the first try falls short by a little.
  for (let total = pages + 64;;) {
    const arena = Arena.create({ ...options, byteLength: total * PAGE_BYTES });
    if (arena.pages.count === pages) return arena;
    total += pages - arena.pages.count;
  }
}
