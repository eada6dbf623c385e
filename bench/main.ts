/**
 * The benchmarks: `deno task bench [--ranges N] [--runs N] [--only NAME] [--cold] [--json]`.
 *
 * Exits with 0 if all variants did the same work, with 1 if not, with 2 on wrong usage. A goal that is missed is printed
 * and is no failure: times depend on the machine.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { platformLine } from "../src/report/platform.ts";
import { workloadsFor } from "./plan.ts";
import { formatReport, reportOf, type WorkloadReport } from "./report.ts";
import { runRounds } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const USAGE =
  "usage: deno task bench [--ranges N] [--runs N] [--only NAME] [--cold] [--json]";
const HELP = `${USAGE}

  --ranges N   ranges in a tree, 1000 to 1000000 (default 1000000); "scale" goes up to ten times as many
  --runs N     how often each variant runs, by turns with the others, 1 to 100 (default 3)
  --only NAME  one of load, store, locks, relocate, relocate-live, holds, blocks, sections,
               attach, scale, va, speed
  --cold       warms up once at most, to see that all runs and agrees; the times are of code that is not compiled yet
  --json       one object instead of tables

Each variant runs in a process of its own, on a small tree first to be compiled. Ratios are taken within a round; their spread over the rounds is printed.
"speed" looks at trees of 1000, 100000 and 1000000 ranges below N besides; with --only speed, N may be up to
10000000, of which a run takes a quarter of an hour.`;
const RANGES = { min: 1000, max: 1_000_000, default: "1000000" };
const SPEED_RANGES = { min: 1000, max: 10_000_000 };
const RUNS = { min: 1, max: 100, default: "3" };

interface Options {
  readonly ranges: number;
  readonly runs: number;
  readonly only: string | undefined;
  readonly cold: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

/** Runs the command line and returns its exit code. */
export function main(args: string[]): number {
  const options = readOptions(args);
  if (typeof options === "string") return refuse(`${options}; ${USAGE}`, 2);
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const { cold, only, ranges } = options;
  const workloads = workloadsFor(ranges)
    .filter(({ name }) => only === undefined || name === only)
    .map((workload) => cold ? nearlyCold(workload) : workload);
  if (workloads.length === 0) {
    return refuse(`found no workload ${only}; ${USAGE}`, 2);
  }
  try {
    run(workloads, options);
    return 0;
  } catch (error) {
    return refuse((error as Error).message, 1);
  }
}

function readOptions(args: string[]): Options | string {
  const unknown: string[] = [];
  const { ranges, runs, only, cold, json, help } = parseArgs(args, {
    string: ["ranges", "runs", "only"],
    boolean: ["cold", "json", "help"],
    default: { ranges: RANGES.default, runs: RUNS.default },
    unknown: (arg) => {
      unknown.push(arg);
      return false;
    },
  });
  if (unknown.length > 0) return `found ${unknown[0]}`;
  const isIn = (text: string, { min, max }: { min: number; max: number }) =>
    /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max;
  if (!isIn(ranges, only === "speed" ? SPEED_RANGES : RANGES)) {
    return `found --ranges ${ranges}`;
  }
  if (!isIn(runs, RUNS)) return `found --runs ${runs}`;
  return { ranges: Number(ranges), runs: Number(runs), only, cold, json, help };
}

function nearlyCold(workload: Workload): Workload {
  const { warmUp } = workload;
  const times = Math.min(1, warmUp.times);
  return { ...workload, warmUp: { ...warmUp, times } };
}

function run(workloads: readonly Workload[], options: Options): void {
  const { ranges, runs, json } = options;
  const platform = platformLine();
  if (!json) console.log(`${platform}\nruns of each variant: ${runs}\n`);
  const reports: WorkloadReport[] = [];
  for (const workload of workloads) {
    const report = reportOf(workload, runRounds(workload, runs));
    if (!json) console.log(formatReport(report));
    reports.push(report);
  }
  if (json) {
    console.log(
      JSON.stringify({
        version: 1,
        platform,
        ranges,
        runs,
        workloads: reports,
      }),
    );
  }
}

function refuse(reason: string, code: number): number {
  console.error(`Cannot run the benchmarks: ${reason}`);
  return code;
}

if (import.meta.main) Deno.exit(main(Deno.args));
