/**
 * Iterating over a tree's entries while it may change.
 *
 * A step takes its own read section (or the lock) only when it needs to look at the tree: it copies a leaf's entries into a
 * buffer of its own; once one buffer was used up, those of a few leaves. Before an entry is given out of the buffer, the
 * tree's generation is compared with the one at which the buffer was filled; if the tree has changed since, the buffer is
 * thrown away and filled anew from the index that comes next. So each entry was in the tree at the moment when it was given
 * out, and nothing is held between steps.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { generationOf } from "./header.ts";
import type { TreeParts } from "./parts.ts";
import { type Entry, entryBuffer, PROTECTED, type Walk } from "./walk.ts";

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
  /** Entries, those from `#at` to `#end` still to be given out. */
  readonly #copies = entryBuffer();
  #at = 0;
  #end = 0;
  #generation = 0;
  /** As far as which there are no others, unless the tree has changed since. */
  #reached = 0;
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
    const at = this.#step();
    if (at < 0) return { done: true, value: undefined };
    const copies = this.#copies, value = copies[at + 2] >>> 0;
    return {
      done: false,
      value: { first: copies[at], last: copies[at + 1], value },
    };
  }

  /** Calls back for each of the entries that are left. */
  forEach(
    callback: (first: number, last: number, value: number) => void,
  ): void {
    const copies = this.#copies, words = this.#words, header = this.#header;
    for (;;) {
      this.#fill();
      const end = this.#end, generation = this.#generation;
      if (end === 0) return;
      let at = 0;
      do {
        callback(copies[at], copies[at + 1], copies[at + 2] >>> 0);
        at += 3;
      } while (at < end && generationOf(words, header) === generation);
      this.#at = at;
    }
  }

  /** Where in the buffer the next entry of the window is; −1 if there is none. */
  #step(): number {
    if (
      this.#at === this.#end ||
      generationOf(this.#words, this.#header) !== this.#generation
    ) {
      this.#fill();
      if (this.#end === 0) return -1;
    }
    const at = this.#at;
    this.#at = at + 3;
    return at;
  }

  #fill(): void {
    this.#pass();
    if (this.#from > this.#to) return;
    const { lock } = this.#parts;
    let copied = this.#copy(lock.seenFlags);
    if (copied < 0) {
      const flags = lock.enterReader(this.#site);
      try {
        copied = this.#copy(PROTECTED);
      } finally {
        lock.exitReader(flags);
      }
    }
    this.#end = 3 * copied;
    this.#generation = this.#walk.generation;
    this.#reached = this.#walk.reached;
  }

  /** Empties the buffer; what was given out of it is no longer to be given out, nor what it says is not there. */
  #pass(): void {
    const given = this.#at - 3, end = this.#end;
    this.#at = this.#end = 0;
    if (given < 0) return;
    const isUsedUp = given + 3 === end &&
      generationOf(this.#words, this.#header) === this.#generation;
    this.#leaves = isUsedUp ? LEAVES : 1;
    const copies = this.#copies;
    if (this.#reverse) {
      this.#to = (isUsedUp ? this.#reached : copies[given]) - 1;
    } else {
      this.#from = (isUsedUp ? this.#reached : copies[given + 1]) + 1;
    }
  }

  #copy(flags: number): number {
    const walk = this.#walk, header = this.#header, copies = this.#copies;
    const from = this.#from, to = this.#to, leaves = this.#leaves;
    return this.#reverse
      ? walk.copyBackward(header, from, to, leaves, flags, copies)
      : walk.copyForward(header, from, to, leaves, flags, copies);
  }
}
