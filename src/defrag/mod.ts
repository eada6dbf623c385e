/**
 * Compaction of live structures: relocation, the exact optimum, and the compactor.
 *
 * @module
 */
export { type CompactionResult, Compactor } from "./compactor.ts";
export type { HoldNanos } from "./hold_times.ts";
export { type CompactionPlan, planCompaction } from "./planner.ts";
