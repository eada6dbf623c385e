import { bold, dim, green, red } from "@std/fmt/colors";
import { format as formatBytes } from "@std/fmt/bytes";
import type { Contiguity } from "../defrag/mod.ts";
import {
  EXTFRAG_ORDER,
  type MemoryPicture,
  type Recording,
  type ReplayScenarioOptions,
  type ReplayScenarioResult,
} from "../experiment/mod.ts";
import { buddyInfo, slabInfo } from "./kernel_tables.ts";
import {
  formatCount,
  formatNanos,
  formatPercent,
  formatQuantity,
} from "./numbers.ts";
import { platformLine } from "./platform.ts";

/** What was handed back to the operating system after a run. */
export interface Release {
  /** How many bytes. */
  readonly bytes: number;
  /** Why none could be. */
  readonly reason?: string;
  /** What the kernel said was resident before. */
  readonly residentBefore: number;
  /** And after. */
  readonly residentAfter: number;
}

/** A run of the scenario and what it was given. */
export interface ReplayReportInput {
  /** What was replayed. */
  readonly recordings: readonly Recording[];
  /** How. */
  readonly options: ReplayScenarioOptions;
  /** What happened. */
  readonly result: ReplayScenarioResult;
  /** What was handed back, if that was asked for. */
  readonly release?: Release;
}

/** The traces of a run, each taken once, in figures. */
export interface TraceTotals {
  /** Files. */
  readonly files: number;
  /** Lines in them. */
  readonly lines: number;
  /** Lines that could not be read. */
  readonly unreadable: number;
  /** Calls that changed an address space or the set of processes. */
  readonly events: number;
  /** Processes. */
  readonly processes: number;
}

/** Sums up the traces of a run. */
export function totalsOf(
  recordings: readonly Recording[],
  { processes }: ReplayScenarioResult,
): TraceTotals {
  const sum = (of: (recording: Recording) => number) =>
    recordings.reduce((total, recording) => total + of(recording), 0);
  return {
    files: recordings.length,
    lines: sum(({ trace }) => trace.lines),
    unreadable: sum(({ trace }) => trace.unreadable.length),
    events: sum(({ trace }) => trace.events.length),
    processes,
  };
}

/** A replay's result as text: what was replayed, tables before and after, plan, result, digest, and one plain sentence. */
export function replayReport(input: ReplayReportInput): string {
  const { options, result } = input;
  return [
    `${bold("Pollard replay")}, seed ${options.seed}\n${dim(platformLine())}\n`,
    whatWasReplayed(input),
    `${bold("Before")}\n${memoryTables(result.before, result.pages)}`,
    `${bold("After")}\n${memoryTables(result.after, result.pages)}`,
    planAndResult(result),
    ...(input.release === undefined ? [] : [releaseLine(input.release)]),
    `${bold(verdict(result))}\n`,
  ].join("\n");
}

function releaseLine(release: Release): string {
  const { bytes, reason, residentBefore, residentAfter } = release;
  const size = (value: number) => formatBytes(value, { binary: true });
  return reason === undefined
    ? `Handed back ${size(bytes)} of free memory; resident ${
      size(residentBefore)
    } before, ${size(residentAfter)} after (that counts the whole program).\n`
    : `Handed back no memory: ${reason}.\n`;
}

/** One plain sentence that says what the compaction did. */
export function verdict({ compaction, digest }: ReplayScenarioResult): string {
  if (digest.before !== digest.after) {
    return "The compaction changed what the trees hold, which it must never do.";
  }
  const { plan, freedSlabs, moves, pinned } = compaction;
  const freed = `Compaction freed ${formatCount(freedSlabs)} of ${
    formatCount(plan.slabs)
  } slabs`;
  if (plan.slabs === 0) return "There was nothing to compact.";
  if (plan.freeableSlabs === 0) {
    return `${freed}: the slabs are as full as they can be.`;
  }
  if (pinned > 0) {
    return `${freed}, though ${
      formatCount(plan.freeableSlabs)
    } could be freed: the trees' own locks are not in use, so their nodes can't be moved.`;
  }
  const best = freedSlabs === plan.freeableSlabs
    ? "all that could be freed"
    : `${formatCount(plan.freeableSlabs)} could be freed`;
  return `${freed} (${best}) with ${
    formatCount(moves)
  } moves, and no tree changed for anyone who reads it.`;
}

function whatWasReplayed(
  { recordings, options, result }: ReplayReportInput,
): string {
  const totals = totalsOf(recordings, result);
  const n = formatQuantity;
  return `Traces    ${n(totals.files, "file")}, ${n(totals.lines, "line")} (${
    formatCount(totals.unreadable)
  } unreadable), ${n(totals.events, "event")}, ${
    n(totals.processes, "process", "processes")
  }
          ${recordings.map(({ name }) => name).join("\n          ")}
Replayed  ${n(options.copies, "copy", "copies")} of each up to half-way, ${
    n(result.events, "event")
  } interleaved
          in one arena of ${n(result.pages, "page")}, lock mode ${options.lock}
Ended     ${formatCount(result.ended)} of ${
    n(result.alive, "process", "processes")
  }; ${n(result.trees, "range tree")} with ${n(result.mappings, "mapping")} stay
`;
}

function memoryTables(
  { figures, caches }: MemoryPicture,
  pages: number,
): string {
  const { occupancy, freePages, largestFreeOrder, extfragIndex } = figures;
  return slabInfo(caches) + buddyInfo(figures.freeBlocksByOrder) +
    `Node slabs ${formatPercent(occupancy)} full; ${
      formatCount(freePages)
    } of ${formatCount(pages)} pages free, ` +
    `largest free order ${largestFreeOrder}, extfrag_index at order ${EXTFRAG_ORDER} ${
      extfragIndex.toFixed(3)
    }\n`;
}

/** Free blocks that were made of the most that could be, for the orders where any could. */
function contiguityLine(contiguity: readonly Contiguity[]): string {
  const orders = contiguity.filter(({ most }) => most > 0)
    .map(({ order, made, most }) =>
      `${order}: ${formatCount(made)}/${formatCount(most)}`
    );
  return orders.length === 0
    ? "no free block can be made by moving nodes"
    : `made free, of what can be, by order: ${orders.join(", ")}`;
}

function planAndResult({ compaction, digest }: ReplayScenarioResult): string {
  const { plan, lockHoldNanos, seconds } = compaction;
  const n = formatCount;
  return `Policy    ${compaction.policy}
Plan      at most ${n(plan.freeableSlabs)} of ${
    n(plan.slabs)
  } slabs can be freed (k*), with ${n(plan.fewestMoves)} moves at least
Result    ${n(compaction.freedSlabs)} slabs freed with ${
    n(compaction.moves)
  } moves: yield ${compaction.yield.toFixed(2)}, move efficiency ${
    compaction.moves === 0 ? "-" : compaction.moveEfficiency.toFixed(2)
  }
          ${n(compaction.pinned)} nodes pinned, ${n(compaction.busy)} busy
          ${formatNanos(seconds * 1e9)}, ${
    n(compaction.nodesPerSecond)
  } nodes a second; a lock was held for ${
    formatNanos(lockHoldNanos.p50)
  } (p50), ${formatNanos(lockHoldNanos.p99)} (p99), ${
    formatNanos(lockHoldNanos.max)
  } (max), of every 32nd
Blocks    ${contiguityLine(compaction.contiguity)}
Digest    ${digest.before} before, ${digest.after} after: ${
    digest.before === digest.after ? green("equal") : red("DIFFERENT")
  }
`;
}
