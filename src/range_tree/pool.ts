/**
 * The slots that new nodes are built from, in order: each with its last index, and above the leaves, in a tree that tracks
 * gaps, with the largest free run below it. Private to the writer that fills it.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { type Doubles, fillNode, gapOf, readSlots, setGap } from "./node.ts";

/** What both boundary nodes keep (20 each), three new ones, and room to spare for a neighbour. */
const POOL_SIZE = 72;

/** A run of slots. */
export class Pool {
  /** The last index of each slot. */
  readonly pivots: Float64Array = new Float64Array(POOL_SIZE);
  /** What each slot holds. */
  readonly slots: Int32Array = new Int32Array(POOL_SIZE);
  /** How many slots there are. */
  size = 0;
  /** The largest free run below each slot; without meaning at the leaves, or in a tree that does not track gaps. */
  readonly #gaps = new Float64Array(POOL_SIZE);
  readonly #words: Words;
  readonly #doubles: Doubles;

  /** An empty pool for the trees of one arena. */
  constructor(words: Words, doubles: Doubles) {
    this.#words = words;
    this.#doubles = doubles;
  }

  /** Adds a slot. */
  push(pivot: number, slot: number, gap = 0): void {
    this.pivots[this.size] = pivot;
    this.#gaps[this.size] = gap;
    this.slots[this.size++] = slot;
  }

  /**
   * Adds slots `from` … `to − 1` of a node.
   *
   * @param max The node's last index.
   * @param gaps Whether the node has gaps.
   */
  append(
    node: number,
    from: number,
    to: number,
    max: number,
    gaps: boolean,
  ): void {
    this.#read(node, from, to, max, gaps, this.size);
    this.size += to - from;
  }

  /** Adds all slots of another pool. */
  appendPool(other: Pool): void {
    for (let at = 0; at < other.size; at++) {
      this.push(other.pivots[at], other.slots[at], other.#gaps[at]);
    }
  }

  /** Removes the first `count` slots. */
  drop(count: number): void {
    const { pivots, slots } = this;
    const gaps = this.#gaps;
    const left = this.size - count;
    // A loop: few are left, and a call of `copyWithin` costs as much as moving 60 of them.
    for (let to = 0, from = count; to < left; to++, from++) {
      pivots[to] = pivots[from];
      slots[to] = slots[from];
      gaps[to] = gaps[from];
    }
    this.size = left;
  }

  /** Puts all `count` slots of a node before what is there. */
  prepend(node: number, count: number, max: number, gaps: boolean): void {
    this.pivots.copyWithin(count, 0, this.size);
    this.slots.copyWithin(count, 0, this.size);
    this.#gaps.copyWithin(count, 0, this.size);
    this.#read(node, 0, count, max, gaps, 0);
    this.size += count;
  }

  /** Fills a private node with `count` slots, from the slot `from` on. */
  fill(
    node: number,
    height: number,
    from: number,
    count: number,
    gaps: boolean,
  ): void {
    fillNode(
      this.#words,
      this.#doubles,
      node,
      height,
      this.pivots,
      this.slots,
      from,
      count,
    );
    if (!gaps || height === 0) return;
    for (let slot = 0; slot < count; slot++) {
      setGap(this.#doubles, node, slot, this.#gaps[from + slot]);
    }
  }

  /**
   * The largest free run in or below `count` slots, from the slot `from` on.
   *
   * @param min The first index of the pool.
   */
  largestGap(height: number, from: number, count: number, min: number): number {
    let largest = 0;
    let first = from === 0 ? min : this.pivots[from - 1] + 1;
    for (let at = from; at < from + count; at++) {
      const run = this.slots[at] === 0 ? this.pivots[at] - first + 1 : 0;
      const gap = height > 0 ? this.#gaps[at] : run;
      if (gap > largest) largest = gap;
      first = this.pivots[at] + 1;
    }
    return largest;
  }

  #read(
    node: number,
    from: number,
    to: number,
    max: number,
    gaps: boolean,
    at: number,
  ): void {
    readSlots(
      this.#words,
      this.#doubles,
      node,
      from,
      to,
      max,
      this.pivots,
      this.slots,
      at,
    );
    if (!gaps) return;
    for (let slot = from; slot < to; slot++) {
      this.#gaps[at + slot - from] = gapOf(this.#doubles, node, slot);
    }
  }
}
