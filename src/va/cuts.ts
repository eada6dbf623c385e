/**
 * Finishing cuts that a thread began which has died.
 *
 * A store over a part of a mapping leaves what remains of it as entries that name it still, until its parts get objects of their
 * own (`apply.ts`). While that is under way a word of the manager's header says so. It is written under the outer lock alone. So
 * whoever holds that lock, is not cutting, and finds the word set, knows that a thread died within it; whether that was reaped
 * or not. What the entries say is true for readers, but a change that took an entry for the whole of its mapping would not be:
 * therefore everything that changes a manager finishes the cut first (`VaState.assertWriter`), as whoever reaps the thread does, if
 * the outer lock is the manager's.
 *
 * The parts get new objects; those that the dead thread had made for them are in no tree, and whoever reaps it frees them. All
 * that can fail stands before the first store. A mapping that was cut is claimed before the first store that takes an entry of
 * it away, so whoever reaps the dead thread finds it mapped, or in this thread's hands. (One of which no entry was left when the thread
 * died is not found here, and stays in use: `recover.ts`.) The VmBos' lists are then made anew from the tree.
 *
 * @module
 */
import { partOf } from "./generate.ts";
import {
  lastOf,
  mappingFlagsOf,
  readMapping,
  setMappingFlags,
  startOf,
} from "./mapping.ts";
import type { VaState } from "./va_state.ts";

/** An entry that is a part of its mapping. */
interface Part {
  readonly first: number;
  readonly last: number;
  /** The mapping. */
  readonly cut: number;
}

/**
 * Gives what remains of mappings objects of its own. Under the outer lock.
 *
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
export function finishCuts(state: VaState): void {
  const { bos, tree, words } = state;
  const { mappings } = state.caches;
  const parts = partsIn(state);
  const fresh = makeObjects(state, parts);
  const cut = [...new Set(parts.map((part) => part.cut))];
  for (const mapping of cut) mappings.claim(mapping);
  parts.forEach(({ first, last, cut }, i) => {
    setMappingFlags(words, fresh[i], mappingFlagsOf(words, cut));
    // Over exactly one entry: it needs no memory.
    tree.storeRange(first, last, fresh[i]);
  });
  state.replaced.forgetPlaces();
  bos.repair(tree, cut, state.links);
  state.isCutting = false;
  mappings.deferAll(cut);
}

function partsIn({ tree, doubles }: VaState): Part[] {
  const parts: Part[] = [];
  tree.forEach((first, last, cut) => {
    if (startOf(doubles, cut) !== first || lastOf(doubles, cut) !== last) {
      parts.push({ first, last, cut });
    }
  });
  return parts;
}

function makeObjects(state: VaState, parts: readonly Part[]): number[] {
  const { words, doubles, caches } = state;
  const made: number[] = [];
  try {
    for (const { first, last, cut } of parts) {
      const mapping = readMapping(words, doubles, cut);
      made.push(state.createMapping(partOf(mapping, first, last + 1)));
    }
  } catch (error) {
    for (const ref of made) caches.mappings.free(ref);
    throw error;
  }
  return made;
}
