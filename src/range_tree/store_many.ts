/**
 * Storing many ranges, some under one hold of the lock: what `enterStoreMany` of `assembly/writer.ts` is for. Where nothing is
 * compiled, and from the range on that it can't store, one after the other.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import {
  checkIndex,
  checkRanges,
  checkValue,
  lengthOf,
  settled,
} from "./checks.ts";
import { AT_ONCE, type CompiledStores } from "./compiled.ts";
import type { TreeParts } from "./parts.ts";
import type { Writer } from "./writer.ts";

// Where a compiled loop finds them, from the thread's scratch words on: the first indices and the last ones (in doubles), the entries;
// and where it leaves how many it has stored.
const LASTS = 32;
const VALUES = 96;
const STORED = 112;

/** So many ranges and what is to be stored over them, in lists that are settled. */
export interface Ranges {
  readonly count: number;
  readonly firsts: ArrayLike<number>;
  readonly lasts: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/**
 * The caller's ranges, which stay as they were checked, whatever becomes of its lists.
 *
 * @throws {RangeError} If these are no lists, or not of one length, or a range or an entry is out of bounds.
 */
export function settledRanges(
  firsts: ArrayLike<number>,
  lasts: ArrayLike<number>,
  values: ArrayLike<number>,
): Ranges {
  const ranges = {
    firsts: settled(firsts, checkIndex),
    lasts: settled(lasts, checkIndex),
    values: settled(values, checkValue),
  };
  // To ask for a length may be the last that runs code of the caller.
  const count = lengthOf(ranges.firsts);
  const ends = lengthOf(ranges.lasts), entries = lengthOf(ranges.values);
  if (ends !== count || entries !== count) {
    throw new RangeError(
      `Cannot store ${count} ranges: there are ${ends} last indices and ${entries} entries`,
    );
  }
  checkRanges(ranges.firsts, ranges.lasts, ranges.values, count);
  return { count, ...ranges };
}

/**
 * Stores as many ranges as can be at once, from the one at `from` on.
 *
 * @throws {OutOfMemoryError} If there is no room; it says how many are stored.
 */
export function storeSome(
  parts: TreeParts,
  writer: Writer,
  compiled: CompiledStores | undefined,
  ranges: Ranges,
  from: number,
): void {
  const site = "RangeTree.storeMany";
  const { arena, header, lock, nodes } = parts;
  const { count, firsts, lasts, values } = ranges;
  const end = Math.min(from + AT_ONCE, count);
  let at = from;
  if (compiled !== undefined && lock.beginCompiled(site)) {
    leaveForCompiled(parts, ranges, from, end);
    const answer = compiled.enterStoreMany(
      header,
      lock.identity,
      end - from,
      nodes.leafStock,
      nodes.innerStock,
    );
    at += arena.words[arena.scratchIndex + STORED];
    if (lock.endCompiled(site, answer)) return arena.rcu.poll();
  } else lock.enterWriter(site);
  try {
    for (; at < end; at++) {
      writer.storeRange(header, nodes, firsts[at], lasts[at], values[at]);
    }
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw storedSome(at, error);
  } finally {
    lock.exitWriterAndPoll();
  }
}

function leaveForCompiled(
  { arena: { words, doubles, scratchIndex } }: TreeParts,
  { firsts, lasts, values }: Ranges,
  from: number,
  end: number,
): void {
  const base = (scratchIndex >>> 1) - from;
  const value = scratchIndex + VALUES - from;
  for (let at = from; at < end; at++) {
    doubles[base + at] = firsts[at];
    doubles[base + LASTS + at] = lasts[at];
    words[value + at] = values[at];
  }
}

function storedSome(count: number, cause: Error): OutOfMemoryError {
  return new OutOfMemoryError(
    `${cause.message}; the first ${count} of the ranges are stored`,
    { cause },
  );
}
