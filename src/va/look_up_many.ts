/**
 * Looking many addresses up, some at a time: each lookup waits for a leaf, and then for the line of the mapping that it names, and those
 * of several lookups are waited for together. Where nothing is compiled, one after the other.
 *
 * @module
 */
import { AT_ONCE, FOUND } from "../range_tree/compiled.ts";
import { compiledFor } from "./compiled.ts";
import { type Mapping, readCopied } from "./mapping.ts";
import type { VaState } from "./va_state.ts";

/** Where the copies of the mappings stand, from the thread's scratch words on: behind the refs that are found. */
const COPIES = FOUND + AT_ONCE;
const MAPPING_WORDS = 16;

/** As `VaState.translate` for many addresses. */
export function translateMany(
  state: VaState,
  addresses: ArrayLike<number>,
): Float64Array<ArrayBuffer> {
  const site = "VaManager.translateMany";
  const { arena, doubles, header, life, tree } = state;
  const compiled = compiledFor(arena);
  if (addresses.length === 0) state.assertLive(site);
  const places = new Float64Array(addresses.length);
  const first = arena.scratchIndex >>> 1;
  for (let from = 0; from < places.length; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, places.length - from);
    if (compiled === undefined) {
      for (let i = from; i < from + count; i++) {
        places[i] = state.translate(addresses[i], site);
      }
      continue;
    }
    for (let i = 0; i < count; i++) doubles[first + i] = addresses[from + i];
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
  if (addresses.length === 0) state.assertLive(site);
  const mappings: (Mapping | undefined)[] = [];
  const scratch = arena.scratchIndex, copies = scratch + COPIES;
  for (let from = 0; from < addresses.length; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, addresses.length - from);
    if (compiled === undefined) {
      for (let i = from; i < from + count; i++) {
        mappings.push(state.lookup(addresses[i], site));
      }
      continue;
    }
    for (let i = 0; i < count; i++) {
      doubles[(scratch >>> 1) + i] = addresses[from + i];
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
