import { assertEquals } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { pageMap } from "../../src/report/mod.ts";

function draw(pageUse: number[], width: number, heightMax: number) {
  const map = pageMap(Float32Array.from(pageUse), { width, heightMax });
  return { ...map, lines: map.lines.map(stripAnsiCode) };
}

Deno.test("pageMap gives every page a cell where there is room", () => {
  const use = [0, 1 / 16, 0.25, 0.26, 0.5, 0.51, 0.75, 0.76, 1, 0];
  assertEquals(draw(use, 4, 3), {
    lines: ["·░░▒", "▒▓▓█", "█·"],
    pagesPerCell: 1,
  });
});

Deno.test("pageMap lets pages share cells where there is none, by their mean", () => {
  assertEquals(draw([0, 0, 1, 0, 1, 1, 0.5], 2, 2), {
    lines: ["·▒", "█▒"],
    pagesPerCell: 2,
  });
});

Deno.test("pageMap of no page has no line", () => {
  assertEquals(draw([], 4, 4).lines, []);
});
