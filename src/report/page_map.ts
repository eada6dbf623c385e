import { cyan, green } from "@std/fmt/colors";

/** How a page map is drawn. */
export interface PageMapOptions {
  /** Cells in a line. */
  readonly width: number;
  /** Lines at most: so many pages share a cell that it is enough. */
  readonly heightMax: number;
}

const SHADES = "░▒▓█";
const FREE = "·";

/**
 * Pages in the order of their addresses, a cell for one or a few: `·` free, `░▒▓█` up to a quarter, a half, three quarters, all
 * of their room in use.
 *
 * @param pageUse How full each page is, 0 to 1.
 * @returns The lines, and how many pages share a cell.
 */
export function pageMap(
  pageUse: Float32Array,
  options: PageMapOptions,
): { lines: string[]; pagesPerCell: number } {
  const { width, heightMax } = options;
  const pagesPerCell = Math.max(
    1,
    Math.ceil(pageUse.length / (width * heightMax)),
  );
  const lines: string[] = [];
  for (let at = 0; at < pageUse.length; at += width * pagesPerCell) {
    const line = pageUse.subarray(at, at + width * pagesPerCell);
    lines.push(cellsOf(line, pagesPerCell));
  }
  return { lines, pagesPerCell };
}

function cellsOf(pageUse: Float32Array, pagesPerCell: number): string {
  let cells = "";
  for (let at = 0; at < pageUse.length; at += pagesPerCell) {
    const pages = pageUse.subarray(at, at + pagesPerCell);
    const use = pages.reduce((sum, share) => sum + share, 0) / pages.length;
    cells += use === 0
      ? green(FREE)
      : cyan(SHADES[Math.min(3, Math.ceil(use * 4) - 1)]);
  }
  return cells;
}
