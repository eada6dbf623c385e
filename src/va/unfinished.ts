/**
 * Finishing changes of mappings that a thread began which has died.
 *
 * A change is one store into the tree of mappings, and what follows from it: what remains of a mapping that was cut gets objects of
 * its own in the place of entries that name it still (`apply.ts`), what is new comes to its VmBo's list, and what went is taken off
 * its list and freed. While that is under way a word of the manager's header says so. It is written under the outer lock alone. So
 * whoever holds that lock, is changing nothing, and finds the word set, knows that a thread died within it; whether that was reaped
 * or not, and whichever the outer lock is. What the entries say is true for readers, but a change that took an entry for the whole of
 * its mapping would not be: therefore everything that changes a manager, or looks at a list, finishes the change first
 * (`VaState.assertWriter`). So does whoever reaps the thread, if the outer lock is the manager's. (A compiled bind does not say that
 * it replaces a mapping: it has no call and no loop, so no thread is terminated in it, and what it replaces is noted: `replaced.ts`.)
 *
 * What is to be done can be told from what is there:
 *
 * - An entry that is a part of its mapping gets an object. All that can fail stands before the first store. (Those that the dead
 *   thread had made for it are in no tree, and whoever reaps it frees them.)
 * - A mapping that names a VmBo of the manager, and that no entry leads to, was taken out of the tree and not yet off its list. Such
 *   are looked for among all mappings of the arena: a list is of no use for it, since the thread may have died while it took one off.
 *   A mapping that is on no list names no VmBo, in whatever hands it is and also when it was freed, so no others are found. So it is
 *   with a VmBo that is flagged as external or evicted, and that was taken out of its tree to be released.
 * - All lists are made anew from the tree.
 *
 * **None is freed twice.** Whoever reaps the dead thread frees what is claimed by it, in no tree, and on no list of a living manager,
 * and looks at the trees first, then at the list, by atomic loads, and at the claim last. What is freed here is claimed here before
 * it is taken out of the tree, or off its list, by an atomic store. So who finds it there no more finds the other claim. And if this
 * thread dies in the middle: what it has not claimed is found by the next one, and the rest by whoever reaps it.
 *
 * @module
 */
import { noteChange } from "../range_tree/header.ts";
import { partOf } from "./generate.ts";
import {
  clearPlace,
  lastOf,
  mappingFlagsOf,
  readMapping,
  setMappingFlags,
  sharedBoOf,
  startOf,
} from "./mapping.ts";
import type { VaState } from "./va_state.ts";
import { clearFlags, isOnAnyList, managerOf } from "./vm_bo.ts";

/** An entry that is a part of its mapping. */
interface Part {
  readonly first: number;
  readonly last: number;
  /** The mapping. */
  readonly cut: number;
}

/**
 * Finishes what a thread was changing that died, if it was; and makes the VmBos' lists anew. Under the outer lock.
 *
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
export function finishChange(state: VaState): void {
  const { bos, tree, words } = state;
  const { mappings } = state.caches;
  const parts = partsIn(state);
  const fresh = makeObjects(state, parts);
  const cut = new Set(parts.map((part) => part.cut));
  for (const mapping of cut) mappings.claim(mapping);
  parts.forEach(({ first, last, cut }, i) => {
    setMappingFlags(words, fresh[i], mappingFlagsOf(words, cut));
    // Over exactly one entry: it needs no memory.
    tree.storeRange(first, last, fresh[i]);
  });
  state.replaced.settle();
  const lost = lostIn(state);
  const gone = new Set([...cut, ...lost.mappings]);
  for (const mapping of gone) {
    mappings.claim(mapping);
    clearPlace(words, mapping);
  }
  for (const bo of lost.bos) {
    state.caches.bos.claim(bo);
    clearFlags(words, bo);
  }
  bos.repair(tree, state.links);
  // Where the tree has no lock, the thread may have died between its store and the note of that: lists that were made before are stale.
  noteChange(words, tree.ref, 0);
  state.isChanging = false;
  // One by one: so each is in this thread's hands until it is queued.
  for (const mapping of gone) mappings.defer(mapping);
  for (const bo of lost.bos) state.caches.bos.defer(bo);
}

/**
 * The mappings that name a VmBo of the manager, and its VmBos that are on a list of external or evicted ones, to which its trees do not
 * lead. Under the outer lock, with nothing noted as replaced.
 */
export function lostIn(state: VaState): { mappings: number[]; bos: number[] } {
  const { arena: { rcu }, bos, caches, words } = state;
  const ours = new Set(bos.refs());
  // Within it what is listed stays an object of its kind, if not the same one. Those of other managers may come to lists meanwhile: not
  // to ours.
  rcu.readLock();
  try {
    const mappings = caches.mappings.objects().filter((ref) =>
      ours.has(sharedBoOf(words, ref)) && !state.isInTree(ref)
    );
    const lostBos = caches.bos.objects().filter((bo) =>
      isOnAnyList(words, bo) && managerOf(words, bo) === state.header &&
      !ours.has(bo)
    );
    return { mappings, bos: lostBos };
  } finally {
    rcu.readUnlock();
  }
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
