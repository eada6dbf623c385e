/**
 * What every argument must be. The messages are built where they are thrown, since building one costs more than a lookup.
 *
 * @module
 */
import { shown } from "../sync/shown.ts";
import { MAX_INDEX } from "./node.ts";

/** The largest entry. */
const MAX_VALUE = 0xffff_ffff;

/**
 * An index.
 *
 * @throws {RangeError} If it is no safe integer from 0 on.
 */
export function checkIndex(index: number): void {
  if (!(Number.isSafeInteger(index) && index >= 0)) badIndex(index);
}

/**
 * A range of indices, both ends included.
 *
 * @throws {RangeError} If an end is no index, or it ends before it begins.
 */
export function checkRange(first: number, last: number): void {
  checkIndex(first);
  checkIndex(last);
  if (first > last) badRange(first, last);
}

/**
 * An entry, or 0.
 *
 * @throws {RangeError} If it is no 32-bit unsigned integer.
 */
export function checkValue(value: number): void {
  if (typeof value !== "number" || value >>> 0 !== value) badValue(value);
}

/**
 * An entry.
 *
 * @throws {RangeError} If it is no 32-bit unsigned integer, or 0.
 */
export function checkEntry(value: number): void {
  checkValue(value);
  if (value === 0) {
    throw new RangeError("Cannot insert: the entry 0 means empty");
  }
}

/**
 * A list whose numbers stay what they are as long as no code of the caller runs: the list itself, if it is a typed array in memory of
 * this thread, else a copy. So what is checked is what is used, and reading the list is done before anything is begun.
 *
 * @param check What each of those that are copied is given to, as it is in the list.
 * @throws {RangeError} If it is no list, or the check throws one.
 */
export function settled(
  numbers: ArrayLike<number>,
  check: (number: number) => void,
): ArrayLike<number> {
  return ArrayBuffer.isView(numbers) && numbers.buffer instanceof ArrayBuffer
    ? numbers
    : copyNumbers(numbers, check);
}

/**
 * A copy of many numbers.
 *
 * @param check What each of them is given to, as it is in the list; by default all are taken.
 * @throws {RangeError} If that is no list, or the check throws one.
 */
export function copyNumbers(
  numbers: ArrayLike<number>,
  check: (number: number) => void = () => {},
): Float64Array<ArrayBuffer> {
  const copied = new Float64Array(lengthOf(numbers));
  for (let at = 0; at < copied.length; at++) {
    const number = numbers[at];
    check(number);
    copied[at] = number;
  }
  return copied;
}

/**
 * So many indices, which are settled.
 *
 * @throws {RangeError} If one of them is none.
 */
export function checkIndices(indices: ArrayLike<number>, count: number): void {
  for (let at = 0; at < count; at++) checkIndex(indices[at]);
}

/**
 * So many ranges and what is to be stored over them, in lists that are settled.
 *
 * @throws {RangeError} If one of them is not as it must be.
 */
export function checkRanges(
  firsts: ArrayLike<number>,
  lasts: ArrayLike<number>,
  values: ArrayLike<number>,
  count: number,
): void {
  for (let at = 0; at < count; at++) {
    checkRange(firsts[at], lasts[at]);
    checkValue(values[at]);
  }
}

/**
 * The room to look for a number of indices in.
 *
 * @throws {RangeError} If the number is no integer from 1 on, or more than the room holds.
 */
export function checkRoom(size: number, min: number, max: number): void {
  checkRange(min, max);
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(
      `Cannot find room for ${shown(size)} indices: it is no integer from 1 on`,
    );
  }
  if (size - 1 <= max - min) return;
  throw new RangeError(
    `Cannot find room: the window [${min}, ${max}] has ${
      max - min + 1
    } indices, fewer than ${size}`,
  );
}

/**
 * An object that says more than the arguments do.
 *
 * @throws {TypeError} If it is none, of which nothing would be read: a number, say, in the place of a window.
 */
export function checkOptions(options: object): void {
  if (typeof options === "object" && options !== null) return;
  throw new TypeError(`Cannot read options from ${shown(options)}`);
}

/**
 * How long a list is.
 *
 * @throws {RangeError} If it is none.
 */
export function lengthOf(list: ArrayLike<number>): number {
  const length = typeof list === "object" ? list?.length : undefined;
  if (Number.isSafeInteger(length) && length! >= 0) return length!;
  throw new RangeError(`Cannot use ${shown(list)} as a list of numbers`);
}

function badIndex(index: number): never {
  throw new RangeError(
    `Cannot use index ${shown(index)}: it is no integer in [0, ${MAX_INDEX}]`,
  );
}

function badRange(first: number, last: number): never {
  throw new RangeError(
    `Cannot use range [${first}, ${last}]: it ends before it begins`,
  );
}

function badValue(value: number): never {
  throw new RangeError(
    `Cannot store ${shown(value)}: an entry is an integer in [0, ${MAX_VALUE}]`,
  );
}
