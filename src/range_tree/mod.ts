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
export type { Cursor, CursorState } from "./cursor.ts";
export { ExternalLock } from "./external_lock.ts";
export { RangeMap, type RangeMapEntry } from "./range_map.ts";
export { type Entry, type EntryColumns, RESERVED } from "./walk.ts";
export type { LockMode } from "./header.ts";
export { type RangeTreeStats, TreeInvariantError } from "./inspect.ts";
export { MAX_INDEX } from "./node.ts";
