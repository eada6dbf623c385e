/**
 * Whole subtrees: retiring, copying and building them.
 *
 * Retiring stands behind the store that made a node unreachable, under the tree's lock: the node is marked dead (a mover
 * that holds its ref gives up), then its freeing is deferred. Copies and new subtrees are private until their caller
 * publishes them; when an allocation fails, what was built is freed and nothing has changed.
 *
 * @module
 */
import type { SlabCache } from "../slab/slab_cache.ts";
import type { Words } from "../sync/atomics.ts";
import {
  adoptChildren,
  copyNode,
  countOf,
  type Doubles,
  heightOf,
  MAX_SLOTS,
  maxSlots,
  MIN_SLOTS,
  minSlots,
  setParent,
  setSlot,
  slotOf,
} from "./node.ts";
import { Pool } from "./pool.ts";

/** Marks an unreachable node dead and defers its freeing. */
export function retireNode(words: Words, nodes: SlabCache, node: number): void {
  setParent(words, node, node);
  nodes.defer(node);
}

/** Retires an unreachable node and all below it; returns how many entries they held. */
export function retireSubtree(
  words: Words,
  nodes: SlabCache,
  node: number,
): number {
  const isLeaf = heightOf(words, node) === 0;
  let entries = 0;
  for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
    const held = slotOf(words, node, slot);
    if (!isLeaf) entries += retireSubtree(words, nodes, held);
    else if (held !== 0) entries++;
  }
  retireNode(words, nodes, node);
  return entries;
}

/** Marks an unreachable node and all below it dead, and adds them to `refs`; their freeing is for the caller to defer. */
export function collectSubtree(
  words: Words,
  node: number,
  refs: number[],
): void {
  if (heightOf(words, node) > 0) {
    for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
      collectSubtree(words, slotOf(words, node, slot), refs);
    }
  }
  setParent(words, node, node);
  refs.push(node);
}

/** Frees a subtree that nobody else has seen. */
export function freeSubtree(
  words: Words,
  nodes: SlabCache,
  node: number,
): void {
  if (heightOf(words, node) > 0) {
    for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
      const child = slotOf(words, node, slot);
      if (child !== 0) freeSubtree(words, nodes, child);
    }
  }
  nodes.free(node);
}

/**
 * Copies a subtree node by node; the copy's parent is for the caller to set. Under the lock of the tree that is copied.
 *
 * @throws {OutOfMemoryError} If a node can't be allocated; nothing of the copy is left.
 */
export function copySubtree(
  words: Words,
  doubles: Doubles,
  nodes: SlabCache,
  node: number,
): number {
  const copy = nodes.allocate();
  // Nobody has linked it yet: a mover that looks at it gives up.
  setParent(words, copy, 0);
  copyNode(words, doubles, node, copy);
  if (heightOf(words, node) === 0) return copy;
  const count = countOf(words, node);
  for (let slot = 0; slot < count; slot++) {
    try {
      setSlot(
        words,
        copy,
        slot,
        copySubtree(words, doubles, nodes, slotOf(words, node, slot)),
      );
    } catch (error) {
      // The slots from here on still name the children of the original.
      for (let rest = slot; rest < count; rest++) setSlot(words, copy, rest, 0);
      freeSubtree(words, nodes, copy);
      throw error;
    }
  }
  adoptChildren(words, copy);
  return copy;
}

/** Nodes of one height, in order, with their last indices and the largest free run below each. */
interface Level {
  readonly refs: number[];
  readonly pivots: number[];
  readonly gaps: number[];
}

/**
 * Builds the nodes of a tree from left to right, each as full as can be.
 *
 * The items wait in a pool until enough are there to fill a node and leave a third of one for the next.
 */
export class SubtreeBuilder {
  readonly #words: Words;
  readonly #nodes: SlabCache;
  readonly #gaps: boolean;
  readonly #pool: Pool;
  /** The first index of the pool. */
  #min = 0;
  #built: Level = { refs: [], pivots: [], gaps: [] };
  #height = 0;
  #most = MAX_SLOTS;
  #enough = MAX_SLOTS + MIN_SLOTS;
  readonly #all: number[] = [];

  /** Builds from nodes of that cache, for a tree that tracks gaps or does not. */
  constructor(
    words: Words,
    doubles: Doubles,
    nodes: SlabCache,
    gaps: boolean,
  ) {
    this.#words = words;
    this.#nodes = nodes;
    this.#gaps = gaps;
    this.#pool = new Pool(words, doubles);
  }

  /** Adds the next slot, which ends at `last`. */
  push(last: number, slot: number, gap = 0): void {
    if (this.#pool.size === this.#enough) this.#flush(this.#most);
    this.#pool.push(last, slot | 0, gap);
  }

  /** Builds all that is above; returns the root. At least one slot was pushed, and the last ended at the last index. */
  finish(): number {
    for (;;) {
      if (this.#pool.size > this.#most) this.#flush(this.#pool.size >> 1);
      this.#flush(this.#pool.size);
      const { refs, pivots, gaps } = this.#built;
      if (refs.length === 1) break;
      this.#beginHeight(this.#height + 1);
      for (let i = 0; i < refs.length; i++) {
        this.push(pivots[i], refs[i], gaps[i]);
      }
    }
    for (const node of this.#all) {
      if (heightOf(this.#words, node) > 0) adoptChildren(this.#words, node);
    }
    return this.#built.refs[0];
  }

  /** Frees all that was built. */
  abandon(): void {
    for (const node of this.#all) this.#nodes.free(node);
  }

  #beginHeight(height: number): void {
    this.#built = { refs: [], pivots: [], gaps: [] };
    this.#height = height;
    this.#min = 0;
    this.#most = maxSlots(height, this.#gaps);
    this.#enough = this.#most + minSlots(height, this.#gaps);
  }

  #flush(count: number): void {
    const pool = this.#pool;
    const node = this.#nodes.allocate();
    this.#all.push(node);
    pool.fill(node, this.#height, 0, count, this.#gaps);
    const last = pool.pivots[count - 1];
    this.#built.refs.push(node);
    this.#built.pivots.push(last);
    if (this.#gaps) {
      this.#built.gaps.push(
        pool.largestGap(this.#height, 0, count, this.#min),
      );
    }
    this.#min = last + 1;
    pool.drop(count);
  }
}
