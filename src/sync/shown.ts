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
  const article = typeof value === "object" ? "an" : "a";
  return `${String(value)} (${article} ${typeof value})`;
}
