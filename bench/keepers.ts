/**
 * What the benchmark `speed` measures: keepers of ranges, the tree in its modes and (in `peers.ts`) what a JavaScript
 * program would take instead. A process has one kind of keeper, so every call through the interface has one target.
 *
 * @module
 */
import {
  type Arena,
  type Cursor,
  type Entry,
  type EntryColumns,
  MAX_INDEX,
  RangeTree,
  type RangeTreeOptions,
} from "../mod.ts";
import { emptyHash, fold, SPAN } from "./keys.ts";
import type { OperationName } from "./operations.ts";
import { arenaFor } from "./trees.ts";

/** A map from ranges to entries. */
export interface Keeper {
  /** What is not to be tried at the size that it was created for: it would take minutes. */
  readonly skips: ReadonlySet<OperationName>;
  /** Stores many ranges, whatever is there. */
  storeMany?(columns: Columns): void;
  /** The entries at many indices. */
  loadMany?(indices: Float64Array): ArrayLike<number>;
  /** Stores a range where nothing is. */
  insert(first: number, last: number, value: number): void;
  /** Gives a range that is stored another entry. */
  overwrite(first: number, last: number, value: number): void;
  /** Stores an entry in a part of a range (not at its ends), then the range as it was. */
  splitAndRejoin(whole: Entry, part: Entry): void;
  /** Removes a range that is stored. */
  erase(first: number, last: number): void;
  /** The entry at an index, 0 where nothing is stored. */
  valueAt(index: number): number;
  /** The hash of all that is stored, in order: each range folded by {@linkcode foldEntry}. */
  hash(): number;
  /** The same, by a callback. */
  hashByCallback?(): number;
  /** The same, by callbacks with many entries. */
  hashByMany?(): number;
  /** The same, by a cursor under one hold of the lock, or in one read section. */
  hashByCursor?(): number;
  /** A copy that shares nothing with it that either changes. */
  clone?(): Keeper;
  /** Prepares so many ranges of that width in the form that it takes best and returns what fills it, empty as it is, with them. */
  bulkLoader?(ranges: number, width: number): () => void;
  /** Does all that within one read section. */
  inOneSection?<Result>(work: () => Result): Result;
  /** Hands `work` a search for the lowest of `size` free indices from `min` on. */
  searching?<Result>(work: (search: Search) => Result): Result;
  /** Gives back what it takes; it is not used again. */
  discard?(): void;
}

/** Many ranges, a column for each of what they are. */
export interface Columns {
  readonly firsts: Float64Array;
  readonly lasts: Float64Array;
  readonly values: Float64Array;
}

/** Finds the lowest of `size` free indices from `min` on. */
export type Search = (min: number, size: number) => number;

/** What a keeper skips that does everything that it can. */
export const SKIPS_NOTHING: ReadonlySet<OperationName> = new Set();

/** A keeper with nothing in it and room for that many ranges, where the largest one of its kind has room for `largest`. */
export type Create = (ranges: number, largest: number) => Keeper;

/**
 * A hash with one more entry. By one word, since it is part of what is timed; weighted, so that a number that is too large
 * does not make up for one that is too small.
 */
export function foldEntry(
  hash: number,
  first: number,
  last: number,
  value: number,
): number {
  return fold(hash, first + 3 * last + 5 * value);
}

/** The modes of trees, by name; the one without a lock is for a program with one thread. */
export const TREES: Readonly<Record<string, RangeTreeOptions>> = {
  "plain": {},
  "RCU": { rcu: true },
  "gaps": { gaps: true },
  "gaps+RCU": { rcu: true, gaps: true },
  "no lock": { lock: "none" },
};

/** Creates trees of a mode, all of them in one arena: that is what a program has, and what V8 makes the best code for. */
export function treeOf(mode: RangeTreeOptions): Create {
  let arena: Arena | undefined;
  return (_ranges, largest) => {
    // One is cloned into the same arena.
    arena ??= arenaFor(2 * largest);
    return new TreeKeeper(arena, RangeTree.create(arena, mode), mode);
  };
}

/** The entry that range `range` of that width holds first. */
export function entryOf(range: number, width: number): Entry {
  const first = range * SPAN;
  return { first, last: first + width - 1, value: range + 1 };
}

