/**
 * A map from ranges of indices to JavaScript values, over a range tree and a table of handles.
 *
 * The tree holds handles, numbers from 1 on; the table knows the value of each and how many ranges hold it, since cutting
 * a range in two leaves both with the same handle. A handle that no range holds any more is used again for the next value.
 * What a change will do to these numbers is worked out before the tree is changed, and noted after it: so a store that
 * fails has changed neither.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { MAX_INDEX } from "./node.ts";
import { RangeTree } from "./range_tree.ts";
import type { Entry } from "./walk.ts";

/** One range of a {@linkcode RangeMap}. */
export interface RangeMapEntry<V> {
  /** Its first index. */
  readonly first: number;
  /** Its last index, inclusive. */
  readonly last: number;
  /** What is stored there. */
  readonly value: V;
}

/**
 * A map from ranges of indices (safe integers, both ends included) to values of any type but `undefined`.
 *
 * Thread contract: one thread uses it. The ranges lie in the arena, where they are compacted like any others; the values do
 * not, so no other thread can read them.
 *
 * - Ranges are kept as they were set; setting over others cuts or replaces them.
 * - A change that can't get memory throws and changes nothing.
 * - A value is let go when no range holds it any more.
 *
 * The last line of each function's description says what it needs, in the words of {@linkcode RangeTree}: the lock is that of
 * the map's own tree, which is always internal, and *memory* is the arena's.
 *
 * @example Which page belongs to whom
 * ```ts
 * import { Arena, RangeMap } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const pages = RangeMap.create<string>(Arena.create({ byteLength: 2 ** 20 }));
 * pages.set(0, 99, "kernel");
 * pages.set(10, 19, "shell");
 * assertEquals(pages.get(15), "shell");
 * assertEquals([...pages].map(({ first, value }) => [first, value]), [
 *   [0, "kernel"],
 *   [10, "shell"],
 *   [20, "kernel"],
 * ]);
 * ```
 */
export class RangeMap<V> implements Iterable<RangeMapEntry<V>> {
  readonly #tree: RangeTree;
  /** The value of each handle; that of handle 0 is never used. */
  readonly #values: (V | undefined)[] = [undefined];
  /** How many ranges hold each handle. */
  readonly #holders: number[] = [0];
  /** Handles that no range holds. */
  readonly #free: number[] = [];

  private constructor(tree: RangeTree) {
    this.#tree = tree;
  }

  /**
   * Creates an empty map.
   *
   * Lock: none. Memory: yes. Drops the lock: no.
   *
   * @throws {OutOfMemoryError} If there is no room for it.
   */
  static create<V>(arena: Arena): RangeMap<V> {
    return new RangeMap<V>(RangeTree.create(arena));
  }

  /**
   * How many ranges are stored.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  get size(): number {
    return this.#tree.count;
  }

  /**
   * The value at an index; `undefined` where nothing is stored.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   */
  get(index: number): V | undefined {
    return this.#values[this.#tree.load(index)];
  }

  /**
   * Stores a value over `first` … `last`, whatever is there.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the range is out of bounds.
   * @throws {TypeError} If the value is `undefined`, which means empty.
   * @throws {OutOfMemoryError} If there is no room; the map is as it was.
   */
  set(first: number, last: number, value: V): void {
    checkDefined(value);
    const cut = this.#cuts(first, last);
    const handle = this.#nextHandle();
    this.#tree.storeRange(first, last, handle);
    this.#note(cut);
    this.#hold(handle, value);
  }

