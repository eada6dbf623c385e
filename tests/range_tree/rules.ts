/**
 * What functions say of themselves in the last line of their documentation, and what lockdep says of their misuse.
 *
 * @module
 */
import { assert } from "@std/assert";
import { LockdepError } from "../../mod.ts";

const SOURCES: Record<string, string> = {
  RangeTree: "range_tree",
  Cursor: "cursor",
  RangeMap: "range_map",
  ExternalLock: "external_lock",
};

/** The TSDoc of each function in the source of a class. */
export function docsOf(owner: string): Map<string, string> {
  const url = new URL(
    `../../src/range_tree/${SOURCES[owner]}.ts`,
    import.meta.url,
  );
  const source = Deno.readTextFileSync(url);
  const body = source.slice(source.indexOf(`export class ${owner}`));
  const found = body.matchAll(
    /\/\*\*((?:(?!\*\/)[^])*)\*\/\n {2}(?:static |get )*(\w+)(?:<V>)?\(/g,
  );
  return new Map([...found].map(([, doc, name]) => [name, doc]));
}

/** What such a line says. */
export interface Said {
  /** Which lock the function needs, or takes. */
  readonly lock: string;
  /** Whether it needs memory. */
  readonly memory: string;
  /** Whether it drops the lock. */
  readonly drops: string;
}

/** What the documentation of a function says. */
export function saidIn(doc: string, name: string): Said {
  const line = doc.replaceAll(/\s+\*\s+/g, " ").match(
    /Lock: (.+?)\. Memory: (no|may|yes)\. Drops the lock: (no|yes)/,
  );
  assert(line !== null, `${name} does not say it`);
  const [, lock, memory, drops] = line;
  return { lock, memory, drops };
}

/** The splat that a call leads to. */
export function splatOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof LockdepError) return error.message;
    throw error;
  }
}

/** How the words for what a function does about the lock begin. */
export const LOCK_WORDS = {
  held: /^held/,
  reading: /^reading/,
  own: /^own(?! read)/,
  "own read": /^own read/,
  none: /^none/,
};
