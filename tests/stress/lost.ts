/**
 * What is in use in an arena and belongs to nothing.
 *
 * @module
 */
import { type Arena, RangeTree, type SlabCache, Slabs } from "../../mod.ts";
import { isLiveHeader } from "../../src/range_tree/header.ts";
import { isLiveManager, treesOf } from "../../src/va/header.ts";
import { isNoted } from "../../src/va/replaced.ts";

/** How much is lost. */
export interface Lost {
  /** Nodes of movable trees that are in no tree. */
  nodes: number;
  /** Headers of trees that are no more. */
  headers: number;
  /** Pages that are in no slab; none of them are the user's. */
  pages: number;
  /** Mappings that no VA manager maps, nor has noted as replaced. */
  mappings: number;
  /** VmBos that are no object's in any VA manager. */
  bos: number;
  /** Headers of VA managers that are no more. */
  managers: number;
}

/** Nothing. */
export const NOTHING_LOST: Readonly<Lost> = {
  nodes: 0,
  headers: 0,
  pages: 0,
  mappings: 0,
  bos: 0,
  managers: 0,
};

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
  const inUse = (name: string) => named(caches, name)!.stats().objects;
  const slabs = caches.reduce(
    (sum, cache) => sum + cache.stats().slabs * cache.pagesPerSlab,
    0,
  );
  return {
    nodes: inUse("range_node") + inUse("range_inner") - linked,
    headers: headers.length - live.length,
    pages: arena.pages.usedPages().length - slabs,
    ...lostOfManagers(arena, caches),
  };
}

function lostOfManagers(
  arena: Arena,
  caches: readonly SlabCache[],
): Pick<Lost, "mappings" | "bos" | "managers"> {
  const { words } = arena;
  const headers = objectsOf(named(caches, "va_manager"));
  const live = headers.filter((ref) => isLiveManager(words, ref));
  const held = (which: "tree" | "bos") =>
    new Set(
      live.flatMap((header) =>
        [...RangeTree.attach(arena, treesOf(words, header)[which])]
          .map(({ value }) => value)
      ),
    );
  const mapped = held("tree"), bos = held("bos");
  return {
    mappings:
      objectsOf(named(caches, "va_mapping")).filter((ref) =>
        !mapped.has(ref) && !live.some((header) => isNoted(words, header, ref))
      ).length,
    bos: objectsOf(named(caches, "va_bo")).filter((ref) => !bos.has(ref))
      .length,
    managers: headers.length - live.length,
  };
}

/** The cache of that name, if there is one. */
export function named(
  caches: readonly SlabCache[],
  name: string,
): SlabCache | undefined {
  return caches.find((cache) => cache.name === name);
}

/** What a cache has in use. */
export function objectsOf(cache: SlabCache | undefined): number[] {
  return cache?.objects() ?? [];
}
