/**
 * Scenarios that fragment an arena with recorded traces, compact it, and measure what that won.
 *
 * @module
 */
export {
  BIND_LOCKS,
  type BindExperimentOptions,
  type BindLock,
  type BindMeans,
  type BindRun,
  runBind,
} from "./bind.ts";
export {
  type ChurnAnswer,
  type ChurnCommand,
  type ChurnHalf,
  type ChurnMeans,
  type ChurnOptions,
  type ChurnRole,
  type ChurnSpeed,
  type ChurnStatus,
  type ChurnWorker,
  type CompactCommand,
  type OperateCommand,
  runChurn,
} from "./churn.ts";
export { digestTrees } from "./digest.ts";
export {
  EXTFRAG_ORDER,
  measure,
  type MemoryFigures,
  type MemoryPicture,
} from "./measure.ts";
export { Histogram } from "./histogram.ts";
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
