/**
 * Looking many addresses up, some at a time: each lookup waits for a leaf, and then for the line of the mapping that it names, and those
 * of several lookups are waited for together. Where nothing is compiled, one after the other.
 *
 * The list is copied first: to read it may run code of the caller, which may use the scratch words.
 *
 * @module
 */
import { copyNumbers } from "../range_tree/checks.ts";
import { AT_ONCE, FOUND } from "../range_tree/compiled.ts";
import { compiledFor } from "./compiled.ts";
import { type Mapping, MAPPING_BYTES, readCopied } from "./mapping.ts";
import type { VaState } from "./va_state.ts";

/** Where the copies of the mappings stand, from the thread's scratch words on: behind the refs that are found. */
const COPIES = FOUND + AT_ONCE;
const MAPPING_WORDS = MAPPING_BYTES / 4;

/** As `VaState.translate` for many addresses. */
export function translateMany(
  state: VaState,
  addresses: ArrayLike<number>,
): Float64Array<ArrayBuffer> {
  const site = "VaManager.translateMany";
  const { arena, doubles, header, life, tree } = state;
  const compiled = compiledFor(arena);
  const places = copyNumbers(addresses);
  if (places.length === 0) state.assertLive(site);
  const first = arena.scratchIndex >>> 1;
  for (let from = 0; from < places.length; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, places.length - from);
    if (compiled === undefined) {
      for (let i = from; i < from + count; i++) {
        places[i] = state.translate(places[i], site);
      }
      continue;
    }
    for (let i = 0; i < count; i++) doubles[first + i] = places[from + i];
    if (compiled.translateMany(header, life, tree.ref, count) === 0) {
      state.assertLive(site);
    }
    for (let i = 0; i < count; i++) places[from + i] = doubles[first + i];
  }
  return places;
}

/** As `VaState.lookup` for many addresses. */
export function lookupMany(
  state: VaState,
  addresses: ArrayLike<number>,
): (Mapping | undefined)[] {
  const site = "VaManager.lookupMany";
  const { arena, words, doubles, header, life, tree } = state;
  const compiled = compiledFor(arena);
  const copied = copyNumbers(addresses);
  if (copied.length === 0) state.assertLive(site);
  const mappings: (Mapping | undefined)[] = [];
  const scratch = arena.scratchIndex, copies = scratch + COPIES;
  for (let from = 0; from < copied.length; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, copied.length - from);
    if (compiled === undefined) {
      for (let i = from; i < from + count; i++) {
        mappings.push(state.lookup(copied[i], site));
      }
      continue;
    }
    for (let i = 0; i < count; i++) {
      doubles[(scratch >>> 1) + i] = copied[from + i];
    }
    if (compiled.locateMany(header, life, tree.ref, count) === 0) {
      state.assertLive(site);
    }
    for (let i = 0; i < count; i++) {
      const ref = words[scratch + FOUND + i] >>> 0;
      mappings.push(
        ref === 0
          ? undefined
          : readCopied(words, doubles, ref, copies / MAPPING_WORDS + i),
      );
    }
  }
  return mappings;
}
