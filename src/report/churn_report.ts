import { bold, dim } from "@std/fmt/colors";
import { format as formatBytes } from "@std/fmt/bytes";
import {
  type ChurnHalf,
  type ChurnOptions,
  type ChurnStatus,
  policyOf,
} from "../experiment/mod.ts";
import { columns } from "./layout.ts";
import { formatCount, formatNanos, formatPercent } from "./numbers.ts";
import { platformLine } from "./platform.ts";

/** What a run of churn gave. */
export interface ChurnReportInput {
  /** How it was run. */
  readonly options: ChurnOptions;
  /** The half without the compactor. */
  readonly off: ChurnHalf;
  /** The half with it. */
  readonly on?: ChurnHalf;
}

/** What `pollard churn --json` prints. */
export interface ChurnJson extends ChurnReportInput {
  /** The version of this format. */
  readonly version: 1;
  /** With the compactor, of what it was without. */
  readonly ratios?: ChurnRatios;
}

/** What the others notice of the compactor: 1 is nothing. */
export interface ChurnRatios {
  /** Lookups a second. */
  readonly readerThroughput: number;
  /** The 99th percentile of a lookup. */
  readonly readerP99: number;
  /** Changes a second. */
  readonly writerThroughput: number;
  /** Slabs in the end, of the fewest that the nodes would fit in. */
  readonly slabsOfBest: number;
}

/** Compares the halves. */
export function churnRatios({ off, on }: ChurnReportInput): ChurnRatios {
  const half = on ?? off;
  return {
    readerThroughput: half.readers.perSecond / off.readers.perSecond,
    readerP99: half.readers.p99 / off.readers.p99,
    writerThroughput: half.writer.perSecond / off.writer.perSecond,
    slabsOfBest: half.slabs / half.slabsAtBest,
  };
}

/** The result as one object. */
export function churnJson(input: ChurnReportInput): ChurnJson {
  return input.on === undefined
    ? { version: 1, ...input }
    : { version: 1, ...input, ratios: churnRatios(input) };
}

/** The result as a table, and what it says in one sentence. */
export function churnReport(input: ChurnReportInput): string {
  const { options, off, on } = input;
  return [
    `${bold("Pollard churn")}, seed ${options.seed}\n${dim(platformLine())}\n`,
    story(options),
    columns(tableOf(off, on)),
    ...(off.released.reason === undefined
      ? []
      : [`No free memory was handed back: ${off.released.reason}.\n`]),
    `${bold(sentence(input))}\n`,
  ].join("\n");
}

/** One line that says what is going on. */
export function churnStatusLine(status: ChurnStatus): string {
  const held = status.compacts
    ? `, lock held ${formatNanos(status.longestHoldNanos)} at most`
    : "";
  return `compactor ${status.compacts ? "on" : "off"}, ${status.phase}: ${
    formatCount(status.slabs)
  } slabs, ${formatPercent(status.occupancy)} full, freed ${
    formatCount(status.freedSlabs)
  }, ${formatCount(status.lookupsPerSecond)} lookups/s${held}`;
}

function story(options: ChurnOptions): string {
  return `${options.readers} reader(s) without a lock and 1 writer on one tree of ${
    formatCount(options.ranges)
  } ranges,
of which ${
    formatPercent(options.liveShare)
  } are stored at a time; ${options.seconds} s each. The compactor
may work ${formatPercent(options.duty)} of the time, policy ${
    policyOf(options.policy).name
  }.
`;
}

function tableOf(off: ChurnHalf, on?: ChurnHalf): string[][] {
  const row = (name: string, of: (half: ChurnHalf) => string) => [
    name,
    of(off),
    ...(on ? [of(on)] : []),
  ];
  const compactor = (
    name: string,
    of: (totals: NonNullable<ChurnHalf["compactor"]>) => string,
  ) => row(name, (half) => half.compactor ? of(half.compactor) : "-");
  return [
    ["compactor", "off", ...(on ? ["on"] : [])],
    row("lookups a second", (half) => formatCount(half.readers.perSecond)),
    row("  p50", (half) => formatNanos(half.readers.p50)),
    row("  p99", (half) => formatNanos(half.readers.p99)),
    row("  p99.9", (half) => formatNanos(half.readers.p999)),
    row("changes a second", (half) => formatCount(half.writer.perSecond)),
    row("  p50", (half) => formatNanos(half.writer.p50)),
    row("  p99", (half) => formatNanos(half.writer.p99)),
    row("  p99.9", (half) => formatNanos(half.writer.p999)),
    row("wrong answers", (half) => formatCount(half.wrong)),
    row("slabs in the end", (half) => formatCount(half.slabs)),
    row("  at best", (half) => formatCount(half.slabsAtBest)),
    row("free pages", (half) => formatCount(half.freePages)),
    row("resident size grew", (half) => formatSize(half.residentBytes)),
    row(
      "  handed back before",
      ({ released }) =>
        released.reason === undefined ? formatSize(released.bytes) : "-",
    ),
    row("grace periods", (half) => formatCount(half.gracePeriods)),
    compactor("slabs freed", (totals) => formatCount(totals.freedSlabs)),
    compactor("nodes moved", (totals) => formatCount(totals.moves)),
    compactor(
      "  a second of its work",
      (totals) =>
        formatCount(totals.seconds === 0 ? 0 : totals.moves / totals.seconds),
    ),
    compactor("  retries", (totals) => formatCount(totals.busy)),
    compactor(
      "longest slice",
      (totals) => formatNanos(totals.longestSliceMillis * 1e6),
    ),
    compactor(
      "tree lock held (1 move in 32), p50",
      (totals) => formatNanos(totals.lockHoldNanos.p50),
    ),
    compactor("  p99", (totals) => formatNanos(totals.lockHoldNanos.p99)),
    compactor("  longest", (totals) => formatNanos(totals.lockHoldNanos.max)),
  ];
}

function formatSize(bytes: number): string {
  return bytes === 0 ? "-" : formatBytes(bytes, { binary: true });
}

function sentence(input: ChurnReportInput): string {
  const { off, on } = input;
  if (on === undefined) {
    return `Without a compactor the nodes take ${
      formatCount(off.slabs)
    } slabs, where ${formatCount(off.slabsAtBest)} would do.`;
  }
  const ratios = churnRatios(input);
  return `With the compactor the nodes take ${
    formatCount(on.slabs)
  } slabs instead of ${formatCount(off.slabs)}; readers\nreach ${
    formatPercent(ratios.readerThroughput)
  } of their speed, the writer ${formatPercent(ratios.writerThroughput)}.`;
}
