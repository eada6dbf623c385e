/**
 * A GPU's virtual addresses on top of the range tree: mappings, and the operations that requests mean for them.
 *
 * @module
 */
export { type MapOptions, type VaCallbacks, VaManager } from "./va_manager.ts";
export type { VaManagerOptions } from "./create.ts";
export type { MapRequest } from "./request.ts";
export { type Mapping, MappingFlag, type MappingSpec } from "./mapping.ts";
export {
  type DriverOp,
  type MapOp,
  OperationList,
  type OperationsKind,
  type OperationsSource,
  type PrefetchOp,
  type RemapOp,
  remapToUnmapRange,
  type UnmapOp,
  type VaOp,
  type VaSpan,
} from "./operations.ts";
export {
  type BadRange,
  MissingCallbackError,
  StaleOperationsError,
  VaError,
  type VaErrorCode,
  VaExistsError,
  VaNotFoundError,
  VaRangeError,
} from "./errors.ts";
export type { VaInfo } from "./info.ts";
export type { VmBo } from "./vm_bo.ts";
export {
  type BindBackend,
  BindQueue,
  type BindQueueOptions,
} from "./bind_queue.ts";
export { BindJob, type BindOptions, type BindState } from "./bind_job.ts";
export type {
  BindMap,
  BindOp,
  BindSpan,
  CheckedMap,
  CheckedOp,
} from "./bind_rules.ts";
export { type FencePoint, Timeline } from "./timeline.ts";
export {
  type PageEntry,
  PageTable,
  type PageTableStats,
} from "./page_table.ts";
