/**
 * What a workload is: which variants run, and the table that comes of them.
 *
 * @module
 */
import type { Figures } from "./variant.ts";

/** What a row is to reach. */
export type Goal =
  | { readonly atLeast: number }
  | { readonly atMost: number }
  | { readonly below: number };

/** One variant at one size: a process. */
export interface Subject {
  /** The variant's name in its file. */
  readonly variant: string;
  /** How many ranges. */
  readonly ranges: number;
}

/** The figures of one round, by subject in the order of the workload. */
export type Round = readonly Figures[];

/** Where a value stands in tables of many columns. */
export interface Cell {
  /** The heading of its table. */
  readonly block: string;
  /** Its line in there. */
  readonly line: string;
  /** Its column. */
  readonly column: string;
}

/** One line of a workload's table. */
export interface Row {
  /** What it says. */
  readonly label: string;
  /** Its place, if all rows of the workload are cells. */
  readonly cell?: Cell;
  /**
   * Its value in one round: only figures of the same round are compared. None if a variant has no such figure; then a cell
   * stays empty, and anything else is a mistake.
   */
  value(round: Round): number | undefined;
  /** What it is to reach. */
  readonly goal?: Goal;
}

/** What a process does before it measures. */
export interface WarmUp {
  /** How many ranges. */
  readonly ranges: number;
  /** How often. */
  readonly times: number;
}

/** Variants that run by turns, and the table that comes of them. */
export interface Workload {
  /** For `--only`. Several may share one. */
  readonly name: string;
  /** The heading. */
  readonly title: string;
  /** The file whose variants these are. */
  readonly file: string;
  /** What each of their processes does first. */
  readonly warmUp: WarmUp;
  /** What runs, in this order, in every round. */
  readonly subjects: readonly Subject[];
  /** The table. */
  readonly rows: readonly Row[];
  /** What one must know to read it. */
  readonly note?: string;
}
