/**
 * Iterating over a tree's entries while it may change.
 *
 * A step takes its own read section (or the lock) only when it needs to look at the tree: it copies a leaf's entries into a
 * buffer of its own; once one buffer was used up, those of a few leaves. Before a further entry is given out of the buffer, the
 * tree's generation is compared with the one at which the buffer was filled; if the tree has changed since, what is left in the
 * buffer is thrown away, and it is filled anew from the index that comes next. So each entry was in the tree in the step that
 * gave it out, and nothing is held between steps. Who takes all of the buffer at once compares nothing: each entry was in the tree
 * while the buffer was filled. (A writer notes the generation last: what it has replaced may be given out until then,
 * also to who has looked up what took its place. Were the generation noted before the publishing store as well, each store would
 * take one more locked instruction.)
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { generationOf } from "./header.ts";
import type { TreeParts } from "./parts.ts";
import {
  CopiedEntries,
  type Entry,
  type EntryColumns,
  PROTECTED,
  type Walk,
} from "./walk.ts";

/** From so many leaves a buffer is filled at most, if the one before was used up. */
const LEAVES = 12;

/** The buffer of an iterator that is at an end of its window. */
const NONE = new CopiedEntries(0);

/** The entries of a window, one after the other. */
export class EntryIterator implements IterableIterator<Entry> {
  readonly #parts: TreeParts;
  readonly #words: Words;
  readonly #header: number;
  readonly #walk: Walk;
  readonly #site: string;
  readonly #reverse: boolean;
  /** Its buffer, until it has ended. */
  #copied = NONE;
  /** How many of the entries were given out. */
  #at = 0;
  /** The next buffer is filled from so many. */
  #leaves = 1;
  /** When the buffer was filled, or will be, this was to be given out: what overlaps `from` … `to`. */
  #from: number;
  #to: number;

  /** Iterates over the entries that overlap `from` … `to`, perhaps from the last one back. */
  constructor(
    parts: TreeParts,
    walk: Walk,
    site: string,
    from: number,
    to: number,
    reverse: boolean,
  ) {
    this.#parts = parts;
    this.#words = parts.arena.words;
    this.#header = parts.header;
    this.#walk = walk;
    this.#site = site;
    this.#from = from;
    this.#to = to;
    this.#reverse = reverse;
  }

  /** The iterator itself. */
  [Symbol.iterator](): IterableIterator<Entry> {
    return this;
  }

  /** The next entry of the window. */
  next(): IteratorResult<Entry> {
    if (this.#at === this.#copied.count || this.#hasChanged()) {
      if (!this.#fill()) return { done: true, value: undefined };
    }
    const { firsts, lasts, values } = this.#copied, at = this.#at++;
    const value = { first: firsts[at], last: lasts[at], value: values[at] };
    return { done: false, value };
  }

  /** Calls back for each of the entries that are left. */
  forEach(
    callback: (first: number, last: number, value: number) => void,
  ): void {
    // Read once: they stay, and it is asked after each entry.
    const words = this.#words, header = this.#header;
    while (this.#fill()) {
      const { count, firsts, generation, lasts, values } = this.#copied;
      let at = 0;
      do {
        callback(firsts[at], lasts[at], values[at]);
        at++;
      } while (at < count && generationOf(words, header) === generation);
      this.#at = at;
    }
  }

  /** Calls back for all entries that are left, some at a time. */
  forEachMany(callback: (entries: EntryColumns) => void): void {
    while (this.#fill()) {
      const { count, firsts, lasts, values } = this.#copied;
      const last = lasts[count - 1];
      this.#at = count;
      callback({ count, firsts, lasts, values });
      // The columns were the callback's: it may have written there, or may have transferred them to another thread.
      if (!this.#copied.hasColumns) this.#copied = this.#copied.renewed();
      this.#copied.lasts[count - 1] = last;
    }
  }

  #hasChanged(): boolean {
    return generationOf(this.#words, this.#header) !== this.#copied.generation;
  }

  /** Fills the buffer with what comes next; says whether there is any. */
  #fill(): boolean {
    this.#pass();
    const { lock } = this.#parts;
    while (this.#from <= this.#to) {
      if (this.#copied === NONE) this.#copied = CopiedEntries.take();
      if (!this.#copy(lock.seenFlags)) {
        const flags = lock.enterReader(this.#site);
        try {
          this.#copy(PROTECTED);
        } finally {
          lock.exitReader(flags);
        }
      }
      if (this.#copied.count > 0) return true;
      this.#passTo(this.#copied.reached);
    }
    if (this.#copied !== NONE) this.#copied.give();
    this.#copied = NONE;
    return false;
  }

  /** Empties the buffer; what was given out is passed, and where the tree is still the same what else was looked at. */
  #pass(): void {
    const copied = this.#copied, at = this.#at, isUsedUp = at === copied.count;
    this.#leaves = at > 0 && isUsedUp ? LEAVES : 1;
    if (at > 0) {
      const { firsts, lasts } = copied;
      if (isUsedUp && !this.#hasChanged()) this.#passTo(copied.reached);
      else this.#passTo(this.#reverse ? firsts[at - 1] : lasts[at - 1]);
    }
    this.#at = copied.count = 0;
  }

  /** Nothing up to there, or in reverse down to there, is to be given out any more. */
  #passTo(index: number): void {
    if (this.#reverse) this.#to = index - 1;
    else this.#from = index + 1;
  }

  #copy(flags: number): boolean {
    const walk = this.#walk, header = this.#header, copied = this.#copied;
    const from = this.#from, to = this.#to, leaves = this.#leaves;
    return this.#reverse
      ? walk.copyBackward(header, from, to, leaves, flags, copied)
      : walk.copyForward(header, from, to, leaves, flags, copied);
  }
}
