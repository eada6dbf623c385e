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
  fillNode,
  heightOf,
  MAX_SLOTS,
  MIN_SLOTS,
  setParent,
  setSlot,
  slotOf,
} from "./node.ts";

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

/** Nodes of one height, in order, with their last indices. */
interface Level {
  readonly refs: number[];
  readonly pivots: number[];
}

/**
 * Builds the nodes of a tree from left to right, each as full as can be.
 *
 * The items wait in a pool until enough are there to fill a node and leave a third of one for the next.
 */
export class SubtreeBuilder {
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #nodes: SlabCache;
  readonly #pivots = new Float64Array(MAX_SLOTS + MIN_SLOTS);
  readonly #slots = new Int32Array(MAX_SLOTS + MIN_SLOTS);
  #pooled = 0;
  #built: Level = { refs: [], pivots: [] };
  #height = 0;
  readonly #all: number[] = [];

  /** Builds from nodes of that cache. */
  constructor(words: Words, doubles: Doubles, nodes: SlabCache) {
    this.#words = words;
    this.#doubles = doubles;
    this.#nodes = nodes;
  }

  /** Adds the next slot, which ends at `last`. */
  push(last: number, slot: number): void {
    if (this.#pooled === this.#pivots.length) this.#flush(MAX_SLOTS);
    this.#pivots[this.#pooled] = last;
    this.#slots[this.#pooled++] = slot | 0;
  }

  /** Builds all that is above; returns the root. At least one slot was pushed, and the last ended at the last index. */
  finish(): number {
    for (;;) {
      if (this.#pooled > MAX_SLOTS) this.#flush(this.#pooled >> 1);
      this.#flush(this.#pooled);
      const { refs, pivots } = this.#built;
      if (refs.length === 1) break;
      this.#built = { refs: [], pivots: [] };
      this.#height++;
      for (let i = 0; i < refs.length; i++) this.push(pivots[i], refs[i]);
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

  #flush(count: number): void {
    const node = this.#nodes.allocate();
    this.#all.push(node);
    fillNode(
      this.#words,
      this.#doubles,
      node,
      this.#height,
      this.#pivots,
      this.#slots,
      0,
      count,
    );
    this.#built.refs.push(node);
    this.#built.pivots.push(this.#pivots[count - 1]);
    this.#pivots.copyWithin(0, count, this.#pooled);
    this.#slots.copyWithin(0, count, this.#pooled);
    this.#pooled -= count;
  }
}
