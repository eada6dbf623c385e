/**
 * A tree of a few cells, and the ways to record what is done with it.
 *
 * A cell is some indices that are always stored and emptied together. Between two cells lies *padding* that nobody asks
 * about: so the cells are in different leaves, or, without it, all in one.
 *
 * @module
 */
import type { RangeTree, SharedMemory } from "../../mod.ts";
import type { Operation } from "./linearizability.ts";

/** Cells of a tree. */
export const CELLS = 6;
/** Indices of a cell. */
export const LENGTH = 6;
/** Indices from one cell to the next. */
const STRIDE = 128;
/** Indices from one piece of padding to the next: each leaves a gap. */
const PIECE = 8;
/** Pieces between two cells, where there is padding: with their gaps they fill a leaf. */
const PIECES = 12;

/** What a worker is to do in one round. */
export interface RoundCommand {
  readonly role: "reader" | "writer" | "compactor";
  readonly memory: SharedMemory;
  /** See {@linkcode CLOCK} and the others. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** Which of the recording threads this is, from 0, of how many. */
  readonly thread: number;
  readonly threads: number;
  /** Which of the trees of `world.ts`. */
  readonly tree: number;
  /** Whether operations may span several cells. */
  readonly spans: boolean;
  readonly padded: boolean;
  readonly operations: number;
  readonly seed: number;
}

/** The words of the signals: the clock of all stamps, how many threads are ready, whether the compactor is to stop. */
export const CLOCK = 0;
export const READY = 1;
export const STOP = 2;

/** What a worker recorded. */
export interface RoundAnswer {
  readonly history: readonly Operation[];
}

/** What the compactor did. */
export interface CompactorAnswer {
  readonly moves: number;
}

/** The first index of a cell. */
export function firstOf(cell: number): number {
  return cell * STRIDE;
}

/** The last one. */
export function lastOf(cell: number): number {
  return cell * STRIDE + LENGTH - 1;
}

/** Stores padding behind a cell. */
export function pad(tree: RangeTree, cell: number): void {
  for (let piece = 1; piece <= PIECES; piece++) {
    const first = firstOf(cell) + piece * PIECE;
    tree.storeRange(first, first + LENGTH - 1, 1);
  }
}
