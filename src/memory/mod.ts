/**
 * The arena in shared memory and the buddy allocator of its pages.
 *
 * @module
 */
export {
  Arena,
  type ArenaOptions,
  type ReapedLayer,
  type SharedMemory,
} from "./arena.ts";
export type { Reclaimer } from "../sync/rcu.ts";
export {
  MAX_ORDER,
  type Mobility,
  OutOfMemoryError,
  PAGE_BYTES,
  PageAllocator,
  type PageAllocatorOptions,
} from "./page_allocator.ts";
export {
  releaseFreePages,
  type ReleaseOptions,
  type ReleaseResult,
} from "./release.ts";
export { MAX_ROOTS, Roots } from "./roots.ts";
