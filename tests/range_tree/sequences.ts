/**
 * Random sequences of operations on a range tree and its mirror. Each run switches some operations off and keeps to one
 * kind of keys (swarm testing), so that runs differ in kind: some only grow, some thrash one leaf, some cut all to pieces.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  type Entry,
  MAX_INDEX,
  type RangeTree,
  RESERVED,
} from "../../src/range_tree/mod.ts";
import type { Rng } from "../seed.ts";
import type { Mirror } from "./mirror.ts";

const OPERATIONS = [
  "store",
  "overwrite",
  "eraseRange",
  "insertRange",
  "erase",
  "reserve",
  "alloc",
  "allocCyclic",
  "refill",
] as const;
const KEYS = ["anywhere", "both ends", "at boundaries"] as const;

/** What one run consists of. */
export interface Run {
  /** How many indices are in play. */
  readonly window: number;
  /** The operations that are on. */
  readonly operations: readonly typeof OPERATIONS[number][];
  /** Where the indices come from. */
  readonly keys: typeof KEYS[number];
  /** The longest range. */
  readonly longest: number;
}

/** Chooses what a run consists of: at least one operation that stores. */
export function chooseRun(random: Rng, window: number): Run {
  const operations = OPERATIONS.filter(() => random.int(3) > 0);
  return {
    window,
    operations: ["store", ...operations.filter((name) => name !== "store")],
    keys: random.pick(KEYS),
    longest: random.pick([1, 2, 10, Math.ceil(window / 4), window]),
  };
}

/** Entries that fill the window of a run, for a start with a large tree. */
export function chooseEntries(random: Rng, run: Run): Entry[] {
  const entries: Entry[] = [];
  for (let at = random.int(3); at < run.window;) {
    const last = Math.min(at + random.int(3), run.window - 1);
    entries.push({
      first: place(at, run),
      last: place(last, run),
      value: 1 + random.int(9),
    });
    at = last + 1 + random.int(2);
  }
  return entries;
}

/** Does one random operation to both, whose answers must agree; returns the range that it was about. */
export function doOne(
  tree: RangeTree,
  mirror: Mirror,
  random: Rng,
  run: Run,
): [first: number, last: number] {
  const [first, last] = chooseRange(mirror, random, run);
  const value = random.pick([1, 2, 0xffff_fffe, 1 + random.int(0xffff_fffd)]);
  switch (random.pick(run.operations)) {
    case "store":
      tree.storeRange(first, last, value);
      mirror.storeRange(first, last, value);
      break;
    case "overwrite": {
      // Exactly one range that is there: a store in place.
      const { first: from, last: to } = mirror.find(first) ?? { first, last };
      tree.storeRange(from, to, value);
      mirror.storeRange(from, to, value);
      break;
    }
    case "eraseRange":
      tree.eraseRange(first, last);
      mirror.storeRange(first, last, 0);
      break;
    case "insertRange":
      assertEquals(
        tree.insertRange(first, last, value),
        mirror.insertRange(first, last, value),
        `insertRange(${first}, ${last})`,
      );
      break;
    case "erase":
      assertEquals(tree.erase(first), mirror.erase(first), `erase(${first})`);
      break;
    case "reserve":
      assertEquals(
        tree.reserve(first, last),
        mirror.insertRange(first, last, RESERVED),
        `reserve(${first}, ${last})`,
      );
      break;
    case "alloc":
      if (tree.gaps) alloc(tree, mirror, random, first, last, value);
      break;
    case "allocCyclic":
      if (tree.gaps) allocCyclic(tree, mirror, random, first, last, value);
      break;
    case "refill":
      refill(tree, mirror, random, run);
  }
  return [first, last];
}

/** Room in a window that the range gives, low or high, of a size up to all of it. */
function alloc(
  tree: RangeTree,
  mirror: Mirror,
  random: Rng,
  min: number,
  max: number,
  value: number,
): void {
  const size = Math.min(1 + random.int(4), max - min + 1);
  const highest = random.int(2) === 0;
  const expected = mirror.room(size, min, max, highest);
  const found = highest
    ? tree.allocRangeReverse(size, value, { min, max })
    : tree.allocRange(size, value, { min, max });
  assertEquals(found ?? -1, expected, `room for ${size} in [${min}, ${max}]`);
  if (found === undefined) return;
  mirror.storeRange(found, found + size - 1, value);
}

function allocCyclic(
  tree: RangeTree,
  mirror: Mirror,
  random: Rng,
  min: number,
  max: number,
  value: number,
): void {
  const next = Math.min(
    random.pick([0, min, max, max + 1, min + random.int(5)]),
    MAX_INDEX,
  );
  const found = tree.allocCyclic(value, { min, max, next });
  assertEquals(
    found,
    mirror.cyclic(min, max, next),
    `cyclic from ${next} in [${min}, ${max}]`,
  );
  if (found !== undefined) mirror.storeRange(found.index, found.index, value);
}

/** Now and then everything goes, and comes back at once or piece by piece. */
function refill(tree: RangeTree, mirror: Mirror, random: Rng, run: Run): void {
  if (random.int(40) > 0) return;
  tree.clear();
  mirror.entries = [];
  if (random.int(2) === 0) return;
  mirror.entries = chooseEntries(random, run);
  tree.bulkLoad(mirror.entries);
}

/** A random range of the kind of a run. */
export function chooseRange(
  mirror: Mirror,
  random: Rng,
  run: Run,
): [first: number, last: number] {
  if (run.keys === "at boundaries" && mirror.entries.length > 0) {
    const ends = [boundary(mirror, random), boundary(mirror, random)];
    if (run.longest === 1) ends[1] = ends[0];
    return [Math.min(...ends), Math.max(...ends)];
  }
  const at = random.int(run.window);
  const to = Math.min(at + random.int(run.longest), run.window - 1);
  return [place(at, run), place(to, run)];
}

/** The first or last index of a range that is there, or a neighbour of it, or an end of all indices. */
function boundary(mirror: Mirror, random: Rng): number {
  if (random.int(20) === 0) return random.pick([0, MAX_INDEX]);
  const { first, last } = random.pick(mirror.entries);
  const index = random.pick([first, last]) + random.pick([-1, 0, 0, 1]);
  return Math.min(Math.max(index, 0), MAX_INDEX);
}

/** The index that stands at a place of a run's window. */
function place(at: number, run: Run): number {
  return run.keys === "both ends" && at >= run.window / 2
    ? MAX_INDEX - (run.window - 1 - at)
    : at;
}
