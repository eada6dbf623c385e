/**
 * The two caches that nodes live in, looked at as one: what most tests ask is of the nodes, wherever they lie.
 *
 * @module
 */
import { assert } from "@std/assert";
import { NodeMover } from "../../src/defrag/relocate.ts";
import type { Arena } from "../../src/memory/mod.ts";
import type { NodeCaches } from "../../src/range_tree/node_caches.ts";
import { TreeMemory } from "../../src/range_tree/tree_memory.ts";
import type { Slab, SlabCache } from "../../src/slab/mod.ts";
import type { MoveOutcome } from "../../src/slab/mover.ts";

/** Leaves and inner nodes of an arena's trees: of those whose lock can be taken, or of the others. */
export class BothCaches {
  /** What a tree works with. */
  readonly nodes: NodeCaches;
  readonly #arena: Arena;

  constructor(arena: Arena, movable: boolean) {
    this.#arena = arena;
    this.nodes = TreeMemory.of(arena).nodes(movable);
  }

  get leaves(): SlabCache {
    return this.nodes.leaves;
  }

  get inner(): SlabCache {
    return this.nodes.inner;
  }

  get all(): readonly SlabCache[] {
    return this.nodes.all;
  }

  /** The cache that an object lies in. */
  cacheOf(ref: number): SlabCache {
    const cache = this.all.find((cache) => cache.owns(ref));
    assert(cache !== undefined, `${ref} is no node's place`);
    return cache;
  }

  stats(): { objects: number; slabs: number } {
    const stats = this.all.map((cache) => cache.stats());
    return {
      objects: stats.reduce((sum, { objects }) => sum + objects, 0),
      slabs: stats.reduce((sum, { slabs }) => sum + slabs, 0),
    };
  }

  usage(): { objects: number; slabs: number; slabsAtBest: number } {
    return this.nodes.usage();
  }

  slabs(): Slab[] {
    return this.all.flatMap((cache) => cache.slabs());
  }

  objectsOf(pfn: number): number[] {
    return this.all.flatMap((cache) => cache.objectsOf(pfn));
  }

  isolatedSlabs(): number[] {
    return this.all.flatMap((cache) => cache.isolatedSlabs());
  }

  validate(): void {
    for (const cache of this.all) cache.validate();
  }

  shrink(): void {
    for (const cache of this.all) cache.shrink();
  }

  giveBack(): void {
    for (const cache of this.all) cache.giveBack();
  }

  stockUp(): void {
    for (const cache of this.all) cache.stockUp();
  }

  objects(): number[] {
    return this.all.flatMap((cache) => cache.objects());
  }

  /** Takes an object: a leaf's, as long as there is one. */
  allocate(): number {
    return this.nodes.allocate(0);
  }

  free(ref: number): void {
    this.nodes.free(ref);
  }

  /** Takes an object of either; 0 if neither has room. */
  tryAllocate(): number {
    return this.nodes.tryAllocate(0);
  }

  /** Moves the nodes of both. */
  mover(): {
    prepare(refs: readonly number[]): void;
    relocate(ref: number): MoveOutcome;
    isPinned(ref: number): boolean;
    finish(): void;
  } {
    const of = (cache: SlabCache) => NodeMover.of(this.#arena, cache);
    return {
      prepare: (refs) => {
        for (const cache of this.all) {
          of(cache).prepare(refs.filter((ref) => cache.owns(ref)));
        }
      },
      relocate: (ref) => of(this.cacheOf(ref)).relocate(ref),
      isPinned: (ref) => of(this.cacheOf(ref)).isPinned(ref),
      finish: () => this.all.forEach((cache) => of(cache).finish()),
    };
  }
}

/** The nodes of an arena's trees, whose lock can be taken, or not. */
export function bothOf(arena: Arena, movable = true): BothCaches {
  return new BothCaches(arena, movable);
}
