/**
 * Looking up many indices, some at a time: what `assembly/many.ts` is for. Where nothing is compiled, one after the other.
 *
 * @module
 */
import { AT_ONCE, type CompiledTrees, FOUND } from "./compiled.ts";
import type { TreeParts } from "./parts.ts";
import { PROTECTED, RESERVED } from "./walk.ts";

/** Puts the entries at some indices, from the one at `from` on, in their places; returns how many it has dealt with. */
export function loadSome(
  { arena, header, lock }: TreeParts,
  compiled: CompiledTrees,
  site: string,
  indices: ArrayLike<number>,
  from: number,
  entries: Uint32Array,
): number {
  const { words, doubles, scratchIndex } = arena;
  const count = Math.min(AT_ONCE, entries.length - from);
  for (let i = 0; i < count; i++) {
    doubles[(scratchIndex >>> 1) + i] = indices[from + i];
  }
  if (compiled.lookUpMany(header, count, lock.seenFlags) === 0) {
    // The tree is not as it was seen last, or its readers take the lock.
    const flags = lock.enterReader(site);
    compiled.lookUpMany(header, count, PROTECTED);
    lock.exitReader(flags);
  }
  for (let i = 0; i < count; i++) {
    const found = words[scratchIndex + FOUND + i] >>> 0;
    entries[from + i] = found === RESERVED ? 0 : found;
  }
  return count;
}
