/**
 * Storing many ranges, some under one hold of the lock: a store at a random place waits for memory, and so that those of several stores
 * wait together, a compiled loop first goes down to where all of them begin. Where nothing is compiled, one after the other.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { checkRange, checkValue } from "./checks.ts";
import type { TreeParts } from "./parts.ts";
import type { Writer } from "./writer.ts";

/** The most that are stored under one hold of the lock. */
const AT_ONCE = 16;
// Where a compiled loop finds them, from the thread's scratch words on: the first indices, the last ones (in doubles), the entries.
const LASTS = 32;
const VALUES = 96;

/** Many ranges, a column for each of what they are. */
export interface Columns {
  readonly firsts: ArrayLike<number>;
  readonly lasts: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/**
 * Checks all ranges, so that nothing is stored if one of them is bad.
 *
 * @throws {RangeError} If there are not as many last indices or entries as first ones, or a range or an entry is out of bounds.
 */
export function checkColumns({ firsts, lasts, values }: Columns): void {
  const count = firsts.length;
  if (lasts.length !== count || values.length !== count) {
    throw new RangeError(
      `Cannot store ${count} ranges: there are ${lasts.length} last indices and ${values.length} entries`,
    );
  }
  for (let i = 0; i < count; i++) {
    checkRange(firsts[i], lasts[i]);
    checkValue(values[i]);
  }
}

/** Stores some ranges from the one at `from` on, under the tree's lock; returns how many. */
export function storeSome(
  { arena, header, nodes }: TreeParts,
  writer: Writer,
  { firsts, lasts, values }: Columns,
  from: number,
): number {
  const { words, doubles, scratchIndex } = arena;
  const count = Math.min(AT_ONCE, firsts.length - from);
  for (let i = 0; i < count; i++) {
    doubles[(scratchIndex >>> 1) + i] = firsts[from + i];
    doubles[(scratchIndex >>> 1) + LASTS + i] = lasts[from + i];
    words[scratchIndex + VALUES + i] = values[from + i];
  }
  const stored = writer.storeSome(header, nodes, count);
  if (stored === count) return count;
  const at = from + stored;
  try {
    writer.storeRange(header, nodes, firsts[at], lasts[at], values[at]);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw new OutOfMemoryError(
      `Cannot store range ${at} of ${firsts.length}, those before it are stored: ${error.message}`,
      { cause: error },
    );
  }
  return stored + 1;
}
