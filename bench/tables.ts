/**
 * The rows of a workload as tables: one below the other, or, if they say in which cell they stand, in many columns.
 *
 * @module
 */
import { columns } from "../src/report/layout.ts";
import { formatCount } from "../src/report/numbers.ts";
import type { Goal } from "./workload.ts";
import type { RowReport } from "./report.ts";

/** A line for each row: how its value spreads over the rounds, and what it is to reach. */
export function formatRows(rows: readonly RowReport[]): string {
  return columns([
    ["", "min", "median", "max", "goal", ""],
    ...rows.map(({ label, min, median, max, goal, reached }) => [
      `  ${label}`,
      formatValue(min),
      formatValue(median),
      formatValue(max),
      goal === undefined ? "" : formatGoal(goal),
      goal === undefined ? "" : reached ? "reached" : "missed",
    ]),
  ]);
}

/** The blocks of the rows, one below the other. */
export function formatGrid(rows: readonly RowReport[]): string {
  const blocks = Map.groupBy(rows, ({ cell }) => cell!.block);
  return [...blocks].map(([title, rows]) => formatBlock(title, rows)).join(
    "\n",
  );
}

/** A line for each line, a column for each column, and what the line is to reach. */
function formatBlock(title: string, rows: readonly RowReport[]): string {
  const names = [...new Set(rows.map(({ cell }) => cell!.column))];
  const lines = Map.groupBy(rows, ({ cell }) => cell!.line);
  return columns([
    [`  ${title}`, ...names, ""],
    ...[...lines].map(([label, rows]) => {
      const goal = rows.find(({ goal }) => goal !== undefined)?.goal;
      return [
        `    ${label}`,
        ...names.map((name) =>
          formatCell(rows.find(({ cell }) => cell!.column === name))
        ),
        goal === undefined ? "" : formatGoal(goal),
      ];
    }),
  ]);
}

/** The middle value; where there is a goal, also how far the rounds lie apart, and whether it is reached. */
function formatCell(row: RowReport | undefined): string {
  if (row === undefined) return "–";
  const { min, median, max, reached } = row;
  const value = formatValue(median);
  if (reached === undefined) return value;
  const spread = formatValue((max - min) / 2);
  return `${value} ±${spread} ${reached ? "reached" : "missed"}`;
}

function formatGoal(goal: Goal): string {
  if ("atLeast" in goal) return `≥ ${formatValue(goal.atLeast)}`;
  if ("atMost" in goal) return `≤ ${formatValue(goal.atMost)}`;
  return `< ${formatValue(goal.below)}`;
}

function formatValue(value: number): string {
  return Math.abs(value) < 100 ? value.toFixed(2) : formatCount(value);
}
