/**
 * What policies see of a cache. Everything is looked at when it is asked for, so a policy costs what it looks at.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import type { Slab, SlabCache } from "../slab/slab_cache.ts";
import { emptiestFirst } from "./planner.ts";
import type { AgedSlab, PolicyWorld } from "./policies.ts";
import type { WindowMemory } from "./windows.ts";

/** For how long slabs have been as full as they are: one compactor's memory of one cache, in looks. */
export class SlabAges {
  /** What the last look saw. */
  #seen: ReadonlyMap<number, AgedSlab> = new Map();

  /** Looks once more. Slabs that are gone are forgotten. */
  look(slabs: readonly Slab[]): AgedSlab[] {
    const aged = slabs.map(({ pfn, inUse }) => {
      const before = this.#seen.get(pfn);
      return { pfn, inUse, age: before?.inUse === inUse ? before.age + 1 : 1 };
    });
    this.#seen = new Map(aged.map((slab) => [slab.pfn, slab]));
    return aged;
  }
}

/** Slabs of a cache, what is free between them, and the slabs of the other cache that movable nodes live in, if this is one. */
export function windowMemoryOf(
  arena: Arena,
  cache: SlabCache,
  slabs: readonly Slab[],
): WindowMemory {
  const nodes: readonly SlabCache[] = TreeMemory.of(arena).movableNodes.all;
  const others = nodes.includes(cache)
    ? nodes.filter((other) => other !== cache)
    : [];
  return {
    pages: arena.pages.count,
    free: arena.pages.freeBlocks(),
    slabs,
    beside: others.flatMap((other) => other.slabs()),
    capacity: cache.capacity,
  };
}

/** How a cache is looked at. */
export interface SlabWorldOptions {
  /** The most slabs that can be freed. */
  readonly freeableSlabs: number;
  /** How many are a good measure. */
  readonly slabsWanted: number;
  /** The compactor's memory of the cache. */
  readonly ages: SlabAges;
}

/** One look at one cache. */
export function slabWorldOf(
  arena: Arena,
  cache: SlabCache,
  options: SlabWorldOptions,
): PolicyWorld {
  let slabs: readonly Slab[] | undefined;
  const all = () => slabs ??= cache.slabs();
  return {
    capacity: cache.capacity,
    freeableSlabs: options.freeableSlabs,
    slabsWanted: options.slabsWanted,
    emptiest: (count) =>
      slabs === undefined
        ? cache.emptiestSlabs(count)
        : emptiestFirst(slabs).slice(0, count).map(({ pfn }) => pfn),
    slabs: () => options.ages.look(all()),
    memory: () => windowMemoryOf(arena, cache, all()),
  };
}
