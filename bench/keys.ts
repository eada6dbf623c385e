/**
 * The keys that all variants of a workload work on: every range once, in an order that no predictor has seen.
 *
 * Range `i` begins at `i × SPAN`. All indices fit 31 bits, which the peer profits from: V8 keeps such keys unboxed.
 *
 * @module
 */
import { Random } from "../src/experiment/random.ts";

/** From the beginning of one range to that of the next. */
export const SPAN = 16;
/** Width of ranges that leave no gap between them. */
export const PACKED = SPAN;
/** Width of ranges that leave gaps as wide as themselves. */
export const GAPPED = SPAN / 2;

/** What lies behind each range: the next one, or a gap. */
export type Layout = "packed" | "gapped";
/** The width of a range, by layout. */
export const WIDTHS: Readonly<Record<Layout, number>> = {
  packed: PACKED,
  gapped: GAPPED,
};

const STORE_SEED = 1;
const LOAD_SEED = 2;
const CHANGE_SEED = 3;
/** From the seeds of one draw to those of the next. */
const SEEDS = 4;
const HASH_BASIS = 0x811c9dc5 | 0;
const HASH_PRIME = 0x01000193;

/** The numbers of all ranges in the order in which they are stored; every draw is another one. */
export function storeOrder(ranges: number, draw = 0): Int32Array {
  return shuffled(ranges, STORE_SEED + SEEDS * draw);
}

/** The numbers of all ranges in the order in which they are changed once they are stored. */
export function changeOrder(ranges: number, draw: number): Int32Array {
  return shuffled(ranges, CHANGE_SEED + SEEDS * draw);
}

/** One index at a random place of every range and the gap behind it, in random order. */
export function randomIndices(ranges: number, draw = 0): Int32Array {
  const seed = LOAD_SEED + SEEDS * draw;
  const random = new Random(seed);
  return shuffled(ranges, seed).map((range) =>
    range * SPAN + random.below(SPAN)
  );
}

/** The same indices as {@linkcode randomIndices}, ascending. */
export function ascendingIndices(ranges: number): Int32Array {
  return randomIndices(ranges).sort();
}

/** What a result hash begins with. */
export function emptyHash(): number {
  return HASH_BASIS;
}

/** A result hash (FNV-1a by words) with one more word; depends on the order. */
export function fold(hash: number, word: number): number {
  return Math.imul(hash ^ word, HASH_PRIME);
}

function shuffled(count: number, seed: number): Int32Array {
  const numbers = Int32Array.from({ length: count }, (_, i) => i);
  new Random(seed).shuffle(numbers);
  return numbers;
}
