/**
 * Recorded traces: reading what `strace -f` wrote of a program's memory map, and replaying it into range trees.
 *
 * {@linkcode readTrace} reads a recording once. A {@linkcode Replayer} feeds its events to a tree for each address space, made by a
 * function that the caller gives, so that it is the caller who picks the arena, the locks and RCU. The trees' values are numbers in
 * a {@linkcode MappingTable}.
 *
 * To record a program: `strace -f -e trace=memory,process -o FILE PROGRAM`.
 *
 * @module
 */

export type { Entry } from "../range_tree/mod.ts";
export { AddressSpace, type MapTree } from "./address_space.ts";
export {
  Attribute,
  type BreakCall,
  type CloneCall,
  type ExecCall,
  type ExitCall,
  type MapCall,
  type MemoryCall,
  type ProcessCall,
  type ProtectCall,
  Protection,
  type RemapCall,
  type Trace,
  type TraceEvent,
  type UnmapCall,
  type UnreadableLine,
} from "./events.ts";
export { type Mapping, MappingTable } from "./mapping_table.ts";
export { type Process } from "./process_table.ts";
export { type ReplayCounts, Replayer, type ReplayOptions } from "./replay.ts";
export { readTrace } from "./strace.ts";
