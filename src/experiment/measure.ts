import type { Arena } from "../memory/mod.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import { type SlabCacheStats, Slabs } from "../slab/mod.ts";

/** The order of blocks whose fragmentation index is reported: 2 MiB, a huge page, what Linux compacts for. */
export const EXTFRAG_ORDER = 9;

/** An arena's memory in figures, at one moment. */
export interface MemoryFigures {
  /** Slabs of range-tree nodes. */
  readonly slabs: number;
  /** Nodes in them. */
  readonly objects: number;
  /** Nodes / nodes that the slabs have room for; 1 where there is no slab. */
  readonly occupancy: number;
  /** Free pages. */
  readonly freePages: number;
  /** How many free blocks there are of each order, 0 … 10. */
  readonly freeBlocksByOrder: readonly number[];
  /** The largest order of which a block is free; -1 if none is. */
  readonly largestFreeOrder: number;
  /** The fragmentation index at {@linkcode EXTFRAG_ORDER}: towards 0 memory is short, towards 1 scattered; -1 a block is free. */
  readonly extfragIndex: number;
}

/** The figures, and what tables and maps are drawn from. */
export interface MemoryPicture {
  /** The figures. */
  readonly figures: MemoryFigures;
  /** The numbers of every slab cache. */
  readonly caches: readonly SlabCacheStats[];
  /** How full each page is: 0 free, 1 all of its objects in use. */
  readonly pageUse: Float32Array;
}

/** Measures an arena's memory. Only meaningful while nothing is deferred: an empty slab that waits for its grace period counts as free. */
export function measure(arena: Arena): MemoryPicture {
  const { movableNodes, pinnedNodes } = TreeMemory.of(arena);
  const nodes = [...movableNodes.all, ...pinnedNodes.all]
    .map((cache) => cache.stats());
  const sum = (of: (stats: SlabCacheStats) => number) =>
    nodes.reduce((total, stats) => total + of(stats), 0);
  const slabs = sum((stats) => stats.slabs);
  const objects = sum((stats) => stats.objects);
  const room = sum((stats) => stats.slabs * stats.capacity);
  return {
    figures: {
      slabs,
      objects,
      occupancy: room === 0 ? 1 : objects / room,
      freePages: arena.pages.freePages,
      freeBlocksByOrder: arena.pages.freeBlocksByOrder(),
      largestFreeOrder: arena.pages.largestFreeOrder,
      extfragIndex: arena.pages.extfragIndex(EXTFRAG_ORDER),
    },
    caches: Slabs.of(arena).all().map((cache) => cache.stats()),
    pageUse: pageUseOf(arena),
  };
}

function pageUseOf(arena: Arena): Float32Array {
  const pageUse = new Float32Array(arena.pages.count);
  for (const cache of Slabs.of(arena).all()) {
    for (const { pfn, inUse } of cache.slabs()) {
      pageUse[pfn] = inUse / cache.capacity;
    }
  }
  return pageUse;
}
