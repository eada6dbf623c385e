/**
 * Slab caches over the pages of an arena: objects of one size, and the contract by which their owners make them movable.
 *
 * @module
 */
export {
  type MoveOutcome,
  type Mover,
  type Slab,
  SlabCache,
  type SlabCacheOptions,
  type SlabCacheStats,
} from "./slab_cache.ts";
export { Slabs } from "./slabs.ts";
