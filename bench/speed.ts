/**
 * Workload: every operation of the range tree, in all its modes, and of its peers. A variant does all that its keeper can,
 * one operation over all ranges after the other.
 *
 * A small tree is over too soon to be timed: so there are as many of them as it takes to have enough of each operation. Each of a
 * tree's operations has keys in an order of its own, that no tree before had, nor one that was for warming up. What one operation leaves behind is compared with what it must be; the hash that
 * the variants must agree on is made of what all of them do.
 *
 * @module
 */
import type { Entry } from "../mod.ts";
import {
  columnsOf,
  type Create,
  entryOf,
  foldEntry,
  type Keeper,
  type Search,
  treeOf,
  TREES,
} from "./keepers.ts";
import {
  changeOrder,
  emptyHash,
  fold,
  type Layout,
  randomIndices,
  SPAN,
  storeOrder,
  WIDTHS,
} from "./keys.ts";
import type { OperationName } from "./operations.ts";
import { PEERS } from "./peers.ts";
import { roomRequests } from "./room.ts";
import { type Figures, medianOf, runVariant, type Variant } from "./variant.ts";

/** The fewest times that an operation is done: 30 trees of 1 000 ranges, for example … */
const OPERATIONS = 30_000;
/** … and the fewest trees, unless they are so large that a moment without the processor does not matter. */
const FEWEST_TREES = 3;
const LARGE = 500_000;
/** Draws of keys (`keys.ts`) that one tree takes. */
const DRAWS = 5;
/** What is stored inside of a range, from its first index. */
const PART = { from: 2, to: 4 };

/** What operations take, once a tree. */
class Times {
  readonly #nanos: Record<string, number[]> = {};

