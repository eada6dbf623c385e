/**
 * Where a reader stands: one slot of one leaf, and what it covers.
 *
 * A walk only ever goes down, from the root, with one atomic load a node. (A compiled one that copies from several leaves goes on over
 * their parent; `assembly/walk.ts` says why it may.) It is taken inside a read section or under the tree's lock, and its leaf must not be
 * followed outside of it; the indices and the value are the reader's own copy.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { Words } from "../sync/atomics.ts";
import { compiledFor, type CompiledTrees } from "./compiled.ts";
import { generationOf, rootOf } from "./header.ts";
import {
  countEntries,
  countOf,
  type Doubles,
  heightOf,
  MAX_INDEX,
  pivotOf,
  slotFor,
  slotOf,
} from "./node.ts";

/** The most entries that are copied at once. */
const MAX_COPIED = 124;

// Where compiled loops leave what they found, from the thread's scratch words on. A walk, in doubles: the range that covers the
// index, and what its leaf covers …
const FIRST = 0;
const LAST = 1;
const MIN = 2;
const MAX = 3;
// … and in words: the entry, the leaf, the slot in it, how many it has.
const VALUE = 8;
const LEAF = 9;
const SLOT = 10;
const COUNT = 11;
// Copied entries: their first and last indices, in doubles from the beginning on; behind these in words what they hold, the tree's
// generation, and how many there are.
const LASTS = MAX_COPIED;
const VALUES = 4 * MAX_COPIED;
const GENERATION = VALUES + MAX_COPIED;
const COPIED = GENERATION + 1;

// What a compiled step answers if it went nowhere, and if it left the leaf.
const NOWHERE = -1;
const ELSEWHERE = -2;

/** The flags of no tree: the caller protects the walk. */
export const PROTECTED = 0;

/**
 * The reserved entry. It occupies its range like any other, so nothing is inserted or allocated there, but reads as empty:
 * only a {@linkcode Cursor} sees it. Analogous to Linux `XA_ZERO_ENTRY`.
 */
export const RESERVED = 0xffff_ffff;

/** One stored range. */
export interface Entry {
  /** Its first index. */
  readonly first: number;
  /** Its last index, inclusive. */
  readonly last: number;
  /** What is stored there, 1 to 2^32 − 2; a cursor also finds {@linkcode RESERVED}. */
  readonly value: number;
}

/** Entries as columns: the one at `i` of `count` is `values[i]`, over `firsts[i]` … `lasts[i]`. What lies behind them is of no use. */
export interface EntryColumns {
  /** How many there are. */
  readonly count: number;
  /** The first index of each. */
  readonly firsts: Float64Array<ArrayBuffer>;
  /** The last index of each, inclusive. */
  readonly lasts: Float64Array<ArrayBuffer>;
  /** What is stored there. */
  readonly values: Uint32Array<ArrayBuffer>;
}

/** The buffer that was given back last, if it was not taken again: a new one takes as long as many steps. */
let spare: CopiedEntries | undefined;

/** Entries that follow each other, as they were copied from a tree, in order or the last one first. */
export class CopiedEntries implements EntryColumns {
  count = 0;
  readonly firsts: Float64Array<ArrayBuffer>;
  readonly lasts: Float64Array<ArrayBuffer>;
  readonly values: Uint32Array<ArrayBuffer>;
  /** The tree's generation before they were copied. */
  generation = 0;
  /** The last index, or in reverse the first one, up to which there was nothing else. */
  reached = 0;

  /** A buffer for so many; by default for what is copied at once. */
  constructor(most = MAX_COPIED) {
    this.firsts = new Float64Array(most);
    this.lasts = new Float64Array(most);
    this.values = new Uint32Array(most);
  }

  /** A buffer that nobody uses. */
  static take(): CopiedEntries {
    // Its columns may have been transferred by somebody who has kept them.
    const buffer = spare?.hasColumns ? spare : new CopiedEntries();
    spare = undefined;
    return buffer;
  }

  /** Whether none of its columns was transferred to another thread. */
  get hasColumns(): boolean {
    const { firsts, lasts, values } = this;
    return Math.min(firsts.length, lasts.length, values.length) > 0;
  }

