/**
 * A reader of the stress tests: asks at random, and checks every answer, the empty ones as well.
 *
 * @module
 */
import { type Arena, type Entry, RangeTree } from "../../mod.ts";
import type { Rng } from "../seed.ts";
import {
  BAND,
  firstOf,
  generationOf,
  type Generations,
  HOT_BANDS,
  LENGTH,
  placeAt,
  STRIDE,
  TREES,
  WIDE_LENGTH,
  wideBehind,
  WIDES,
} from "./world.ts";

/** The most cells that one question is about. */
const RUN = 20;
/** Looks into a wide place in one section. */
const WIDE_LOOKS = 24;

/** Checks the answers of the world's trees. */
export class StressReader {
  /** Answers that were checked. */
  operations = 0;
  /** The first wrong one. */
  wrong: string | undefined;
  readonly #arena: Arena;
  readonly #generations: Generations;
  readonly #trees: readonly RangeTree[];
  readonly #random: Rng;

  constructor(arena: Arena, generations: Generations, random: Rng) {
    this.#arena = arena;
    this.#generations = generations;
    this.#trees = TREES.map(({ name }) => RangeTree.attach(arena, name));
    this.#random = random;
  }

  /** Asks once. */
  step(): void {
    const tree = this.#random.int(TREES.length);
    const choice = this.#random.int(80);
    if (choice < 65) this.#look(tree);
    else if (choice < 69) this.#findOne(tree);
    else if (choice < 72) this.#iterate(tree);
    else if (choice < 78) this.#lookWide(tree);
    else if (choice < 79) this.#iterateWide(tree);
    else this.#lockWide(tree);
  }

  #look(tree: number): void {
    const isHot = this.#random.int(2) === 0;
    const cell = this.#chooseBand(isHot) * BAND +
      (isHot ? 0 : this.#random.int(BAND));
    const offset = this.#random.int(STRIDE);
    const oldest = this.#generations.done(tree, cell);
    const found = this.#trees[tree].load(firstOf(cell) + offset);
    if (offset < LENGTH) this.#see(tree, cell, found, oldest);
    else if (found !== 0) this.#fail(tree, cell, found, "nothing lies there");
  }

