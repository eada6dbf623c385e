/**
 * Names in shared memory: UTF-8 in a few words, padded with zeros. A name comes back as it was, or is refused.
 *
 * The words are plain; who writes and reads them sees to it that nobody else does at the same time.
 *
 * @module
 */
import type { Words } from "./atomics.ts";
import { shown } from "./shown.ts";

// A byte order mark belongs to the name.
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The words of a name, to be stored where it is to be.
 *
 * @param count How many words there are for it.
 * @param action What can't be done without it, for the error.
 * @throws {RangeError} If the name is empty, does not fit, or would not come back as it is.
 */
export function encodeName(
  name: string,
  count: number,
  action: string,
): Int32Array {
  const fail = (why: string): never => {
    throw new RangeError(`${action}: name ${JSON.stringify(name)} ${why}`);
  };
  if (typeof name !== "string") {
    throw new RangeError(`${action}: name ${shown(name)} is no string`);
  }
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > count * 4) {
    fail(`takes ${bytes.length} bytes, not 1 to ${count * 4}`);
  }
  if (!name.isWellFormed()) fail("holds half of a surrogate pair");
  if (name.endsWith("\0")) fail("ends in a zero");
  const padded = new Uint8Array(count * 4);
  padded.set(bytes);
  return new Int32Array(padded.buffer);
}

/** The name in `count` words from `index` on; empty where there is none. */
export function decodeName(words: Words, index: number, count: number): string {
  // A copy: the decoder takes no shared memory.
  const bytes = new Uint8Array(words.slice(index, index + count).buffer);
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  return DECODER.decode(bytes.subarray(0, end));
}
