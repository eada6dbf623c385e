/**
 * Iterating over a tree's entries while it may change.
 *
 * A step takes its own read section (or the lock) only when it needs to look at the tree: it copies a leaf's ranges into a
 * buffer of its own; once one buffer was used up, those of a few leaves. Before an entry is given out of the buffer, the
 * tree's generation is compared with the one at which the buffer was filled; if the tree has changed since, the buffer is
 * thrown away and filled anew from the index that comes next. So each entry was in the tree at the moment when it was given
 * out, and nothing is held between steps. (A writer notes the generation last: what it has replaced may be given out until then,
 * also to who has looked up what took its place. Were the generation noted before the publishing store as well, each store would
 * take one more locked instruction.)
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { generationOf } from "./header.ts";
import type { TreeParts } from "./parts.ts";
import { CopiedRanges, type Entry, PROTECTED, type Walk } from "./walk.ts";

/** From so many leaves a buffer is filled at most, if the one before was used up. */
const LEAVES = 3;

/** The entries of a window, one after the other. */
export class EntryIterator implements IterableIterator<Entry> {
  readonly #parts: TreeParts;
  readonly #words: Words;
  readonly #header: number;
  readonly #walk: Walk;
  readonly #site: string;
  readonly #reverse: boolean;
  readonly #ranges = new CopiedRanges();
  /** How many of the ranges were passed: their entries were given out. */
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
    const ranges = this.#ranges;
    const at = this.#step();
    if (at < 0) return { done: true, value: undefined };
    const { bounds, held } = ranges;
    const value = this.#reverse
      ? { first: bounds[at + 1], last: bounds[at] - 1, value: held[at] }
      : { first: bounds[at] + 1, last: bounds[at + 1], value: held[at] };
    return { done: false, value };
  }

  /** Calls back for each of the entries that are left, of an iterator that is not reverse. */
  forEach(
    callback: (first: number, last: number, value: number) => void,
  ): void {
    const { bounds, held } = this.#ranges;
    const words = this.#words, header = this.#header;
    while (this.#fill()) {
      const { count, generation } = this.#ranges;
      let at = 0;
      do {
        const value = held[at++];
        if (value === 0) continue;
        callback(bounds[at - 1] + 1, bounds[at], value);
        if (generationOf(words, header) !== generation) break;
      } while (at < count);
      this.#at = at;
    }
  }

  /** Passes the next range of the buffer that is an entry, and says where it is; −1 if there is none. */
  #step(): number {
    const ranges = this.#ranges, held = ranges.held;
    for (;;) {
      let at = this.#at;
      if (
        at === ranges.count ||
        generationOf(this.#words, this.#header) !== ranges.generation
      ) {
        if (!this.#fill()) return -1;
        at = 0;
      }
      const { count } = ranges;
      while (at < count) {
        if (held[at++] !== 0) {
          this.#at = at;
          return at - 1;
        }
      }
      this.#at = at;
    }
  }

  /** Fills the buffer with what comes next; says whether there is any. */
  #fill(): boolean {
    this.#pass();
    if (this.#from > this.#to) return false;
    const { lock } = this.#parts;
    if (!this.#copy(lock.seenFlags)) {
      const flags = lock.enterReader(this.#site);
      try {
        this.#copy(PROTECTED);
      } finally {
        lock.exitReader(flags);
      }
    }
    if (this.#ranges.count > 0) return true;
    // The tree is empty, and this is at its end for good.
    this.#to = -1;
    return false;
  }

  /** Empties the buffer; what was passed is no longer to be given out. */
  #pass(): void {
    const ranges = this.#ranges, at = this.#at;
    this.#leaves = at > 0 && at === ranges.count ? LEAVES : 1;
    if (at > 0) {
      if (this.#reverse) this.#to = ranges.bounds[at] - 1;
      else this.#from = ranges.bounds[at] + 1;
    }
    this.#at = ranges.count = 0;
  }

  #copy(flags: number): boolean {
    const walk = this.#walk, header = this.#header, ranges = this.#ranges;
    const from = this.#from, to = this.#to, leaves = this.#leaves;
    return this.#reverse
      ? walk.copyBackward(header, from, to, leaves, flags, ranges)
      : walk.copyForward(header, from, to, leaves, flags, ranges);
  }
}