  /**
   * Stores a value over `first` … `last` if all of it is empty; says whether it did. As {@linkcode RangeMap.set}.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   */
  insert(first: number, last: number, value: V): boolean {
    checkDefined(value);
    const handle = this.#nextHandle();
    if (!this.#tree.insertRange(first, last, handle)) return false;
    this.#hold(handle, value);
    return true;
  }

  /**
   * Removes the whole range that contains an index, from its first index to its last, not the index alone, which
   * {@linkcode RangeMap.deleteRange} empties; returns its value, `undefined` if nothing is stored there.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   * @throws {OutOfMemoryError} If there is no room; the map is as it was.
   */
  delete(index: number): V | undefined {
    const handle = this.#tree.erase(index);
    const value = this.#values[handle];
    if (handle !== 0) this.#change(handle, -1);
    return value;
  }

  /**
   * Empties `first` … `last`; ranges that stick out are cut.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the range is out of bounds.
   * @throws {OutOfMemoryError} If there is no room; the map is as it was.
   */
  deleteRange(first: number, last: number): void {
    const cut = this.#cuts(first, last);
    this.#tree.eraseRange(first, last);
    this.#note(cut);
  }

  /**
   * The first range that contains or follows an index and begins at or before `max`, by default `MAX_INDEX`; so `find(i, i)` is
   * the range that covers `i`, with its ends. As {@linkcode RangeTree.find}.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  find(index: number, max: number = MAX_INDEX): RangeMapEntry<V> | undefined {
    return this.#open(this.#tree.find(index, max));
  }

  /**
   * The first range that begins after an index and at or before `max`, by default `MAX_INDEX`. As {@linkcode RangeTree.next}.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  next(index: number, max: number = MAX_INDEX): RangeMapEntry<V> | undefined {
    return this.#open(this.#tree.next(index, max));
  }

  /**
   * The last range that ends before an index and at or after `min`, by default 0. As {@linkcode RangeTree.prev}.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  prev(index: number, min = 0): RangeMapEntry<V> | undefined {
    return this.#open(this.#tree.prev(index, min));
  }

  /**
   * Every range that overlaps `from` … `to`, whole, in order; all by default. The map may change meanwhile, as a tree may.
   *
   * Lock: own, in each look. Memory: no. Drops the lock: yes, between its steps.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entries(
    from = 0,
    to: number = MAX_INDEX,
  ): IterableIterator<RangeMapEntry<V>> {
    return this.#openAll(this.#tree.entries(from, to));
  }

  /**
   * Every range that overlaps `from` … `to`, whole, the last one first; all by default. As {@linkcode RangeMap.entries}.
   *
   * Lock: own, in each look. Memory: no. Drops the lock: yes, between its steps.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entriesReverse(
    from = 0,
    to: number = MAX_INDEX,
  ): IterableIterator<RangeMapEntry<V>> {
    return this.#openAll(this.#tree.entriesReverse(from, to));
  }

  /** Every range, in order. */
  [Symbol.iterator](): IterableIterator<RangeMapEntry<V>> {
    return this.entries();
  }

  /**
   * Removes every range.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  clear(): void {
    this.#tree.clear();
    this.#forget();
  }

  /**
   * Removes every range and the map itself; every later use of it is an error.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  destroy(): void {
    this.#tree.destroy();
    this.#forget();
  }

  /**
   * Checks the tree, and that each handle is held as often as is counted, or else is listed as free once, without a value.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   *
   * @throws {TreeInvariantError} If the tree breaks an invariant.
   * @throws {Error} If a handle is counted wrong.
   */
  validate(): void {
    this.#tree.validate();
    const holders: number[] = this.#holders.map(() => 0);
    for (const { value } of this.#tree) holders[value]++;
    const free = new Set(this.#free);
    holders.forEach((count, handle) => {
      const isFree = handle > 0 && count === 0;
      if (
        count === this.#holders[handle] && isFree === free.has(handle) &&
        (count === 0) === (this.#values[handle] === undefined)
      ) return;
      throw new Error(
        `Handle ${handle}: ${count} ranges hold it, ${
          this.#holders[handle]
        } are counted`,
      );
    });
    if (free.size === this.#free.length) return;
    throw new Error(
      `Free handles: ${this.#free.length} are listed, ${free.size} of them different`,
    );
  }

  /**
   * One line: how many ranges.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  toString(): string {
    return this.#tree.toString().replace("RangeTree", "RangeMap");
  }

  /** As {@linkcode RangeMap.toString}, for `console.log` in Deno. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** As {@linkcode RangeMap.toString}, for `console.log` in Node. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** By how much the number of ranges that hold each handle changes if a range is stored over. */
  #cuts(first: number, last: number): [handle: number, change: number][] {
    const cuts: [number, number][] = [];
    if (!(first <= last)) return cuts; // refused by the tree
    const cut = (entry: Entry) => {
      const left = entry.first < first ? 1 : 0;
      const right = entry.last > last ? 1 : 0;
      cuts.push([entry.value, left + right - 1]);
    };
    // Mostly there is one or none, and an iterator costs 2 µs more than a search.
    const found = this.#tree.find(first, last);
    if (found === undefined) return cuts;
    cut(found);
    if (found.last >= last) return cuts;
    for (const entry of this.#tree.entries(found.last + 1, last)) cut(entry);
    return cuts;
  }

  #note(cuts: readonly [handle: number, change: number][]): void {
    for (const [handle, change] of cuts) this.#change(handle, change);
  }

  #change(handle: number, change: number): void {
    this.#holders[handle] += change;
    if (this.#holders[handle] > 0) return;
    this.#values[handle] = undefined;
    this.#free.push(handle);
  }

  #nextHandle(): number {
    return this.#free.at(-1) ?? this.#values.length;
  }

  /** The next handle is in use now. Others may have become free since it was chosen. */
  #hold(handle: number, value: V): void {
    const at = this.#free.lastIndexOf(handle);
    if (at >= 0) this.#free.splice(at, 1);
    this.#values[handle] = value;
    this.#holders[handle] = 1;
  }

  *#openAll(entries: Iterable<Entry>): Generator<RangeMapEntry<V>> {
    for (const entry of entries) yield this.#open(entry)!;
  }

  #open(entry: Entry | undefined): RangeMapEntry<V> | undefined {
    if (entry === undefined) return undefined;
    const { first, last, value } = entry;
    return { first, last, value: this.#values[value] as V };
  }

  #forget(): void {
    this.#values.length = this.#holders.length = 1;
    this.#free.length = 0;
  }
}

function checkDefined(value: unknown): void {
  if (value === undefined) {
    throw new TypeError("Cannot store undefined: it means empty");
  }
}