/** The ranges in some order, with so much more as values. */
export function columnsOf(
  order: Int32Array,
  width: number,
  added = 0,
): Columns {
  const firsts = Float64Array.from(order, (range) => range * SPAN);
  return {
    firsts,
    lasts: firsts.map((first) => first + width - 1),
    values: Float64Array.from(order, (range) => range + 1 + added),
  };
}

function foldColumns(
  hash: number,
  { count, firsts, lasts, values }: EntryColumns,
): number {
  for (let i = 0; i < count; i++) {
    hash = foldEntry(hash, firsts[i], lasts[i], values[i]);
  }
  return hash;
}

class TreeKeeper implements Keeper {
  readonly skips = SKIPS_NOTHING;
  readonly inOneSection?: <Result>(work: () => Result) => Result;
  readonly searching?: <Result>(work: (search: Search) => Result) => Result;
  readonly #arena: Arena;
  readonly #tree: RangeTree;
  readonly #mode: RangeTreeOptions;

  constructor(arena: Arena, tree: RangeTree, mode: RangeTreeOptions) {
    this.#arena = arena;
    this.#tree = tree;
    this.#mode = mode;
    if (mode.rcu === true) {
      this.inOneSection = (work) => this.#inOneSection(work);
    }
    if (mode.gaps) this.searching = (work) => this.#searching(work);
  }

  insert(first: number, last: number, value: number): void {
    this.#tree.storeRange(first, last, value);
  }

  overwrite(first: number, last: number, value: number): void {
    this.#tree.storeRange(first, last, value);
  }

  storeMany({ firsts, lasts, values }: Columns): void {
    this.#tree.storeMany(firsts, lasts, values);
  }

  splitAndRejoin(whole: Entry, part: Entry): void {
    this.#tree.storeRange(part.first, part.last, part.value);
    this.#tree.storeRange(whole.first, whole.last, whole.value);
  }

  erase(first: number): void {
    this.#tree.erase(first);
  }

  valueAt(index: number): number {
    return this.#tree.load(index);
  }

  loadMany(indices: Float64Array): ArrayLike<number> {
    return this.#tree.loadMany(indices);
  }

  hash(): number {
    let hash = emptyHash();
    for (const { first, last, value } of this.#tree.entries()) {
      hash = foldEntry(hash, first, last, value);
    }
    return hash;
  }

  hashByCallback(): number {
    let hash = emptyHash();
    this.#tree.forEach((first, last, value) => {
      hash = foldEntry(hash, first, last, value);
    });
    return hash;
  }

  hashByMany(): number {
    let hash = emptyHash();
    this.#tree.forEachMany((entries) => {
      hash = foldColumns(hash, entries);
    });
    return hash;
  }

  hashByCursor(): number {
    using _hold = this.#hold();
    return this.#hashBy(this.#tree.cursor());
  }

  #hashBy(cursor: Cursor): number {
    let hash = emptyHash();
    for (let value = cursor.find(); value !== 0; value = cursor.find()) {
      hash = foldEntry(hash, cursor.index, cursor.last, value);
    }
    return hash;
  }

  /** What protects a reader: a read section, the lock, or that there is no other thread. */
  #hold(): Disposable | null {
    if (this.#mode.rcu) return this.#arena.rcu.read();
    return this.#mode.lock === "none" ? null : this.#tree.lock();
  }

  clone(): Keeper {
    return new TreeKeeper(this.#arena, this.#tree.clone(), this.#mode);
  }

  bulkLoader(ranges: number, width: number): () => void {
    const entries = Array.from({ length: ranges }, (_, i) => entryOf(i, width));
    return () => this.#tree.bulkLoad(entries);
  }

  discard(): void {
    this.#tree.destroy();
    this.#arena.rcu.barrier();
  }

  #inOneSection<Result>(work: () => Result): Result {
    this.#arena.rcu.readLock();
    const result = work();
    this.#arena.rcu.readUnlock();
    return result;
  }

  #searching<Result>(work: (search: Search) => Result): Result {
    using _lock = this.#tree.lock();
    const cursor = this.#tree.cursor();
    return work((min, size) =>
      cursor.emptyArea(min, MAX_INDEX, size) ? cursor.index : -1
    );
  }
}
