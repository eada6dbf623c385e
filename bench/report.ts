/**
 * What the benchmarks print: tables for people, one object for machines.
 *
 * @module
 */
import type { Cell, Goal, Workload } from "./workload.ts";
import { formatHash, type Rounds } from "./rounds.ts";
import { formatGrid, formatRows } from "./tables.ts";

/** One line of a table, over all rounds. */
export interface RowReport {
  /** What it says. */
  readonly label: string;
  /** Its place in a table of many columns. */
  readonly cell?: Cell;
  /** The smallest value of a round. */
  readonly min: number;
  /** The middle one. */
  readonly median: number;
  /** The largest one. */
  readonly max: number;
  /** What it is to reach. */
  readonly goal?: Goal;
  /** Whether the middle value does. */
  readonly reached?: boolean;
}

/** One workload's table. */
export interface WorkloadReport {
  /** Its name. */
  readonly name: string;
  /** The heading. */
  readonly title: string;
  /** What all variants of a size agree on. */
  readonly hashes: readonly string[];
  /** The lines. */
  readonly rows: readonly RowReport[];
  /** What one must know to read it. */
  readonly note?: string;
}

/** Sums the rounds of a workload up. */
export function reportOf(
  workload: Workload,
  { rounds, hashes }: Rounds,
): WorkloadReport {
  const { name, title, note } = workload;
  const rows = workload.rows.flatMap(({ label, cell, value, goal }) => {
    const values = rounds.map(value).filter((value) => value !== undefined);
    if (values.length === 0) {
      if (cell !== undefined) return [];
      throw new Error(`Cannot report "${label}": no variant has its figure`);
    }
    const sorted = values.sort((a, b) => a - b);
    const median = middle(sorted);
    const spread = { min: sorted[0], median, max: sorted[sorted.length - 1] };
    return goal === undefined
      ? [{ label, cell, ...spread }]
      : [{ label, cell, ...spread, goal, reached: reaches(median, goal) }];
  });
  return {
    name,
    title,
    hashes: [...hashes.values()].map(formatHash),
    rows,
    note,
  };
}

/** The table of a workload. */
export function formatReport(report: WorkloadReport): string {
  const { title, rows, hashes, note } = report;
  const isGrid = rows.every(({ cell }) => cell !== undefined);
  const table = isGrid ? formatGrid(rows) : formatRows(rows);
  const closing = `  result hash ${hashes.join(", ")}\n`;
  const remark = note === undefined ? "" : note.replace(/^/gm, "  ") + "\n";
  return `${title}\n${table}${closing}${remark}`;
}

function middle(sorted: readonly number[]): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[half]
    : (sorted[half - 1] + sorted[half]) / 2;
}

function reaches(value: number, goal: Goal): boolean {
  if ("atLeast" in goal) return value >= goal.atLeast;
  if ("atMost" in goal) return value <= goal.atMost;
  return value < goal.below;
}
