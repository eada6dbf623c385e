/**
 * Range trees: maps from ranges of indices to entries, in shared memory.
 *
 * @module
 */
export { RangeTree } from "./range_tree.ts";
export type {
  AllocationWindow,
  CyclicAllocation,
  CyclicWindow,
  RangeTreeOptions,
} from "./options.ts";
export { Cursor, type CursorState } from "./cursor.ts";
export type { NodeCaches } from "./node_caches.ts";
export type { TreeParts } from "./parts.ts";
export { ExternalLock } from "./external_lock.ts";
export { RangeMap, type RangeMapEntry } from "./range_map.ts";
export { TreeLock } from "./tree_lock.ts";
export { type Entry, RESERVED } from "./walk.ts";
export type { LockMode } from "./header.ts";
export { type RangeTreeStats, TreeInvariantError } from "./inspect.ts";
export { MAX_INDEX } from "./node.ts";
