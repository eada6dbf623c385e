/**
 * The fields of recorded operations, read with the type that the reader expects.
 *
 * @module
 */

import { toIndex, type Token, toToken } from "./values.ts";

/** A JSON object. */
export type Json = Record<string, unknown>;

/** A file that is no case, or not one that can be read. */
export class CaseError extends Error {
  /** The class, for messages. */
  override name = "CaseError";
}

/** The fields of one recorded operation. */
export class Fields {
  readonly #record: Json;

  constructor(record: Json) {
    this.#record = record;
  }

  has(name: string): boolean {
    return this.#record[name] !== undefined;
  }

  text(name: string): string {
    const found = this.#record[name];
    if (typeof found !== "string") this.#reject(name, "a text");
    return found;
  }

  /** A count, step or result: recorded as a number or as its decimal text. */
  integer(name: string): number {
    const found = this.#record[name];
    const number = typeof found === "string" && /^-?\d+$/.test(found)
      ? Number(found)
      : found;
    if (!Number.isSafeInteger(number)) this.#reject(name, "an integer");
    return number as number;
  }

  boolean(name: string): boolean {
    const found = this.#record[name];
    if (typeof found !== "boolean") this.#reject(name, "true or false");
    return found;
  }

  list(name: string): readonly unknown[] {
    const found = this.#record[name];
    if (!Array.isArray(found)) this.#reject(name, "a list");
    return found;
  }

  index(name: string): number {
    return toIndex(this.text(name));
  }

  token(name: string): Token | null {
    return this.#record[name] === null ? null : toToken(this.text(name));
  }

  optionalInteger(name: string): number | undefined {
    return this.has(name) ? this.integer(name) : undefined;
  }

  #reject(name: string, wanted: string): never {
    const found = JSON.stringify(this.#record[name]) ?? "nothing";
    throw new CaseError(`"${name}" is ${found}, not ${wanted}`);
  }
}

/** A list of texts of that length. */
export function requireTexts(value: unknown, length: number): string[] {
  const right = Array.isArray(value) && value.length === length &&
    value.every((item) => typeof item === "string");
  if (!right) {
    throw new CaseError(`found ${JSON.stringify(value)} for ${length} texts`);
  }
  return value;
}
