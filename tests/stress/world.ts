/**
 * The world of the stress tests: trees whose every answer can be checked by whoever asks, while others change them.
 *
 * A tree has cells, each of some indices. A cell belongs to one writer, which counts its changes: its *generation*. An odd
 * generation is stored, as an entry that carries the cell and the generation; an even one is erased. The writer notes the
 * generation in a shared table after the change returned. So whoever looks a cell up, and reads the table before and after,
 * knows which generations the answer may be of: none older than the first, none newer than one more than the second. An
 * answer of another cell, a torn one, one out of freed memory (which is poisoned in a debug arena), or one that is older than
 * RCU allows is caught.
 *
 * @module
 */

/** Cells of a tree. */
export const CELLS = 4096;
/** Indices from one cell to the next, and how many of them are stored: the others are a gap. */
export const STRIDE = 8;
export const LENGTH = 6;
/** Cells that one change can be about: they span many leaves. */
export const BAND = 256;
/** The generation's bits of an entry; the cell's stand above. */
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

/** The entry of a cell at an odd generation. */
export function entryOf(cell: number, generation: number): number {
  return ((cell + 1) << GENERATION_BITS | generation % GENERATIONS) >>> 0;
}

/** The first index of a cell. */
export function firstOf(cell: number): number {
  return cell * STRIDE;
}

/**
 * What is wrong with what was found in a cell, if anything.
 *
 * @param before The generation that was noted before the look.
 * @param after The one that was noted after it.
 */
export function wrongWith(
  cell: number,
  found: number,
  before: number,
  after: number,
): string | undefined {
  // The change that is under way is not noted yet.
  const newest = after + 1;
  if (found === 0) {
    const isPossible = before % 2 === 0 || newest > before;
    return isPossible ? undefined : "it is empty";
  }
  if (Math.floor(found / GENERATIONS) !== cell + 1) return "foreign or torn";
  const generation = found % GENERATIONS;
  if (generation % 2 === 0) return "an erased generation";
  const age = (newest - generation) % GENERATIONS;
  return age >= 0 && age <= newest - before
    ? undefined
    : `generation ${generation} of [${before}, ${newest}]`;
}

/** What a worker is sent. */
export interface StressCommand {
  readonly role: "reader" | "writer" | "compactor";
  readonly buffer: SharedArrayBuffer;
  /** Word 0: whether to stop. Word 1: whether the worker that was to die asleep does nothing more. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** The generations of all cells of all trees. */
  readonly generations: Int32Array<SharedArrayBuffer>;
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
