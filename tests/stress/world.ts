/**
 * The world of the stress tests: trees whose every answer can be checked by whoever asks, while others change them.
 *
 * A tree is divided into *places*. Most are *cells* of a few indices; between the bands of cells lie *wide* places of as many
 * indices as a band has, which are stored and emptied as a whole although they are in many leaves. A place belongs to one
 * writer, which counts its changes: its *generation*. What a place holds follows from its generation: nothing at every
 * second one (of a wide place: every fourth), else an entry that carries the place and the generation.
 *
 * The writer notes in a shared table which generation it begins, and after the change returned, which one is done. So
 * whoever reads what is done before a question and what was begun after it knows exactly which generations were current at
 * some moment of the question, the empty ones among them. An answer of another place, a torn one, one out of freed memory
 * (which is poisoned in a debug arena), one that is older than RCU allows, and one that misses what is there are caught.
 *
 * @module
 */
import type { SharedMemory } from "../../mod.ts";
import { load, store } from "../../src/sync/atomics.ts";

/** Cells of a tree. */
export const CELLS = 4096;
/** Indices from one cell to the next, and how many of them are stored: the others are a gap. */
export const STRIDE = 8;
export const LENGTH = 6;
/** Cells that one change can be about: they span many leaves. */
export const BAND = 256;
/** Wide places of a tree: one behind each band. Their numbers follow those of the cells. */
export const WIDES = CELLS / BAND;
/** Indices of a wide place. */
export const WIDE_LENGTH = BAND * STRIDE;
/** Half of all questions and changes are about the first cells of so many bands, one a writer, so that they meet. */
export const HOT_BANDS = 2;
/** The generation's bits of an entry; the place's stand above. */
const GENERATION_BITS = 18;
const GENERATIONS = 2 ** GENERATION_BITS;

/** How one tree is kept. */
export interface TreeKind {
  readonly name: string;
  readonly rcu: boolean;
  readonly gaps: boolean;
  readonly lock: "internal" | "external";
}

/** The trees of the world: every mode that can be shared. */
export const TREES: readonly TreeKind[] = [
  { name: "rcu", rcu: true, gaps: false, lock: "internal" },
  { name: "rcu, gaps", rcu: true, gaps: true, lock: "internal" },
  { name: "locked", rcu: false, gaps: false, lock: "internal" },
  { name: "rcu, external", rcu: true, gaps: false, lock: "external" },
];

/** The name of the external lock. */
export const EXTERNAL_LOCK = "stress";

/** Words of the table of generations: what is done, of the cells and then of the wide places; then the same of what was begun. */
export const GENERATION_WORDS = 2 * TREES.length * (CELLS + WIDES);

/** Which generation of each place is done, and which was begun. */
export class Generations {
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** On a table of {@linkcode GENERATION_WORDS} words. */
  constructor(words: Int32Array<SharedArrayBuffer>) {
    this.#words = words;
  }

  /** The generation that is done. */
  done(tree: number, place: number): number {
    return load(this.#words, at(tree, place));
  }

  /** The generation that was begun: the next one, or the one that is done. */
  begun(tree: number, place: number): number {
    return load(this.#words, GENERATION_WORDS / 2 + at(tree, place));
  }

  /** Before the change: it may be seen from now on. */
  begin(tree: number, place: number, generation: number): void {
    store(this.#words, GENERATION_WORDS / 2 + at(tree, place), generation);
  }

  /** After the change: nothing older may be seen any more. */
  end(tree: number, place: number, generation: number): void {
    store(this.#words, at(tree, place), generation);
  }

  /** The change failed: it may not be seen. */
  withdraw(tree: number, place: number): void {
    this.begin(tree, place, this.done(tree, place));
  }
}

function at(tree: number, place: number): number {
  return place < CELLS
    ? tree * CELLS + place
    : TREES.length * CELLS + tree * WIDES + place - CELLS;
}

/** The number of the wide place behind a band. */
export function wideBehind(band: number): number {
  return CELLS + band;
}

/** The first index of a place. */
export function firstOf(place: number): number {
  return place < CELLS
    ? place * STRIDE + Math.floor(place / BAND) * WIDE_LENGTH
    : (place - CELLS) * 2 * WIDE_LENGTH + WIDE_LENGTH;
}

/** The cell that an index lies in or behind; of an index of a wide place, the wide place. */
export function placeAt(index: number): number {
  const half = Math.floor(index / WIDE_LENGTH);
  return half % 2 === 1
    ? wideBehind((half - 1) / 2)
    : half / 2 * BAND + Math.floor(index % WIDE_LENGTH / STRIDE);
}

/** Whether a place holds nothing at a generation. */
export function isEmptyAt(place: number, generation: number): boolean {
  return generation % (place < CELLS ? 2 : 4) === 0;
}

/** The entry of a place at a generation. */
export function entryOf(place: number, generation: number): number {
  return ((place + 1) << GENERATION_BITS | generation % GENERATIONS) >>> 0;
}

/**
 * The generation that an answer is of, or what is wrong with the answer. Where nothing was found, the earliest empty one that
 * is possible.
 *
 * @param oldest The generation that was done before the question.
 * @param newest The one that was begun after it.
 */
export function generationOf(
  place: number,
  found: number,
  oldest: number,
  newest: number,
): number | string {
  const possible = `generations ${oldest} to ${newest} are possible`;
  if (found === 0) {
    for (let generation = oldest; generation <= newest; generation++) {
      if (isEmptyAt(place, generation)) return generation;
    }
    return `it is empty, ${possible}`;
  }
  if (Math.floor(found / GENERATIONS) !== place + 1) return "foreign or torn";
  const generation = oldest +
    (found - oldest % GENERATIONS + GENERATIONS) % GENERATIONS;
  if (generation > newest) {
    return `generation ${found % GENERATIONS}, ${possible}`;
  }
  return isEmptyAt(place, generation) ? "an erased generation" : generation;
}

/** What a worker is sent. */
export interface StressCommand {
  /** A `"writer"` changes cells, a `"widener"` wide places; a `"binder"` changes VA managers, a `"viewer"` reads them. */
  readonly role:
    | "reader"
    | "writer"
    | "widener"
    | "compactor"
    | "binder"
    | "viewer";
  readonly memory: SharedMemory;
  /** Word 0: whether to stop. Word 1: whether the worker that was to die asleep does nothing more. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** The table of {@linkcode Generations}. */
  readonly generations: Int32Array<SharedArrayBuffer>;
  /** The table of `Bindings`, for binders and viewers. */
  readonly bindings?: Int32Array<SharedArrayBuffer>;
  readonly seed: number;
  /** Which of the writers this is, of how many: it owns the bands of that remainder. */
  readonly number: number;
  readonly of: number;
  /** After how many of its shared accesses it is to die; never, without it. */
  readonly diesAfter?: number;
  /** Whether it dies asleep, to be terminated. */
  readonly diesAsleep?: boolean;
}

/** What a worker answers in the end. */
export interface StressAnswer {
  readonly role: StressCommand["role"];
  /** Lookups, changes or moves. */
  readonly operations: number;
  /** Changes that failed for want of memory. */
  readonly exhausted: number;
  /** The first wrong answer. */
  readonly wrong?: string;
}