  /** Gives the buffer back: it is not used again by whoever had it. */
  give(): void {
    spare = this;
  }

  /** Another buffer, of the same tree as far as that was looked at, but without the entries. */
  renewed(): CopiedEntries {
    const other = new CopiedEntries();
    const { count, generation, reached } = this;
    return Object.assign(other, { count, generation, reached });
  }

  /** Adds a range, unless it is empty. */
  add(first: number, last: number, value: number): void {
    if (value === 0) return;
    const at = this.count++;
    this.firsts[at] = first;
    this.lasts[at] = last;
    this.values[at] = value;
  }
}

/** A position in a tree: the range, stored or empty, that covers an index. */
export class Walk {
  /** The first index of the range. */
  first = 0;
  /** The last index of the range. */
  last: number = MAX_INDEX;
  /** What is stored there, 0 = empty. */
  value = 0;
  #leaf = 0;
  #slot = 0;
  #count = 0;
  #min = 0;
  #max: number = MAX_INDEX;
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #compiled: CompiledTrees | undefined;
  /** The first of the thread's scratch words. */
  readonly #scratch: number;
  /** What is read as empty: the reserved entry, or nothing but the empty one. */
  readonly #hidden: number;

  /** A walk over the trees of one arena. It takes reserved ranges for empty, unless it is to see them. */
  constructor(arena: Arena, seesReserved = false) {
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    this.#compiled = compiledFor(arena);
    this.#scratch = arena.scratchIndex;
    this.#hidden = seesReserved ? 0 : RESERVED;
  }

  /** Walks to the range that covers an index. */
  to(header: number, index: number): void {
    if (this.#compiled === undefined) return this.#to(header, index);
    this.#compiled.seek(header, index);
    this.#takeWalk();
  }

  #takeWalk(): void {
    const words = this.#words, word = this.#scratch;
    const doubles = this.#doubles, double = word >>> 1;
    this.first = doubles[double + FIRST];
    this.last = doubles[double + LAST];
    this.#min = doubles[double + MIN];
    this.#max = doubles[double + MAX];
    this.#leaf = words[word + LEAF];
    this.#slot = words[word + SLOT];
    this.#count = words[word + COUNT];
    this.value = this.#seen(words[word + VALUE]);
  }

