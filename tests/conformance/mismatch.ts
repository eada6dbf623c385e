/**
 * How a comparison fails.
 *
 * @module
 */

/** Thrown by a comparison that failed. */
export class MismatchError extends Error {
  /** The class, for messages. */
  override name = "MismatchError";
}

/**
 * Ends a comparison that failed.
 *
 * @throws {MismatchError} Always.
 */
export function fail(what: string, expected: unknown, found: unknown): never {
  throw new MismatchError(`${what}: expected ${expected}, found ${found}`);
}
