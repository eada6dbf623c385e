/**
 * Slab caches over the pages of an arena: objects of one size, and the contract by which their owners make them movable.
 *
 * @module
 */
export type { SlabCacheOptions } from "./cache_record.ts";
export type { MoveOutcome, Mover } from "./mover.ts";
export { type Slab, SlabCache, type SlabCacheStats } from "./slab_cache.ts";
export { Slabs } from "./slabs.ts";
