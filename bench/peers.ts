/**
 * What a JavaScript program would take instead of a range tree, as keepers of ranges.
 *
 * All but the interval tree are maps by the first index, with what they must know of the rest as value; an entry at an
 * index is a floor lookup. Each is used by its public functions in the way that its documentation shows, and the fastest
 * of these where there are several. `node-interval-tree`, the other overlap tree, is slower than the one here (100 000
 * ranges: 3.2 against 2.9 µs a store, 4.4 against 1.6 µs a lookup).
 *
 * @module
 */
import { IntervalTree } from "@flatten-js/interval-tree";
import { OrderedMap } from "js-sdsl";
import BTreeModule from "sorted-btree";
import type { Entry } from "../mod.ts";
import {
  type Create,
  entryOf,
  foldEntry,
  type Keeper,
  SKIPS_NOTHING,
} from "./keepers.ts";
import { emptyHash } from "./keys.ts";
import type { OperationName } from "./operations.ts";
import type { Held } from "./trees.ts";

const BTree = BTreeModule.default;
/** Up to so many ranges a sorted array is changed by splicing: in a larger one a change takes longer than in any tree. */
const SPLICED_MAX = 10_000;
const SPLICES: ReadonlySet<OperationName> = new Set([
  "buildRandom",
  "splitRejoin",
  "erase",
]);
/** Up to so many ranges the interval tree is changed once it is built: at 100 000 a change takes 5 to 19 µs. */
const REMOVED_MAX = 10_000;
const REMOVALS: ReadonlySet<OperationName> = new Set([
  "overwrite",
  "splitRejoin",
  "erase",
]);

/** What a keeper without `splitAndRejoin` of its own must have to do the same. */
interface Parts {
  insert(first: number, last: number, value: number): void;
  erase(first: number, last: number): void;
  /** Lets a range that is stored end elsewhere. */
  resize(first: number, last: number, newLast: number, value: number): void;
}

function splitAndRejoin(keeper: Parts, whole: Entry, part: Entry): void {
  keeper.resize(whole.first, whole.last, part.first - 1, whole.value);
  keeper.insert(part.first, part.last, part.value);
  keeper.insert(part.last + 1, whole.last, whole.value);
  keeper.erase(part.first, part.last);
  keeper.erase(part.last + 1, whole.last);
  keeper.resize(whole.first, part.first - 1, whole.last, whole.value);
}

function pairOf(range: number, width: number): [number, Held] {
  const { first, last, value } = entryOf(range, width);
  return [first, { last, value }];
}

class BTreeKeeper implements Keeper, Parts {
  readonly skips = SKIPS_NOTHING;
  #map: InstanceType<typeof BTree<number, Held>>;
  readonly #pair: [number, Held] = [0, { last: 0, value: 0 }];

  constructor(map = new BTree<number, Held>()) {
    this.#map = map;
  }

  insert(first: number, last: number, value: number): void {
    this.#map.set(first, { last, value });
  }

  overwrite(first: number, last: number, value: number): void {
    this.#map.set(first, { last, value });
  }

  resize(first: number, _last: number, newLast: number, value: number): void {
    this.#map.set(first, { last: newLast, value });
  }

  splitAndRejoin(whole: Entry, part: Entry): void {
    splitAndRejoin(this, whole, part);
  }

  erase(first: number): void {
    this.#map.delete(first);
  }

  valueAt(index: number): number {
    const found = this.#map.getPairOrNextLower(index, this.#pair);
    return found !== undefined && index <= found[1].last ? found[1].value : 0;
  }

  hash(): number {
    let hash = emptyHash();
    for (const [first, { last, value }] of this.#map.entries()) {
      hash = foldEntry(hash, first, last, value);
    }
    return hash;
  }

  clone(): Keeper {
    return new BTreeKeeper(this.#map.greedyClone(true));
  }

  bulkLoader(ranges: number, width: number): () => void {
    const pairs = Array.from({ length: ranges }, (_, i) => pairOf(i, width));
    return () => {
      this.#map = new BTree(pairs);
    };
  }
}

class OrderedMapKeeper implements Keeper, Parts {
  readonly skips = SKIPS_NOTHING;
  #map: OrderedMap<number, Held>;

  constructor(map = new OrderedMap<number, Held>()) {
    this.#map = map;
  }

  insert(first: number, last: number, value: number): void {
    this.#map.setElement(first, { last, value });
  }

  overwrite(first: number, last: number, value: number): void {
    this.#map.setElement(first, { last, value });
  }

  resize(first: number, _last: number, newLast: number, value: number): void {
    this.#map.setElement(first, { last: newLast, value });
  }

  splitAndRejoin(whole: Entry, part: Entry): void {
    splitAndRejoin(this, whole, part);
  }

  erase(first: number): void {
    this.#map.eraseElementByKey(first);
  }

