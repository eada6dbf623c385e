/**
 * Compaction of live structures: relocation, the exact optimum, and the compactor.
 *
 * @module
 */
export {
  BackgroundCompactor,
  type BackgroundOptions,
  type BackgroundTotals,
} from "./background.ts";
export {
  type BlockResult,
  type CompactionResult,
  Compactor,
  type CompactorOptions,
} from "./compactor.ts";
export type { HoldNanos } from "./hold_times.ts";
export { type CompactionPlan, planCompaction } from "./planner.ts";
export * as policies from "./policies.ts";
export type { AgedSlab, CompactionPolicy, PolicyWorld } from "./policies.ts";
export type { Contiguity, WindowMemory } from "./windows.ts";
