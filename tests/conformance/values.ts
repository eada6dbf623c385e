/**
 * How the indices and entries of a recorded case become those of a range tree.
 *
 * The reference indexes with 64 bits and stores pointers; a range tree indexes with safe integers and stores `u32` values.
 *
 * @module
 */

import { RESERVED } from "../../mod.ts";

const MAX_INDEX = Number.MAX_SAFE_INTEGER;
const TOP = 2n ** 64n - 1n;
const TOP_WINDOW = 2n ** 20n;

/** Spreads the dense numbers of the tokens over all 32 bits; odd, so that no two meet and none becomes 0. */
const SPREAD = 0x9e3779b1;

/** What a case stores: a number for an integer entry, else the recorded text, of which only the identity matters. */
export type Token = number | string;

/** The recorded name of the reserved entry. */
const ZERO: Token = "zero";

/** A recorded index that a range tree has no place for. */
export class IndexOutOfReachError extends Error {
  /** The class, for messages. */
  override name = "IndexOutOfReachError";

  /** Names the index that was met. */
  constructor(index: string) {
    super(
      `Cannot map index ${index}: it lies between 2^53 - 1 and 2^64 - 2^20`,
    );
  }
}

/**
 * Maps a recorded index: small ones stay, the last 2^20 of the 64-bit space become the last of the tree's.
 *
 * @throws {SyntaxError} If the text is no decimal index of 64 bits.
 * @throws {IndexOutOfReachError} If the index lies between the two ends.
 */
export function toIndex(text: string): number {
  const index = parseIndex(text);
  if (index <= BigInt(MAX_INDEX)) return Number(index);
  const fromTop = TOP - index;
  if (fromTop >= TOP_WINDOW) throw new IndexOutOfReachError(text);
  return MAX_INDEX - Number(fromTop);
}

/**
 * Maps an index that is recorded as "one past", which wraps to 0 behind the very last.
 *
 * @throws {SyntaxError} If the text is no decimal index of 64 bits.
 * @throws {IndexOutOfReachError} If the index before lies between the two ends.
 */
export function toIndexBefore(text: string): number {
  return toIndex(BigInt.asUintN(64, parseIndex(text) - 1n).toString());
}

function parseIndex(text: string): bigint {
  const index = /^\d{1,20}$/.test(text) ? BigInt(text) : TOP + 1n;
  if (index > TOP) {
    throw new SyntaxError(`Cannot read an index: found ${text}`);
  }
  return index;
}

/** Reads a recorded entry; integer entries that are safe integers become numbers, so that runs can count with them. */
export function toToken(text: string): Token {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : text;
}

/** Gives each token of a case a `u32` of its own, and finds the token again. */
export class ValueTable {
  readonly #values = new Map<Token, number>([[ZERO, RESERVED]]);
  readonly #tokens = new Map<number, Token>([[RESERVED, ZERO]]);

  /** The value that stands for a token, 0 for an empty entry. */
  valueOf(token: Token | null): number {
    if (token === null) return 0;
    return this.#values.get(token) ?? this.#add(token);
  }

  /** The token that a value stands for, as text for messages. */
  nameOf(value: number): string {
    if (value === 0) return "nothing";
    return String(this.#tokens.get(value) ?? `unknown value ${value}`);
  }

  #add(token: Token): number {
    const value = Math.imul(this.#values.size + 1, SPREAD) >>> 0;
    this.#values.set(token, value);
    this.#tokens.set(value, token);
    return value;
  }
}
