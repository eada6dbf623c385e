import { stripAnsiCode } from "@std/fmt/colors";

/** Rows as lines: the first column flush left, the others flush right, two spaces between them. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) =>
      widths[i] = Math.max(widths[i] ?? 0, widthOf(cell))
    );
  }
  return rows.map((row) =>
    row.map((cell, i) => pad(cell, widths[i], i === 0)).join("  ").trimEnd() +
    "\n"
  ).join("");
}

/** Blocks of lines next to each other, each as wide as its widest line, three spaces between them. */
export function beside(blocks: readonly (readonly string[])[]): string {
  const widths = blocks.map((lines) => Math.max(...lines.map(widthOf)));
  const height = Math.max(...blocks.map((lines) => lines.length));
  let text = "";
  for (let line = 0; line < height; line++) {
    const parts = blocks.map((lines, i) =>
      pad(lines[line] ?? "", widths[i], true)
    );
    text += parts.join("   ").trimEnd() + "\n";
  }
  return text;
}

function widthOf(text: string): number {
  return stripAnsiCode(text).length;
}

function pad(text: string, width: number, flushLeft: boolean): string {
  const spaces = " ".repeat(Math.max(0, width - widthOf(text)));
  return flushLeft ? text + spaces : spaces + text;
}
