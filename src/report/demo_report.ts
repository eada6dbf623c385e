import { bold, dim } from "@std/fmt/colors";
import { format as formatBytes } from "@std/fmt/bytes";
import type { MemoryPicture, ReplayScenarioResult } from "../experiment/mod.ts";
import { PAGE_BYTES } from "../memory/mod.ts";
import { beside, columns } from "./layout.ts";
import {
  formatCount,
  formatNanos,
  formatPercent,
  formatQuantity,
} from "./numbers.ts";
import { pageMap } from "./page_map.ts";
import { platformLine } from "./platform.ts";
import type { ReplayReportInput } from "./replay_report.ts";

const MAP = { width: 24, heightMax: 12 };

/**
 * Two runs of one scenario side by side: with the lock that is in every tree, and without one.
 *
 * @param locked The run whose trees have the lock mode `"internal"`.
 * @param unlocked The run whose trees have the lock mode `"none"`.
 */
export function demoReport(
  locked: ReplayReportInput,
  unlocked: ReplayReportInput,
): string {
  return [
    `${bold("Pollard demo")}, seed ${locked.options.seed}\n${
      dim(platformLine())
    }\n`,
    story(locked),
    maps(locked.result, unlocked.result),
    comparison(locked.result, unlocked.result),
    freeMemory(locked.result, unlocked.result),
    `${bold(lesson(locked.result, unlocked.result))}\n`,
  ].join("\n");
}

function story({ recordings, options, result }: ReplayReportInput): string {
  const n = formatCount;
  const names = recordings.map(({ name }) => name).join(", ");
  return `${formatQuantity(recordings.length, "recorded program")}, each run ${
    formatQuantity(options.copies, "time")
  }, all at once:
  ${names}
The memory map of every process is a range tree. The nodes of all trees share
one arena of ${n(result.pages)} pages; a page of nodes, 16 at most, is a slab.
Half-way through, ${n(result.ended)} of the ${
    n(result.alive)
  } processes ended. Their nodes are gone,
but nearly every slab still holds some node of another process.
`;
}

function maps(
  locked: ReplayScenarioResult,
  unlocked: ReplayScenarioResult,
): string {
  const block = (title: string, { pageUse }: MemoryPicture) => [
    bold(title),
    ...pageMap(pageUse, MAP).lines,
  ];
  const { pagesPerCell } = pageMap(locked.before.pageUse, MAP);
  const cell = formatQuantity(pagesPerCell, "page");
  return beside([
    block("before", locked.before),
    block("after, lock in the tree", locked.after),
    block("after, no lock", unlocked.after),
  ]) +
    dim(
      `A cell is ${cell}: · free, ░▒▓█ a little to all in use (tree headers stay)`,
    ) + "\n";
}

function comparison(
  locked: ReplayScenarioResult,
  unlocked: ReplayScenarioResult,
): string {
  const row = (name: string, of: (result: ReplayScenarioResult) => string) => [
    name,
    of(locked),
    of(unlocked),
  ];
  const n = formatCount;
  return columns([
    ["", bold("lock in the tree"), bold("no lock")],
    row("slabs before", ({ before }) => n(before.figures.slabs)),
    row("  how full", ({ before }) => formatPercent(before.figures.occupancy)),
    row("  can be freed", ({ compaction }) => n(compaction.plan.freeableSlabs)),
    row(
      "  with moves, at least",
      ({ compaction }) => n(compaction.plan.fewestMoves),
    ),
    row("slabs freed", ({ compaction }) => n(compaction.freedSlabs)),
    row("  yield", ({ compaction }) => compaction.yield.toFixed(2)),
    row("nodes moved", ({ compaction }) => n(compaction.moves)),
    row(
      "  move efficiency",
      ({ compaction }) =>
        compaction.moves === 0 ? "-" : compaction.moveEfficiency.toFixed(2),
    ),
    row(
      "  lock held, p50",
      ({ compaction }) =>
        compaction.moves === 0
          ? "-"
          : formatNanos(compaction.lockHoldNanos.p50),
    ),
    row("nodes pinned", ({ compaction }) => n(compaction.pinned)),
    row("slabs after", ({ after }) => n(after.figures.slabs)),
    row("  how full", ({ after }) => formatPercent(after.figures.occupancy)),
    row("free memory before", ({ before }) => freeBytes(before)),
    row("free memory after", ({ after }) => freeBytes(after)),
    row("digest of the trees before", ({ digest }) => digest.before),
    row("digest of the trees after", ({ digest }) => digest.after),
  ]);
}

function freeMemory(
  locked: ReplayScenarioResult,
  unlocked: ReplayScenarioResult,
): string {
  const row = (name: string, { figures }: MemoryPicture) => [
    name,
    ...figures.freeBlocksByOrder.map(String),
    figures.freePages === 0 ? "none" : bytes(2 ** figures.largestFreeOrder),
  ];
  const orders = locked.before.figures.freeBlocksByOrder.map((_, order) =>
    dim(String(order))
  );
  return columns([
    [bold("free blocks by order"), ...orders, bold("largest")],
    row("before", locked.before),
    row("after, lock in the tree", locked.after),
    row("after, no lock", unlocked.after),
  ]);
}

/** One plain sentence that says what the lock in the tree buys. */
function lesson(
  locked: ReplayScenarioResult,
  unlocked: ReplayScenarioResult,
): string {
  const { plan, freedSlabs, moves } = locked.compaction;
  const all = freedSlabs === plan.freeableSlabs
    ? "all that could be freed"
    : `${formatCount(plan.freeableSlabs)} could be freed`;
  return `Compaction freed ${formatCount(freedSlabs)} of ${
    formatCount(plan.slabs)
  } slabs (${all}) with ${formatCount(moves)} moves;
with no lock in the trees it freed ${
    formatCount(unlocked.compaction.freedSlabs)
  }.`;
}

function freeBytes({ figures }: MemoryPicture): string {
  return bytes(figures.freePages);
}

function bytes(pages: number): string {
  return formatBytes(pages * PAGE_BYTES, { binary: true });
}
