/**
 * The writers of the stress tests: they note each change before and after it.
 *
 * @module
 */
import {
  type Arena,
  ExternalLock,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import type { Rng } from "../seed.ts";
import {
  BAND,
  CELLS,
  entryOf,
  EXTERNAL_LOCK,
  firstOf,
  type Generations,
  isEmptyAt,
  LENGTH,
  TREES,
  WIDE_LENGTH,
  wideBehind,
  WIDES,
} from "./world.ts";

/** The most pieces that a wide place is cut into after it was stored: so it lies in many leaves. */
const CUTS = 64;
const PIECE = 8;
/** A change of a cell in so many empties its band instead. */
const CHANGES_A_BAND = 200;
/** One in so many stores in a cell what it holds already. */
const CHANGES_A_REPEAT = 2;

/** What the writers have in common. */
abstract class Changer {
  /** Changes that were made. */
  operations = 0;
  /** Changes that failed for want of memory. */
  exhausted = 0;
  /** The first wrong answer. */
  wrong: string | undefined;
  protected readonly generations: Generations;
  protected readonly trees: readonly RangeTree[];
  protected readonly random: Rng;
  readonly #externalLock: ExternalLock;
  readonly #number: number;
  readonly #of: number;

  /** The writer of that number, of so many: it owns the bands of that remainder, or the wide places behind them. */
  constructor(
    arena: Arena,
    generations: Generations,
    random: Rng,
    { number, of }: { number: number; of: number },
  ) {
    this.generations = generations;
    this.trees = TREES.map(({ name }) => RangeTree.attach(arena, name));
    this.random = random;
    this.#externalLock = ExternalLock.attach(arena, EXTERNAL_LOCK);
    this.#number = number;
    this.#of = of;
  }

  /** Makes a change, if there is memory for it. */
  step(): void {
    const tree = this.random.int(TREES.length);
    const isHot = this.random.int(2) === 0;
    const bands = isHot ? 1 : Math.floor(WIDES / this.#of);
    const band = this.random.int(bands) * this.#of + this.#number;
    try {
      using _guard = TREES[tree].lock === "external"
        ? this.#externalLock.guard()
        : undefined;
      this.change(tree, band, isHot);
      this.operations++;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.exhausted++;
    }
  }

  /** Changes something in a band, or in the wide place behind it. */
  protected abstract change(tree: number, band: number, isHot: boolean): void;

  /** Brings places to their next generation by one change. */
  protected advance(
    tree: number,
    places: readonly number[],
    change: () => void,
  ): void {
    const { generations } = this;
    for (const place of places) {
      generations.begin(tree, place, generations.done(tree, place) + 1);
    }
    try {
      change();
    } catch (error) {
      if (error instanceof OutOfMemoryError) {
        for (const place of places) generations.withdraw(tree, place);
      }
      throw error;
    }
    for (const place of places) {
      generations.end(tree, place, generations.begun(tree, place));
    }
  }
}

/** Stores and erases cells. */
export class CellWriter extends Changer {
  protected override change(tree: number, band: number, isHot: boolean): void {
    const cell = band * BAND + (isHot ? 0 : this.random.int(BAND));
    if (this.random.int(CHANGES_A_BAND) === 0) this.#eraseBand(tree, band);
    else this.#changeCell(tree, cell);
  }

  #changeCell(tree: number, cell: number): void {
    const done = this.generations.done(tree, cell);
    if (!isEmptyAt(cell, done) && this.random.int(CHANGES_A_REPEAT) === 0) {
      // Nobody may see this one.
      this.#storeCell(tree, cell, done);
      return;
    }
    const generation = done + 1;
    this.advance(tree, [cell], () => {
      if (isEmptyAt(cell, generation)) this.#eraseCell(tree, cell, done);
      else this.#storeCell(tree, cell, generation);
    });
  }

  #storeCell(tree: number, cell: number, generation: number): void {
    const first = firstOf(cell), value = entryOf(cell, generation);
    this.trees[tree].storeRange(first, first + LENGTH - 1, value);
  }

  #eraseCell(tree: number, cell: number, generation: number): void {
    const value = this.trees[tree].erase(firstOf(cell));
    if (value === entryOf(cell, generation)) return;
    this.wrong ??= `tree "${
      TREES[tree].name
    }", cell ${cell}: erased ${value} of generation ${generation}`;
  }

  /** Empties many cells by one change. */
  #eraseBand(tree: number, band: number): void {
    const cells = Array.from({ length: BAND }, (_, i) => band * BAND + i);
    const stored = cells.filter((cell) =>
      !isEmptyAt(cell, this.generations.done(tree, cell))
    );
    const first = firstOf(cells[0]);
    this.advance(
      tree,
      stored,
      () => this.trees[tree].eraseRange(first, firstOf(CELLS + band) - 1),
    );
  }
}

/** Stores and empties wide places, each by one change over many leaves. */
export class WideWriter extends Changer {
  protected override change(tree: number, band: number): void {
    const place = wideBehind(band);
    const generation = this.generations.done(tree, place) + 1;
    const first = firstOf(place);
    const entry = isEmptyAt(place, generation) ? 0 : entryOf(place, generation);
    this.advance(
      tree,
      [place],
      () => this.trees[tree].storeRange(first, first + WIDE_LENGTH - 1, entry),
    );
    if (entry !== 0) this.#cut(tree, first, entry);
  }

  /** Stores the entry that is there already over many pieces: nobody sees that, but each piece is a range of its own. */
  #cut(tree: number, first: number, entry: number): void {
    for (let cut = this.random.int(CUTS); cut >= 0; cut--) {
      const at = first + this.random.int(WIDE_LENGTH - PIECE);
      const last = at + this.random.int(PIECE);
      this.trees[tree].storeRange(at, last, entry);
    }
  }
}