  time<Result>(operation: OperationName, work: () => Result): Result {
    const start = performance.now();
    const result = work();
    const nanos = (performance.now() - start) * 1e6;
    (this.#nanos[operation] ??= []).push(nanos);
    return result;
  }

  /** Nanoseconds each in the middle one of the trees, if every operation was done so often in each. */
  each(times: number): Figures {
    return Object.fromEntries(
      Object.entries(this.#nanos)
        .map(([name, nanos]) => [name, medianOf(nanos) / times]),
    );
  }
}

function speedOf(create: Create, layout: Layout): Variant {
  const width = WIDTHS[layout];
  return (ranges, largest, run) => {
    const times = new Times();
    const createOne = () => create(ranges, largest);
    const trees = Math.ceil(OPERATIONS / ranges);
    const repetitions = ranges < LARGE ? Math.max(trees, FEWEST_TREES) : 1;
    let hash = emptyHash();
    for (let i = 0; i < repetitions; i++) {
      const draw = (run * repetitions + i) * DRAWS;
      hash = fold(hash, measureStored(createOne, ranges, width, draw, times));
      measureBuilds(createOne, ranges, width, times);
      measureMany(createOne, ranges, width, draw, times);
      // There is no room between packed ranges.
      if (layout === "gapped") measureSearches(createOne, ranges, draw, times);
    }
    return { hash, figures: times.each(ranges) };
  };
}

/** Builds, looks at what is there, changes it, and takes it away; returns what all keepers agree on. */
function measureStored(
  create: () => Keeper,
  ranges: number,
  width: number,
  draw: number,
  times: Times,
): number {
  const keeper = create();
  if (keeper.skips.has("buildRandom")) {
    insertAll(keeper, ascending(ranges), width);
  } else {
    const order = storeOrder(ranges, draw);
    times.time("buildRandom", () => insertAll(keeper, order, width));
  }
  const built = times.time("iterate", () => keeper.hash());
  mustBe("building", built, hashOf(ranges, width, 0));
  if (keeper.hashByCallback !== undefined) {
    const called = times
      .time("iterateCallback", () => keeper.hashByCallback!());
    mustBe("iterating with a callback", called, built);
  }
  if (keeper.hashByMany !== undefined) {
    // Called only once for some dozens of entries, it is compiled later than the others: so it is warmed up by two calls a tree.
    keeper.hashByMany();
    const called = times.time("iterateMany", () => keeper.hashByMany!());
    mustBe("iterating over many at once", called, built);
  }
  if (keeper.hashByCursor !== undefined) {
    const walked = times.time("iterateCursor", () => keeper.hashByCursor!());
    mustBe("iterating with a cursor", walked, built);
  }
  const loaded = measureLoads(keeper, ranges, width, draw, times);
  measureChanges(keeper, ranges, width, draw, times);
  keeper.discard?.();
  return fold(built, loaded);
}

function measureLoads(
  keeper: Keeper,
  ranges: number,
  width: number,
  draw: number,
  times: Times,
): number {
  const indices = randomIndices(ranges, draw);
  times.time("loop", () => foldAll(indices));
  const random = times.time("loadRandom", () => loadAll(keeper, indices));
  mustBe("loading", random, hashOfLoads(indices, width));
  keeper.inOneSection?.(() => {
    const others = randomIndices(ranges, draw + 1);
    const found = times.time("loadOneSection", () => loadAll(keeper, others));
    mustBe("loading within one section", found, hashOfLoads(others, width));
  });
  if (keeper.loadMany !== undefined) {
    const others = randomIndices(ranges, draw + 2);
    const many = Float64Array.from(others);
    const found = times
      .time("loadMany", () => foldAll(keeper.loadMany!(many)));
    mustBe("loading many at once", found, hashOfLoads(others, width));
  }
  indices.sort();
  const inOrder = times.time("loadInOrder", () => loadAll(keeper, indices));
  mustBe("loading in order", inOrder, hashOfLoads(indices, width));
  return fold(random, inOrder);
}

function measureChanges(
  keeper: Keeper,
  ranges: number,
  width: number,
  draw: number,
  times: Times,
): void {
  const { skips } = keeper;
  let added = 0;
  if (!skips.has("overwrite")) {
    added = 1;
    const order = changeOrder(ranges, draw);
    times.time("overwrite", () => overwriteAll(keeper, order, width, added));
  }
  const expected = hashOf(ranges, width, added);
  mustBe("overwriting", keeper.hash(), expected);
  if (keeper.clone !== undefined) {
    const copy = times.time("clone", () => keeper.clone!());
    mustBe("cloning", copy.hash(), expected);
    copy.discard?.();
  }
  if (!skips.has("splitRejoin")) {
    const order = changeOrder(ranges, draw + 1);
    times.time(
      "splitRejoin",
      () => splitAndRejoinAll(keeper, order, width, added),
    );
    mustBe("splitting and rejoining", keeper.hash(), expected);
  }
  if (!skips.has("erase")) {
    const order = changeOrder(ranges, draw + 2);
    times.time("erase", () => eraseAll(keeper, order, width));
    mustBe("erasing", keeper.hash(), emptyHash());
  }
}

function measureBuilds(
  create: () => Keeper,
  ranges: number,
  width: number,
  times: Times,
): void {
  const expected = hashOf(ranges, width, 0);
  const keeper = create();
  const order = ascending(ranges);
  times.time("buildInOrder", () => insertAll(keeper, order, width));
  mustBe("building in order", keeper.hash(), expected);
  keeper.discard?.();

  const loaded = create();
  const load = loaded.bulkLoader?.(ranges, width);
  if (load === undefined) return;
  times.time("bulkLoad", load);
  mustBe("bulk-loading", loaded.hash(), expected);
  loaded.discard?.();
}

/** Builds and overwrites with many ranges at once. */
function measureMany(
  create: () => Keeper,
  ranges: number,
  width: number,
  draw: number,
  times: Times,
): void {
  const keeper = create();
  if (keeper.storeMany === undefined) return;
  const built = columnsOf(storeOrder(ranges, draw + 1), width);
  times.time("buildMany", () => keeper.storeMany!(built));
  mustBe("building many", keeper.hash(), hashOf(ranges, width, 0));
  const changed = columnsOf(changeOrder(ranges, draw + 3), width, 1);
  times.time("overwriteMany", () => keeper.storeMany!(changed));
  mustBe("overwriting many", keeper.hash(), hashOf(ranges, width, 1));
  keeper.discard?.();
}

function measureSearches(
  create: () => Keeper,
  ranges: number,
  draw: number,
  times: Times,
): void {
  const keeper = create();
  if (keeper.searching === undefined) return;
  const width = WIDTHS.gapped;
  insertAll(keeper, storeOrder(ranges, draw + 2), width);
  const { erased, mins, sizes, found } = roomRequests(ranges, draw + 4);
  eraseAll(keeper, erased, width);
  const hash = keeper.searching((search) =>
    times.time("emptyArea", () => searchAll(search, mins, sizes))
  );
  mustBe("searching for room", hash, found.reduce(fold, emptyHash()));
  keeper.discard?.();
}

function insertAll(keeper: Keeper, order: Int32Array, width: number): void {
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN;
    keeper.insert(first, first + width - 1, order[i] + 1);
  }
}

function overwriteAll(
  keeper: Keeper,
  order: Int32Array,
  width: number,
  added: number,
): void {
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN;
    keeper.overwrite(first, first + width - 1, order[i] + 1 + added);
  }
}

