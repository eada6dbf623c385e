/**
 * Searches for free indices whose answers are known, in ranges of which some were erased.
 *
 * @module
 */
import { Random } from "../src/experiment/random.ts";
import { changeOrder, GAPPED, SPAN } from "./keys.ts";

const SEED = 4;
/** One range in so many is erased: what a search passes over until it finds room. */
const RANGES_PER_HOLE = 64;
/** Sizes that fit no gap between two ranges, and every hole. */
const SIZE_MIN = SPAN - GAPPED + 1;
const SIZE_MAX = SPAN;

/** Searches, one a range of the tree. */
export interface RoomRequests {
  /** The ranges to erase first. */
  readonly erased: Int32Array;
  /** Where each search begins. */
  readonly mins: Int32Array;
  /** How many free indices it wants. */
  readonly sizes: Int32Array;
  /** The lowest of these. */
  readonly found: Int32Array;
}

/** Searches from random indices on for random sizes; every draw is another one. */
export function roomRequests(
  ranges: number,
  draw: number,
): RoomRequests {
  const erased = changeOrder(ranges, draw)
    .subarray(0, Math.ceil(ranges / RANGES_PER_HOLE));
  const isErased = new Uint8Array(ranges);
  for (const range of erased) isErased[range] = 1;

  const random = new Random(SEED + draw);
  const mins = new Int32Array(ranges).map(() => random.below(ranges * SPAN));
  const sizes = new Int32Array(ranges).map(() =>
    SIZE_MIN + random.below(SIZE_MAX - SIZE_MIN + 1)
  );
  const found = mins.map((min, i) => lowestRoom(isErased, min, sizes[i]));
  return { erased, mins, sizes, found };
}

/** Range by range, until there is room between the end of the last one that is held and the beginning of the next. */
function lowestRoom(isErased: Uint8Array, min: number, size: number): number {
  let free = min;
  for (let range = Math.floor(min / SPAN); range < isErased.length; range++) {
    if (isErased[range] === 1) continue;
    const first = range * SPAN;
    if (free + size <= first) return free;
    free = Math.max(free, first + GAPPED);
  }
  return free;
}
