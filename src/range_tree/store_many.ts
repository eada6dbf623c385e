/**
 * Storing many ranges, some under one hold of the lock: what `enterStoreMany` of `assembly/writer.ts` is for. Where nothing is
 * compiled, and from the range on that it can't store, one after the other.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { checkRange, checkValue } from "./checks.ts";
import { AT_ONCE, type CompiledStores } from "./compiled.ts";
import type { TreeParts } from "./parts.ts";
import type { Writer } from "./writer.ts";

// Where a compiled loop finds them, from the thread's scratch words on: the first indices and the last ones (in doubles), the entries;
// and where it leaves how many it has stored.
const LASTS = 32;
const VALUES = 96;
const STORED = 112;

/** As many ranges as are stored at once: their first indices, their last ones, the entries. */
export interface SomeRanges {
  readonly firsts: Float64Array;
  readonly lasts: Float64Array;
  readonly values: Float64Array;
}

/** Room for them. */
export function someRanges(): SomeRanges {
  const room = new Float64Array(3 * AT_ONCE);
  return {
    firsts: room.subarray(0, AT_ONCE),
    lasts: room.subarray(AT_ONCE, 2 * AT_ONCE),
    values: room.subarray(2 * AT_ONCE),
  };
}

/**
 * Copies the ranges from one on, as many as there is room for; returns how many.
 *
 * @throws {RangeError} If a range or an entry is out of bounds.
 */
export function copySome(
  some: SomeRanges,
  firsts: ArrayLike<number>,
  lasts: ArrayLike<number>,
  values: ArrayLike<number>,
  from: number,
): number {
  const count = Math.min(AT_ONCE, firsts.length - from);
  for (let i = 0; i < count; i++) {
    const first = firsts[from + i], last = lasts[from + i];
    const value = values[from + i];
    checkRange(first, last);
    checkValue(value);
    some.firsts[i] = first;
    some.lasts[i] = last;
    some.values[i] = value;
  }
  return count;
}

/**
 * Stores so many ranges, before which so many of the caller's were stored.
 *
 * @throws {OutOfMemoryError} If there is no room; it says how many are stored.
 */
export function storeSome(
  parts: TreeParts,
  writer: Writer,
  compiled: CompiledStores | undefined,
  some: SomeRanges,
  count: number,
  before: number,
): void {
  const site = "RangeTree.storeMany";
  const { arena, header, lock, nodes } = parts;
  const { firsts, lasts, values } = some;
  let at = 0;
  if (compiled !== undefined && lock.beginCompiled(site)) {
    leaveForCompiled(parts, some, count);
    const answer = compiled.enterStoreMany(
      header,
      lock.identity,
      count,
      nodes.leafStock,
      nodes.innerStock,
    );
    at = arena.words[arena.scratchIndex + STORED];
    if (lock.endCompiled(site, answer)) return arena.rcu.poll();
  } else lock.enterWriter(site);
  try {
    for (; at < count; at++) {
      writer.storeRange(header, nodes, firsts[at], lasts[at], values[at]);
    }
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw storedSome(before + at, error);
  } finally {
    lock.exitWriterAndPoll();
  }
}

function leaveForCompiled(
  { arena: { words, doubles, scratchIndex } }: TreeParts,
  { firsts, lasts, values }: SomeRanges,
  count: number,
): void {
  const base = scratchIndex >>> 1;
  for (let i = 0; i < count; i++) {
    doubles[base + i] = firsts[i];
    doubles[base + LASTS + i] = lasts[i];
    words[scratchIndex + VALUES + i] = values[i];
  }
}

function storedSome(count: number, cause: Error): OutOfMemoryError {
  return new OutOfMemoryError(
    `${cause.message}; the first ${count} of the ranges are stored`,
    { cause },
  );
}
