import { bold, dim } from "@std/fmt/colors";
import type { BindExperimentOptions, BindRun } from "../experiment/mod.ts";
import { columns } from "./layout.ts";
import { formatCount, formatNanos, formatPercent } from "./numbers.ts";
import { platformLine } from "./platform.ts";

/** What `pollard bind` gave. */
export interface BindReportInput {
  /** How it was run. */
  readonly options: BindExperimentOptions;
  /** For each way of guarding the tree: without a compactor, then with one. */
  readonly runs: readonly BindRun[];
}

/** What `pollard bind --json` prints. */
export interface BindJson extends BindReportInput {
  /** The version of this format. */
  readonly version: 1;
  /** Whether every run ended with the same mappings. */
  readonly same: boolean;
}

/** Whether every run ended with the same mappings. */
export function isBindSame({ runs }: BindReportInput): boolean {
  return runs.every((run) => run.digest === runs[0].digest);
}

/** The result as one object. */
export function bindJson(input: BindReportInput): BindJson {
  return { version: 1, same: isBindSame(input), ...input };
}

/** A run of fewer seconds says nothing about speed. */
const SHORTEST_SECONDS = 1;

/** The result as a table. */
export function bindReport(input: BindReportInput): string {
  const { options, runs } = input;
  const off = runs.filter((run) => !run.compacts);
  const on = runs.filter((run) => run.compacts);
  const row = (
    name: string,
    of: (on: BindRun, off: BindRun) => string,
  ) => [name, ...on.map((run, i) => of(run, off[i]))];
  const isShort = off.some(({ opsPerSecond }) =>
    options.jobs * options.ops / opsPerSecond < SHORTEST_SECONDS
  );
  const count = (name: string, of: (run: BindRun) => number) =>
    row(name, (run) => formatCount(of(run)));
  return [
    `${bold("Pollard bind")}, seed ${options.seed}\n${dim(platformLine())}\n`,
    `${formatCount(options.jobs)} jobs of ${
      formatCount(options.ops)
    } operations on a part of ${
      formatCount(on[0].mappings)
    } mappings: tiles of a sparse
texture, pieces cut out of big buffers, buffers mapped over them. The compactor
may work ${formatPercent(options.duty)} of the time.\n`,
    columns([
      ["lock of the VA tree", ...on.map((run) => run.lock)],
      row("binds a second, alone", (_, off) => formatCount(off.opsPerSecond)),
      row("  with the compactor", (on) => formatCount(on.opsPerSecond)),
      row(
        "  of its speed",
        (on, off) =>
          isShort ? "-" : formatPercent(on.opsPerSecond / off.opsPerSecond),
      ),
      row("a job takes, p50", (on) => formatNanos(on.p50)),
      row("  p99, alone", (_, off) => formatNanos(off.p99)),
      row("  p99, with the compactor", (on) => formatNanos(on.p99)),
      count("slabs before", (run) => run.slabsBefore),
      row("slabs in the end, alone", (_, off) => formatCount(off.slabs)),
      count("  with the compactor", (run) => run.slabs),
      count("  at best", (run) => run.slabsAtBest),
      count("slabs freed in all", (run) => run.freedSlabs),
      count("nodes moved", (run) => run.moves),
      count("  retries", (run) => run.busy),
      count("met pinned", (run) => run.pinned),
    ]),
    "The tree's lock: internal its own, registered the driver's, which the compactor\nknows, external the driver's, which it does not, none." +
    (isShort
      ? "\nThis was over too soon to compare speeds: try more --jobs.\n"
      : "\n"),
    bold(
      isBindSame(input)
        ? "All runs ended with the same mappings.\n"
        : "The runs ended with different mappings: this is a defect.\n",
    ),
  ].join("\n");
}
