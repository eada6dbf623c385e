/**
 * How errors show what they were given.
 *
 * @module
 */

/** A value that is to be a number or the like, with its type where it is something else: "7" and 1n read as numbers. */
export function shown(value: unknown): string {
  if (typeof value === "number" || value === undefined || value === null) {
    return String(value);
  }
  if (typeof value === "object") {
    // What the object itself would say may be anything, or an error.
    return `${Object.prototype.toString.call(value)} (an object)`;
  }
  return `${String(value)} (a ${typeof value})`;
}