function splitAndRejoinAll(
  keeper: Keeper,
  order: Int32Array,
  width: number,
  added: number,
): void {
  const whole = { first: 0, last: 0, value: 0 };
  const part = { first: 0, last: 0, value: 1 };
  for (let i = 0; i < order.length; i++) {
    whole.first = order[i] * SPAN;
    whole.last = whole.first + width - 1;
    whole.value = order[i] + 1 + added;
    part.first = whole.first + PART.from;
    part.last = whole.first + PART.to;
    keeper.splitAndRejoin(whole, part);
  }
}

function eraseAll(keeper: Keeper, order: Int32Array, width: number): void {
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN;
    keeper.erase(first, first + width - 1);
  }
}

function loadAll(keeper: Keeper, indices: Int32Array): number {
  let hash = emptyHash();
  for (let i = 0; i < indices.length; i++) {
    hash = fold(hash, keeper.valueAt(indices[i]));
  }
  return hash;
}

/** What the benchmark itself takes of a load. */
function foldAll(values: ArrayLike<number>): number {
  let hash = emptyHash();
  for (let i = 0; i < values.length; i++) hash = fold(hash, values[i]);
  return hash;
}

function searchAll(
  search: Search,
  mins: Int32Array,
  sizes: Int32Array,
): number {
  let hash = emptyHash();
  for (let i = 0; i < mins.length; i++) {
    hash = fold(hash, search(mins[i], sizes[i]));
  }
  return hash;
}

function ascending(ranges: number): Int32Array {
  return Int32Array.from({ length: ranges }, (_, i) => i);
}

/** What {@linkcode Keeper.hash} must be, if the entries are so much larger than at first. */
function hashOf(ranges: number, width: number, added: number): number {
  let hash = emptyHash();
  for (let i = 0; i < ranges; i++) {
    const { first, last, value }: Entry = entryOf(i, width);
    hash = foldEntry(hash, first, last, value + added);
  }
  return hash;
}

/** What looking these indices up must give. */
function hashOfLoads(indices: Int32Array, width: number): number {
  let hash = emptyHash();
  for (let i = 0; i < indices.length; i++) {
    const range = Math.floor(indices[i] / SPAN);
    const { last, value } = entryOf(range, width);
    hash = fold(hash, indices[i] <= last ? value : 0);
  }
  return hash;
}

function mustBe(what: string, hash: number, expected: number): void {
  if (hash === expected) return;
  throw new Error(
    `Cannot go on after ${what}: the result hash is ${hash}, not ${expected}`,
  );
}

if (import.meta.main) {
  const keepers: Record<string, Create> = {
    ...Object.fromEntries(
      Object.entries(TREES).map(([name, mode]) => [name, treeOf(mode)]),
    ),
    ...PEERS,
  };
  const variants = (Object.keys(WIDTHS) as Layout[]).flatMap((layout) =>
    Object.entries(keepers).map(([name, create]): [string, Variant] => [
      `${layout} ${name}`,
      speedOf(create, layout),
    ])
  );
  await runVariant(Object.fromEntries(variants));
}
