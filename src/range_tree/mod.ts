/**
 * Range trees: maps from ranges of indices to entries, in shared memory.
 *
 * @module
 */
export {
  type AllocationWindow,
  type CyclicAllocation,
  type CyclicWindow,
  RangeTree,
  type RangeTreeOptions,
} from "./range_tree.ts";
export { Cursor, type CursorState, type CursorTarget } from "./cursor.ts";
export { ExternalLock } from "./external_lock.ts";
export { RangeMap, type RangeMapEntry } from "./range_map.ts";
export { TreeLock } from "./tree_lock.ts";
export { type Entry, RESERVED } from "./walk.ts";
export type { LockMode } from "./header.ts";
export { type RangeTreeStats, TreeInvariantError } from "./inspect.ts";
export { MAX_INDEX } from "./node.ts";
