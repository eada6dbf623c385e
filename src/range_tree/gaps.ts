/**
 * Finding room: the lowest or the highest free run of a size inside a window of indices.
 *
 * An inner node of a tree that tracks gaps knows the largest free run below each slot, so a search goes down only where
 * there is one that is large enough. A free run is always exactly one slot of one leaf, so it is never missed by looking at
 * one leaf at a time; and only a run that sticks out of the window can disappoint, so at most one way down at each end of
 * the window is gone in vain.
 *
 * Under the tree's lock: gaps are read plainly, as they are written.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { perArena } from "../memory/per_arena.ts";
import type { Words } from "../sync/atomics.ts";
import { compiledFor, type CompiledTrees } from "./compiled.ts";
import { heldRootOf } from "./header.ts";
import {
  countOf,
  type Doubles,
  heightOf,
  heldSlotOf,
  MAX_INDEX,
  pivotOf,
  slotFor,
  slotWithGap,
  slotWithGapBefore,
} from "./node.ts";

/**
 * Asserts that room can be looked for.
 *
 * @param gaps Whether the tree tracks gaps.
 * @throws {Error} If it does not.
 */
export function assertTracksGaps(gaps: boolean, site: string): void {
  if (gaps) return;
  throw new Error(
    `Cannot find room in ${site}: the tree does not track gaps`,
  );
}

/**
 * A search for free runs in the trees of one arena.
 *
 * Thread contract: an object belongs to one thread, and is used under the lock of the tree that is searched.
 */
export class GapSearch {
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #compiled: CompiledTrees | undefined;
  #size = 1;
  #min = 0;
  #max: number = MAX_INDEX;

  private constructor(arena: Arena) {
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    this.#compiled = compiledFor(arena);
  }

  /** The search of this thread. */
  static readonly of: (arena: Arena) => GapSearch = perArena((arena) =>
    new GapSearch(arena)
  );

  /** The lowest index in `min` … `max` from which `size` indices up to `max` are free; -1 if there is none. */
  lowest(header: number, size: number, min: number, max: number): number {
    if (this.#compiled !== undefined) {
      return this.#compiled.lowestRoom(header, size, min, max);
    }
    const root = this.#begin(header, size, min, max);
    if (root === 0) return min;
    return this.#lowest(root, heightOf(this.#words, root), 0, MAX_INDEX);
  }

  /** The highest index from `min` on from which `size` indices up to `max` are free; -1 if there is none. */
  highest(header: number, size: number, min: number, max: number): number {
    if (this.#compiled !== undefined) {
      return this.#compiled.highestRoom(header, size, min, max);
    }
    const root = this.#begin(header, size, min, max);
    if (root === 0) return max - size + 1;
    return this.#highest(root, heightOf(this.#words, root), 0, MAX_INDEX);
  }

  #begin(header: number, size: number, min: number, max: number): number {
    this.#size = size;
    this.#min = min;
    this.#max = max;
    return heldRootOf(this.#words, header);
  }

  #lowest(
    node: number,
    height: number,
    nodeMin: number,
    nodeMax: number,
  ): number {
    if (height === 0) return this.#lowestInLeaf(node, nodeMin, nodeMax);
    const words = this.#words, doubles = this.#doubles;
    const size = this.#size;
    const count = countOf(words, node);
    const from = this.#min <= nodeMin ? 0 : slotFor(doubles, node, this.#min);
    for (
      let slot = slotWithGap(doubles, node, from, count, size);
      slot < count;
      slot = slotWithGap(doubles, node, slot + 1, count, size)
    ) {
      const first = slot === 0
        ? nodeMin
        : pivotOf(doubles, node, slot - 1, nodeMax) + 1;
      if (first > this.#max) return -1;
      const last = pivotOf(doubles, node, slot, nodeMax);
      const child = heldSlotOf(words, node, slot);
      const found = this.#lowest(child, height - 1, first, last);
      if (found >= 0) return found;
    }
    return -1;
  }

  #lowestInLeaf(leaf: number, leafMin: number, leafMax: number): number {
    const words = this.#words, doubles = this.#doubles;
    const count = countOf(words, leaf);
    let slot = this.#min <= leafMin ? 0 : slotFor(doubles, leaf, this.#min);
    let first = slot === 0
      ? leafMin
      : pivotOf(doubles, leaf, slot - 1, leafMax) + 1;
    for (; slot < count && first <= this.#max; slot++) {
      const last = pivotOf(doubles, leaf, slot, leafMax);
      if (heldSlotOf(words, leaf, slot) === 0) {
        const from = first < this.#min ? this.#min : first;
        const to = last > this.#max ? this.#max : last;
        if (to - from >= this.#size - 1) return from;
      }
      first = last + 1;
    }
    return -1;
  }

  #highest(
    node: number,
    height: number,
    nodeMin: number,
    nodeMax: number,
  ): number {
    if (height === 0) return this.#highestInLeaf(node, nodeMin, nodeMax);
    const words = this.#words, doubles = this.#doubles;
    const from = this.#max >= nodeMax
      ? countOf(words, node) - 1
      : slotFor(doubles, node, this.#max);
    for (
      let slot = slotWithGapBefore(doubles, node, from, this.#size);
      slot >= 0;
      slot = slotWithGapBefore(doubles, node, slot - 1, this.#size)
    ) {
      const last = pivotOf(doubles, node, slot, nodeMax);
      if (last < this.#min) return -1;
      const first = slot === 0
        ? nodeMin
        : pivotOf(doubles, node, slot - 1, nodeMax) + 1;
      const child = heldSlotOf(words, node, slot);
      const found = this.#highest(child, height - 1, first, last);
      if (found >= 0) return found;
    }
    return -1;
  }

  #highestInLeaf(leaf: number, leafMin: number, leafMax: number): number {
    const words = this.#words, doubles = this.#doubles;
    let slot = this.#max >= leafMax
      ? countOf(words, leaf) - 1
      : slotFor(doubles, leaf, this.#max);
    let last = pivotOf(doubles, leaf, slot, leafMax);
    for (; slot >= 0 && last >= this.#min; slot--) {
      const first = slot === 0
        ? leafMin
        : pivotOf(doubles, leaf, slot - 1, leafMax) + 1;
      if (heldSlotOf(words, leaf, slot) === 0) {
        const from = first < this.#min ? this.#min : first;
        const to = last > this.#max ? this.#max : last;
        if (to - from >= this.#size - 1) return to - this.#size + 1;
      }
      last = first - 1;
    }
    return -1;
  }
}
