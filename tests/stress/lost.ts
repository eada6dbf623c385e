/**
 * What is in use in an arena and belongs to nothing.
 *
 * @module
 */
import { type Arena, RangeTree, type SlabCache, Slabs } from "../../mod.ts";
import { isLiveHeader } from "../../src/range_tree/header.ts";

/** How much is lost. */
export interface Lost {
  /** Nodes of movable trees that are in no tree. */
  nodes: number;
  /** Headers of trees that are no more. */
  headers: number;
  /** Pages that are in no slab; none of them are the user's. */
  pages: number;
}

/** Frees all that can be freed, when nobody else works on the arena. */
export function settle(arena: Arena): void {
  arena.rcu.barrier();
  for (const cache of Slabs.of(arena).all()) cache.shrink();
  arena.rcu.barrier();
}

/** Counts what is lost after {@linkcode settle}. The external locks of the arena's trees are held by the caller. */
export function lostIn(arena: Arena): Lost {
  const caches = Slabs.of(arena).all();
  const headers = objectsOf(named(caches, "range_tree"));
  const live = headers.filter((ref) => isLiveHeader(arena.words, ref));
  const linked = live.map((ref) => RangeTree.attach(arena, ref))
    .filter(({ lockMode }) => lockMode !== "none")
    .reduce((sum, tree) => sum + tree.stats().nodes, 0);
  const inUse = (name: string) => named(caches, name).stats().objects;
  const slabs = caches.reduce(
    (sum, cache) => sum + cache.stats().slabs * cache.pagesPerSlab,
    0,
  );
  return {
    nodes: inUse("range_node") + inUse("range_inner") - linked,
    headers: headers.length - live.length,
    pages: arena.pages.usedPages().length - slabs,
  };
}

function named(caches: readonly SlabCache[], name: string): SlabCache {
  return caches.find((cache) => cache.name === name)!;
}

function objectsOf(cache: SlabCache): number[] {
  return cache.slabs().flatMap(({ pfn }) => cache.objectsOf(pfn));
}