  #to(header: number, index: number): void {
    const words = this.#words, doubles = this.#doubles;
    let min = 0, max = MAX_INDEX;
    // Pairs with the publishing store of the writer, as does every `slotOf` below.
    let node = rootOf(words, header);
    if (node === 0) {
      this.#leaf = 0;
      this.#count = 0;
    } else {
      let slot = slotFor(doubles, node, index);
      for (let height = heightOf(words, node); height > 0; height--) {
        if (slot > 0) min = pivotOf(doubles, node, slot - 1, max) + 1;
        max = pivotOf(doubles, node, slot, max);
        node = slotOf(words, node, slot);
        slot = slotFor(doubles, node, index);
      }
      this.#leaf = node;
      this.#slot = slot;
      this.#count = countOf(words, node);
    }
    this.#min = min;
    this.#max = max;
    this.#read();
  }

  /** Walks to the first stored range that ends at or after an index and begins at or before `max`; says if there is one. */
  find(header: number, index: number, max: number): boolean {
    this.to(header, index);
    while (this.value === 0) {
      if (!this.forward(header, max)) return false;
    }
    return true;
  }

  /** Goes on to the next stored range that begins at or before `max`; says if there is one. */
  next(header: number, max: number): boolean {
    do {
      if (!this.forward(header, max)) return false;
    } while (this.value === 0);
    return true;
  }

  /**
   * The first entry that contains or follows an index and begins at or before `max`, 0 if there is none. It can be had as
   * {@linkcode Walk.entry}, but the walk is nowhere after it.
   *
   * This function, and those behind it, look at the tree in a read section of their own where they are given the tree's flags; they
   * return -1 if these are others now, or say that readers need the lock, or if this can't be done in one call.
   *
   * @param passes Whether the entry that contains the index is passed over.
   * @param flags The tree's flags; {@linkcode PROTECTED} if the caller is in a read section or holds the lock.
   */
  entryFrom(
    header: number,
    index: number,
    max: number,
    passes: boolean,
    flags: number,
  ): number {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      return this.#take(compiled.find(header, index, max, passes, flags));
    }
    if (flags !== PROTECTED) return -1;
    if (index > max) return 0;
    this.to(header, index);
    // Also behind the leaf, where the way on may lead over a newer root, a range may contain the index.
    while (this.value === 0 || (passes && this.first <= index)) {
      if (!this.forward(header, max)) return 0;
    }
    return this.value;
  }

  /** The last entry that ends before an index and at or after `min`, 0 if there is none. As {@linkcode Walk.entryFrom}. */
  entryBefore(
    header: number,
    index: number,
    min: number,
    flags: number,
  ): number {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      return this.#take(compiled.findBefore(header, index, min, flags));
    }
    if (flags !== PROTECTED) return -1;
    this.to(header, index);
    while (this.value === 0 || this.last >= index) {
      if (!this.backward(header, min)) return 0;
    }
    return this.value;
  }

  #take(found: number): number {
    if (found > 0) {
      const double = this.#scratch >>> 1;
      this.first = this.#doubles[double + FIRST];
      this.last = this.#doubles[double + LAST];
      this.value = found;
    }
    return found;
  }

  /**
   * Copies the entries that overlap `from` … `to`, in order, as far as they lie in the first leaf that covers any of it or in some behind
   * it; says whether it could: not, if the tree's flags are not these, or say that readers need the lock, or this can't be done in one
   * call. The flags are as in {@linkcode Walk.entryFrom}.
   *
   * @param leaves The most leaves to copy from. (The TypeScript looks at one alone.)
   */
  copyForward(
    header: number,
    from: number,
    to: number,
    leaves: number,
    flags: number,
    entries: CopiedEntries,
  ): boolean {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      const reached = compiled.copyForward(header, from, to, leaves, flags);
      return this.#takeCopies(reached, entries);
    }
    if (flags !== PROTECTED) return false;
    this.#beginCopying(header, from, entries);
    do {
      entries.add(this.first, this.last, this.value);
    } while (this.last < to && this.#stepInLeaf());
    entries.reached = this.last;
    return true;
  }

  /** Copies the entries of the last such leaf and of some before it, the last one first. As {@linkcode Walk.copyForward}. */
  copyBackward(
    header: number,
    from: number,
    to: number,
    leaves: number,
    flags: number,
    entries: CopiedEntries,
  ): boolean {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      const reached = compiled.copyBackward(header, from, to, leaves, flags);
      return this.#takeCopies(reached, entries);
    }
    if (flags !== PROTECTED) return false;
    this.#beginCopying(header, to, entries);
    do {
      entries.add(this.first, this.last, this.value);
    } while (this.first > from && this.#stepBackInLeaf());
    entries.reached = this.first;
    return true;
  }

  #beginCopying(header: number, index: number, entries: CopiedEntries): void {
    entries.generation = generationOf(this.#words, header);
    entries.count = 0;
    this.to(header, index);
  }

  #takeCopies(reached: number, entries: CopiedEntries): boolean {
    if (reached < 0) return false;
    const words = this.#words, word = this.#scratch;
    const doubles = this.#doubles, double = word >>> 1;
    const { firsts, lasts, values } = entries;
    const count = words[word + COPIED];
    for (let i = 0; i < count; i++) {
      firsts[i] = doubles[double + i];
      lasts[i] = doubles[double + LASTS + i];
      values[i] = words[word + VALUES + i];
    }
    entries.count = count;
    entries.generation = words[word + GENERATION];
    entries.reached = reached;
    return true;
  }

  /** How many stored ranges overlap `from` … `to`: inside a read section or under the lock. The walk is nowhere after it. */
  count(header: number, from: number, to: number): number {
    if (this.#compiled !== undefined) {
      return this.#compiled.countEntries(header, from, to);
    }
    let entries = 0;
    for (let at = from;; at = this.#max + 1) {
      this.to(header, at);
      if (this.#leaf === 0) return entries;
      entries += countEntries(
        this.#words,
        this.#doubles,
        this.#leaf,
        this.#slot,
        this.first,
        to,
        this.#hidden,
      );
      if (this.#max >= to) return entries;
    }
  }

  /** The range as an entry. */
  entry(): Entry {
    return { first: this.first, last: this.last, value: this.value };
  }

  /** Goes on to the next range, stored or empty, if it begins at or before `max`; says if it does. */
  forward(header: number, max: number): boolean {
    if (this.last >= max) return false;
    if (!this.#stepInLeaf()) this.to(header, this.last + 1);
    return true;
  }

  /** Goes back to the range before, stored or empty, if it ends at or after `min`; says if it does. */
  backward(header: number, min: number): boolean {
    if (this.first <= min) return false;
    if (!this.#stepBackInLeaf()) this.to(header, this.first - 1);
    return true;
  }

  /**
   * Goes on to the next range, or the next entry, that begins at or before `max`, if the tree's generation is still that one; says if
   * it did. If not, the walk may have passed some ranges: empty ones, or in a newer tree one that contains where it was. For walks that
   * see reserved ranges.
   */
  stepOn(
    header: number,
    generation: number,
    max: number,
    skipsEmpty: boolean,
  ): boolean {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      return this.#takeStep(
        compiled.stepOn(
          header,
          generation,
          this.#leaf,
          this.#slot,
          this.first,
          this.last,
          this.#max,
          max,
          skipsEmpty,
        ),
      );
    }
    if (generationOf(this.#words, header) !== generation) return false;
    const from = this.first;
    while (this.forward(header, max)) {
      if (this.first > from && (this.value !== 0 || !skipsEmpty)) return true;
    }
    return false;
  }

  /** Goes back to the range, or the entry, before, that ends at or after `min`, as {@linkcode Walk.stepOn}. */
  stepBack(
    header: number,
    generation: number,
    min: number,
    skipsEmpty: boolean,
  ): boolean {
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      return this.#takeStep(
        compiled.stepBack(
          header,
          generation,
          this.#leaf,
          this.#slot,
          this.last,
          this.first,
          this.#min,
          min,
          skipsEmpty,
        ),
      );
    }
    if (generationOf(this.#words, header) !== generation) return false;
    const from = this.last;
    while (this.backward(header, min)) {
      if (this.last < from && (this.value !== 0 || !skipsEmpty)) return true;
    }
    return false;
  }

  #takeStep(slot: number): boolean {
    if (slot >= 0) {
      const word = this.#scratch, double = word >>> 1;
      this.#slot = slot;
      this.first = this.#doubles[double + FIRST];
      this.last = this.#doubles[double + LAST];
      this.value = this.#words[word + VALUE] >>> 0;
    } else if (slot === ELSEWHERE) {
      this.#takeWalk();
    }
    return slot !== NOWHERE;
  }

  /** Whether there is a further range, stored or empty, in the same leaf, and goes there. */
  #stepInLeaf(): boolean {
    if (this.#slot + 1 >= this.#count) return false;
    this.#slot++;
    this.first = this.last + 1;
    this.last = pivotOf(this.#doubles, this.#leaf, this.#slot, this.#max);
    this.value = this.#seen(slotOf(this.#words, this.#leaf, this.#slot));
    return true;
  }

  /** Whether there is a range before this one, stored or empty, in the same leaf, and goes there. */
  #stepBackInLeaf(): boolean {
    if (this.#slot === 0 || this.#leaf === 0) return false;
    this.#slot--;
    this.#read();
    return true;
  }

  #read(): void {
    const leaf = this.#leaf, slot = this.#slot;
    if (leaf === 0) {
      this.first = 0;
      this.last = MAX_INDEX;
      this.value = 0;
      return;
    }
    this.first = slot === 0
      ? this.#min
      : pivotOf(this.#doubles, leaf, slot - 1, this.#max) + 1;
    this.last = pivotOf(this.#doubles, leaf, slot, this.#max);
    this.value = this.#seen(slotOf(this.#words, leaf, slot));
  }

  /** What a slot's word is read as. */
  #seen(word: number): number {
    const held = word >>> 0;
    return held === this.#hidden ? 0 : held;
  }
}