  valueAt(index: number): number {
    const found = this.#map.reverseLowerBound(index);
    if (!found.isAccessible()) return 0;
    const held = found.pointer[1];
    return index <= held.last ? held.value : 0;
  }

  hash(): number {
    let hash = emptyHash();
    for (const [first, { last, value }] of this.#map) {
      hash = foldEntry(hash, first, last, value);
    }
    return hash;
  }

  clone(): Keeper {
    return new OrderedMapKeeper(new OrderedMap(this.#map));
  }

  bulkLoader(ranges: number, width: number): () => void {
    const pairs = Array.from({ length: ranges }, (_, i) => pairOf(i, width));
    return () => {
      this.#map = new OrderedMap(pairs);
    };
  }
}

/** Its keys are the ranges themselves; a lookup asks for all that overlap an index. It has no bulk load and no clone. */
class IntervalTreeKeeper implements Keeper, Parts {
  readonly skips: ReadonlySet<OperationName>;
  readonly #tree = new IntervalTree<number>();

  constructor(ranges: number) {
    this.skips = ranges <= REMOVED_MAX ? SKIPS_NOTHING : REMOVALS;
  }

  insert(first: number, last: number, value: number): void {
    this.#tree.insert([first, last], value);
  }

  /** A second value of a key would stand beside the first. */
  overwrite(first: number, last: number, value: number): void {
    this.#tree.remove([first, last]);
    this.#tree.insert([first, last], value);
  }

  resize(first: number, last: number, newLast: number, value: number): void {
    this.#tree.remove([first, last]);
    this.#tree.insert([first, newLast], value);
  }

  splitAndRejoin(whole: Entry, part: Entry): void {
    splitAndRejoin(this, whole, part);
  }

  erase(first: number, last: number): void {
    this.#tree.remove([first, last]);
  }

  valueAt(index: number): number {
    const found = this.#tree.search([index, index]);
    return found.length === 0 ? 0 : found[0];
  }

  hash(): number {
    // Iterating over one that was emptied throws.
    if (this.#tree.isEmpty()) return emptyHash();
    const entries = this.#tree.iterate(
      undefined,
      (value, { low, high }) => ({ low, high, value }),
    );
    let hash = emptyHash();
    for (const { low, high, value } of entries) {
      hash = foldEntry(hash, Number(low), Number(high), value);
    }
    return hash;
  }
}

/** Three arrays, so that the search looks at nothing but first indices. */
class ArrayKeeper implements Keeper, Parts {
  readonly skips: ReadonlySet<OperationName>;
  readonly #firsts: number[];
  readonly #lasts: number[];
  readonly #values: number[];

  constructor(
    skips: ReadonlySet<OperationName>,
    firsts: number[] = [],
    lasts: number[] = [],
    values: number[] = [],
  ) {
    this.skips = skips;
    this.#firsts = firsts;
    this.#lasts = lasts;
    this.#values = values;
  }

  insert(first: number, last: number, value: number): void {
    const at = this.#floor(first) + 1;
    if (at === this.#firsts.length) {
      this.#firsts.push(first);
      this.#lasts.push(last);
      this.#values.push(value);
    } else {
      this.#firsts.splice(at, 0, first);
      this.#lasts.splice(at, 0, last);
      this.#values.splice(at, 0, value);
    }
  }

  overwrite(first: number, _last: number, value: number): void {
    this.#values[this.#floor(first)] = value;
  }

  resize(first: number, _last: number, newLast: number): void {
    this.#lasts[this.#floor(first)] = newLast;
  }

  splitAndRejoin(whole: Entry, part: Entry): void {
    splitAndRejoin(this, whole, part);
  }

  erase(first: number): void {
    const at = this.#floor(first);
    this.#firsts.splice(at, 1);
    this.#lasts.splice(at, 1);
    this.#values.splice(at, 1);
  }

  valueAt(index: number): number {
    const at = this.#floor(index);
    return at >= 0 && index <= this.#lasts[at] ? this.#values[at] : 0;
  }

  hash(): number {
    let hash = emptyHash();
    for (let i = 0; i < this.#firsts.length; i++) {
      hash = foldEntry(hash, this.#firsts[i], this.#lasts[i], this.#values[i]);
    }
    return hash;
  }

  clone(): Keeper {
    return new ArrayKeeper(
      this.skips,
      this.#firsts.slice(),
      this.#lasts.slice(),
      this.#values.slice(),
    );
  }

  /** The place of the last range that begins at or before an index, -1 if none does. */
  #floor(index: number): number {
    let low = 0, high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#firsts[middle] <= index) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Creates the peers, by name. */
export const PEERS: Readonly<Record<string, Create>> = {
  "sorted-btree": () => new BTreeKeeper(),
  "js-sdsl": () => new OrderedMapKeeper(),
  "interval-tree": (ranges) => new IntervalTreeKeeper(ranges),
  "sorted array": (ranges) =>
    new ArrayKeeper(ranges <= SPLICED_MAX ? SKIPS_NOTHING : SPLICES),
};
