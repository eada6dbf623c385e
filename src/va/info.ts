/**
 * A manager as a table, in the words of the kernel's `drm_gpuvm` debug output.
 *
 * @module
 */
import type { Mapping } from "./mapping.ts";
import type { VaSpan } from "./operations.ts";

/** A manager's numbers and mappings, as they were found one after the other: of one moment under the outer lock only. */
export interface VaInfo {
  /** The addresses that can be mapped. */
  readonly span: VaSpan;
  /** The reserved node. */
  readonly reserved: VaSpan | undefined;
  /** How many mappings there are, the reserved node left out. */
  readonly count: number;
  /** How many addresses they cover. */
  readonly mapped: number;
  /** The mappings, as far as they were asked for. */
  readonly mappings: readonly Mapping[];
}

const COLUMNS = ["VAs", "start", "range", "end", "object", "object offset"];

/** The table as text: one line a mapping. */
export function formatInfo(info: VaInfo): string {
  const { span, reserved, mappings } = info;
  const rows = mappings.map((mapping, i) => [
    String(i + 1),
    hex(mapping.start),
    hex(mapping.range),
    hex(mapping.start + mapping.range),
    mapping.object === 0 ? "none" : String(mapping.object),
    hex(mapping.offset),
  ]);
  const widths = COLUMNS.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => cell.padStart(widths[column])).join(" | ");
  const left = info.count - mappings.length;
  return [
    `GPU VA space [${hex(span.start)}, ${
      hex(span.start + span.range)
    }), ${info.count} mappings of ${hex(info.mapped)} in all`,
    reserved === undefined
      ? "no reserved node"
      : `reserved node [${hex(reserved.start)}, ${
        hex(reserved.start + reserved.range)
      })`,
    line(COLUMNS),
    widths.map((width) => "-".repeat(width)).join("-+-"),
    ...rows.map(line),
    ...(left > 0 ? [`… and ${left} more`] : []),
  ].join("\n");
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