  /** One entry, searched for over some cells from either end. */
  #findOne(tree: number): void {
    const [from, to] = this.#chooseRun();
    const [first, last] = [firstOf(from), firstOf(to) + STRIDE - 1];
    const run = this.#watch(tree, from, to);
    switch (this.#random.int(3)) {
      case 0:
        return run.check([this.#trees[tree].find(first, last)], from, to);
      case 1:
        // From inside the first cell on: what begins behind it.
        return run.check([this.#trees[tree].next(first, last)], from + 1, to);
      default: {
        const entry = this.#trees[tree].prev(firstOf(to), first);
        return run.check([entry], to - 1, from);
      }
    }
  }

  /** All entries of some cells, from either end. */
  #iterate(tree: number): void {
    const [from, to] = this.#chooseRun();
    const [first, last] = [firstOf(from), firstOf(to) + STRIDE - 1];
    const run = this.#watch(tree, from, to);
    if (this.#random.int(2) === 0) {
      run.check(this.#trees[tree].entries(first, last), from, to, true);
    } else {
      run.check(this.#trees[tree].entriesReverse(first, last), to, from, true);
    }
  }

  #chooseBand(isHot: boolean): number {
    return this.#random.int(isHot ? HOT_BANDS : WIDES);
  }

  #chooseWide(): number {
    return wideBehind(this.#random.int(2) * this.#random.int(WIDES));
  }

  /** Two or more cells of one band. */
  #chooseRun(): [from: number, to: number] {
    const isHot = this.#random.int(2) === 0;
    const band = this.#chooseBand(isHot) * BAND;
    const from = isHot ? 0 : this.#random.int(BAND - 1);
    const cells = 1 + this.#random.int(RUN);
    return [band + from, band + Math.min(BAND - 1, from + cells)];
  }

  /** Notes what is done in these cells before a question about them. */
  #watch(tree: number, from: number, to: number) {
    const oldest: number[] = [];
    for (let cell = from; cell <= to; cell++) {
      oldest.push(this.#generations.done(tree, cell));
    }
    const see = (cell: number, found: number) =>
      this.#see(tree, cell, found, oldest[cell - from]);
    return {
      /**
       * What was found on the way from one cell to another: the cells that were passed over must have been empty. Without
       * `all`, the way ends at the first entry.
       */
      check: (
        entries: Iterable<Entry | undefined>,
        start: number,
        end: number,
        all = false,
      ): void => {
        const step = start <= end ? 1 : -1;
        let at = start;
        for (const entry of entries) {
          if (entry === undefined) break;
          const { first, last, value } = entry;
          const cell = placeAt(first);
          if ((cell - at) * step < 0 || (end - cell) * step < 0) {
            return this.#fail(tree, cell, value, `looked for ${at} to ${end}`);
          }
          if (first !== firstOf(cell) || last !== first + LENGTH - 1) {
            return this.#fail(tree, cell, value, "its range is another");
          }
          for (; at !== cell; at += step) see(at, 0);
          see(cell, value);
          at += step;
          if (!all) return;
        }
        for (; (end - at) * step >= 0; at += step) see(at, 0);
      },
    };
  }

  /** Some looks into a wide place within one read section: once a change is seen anywhere, it is seen everywhere. */
  #lookWide(tree: number): void {
    const place = this.#chooseWide();
    const first = firstOf(place);
    const { rcu } = this.#arena;
    const isRcu = TREES[tree].rcu;
    let seen = this.#generations.done(tree, place);
    if (isRcu) rcu.readLock();
    for (let look = 0; look < WIDE_LOOKS; look++) {
      const offset = this.#chooseOffset(look);
      const found = this.#trees[tree].load(first + offset);
      seen = this.#see(tree, place, found, seen);
    }
    if (isRcu) rcu.readUnlock();
  }

  /** The same over all pieces of a wide place: no hole but where it was emptied. */
  #iterateWide(tree: number): void {
    const place = this.#chooseWide();
    const start = firstOf(place), end = start + WIDE_LENGTH;
    let at = start;
    let seen = this.#generations.done(tree, place);
    for (
      const { first, last, value } of this.#trees[tree].entries(start, end - 1)
    ) {
      // A range that was stored over pieces which were given out already begins before the one that comes next.
      if (first < start || last < at || last >= end) {
        return this.#fail(tree, place, value, "its range is another");
      }
      if (first > at) seen = this.#see(tree, place, 0, seen);
      seen = this.#see(tree, place, value, seen);
      at = last + 1;
    }
    if (at < end) this.#see(tree, place, 0, seen);
  }

  /** Under the lock a wide place is of one generation. */
  #lockWide(tree: number): void {
    const place = this.#chooseWide();
    const oldest = this.#generations.done(tree, place);
    using _guard = this.#trees[tree].lock();
    const cursor = this.#trees[tree].cursor(firstOf(place));
    const all = cursor.walk();
    this.#see(tree, place, all, oldest);
    for (let look = 0; look < WIDE_LOOKS; look++) {
      cursor.setRange(firstOf(place) + this.#chooseOffset(look));
      const found = cursor.walk();
      this.operations++;
      if (found !== all) {
        return this.#fail(tree, place, found, `${all} is beside it`);
      }
    }
  }

  /** Both ends of a wide place, then anywhere. */
  #chooseOffset(look: number): number {
    if (look < 2) return look * (WIDE_LENGTH - 1);
    return this.#random.int(WIDE_LENGTH);
  }

  /** Checks an answer, and returns the generation that it shows. */
  #see(tree: number, place: number, found: number, oldest: number): number {
    this.operations++;
    const newest = this.#generations.begun(tree, place);
    const seen = generationOf(place, found, oldest, newest);
    if (typeof seen === "number") return seen;
    this.#fail(tree, place, found, seen);
    return oldest;
  }

  #fail(tree: number, place: number, found: number, why: string): void {
    this.wrong ??= `tree "${
      TREES[tree].name
    }", place ${place}: found ${found}: ${why}`;
  }
}
