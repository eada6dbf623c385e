/**
 * What the tests of releasing run in a process of their own, with the permission: fills an arena with trees, fragments and
 * compacts it, hands its free pages back, and prints what the kernel says of it.
 *
 * @module
 */
import {
  Arena,
  Compactor,
  RangeTree,
  releaseFreePages,
  type ReleaseResult,
} from "../../mod.ts";
import { digest } from "../range_tree/worlds.ts";

/** What the program prints. */
export interface ReleaseFigures {
  readonly first: ReleaseResult;
  readonly second: ReleaseResult;
  readonly huge: ReleaseResult;
  /** Free pages when pages were handed back. */
  readonly freePages: number;
  /** Those of them that had been in use: the others were never resident. */
  readonly freedPages: number;
  readonly residentBefore: number;
  readonly residentAfter: number;
  /** Whether the trees are what they were. */
  readonly same: boolean;
  /** Free blocks by order when pages were handed back. */
  readonly freeBlocksByOrder: readonly number[];
  /** Words of all pages that were handed back that do not read as zero. */
  readonly notZero: number;
  /** What was stored in memory that was handed back before. */
  readonly storedAfter: number;
  /** Of a small arena, in which blocks do not lie as huge pages do: free pages, … */
  readonly smallFreePages: number;
  /** … what was handed back of huge pages, … */
  readonly smallHuge: ReleaseResult;
  /** … and what after that, without the restriction. */
  readonly smallRest: ReleaseResult;
}

if (import.meta.main) {
  const huge = Deno.args[0] === "huge";
  const arena = Arena.create({ byteLength: 128 * 2 ** 20 });
  const trees = Array.from({ length: 20 }, () => RangeTree.create(arena));
  // Many at a time, so that the nodes of all lie between each other.
  for (let i = 0; i < 60_000; i++) {
    for (const tree of trees) tree.storeRange(i * 10, i * 10 + 6, i + 1);
  }
  const freeBefore = arena.pages.freePages;
  trees.splice(2).forEach((tree) => tree.destroy());
  const before = trees.map(digest);
  new Compactor(arena).run();
  // Loads what it takes to call the kernel.
  releaseFreePages(Arena.create({ byteLength: 2 ** 20 }));
  // What the garbage collector would let go meanwhile is not ours.
  (globalThis as { gc?: () => void }).gc?.();
  const residentBefore = Deno.memoryUsage().rss;
  const first = releaseFreePages(arena, { huge });
  const residentAfter = Deno.memoryUsage().rss;
  const { freePages } = arena.pages;
  const second = releaseFreePages(arena, { huge });
  const freeBlocksByOrder = arena.pages.freeBlocksByOrder();
  let notZero = 0;
  for (const [pfn, order] of arena.pages.freeBlocks()) {
    if (huge && order < 9) continue;
    const start = arena.pageRef(pfn) * 16;
    for (const word of arena.words.subarray(start, start + (1024 << order))) {
      if (word !== 0) notZero++;
    }
  }
  const again = RangeTree.create(arena);
  for (let i = 0; i < 50_000; i++) again.storeRange(i * 10, i * 10 + 6, i + 1);
  again.validate();
  for (const tree of trees) tree.validate();
  arena.pages.validate();
  const small = Arena.create({ byteLength: 2 ** 24 });
  const smallHuge = releaseFreePages(small, { huge: true });
  const smallRest = releaseFreePages(small);
  const figures: ReleaseFigures = {
    first,
    second,
    huge: releaseFreePages(arena, { huge: true }),
    freePages,
    freeBlocksByOrder,
    freedPages: freePages - freeBefore,
    residentBefore,
    residentAfter,
    same: trees.map(digest).join() === before.join(),
    notZero,
    storedAfter: again.count,
    smallFreePages: small.pages.freePages,
    smallHuge,
    smallRest,
  };
  console.log(JSON.stringify(figures));
}
