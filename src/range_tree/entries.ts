/**
 * Iterating over a tree's entries while it may change.
 *
 * A step takes its own read section (or the lock) only when it needs to look at the tree: it reads a whole leaf's entries
 * into a buffer of its own. Before an entry is given out of the buffer, the tree's generation is compared with the one
 * at which the buffer was filled; if the tree has changed since, the buffer is thrown away and filled anew from the index
 * that comes next. So each entry was in the tree at the moment when it was given out, and nothing is held between steps.
 *
 * @module
 */
import { MAX_SLOTS } from "./node.ts";
import type { Entry, Walk } from "./walk.ts";

/** What the iterator needs of its tree. */
export interface EntrySource {
  /** A number that goes up with every change of the tree. */
  generation(): number;
  /** Calls `read` inside a read section or under the lock. */
  reading(read: (walk: Walk, header: number) => void): void;
}

/** The entries of a window, one after the other. */
export class EntryIterator implements IterableIterator<Entry> {
  readonly #source: EntrySource;
  readonly #reverse: boolean;
  readonly #firsts = new Float64Array(MAX_SLOTS);
  readonly #lasts = new Float64Array(MAX_SLOTS);
  readonly #values = new Uint32Array(MAX_SLOTS);
  #at = 0;
  #size = 0;
  #generation = -1;
  /** What is still to be given out overlaps `from` … `to`. */
  #from: number;
  #to: number;

  /** Iterates over the entries that overlap `from` … `to`, perhaps from the last one back. */
  constructor(
    source: EntrySource,
    from: number,
    to: number,
    reverse: boolean,
  ) {
    this.#source = source;
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
    const source = this.#source;
    if (this.#at === this.#size || source.generation() !== this.#generation) {
      this.#at = this.#size = 0;
      if (this.#from <= this.#to) {
        source.reading((walk, header) => this.#fill(walk, header));
      }
      if (this.#size === 0) return { done: true, value: undefined };
    }
    const at = this.#at++;
    const first = this.#firsts[at], last = this.#lasts[at];
    if (this.#reverse) this.#to = first - 1;
    else this.#from = last + 1;
    return { done: false, value: { first, last, value: this.#values[at] } };
  }

  #fill(walk: Walk, header: number): void {
    this.#generation = this.#source.generation();
    // What was found may be emptied in place before it is copied: then the search goes on.
    while (this.#size === 0 && this.#find(walk, header)) {
      this.#size = this.#reverse
        ? walk.copyEntriesReverse(
          this.#from,
          this.#firsts,
          this.#lasts,
          this.#values,
        )
        : walk.copyEntries(
          this.#to,
          this.#firsts,
          this.#lasts,
          this.#values,
        );
    }
  }

  #find(walk: Walk, header: number): boolean {
    return this.#reverse
      ? walk.findReverse(header, this.#to, this.#from)
      : walk.find(header, this.#from, this.#to);
  }
}
