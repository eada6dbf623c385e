/**
 * Mappings that were replaced and not yet taken off their VmBos' lists: up to eight refs noted in the manager's header.
 *
 * To take a mapping off a list is to write to the mappings before and behind it, which lie anywhere: in a large manager one waits
 * for the old mapping's line and for each of these. So a compiled bind (`VaState.replaceAndExit`) only notes which mapping it has
 * replaced, without looking at it, and when there are eight they are **settled** together: their lines are fetched at once, then
 * their neighbours', then each is taken off its list and deferred.
 *
 * Words 17 to 24 hold the refs, word 25 says how many of them are sure. Written under the outer lock alone, whose holder may be
 * another thread each time; the notes atomically, because whoever reaps a thread reads those of managers that live on. A bind
 * notes the old mapping, publishes the new one, then counts the note: so what is noted behind those that count was left by a
 * thread that died in between, and is *in doubt*: replaced or not. Everything that changes a manager settles that first
 * (`VaState.assertWriter`), so a bind finds the next word empty.
 *
 * A noted mapping is on its VmBo's list still, so the lists stay whole: others may be linked behind it and unlinked beside it. What
 * somebody looks at (a list, how many there are on it, a VmBo that is to be freed, a manager that is to be destroyed) is settled
 * first.
 *
 * **None is noted twice, or freed twice.** What is noted was found in the tree under its lock, as an entry that is all of the
 * mapping, and the next store took it out; what is not in the tree can't be found there, nor be removed otherwise. (All of it: an
 * entry is a part only while a mapping is being cut, and before a bind begins, such a cut is finished: see `unfinished.ts`.)
 * Its memory becomes another mapping only once it was deferred, and its note is cleared before.
 * If the thread dies before the entry is replaced, the note is in doubt, and settling finds the mapping in the tree, and only
 * clears the note.
 *
 * **None is lost when a thread dies.** Its link word still names whoever allocated it. As long as a note names it, no sweep frees
 * it (`recover.ts`), and the next one to settle does. That unlinks all, which does nothing to one that is unlinked; then for each
 * one it claims it, clears the note by an atomic store, and defers it. So who reaps reads, in this order: by an atomic load, that
 * the mapping is in no tree; then the notes; then the claim. If it does not find the note, it was cleared, since the note was
 * stored before the mapping left the tree; then the claim, which precedes the clearing, names the thread that has settled.
 *
 * @module
 */
import type { SlabCache } from "../slab/mod.ts";
import { load, store, type Words } from "../sync/atomics.ts";

const NOTES = 17;
const COUNT = 25;
const MAX_NOTES = COUNT - NOTES;

/** Whether a mapping is noted in a manager's header as replaced. From any thread. */
export function isNoted(
  words: Words,
  header: number,
  mapping: number,
): boolean {
  const first = header * 16 + NOTES;
  for (let at = first; at < first + MAX_NOTES; at++) {
    // Pairs with the stores of whoever notes it, and of who settles.
    if (load(words, at) >>> 0 === mapping) return true;
  }
  return false;
}

/** What a table of replaced mappings works on. */
export interface ReplacedTarget {
  /** Every shared word. */
  readonly words: Words;
  /** The manager's header. */
  readonly header: number;
  /** Where mappings come from. */
  readonly cache: SlabCache;
  /** Whether a mapping is in the tree. */
  isInTree(mapping: number): boolean;
  /** To be called before any is claimed. */
  noteRetirement(): void;
  /** Takes all that are noted off their lists. */
  unlink(refs: readonly number[]): void;
}

/**
 * The mappings of one manager that were replaced and not yet taken off their lists.
 *
 * Thread contract: an object belongs to one thread; everything is used under the manager's outer lock.
 */
export class Replaced {
  readonly #target: ReplacedTarget;
  readonly #words: Words;
  readonly #notes: number;
  readonly #count: number;

  /** Those of that manager. */
  constructor(target: ReplacedTarget) {
    this.#target = target;
    this.#words = target.words;
    this.#notes = target.header * 16 + NOTES;
    this.#count = target.header * 16 + COUNT;
  }

  /** Whether a thread has died that left what must be settled before anything is changed. */
  get isInDoubt(): boolean {
    const words = this.#words;
    // Behind the last word stands the number: where all eight are full, that.
    return words[this.#notes + words[this.#count]] !== 0;
  }

  /** Takes what is noted off the lists, and defers its freeing. Needs no memory. */
  settle(): void {
    const words = this.#words, notes = this.#notes;
    if (words[this.#count] === 0 && words[notes] === 0) return;
    const { cache, unlink, isInTree, noteRetirement } = this.#target;
    noteRetirement();
    // What was not replaced after all.
    for (let i = words[this.#count]; i < MAX_NOTES; i++) {
      const ref = words[notes + i] >>> 0;
      if (ref !== 0 && isInTree(ref)) store(words, notes + i, 0);
    }
    unlink(this.#refs());
    for (let i = 0; i < MAX_NOTES; i++) {
      const ref = words[notes + i] >>> 0;
      if (ref === 0) continue;
      cache.claim(ref);
      // Pairs with the load of whoever reaps.
      store(words, notes + i, 0);
      cache.defer(ref);
    }
    words[this.#count] = 0;
  }

  #refs(): number[] {
    const words = this.#words, refs: number[] = [];
    for (let i = 0; i < MAX_NOTES; i++) {
      const ref = words[this.#notes + i] >>> 0;
      if (ref !== 0) refs.push(ref);
    }
    return refs;
  }
}
