/**
 * Results as text: tables in the kernel's formats, maps of pages, and the reports that are made of them; and as JSON.
 *
 * Colours come from `@std/fmt/colors`; whether they are on is for the command line to say.
 *
 * @module
 */
export { buddyInfo, slabInfo } from "./kernel_tables.ts";
export { beside, columns } from "./layout.ts";
export {
  type BindJson,
  bindJson,
  bindReport,
  type BindReportInput,
  isBindSame,
} from "./bind_report.ts";
export {
  type ChurnJson,
  churnJson,
  type ChurnRatios,
  churnRatios,
  churnReport,
  type ChurnReportInput,
  churnStatusLine,
} from "./churn_report.ts";
export { demoReport } from "./demo_report.ts";
export {
  formatCount,
  formatNanos,
  formatPercent,
  formatQuantity,
} from "./numbers.ts";
export { pageMap, type PageMapOptions } from "./page_map.ts";
export { platformLine } from "./platform.ts";
export { type ReplayJson, replayJson } from "./replay_json.ts";
export {
  type Release,
  replayReport,
  type ReplayReportInput,
  type TraceTotals,
  verdict,
} from "./replay_report.ts";
