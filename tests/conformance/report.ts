/**
 * What a conformance run reports, as an object and as text.
 *
 * @module
 */

import type { Case } from "./case.ts";
import type { Disagreement, Replay, Variant } from "./runner.ts";

/** Numbers of operations by kind or reason. */
export type Counts = Readonly<Record<string, number>>;

/** A replay that departed from the record, with the way in which it was replayed. */
export interface Failure extends Variant, Disagreement {}

/** What came of one case file. */
export interface FileReport {
  /** Name of the file. */
  readonly file: string;
  /** `"skipped"` for an index out of reach, `"unreadable"` for a file that is no case. */
  readonly status: "agreed" | "disagreed" | "skipped" | "unreadable";
  /** Why it was skipped or could not be read. */
  readonly reason?: string;
  /** Replays of the file, one a variant. */
  readonly replays: number;
  /** Those of them that agreed. */
  readonly replaysAgreed: number;
  /** Compactions in all replays. */
  readonly compactions: number;
  /** Nodes that they moved. */
  readonly moves: number;
  /** Operations of the file, once. */
  readonly operations: number;
  /** Operations that every replay carries out. */
  readonly operationsRun: number;
  /** Operations that were carried out and agreed in every replay. */
  readonly operationsAgreed: number;
  /** Operations that every replay passes over, by reason. */
  readonly operationsSkipped: Counts;
  /** The first departure of each replay that departed. */
  readonly failures: readonly Failure[];
}

/** What came of a folder. */
export interface Report {
  /** Version of this format. */
  readonly version: 1;
  /** The ways in which each file was replayed. */
  readonly variants: readonly Variant[];
  /** Number of files by status. */
  readonly files: Readonly<Record<FileReport["status"], number>>;
  /** Sums over all files. */
  readonly totals: Pick<
    FileReport,
    | "replays"
    | "replaysAgreed"
    | "compactions"
    | "moves"
    | "operations"
    | "operationsRun"
    | "operationsAgreed"
    | "operationsSkipped"
  >;
  /** How long the run took. */
  readonly seconds: number;
  /** Each file. */
  readonly cases: readonly FileReport[];
}

/** Reports a file whose case was replayed. */
export function reportReplays(
  file: string,
  recorded: Case,
  replays: readonly Replay[],
): FileReport {
  const failures = replays.flatMap(({ variant, disagreement }) =>
    disagreement ? [{ ...variant, ...disagreement }] : []
  );
  const operationsSkipped: Record<string, number> = {};
  for (const { action } of recorded.operations) {
    if (action.kind === "skip") addTo(operationsSkipped, action.reason, 1);
  }
  const operations = recorded.operations.length;
  return {
    file,
    status: failures.length === 0 ? "agreed" : "disagreed",
    replays: replays.length,
    replaysAgreed: replays.length - failures.length,
    compactions: total(replays.map((each) => each.compactions)),
    moves: total(replays.map((each) => each.moves)),
    operations,
    operationsRun: operations - sum(operationsSkipped),
    operationsAgreed: Math.min(...replays.map((each) => each.agreed)),
    operationsSkipped,
    failures,
  };
}

/** Reports a file that was not replayed. */
export function reportUnplayed(
  file: string,
  status: "skipped" | "unreadable",
  reason: string,
): FileReport {
  return {
    file,
    status,
    reason,
    replays: 0,
    replaysAgreed: 0,
    compactions: 0,
    moves: 0,
    operations: 0,
    operationsRun: 0,
    operationsAgreed: 0,
    operationsSkipped: {},
    failures: [],
  };
}

/** Adds the files up. */
export function summarize(
  variants: readonly Variant[],
  cases: readonly FileReport[],
  seconds: number,
): Report {
  const files = { agreed: 0, disagreed: 0, skipped: 0, unreadable: 0 };
  const totals = {
    replays: 0,
    replaysAgreed: 0,
    compactions: 0,
    moves: 0,
    operations: 0,
    operationsRun: 0,
    operationsAgreed: 0,
    operationsSkipped: {},
  };
  for (const each of cases) {
    files[each.status]++;
    totals.replays += each.replays;
    totals.replaysAgreed += each.replaysAgreed;
    totals.compactions += each.compactions;
    totals.moves += each.moves;
    totals.operations += each.operations;
    totals.operationsRun += each.operationsRun;
    totals.operationsAgreed += each.operationsAgreed;
    addAll(totals.operationsSkipped, each.operationsSkipped);
  }
  return { version: 1, variants, files, totals, seconds, cases };
}

/** Whether every file that ran agreed, and none was unreadable. */
export function isClean({ files }: Report): boolean {
  return files.disagreed === 0 && files.unreadable === 0;
}

/** The report as text. */
export function formatReport(report: Report): string {
  const { files, totals, variants, cases } = report;
  return [
    ...cases.flatMap(formatFile),
    "",
    `variants of each file: ${variants.map(formatVariant).join(", ")}`,
    `files: ${cases.length}; agreed ${files.agreed}, disagreed ${files.disagreed}, skipped ${files.skipped}, unreadable ${files.unreadable}`,
    `replays: ${totals.replays}; agreed ${totals.replaysAgreed}; compactions ${totals.compactions}, nodes moved ${totals.moves}`,
    `operations, each file counted once: ${formatOperations(totals)}`,
    ...formatCounts("skipped", totals.operationsSkipped),
    `seconds: ${report.seconds.toFixed(1)}`,
  ].join("\n");
}

function formatFile(each: FileReport): string[] {
  if (each.reason !== undefined) {
    return [`${each.file}: ${each.status}: ${each.reason}`];
  }
  return [
    `${each.file}: ${each.status} in ${each.replaysAgreed} of ${each.replays} replays; operations: ${
      formatOperations(each)
    }`,
    ...formatCounts("skipped", each.operationsSkipped),
    ...each.failures.map(formatFailure),
  ];
}

function formatOperations(
  { operations, operationsRun, operationsAgreed, operationsSkipped }:
    Report["totals"],
): string {
  return `${operations}; ran ${operationsRun}, agreed ${operationsAgreed}, skipped ${
    sum(operationsSkipped)
  }`;
}

function formatCounts(what: string, counts: Counts): string[] {
  return Object.entries(counts).map(([key, count]) =>
    `  ${what}: ${count} (${key})`
  );
}

function formatFailure(failure: Failure): string {
  const { position, operation, message } = failure;
  return `  disagreed (${
    formatVariant(failure)
  }) at operation ${position}, ${operation}: ${message}`;
}

function formatVariant({ rcu, gaps, compactEvery }: Variant): string {
  const compaction = compactEvery === 0
    ? "never compacted"
    : `compacted every ${compactEvery}`;
  return `RCU ${rcu ? "on" : "off"} gaps ${gaps ? "on" : "off"} ${compaction}`;
}

function addAll(counts: Record<string, number>, more: Counts): void {
  for (const [key, count] of Object.entries(more)) addTo(counts, key, count);
}

function addTo(
  counts: Record<string, number>,
  key: string,
  count: number,
): void {
  counts[key] = (counts[key] ?? 0) + count;
}

function sum(counts: Counts): number {
  return total(Object.values(counts));
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
