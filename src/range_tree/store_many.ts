/**
 * Storing many ranges, some under one hold of the lock: what `enterStoreMany` of `assembly/writer.ts` is for. Where nothing is
 * compiled, and from the range on that it can't store, one after the other.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { checkMany } from "./checks.ts";
import type { CompiledStores } from "./compiled.ts";
import type { TreeParts } from "./parts.ts";
import type { Writer } from "./writer.ts";

/** The most that are stored under one hold of the lock. */
export const AT_ONCE = 16;
// Where a compiled loop finds them, from the thread's scratch words on: the first indices and the last ones (in doubles), the entries;
// and where it leaves how many it has stored.
const LASTS = 32;
const VALUES = 96;
const STORED = 112;

/** Many ranges, a column for each of what they are. */
export interface Columns {
  readonly firsts: Float64Array;
  readonly lasts: Float64Array;
  readonly values: Float64Array;
}

/**
 * A copy of what is to be stored, checked.
 *
 * @throws {RangeError} If there is not a last index and an entry for each first one, or one of them is not as it must be.
 */
export function columnsOf(
  firsts: ArrayLike<number>,
  lasts: ArrayLike<number>,
  values: ArrayLike<number>,
): Columns {
  const columns = {
    firsts: new Float64Array(firsts),
    lasts: new Float64Array(lasts),
    values: new Float64Array(values),
  };
  checkMany(columns.firsts, columns.lasts, columns.values);
  return columns;
}

/**
 * Stores the ranges from one on, as many as are stored at once.
 *
 * @throws {OutOfMemoryError} If there is no room; it says how many are stored.
 */
export function storeSome(
  parts: TreeParts,
  writer: Writer,
  compiled: CompiledStores | undefined,
  columns: Columns,
  from: number,
): void {
  const site = "RangeTree.storeMany";
  const { arena, header, lock, nodes } = parts;
  const { firsts, lasts, values } = columns;
  const end = Math.min(from + AT_ONCE, firsts.length);
  let at = from;
  if (compiled !== undefined && lock.startWhole(site)) {
    leaveForCompiled(parts, columns, from, end);
    const answer = compiled.enterStoreMany(
      header,
      lock.identity,
      end - from,
      nodes.stockIndex,
    );
    at += arena.words[arena.scratchIndex + STORED];
    if (lock.endWhole(site, answer)) return arena.rcu.poll();
  } else lock.enterWriter(site);
  try {
    for (; at < end; at++) {
      writer.storeRange(header, nodes, firsts[at], lasts[at], values[at]);
    }
  } catch (error) {
    throw error instanceof OutOfMemoryError ? storedSome(at, error) : error;
  } finally {
    lock.exitWriterAndPoll();
  }
}

function leaveForCompiled(
  { arena: { words, doubles, scratchIndex } }: TreeParts,
  { firsts, lasts, values }: Columns,
  from: number,
  end: number,
): void {
  const base = scratchIndex >>> 1;
  for (let i = 0; i < end - from; i++) {
    doubles[base + i] = firsts[from + i];
    doubles[base + LASTS + i] = lasts[from + i];
    words[scratchIndex + VALUES + i] = values[from + i];
  }
}

function storedSome(count: number, cause: Error): OutOfMemoryError {
  return new OutOfMemoryError(
    `${cause.message}; the first ${count} of the ranges are stored`,
    { cause },
  );
}
