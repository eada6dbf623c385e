/**
 * Scenarios that fragment an arena with recorded traces, compact it, and measure what that won.
 *
 * @module
 */
export { digestTrees } from "./digest.ts";
export {
  EXTFRAG_ORDER,
  measure,
  type MemoryFigures,
  type MemoryPicture,
} from "./measure.ts";
export { Random } from "./random.ts";
export {
  type Recording,
  ReplayScenario,
  type ReplayScenarioOptions,
  type ReplayScenarioResult,
} from "./replay.ts";
export {
  arenaBytesFor,
  ScenarioSizeError,
  surveyTrace,
  type TraceSurvey,
} from "./sizing.ts";
