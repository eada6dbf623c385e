/**
 * Whole subtrees: retiring, copying and building them.
 *
 * Retiring stands behind the store that made a node unreachable, under the tree's lock: the node is marked dead (a mover
 * that holds its ref gives up), then its freeing is deferred. Of several nodes all are marked before the first is deferred.
 *
 * All nodes of a tree are retired without the lock, so that nobody waits for a walk over all of them: the store of the root
 * that unlinked them was under it. From then on nobody but the thread that unlinked them changes them. Writers come from
 * the root and meet none of them. A mover that holds the ref of one may climb to the header and take the lock, but then it
 * finds that the way up ends at another node than the root: at what was the root, which is in use till it is deferred, so it
 * can't have become a root again. It gives up, also if it read parent words while they were marked. The header is
 * deferred after the nodes, so no other tree is in its place as long as anything leads there. Readers that were inside at the
 * unlinking go on through slots, which stay as they are, and every ref is deferred after it was unlinked.
 *
 * Copies and new subtrees are private until their caller publishes them; when an allocation fails, what was built is freed and
 * nothing has changed.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import {
  adoptChildren,
  copyNode,
  countOf,
  type Doubles,
  heightOf,
  heldSlotOf,
  MAX_SLOTS,
  maxSlots,
  MIN_SLOTS,
  minSlots,
  setParent,
  setSlot,
  slotOf,
} from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";
import { Pool } from "./pool.ts";

/** Marks an unreachable node, which was claimed before it became so, dead and defers its freeing. */
export function retireNode(
  words: Words,
  nodes: NodeCaches,
  node: number,
): void {
  setParent(words, node, node);
  nodes.defer(node);
}

/** Retires an unreachable node and all below it; returns how many entries they held. */
export function retireSubtree(
  words: Words,
  nodes: NodeCaches,
  node: number,
): number {
  const isLeaf = heightOf(words, node) === 0;
  let entries = 0;
  for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
    const held = slotOf(words, node, slot);
    if (!isLeaf) entries += retireSubtree(words, nodes, held);
    else if (held !== 0) entries++;
  }
  nodes.claim(node);
  retireNode(words, nodes, node);
  return entries;
}

/** Retires what was a tree's root and all below it, without the tree's lock: see the top of this file. */
export function retireUnlinked(
  words: Words,
  nodes: NodeCaches,
  root: number,
): void {
  const refs: number[] = [];
  markDead(words, nodes, root, refs);
  nodes.deferAll(refs);
}

function markDead(
  words: Words,
  nodes: NodeCaches,
  node: number,
  refs: number[],
): void {
  if (heightOf(words, node) > 0) {
    for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
      markDead(words, nodes, slotOf(words, node, slot), refs);
    }
  }
  nodes.claim(node);
  setParent(words, node, node);
  refs.push(node);
}

/** How many nodes are allocated at once: a slab of them. */
const BATCH = 16;

/**
 * The nodes of a subtree that is being built. They are allocated some at a time, which takes less than half as long as one
 * by one.
 */
class SubtreeNodes {
  readonly #words: Words;
  readonly #nodes: NodeCaches;
  readonly #leaves: Batch = { height: 0, refs: [], taken: 0 };
  readonly #inner: Batch = { height: 1, refs: [], taken: 0 };

  constructor(words: Words, nodes: NodeCaches) {
    this.#words = words;
    this.#nodes = nodes;
  }

  /** The nodes above leaves that were taken. */
  inner(): number[] {
    return this.#inner.refs.slice(0, this.#inner.taken);
  }

  /**
   * Takes a node of that height.
   *
   * @throws {OutOfMemoryError} If there is none.
   */
  take(height: number): number {
    const batch = height === 0 ? this.#leaves : this.#inner;
    if (batch.taken === batch.refs.length) this.#allocate(batch);
    return batch.refs[batch.taken++];
  }

  #allocate({ height, refs, taken }: Batch): void {
    // As many as are there already, so that small trees don't allocate what they don't need.
    const count = Math.min(BATCH, Math.max(1, taken));
    this.#nodes.ofHeight(height).allocateInto(refs, count);
    if (refs.length === taken) refs.push(this.#nodes.allocate(height));
  }

  /** Gives back what was not taken. */
  finish(): void {
    for (const { refs, taken } of [this.#leaves, this.#inner]) {
      while (refs.length > taken) this.#nodes.free(refs.pop()!);
    }
  }

  /** Gives back everything: nobody has seen it. */
  abandon(): void {
    for (const batch of [this.#leaves, this.#inner]) {
      // A free node has no parent: see `sweep.ts`.
      for (let i = 0; i < batch.taken; i++) {
        setParent(this.#words, batch.refs[i], 0);
      }
      batch.taken = 0;
    }
    this.finish();
  }
}

/** Leaves, or nodes above them, that were allocated; the first ones are taken. */
interface Batch {
  readonly height: number;
  readonly refs: number[];
  taken: number;
}

/**
 * Copies a subtree node by node; the copy's parent is for the caller to set. Under the lock of the tree that is copied.
 *
 * @throws {OutOfMemoryError} If a node can't be allocated; nothing of the copy is left.
 */
export function copySubtree(
  words: Words,
  doubles: Doubles,
  nodes: NodeCaches,
  node: number,
): number {
  const taken = new SubtreeNodes(words, nodes);
  try {
    // Nobody has linked it yet: a mover that climbs to it from any of the copies gives up.
    const copy = copyBelow(words, doubles, taken, node, 0);
    taken.finish();
    return copy;
  } catch (error) {
    taken.abandon();
    throw error;
  }
}

function copyBelow(
  words: Words,
  doubles: Doubles,
  taken: SubtreeNodes,
  node: number,
  parent: number,
): number {
  const height = heightOf(words, node);
  const copy = taken.take(height);
  setParent(words, copy, parent);
  copyNode(words, doubles, node, copy);
  if (height === 0) return copy;
  const count = countOf(words, node);
  for (let slot = 0; slot < count; slot++) {
    const child = heldSlotOf(words, node, slot);
    setSlot(words, copy, slot, copyBelow(words, doubles, taken, child, copy));
  }
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
  readonly #gaps: boolean;
  readonly #pool: Pool;
  /** The first index of the pool. */
  #min = 0;
  #built: Level = { refs: [], pivots: [], gaps: [] };
  #height = 0;
  #most = MAX_SLOTS;
  #enough = MAX_SLOTS + MIN_SLOTS;
  readonly #taken: SubtreeNodes;

  /** Builds from nodes of those caches, for a tree that tracks gaps or does not. */
  constructor(
    words: Words,
    doubles: Doubles,
    nodes: NodeCaches,
    gaps: boolean,
  ) {
    this.#words = words;
    this.#taken = new SubtreeNodes(words, nodes);
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
    this.#taken.finish();
    for (const node of this.#taken.inner()) adoptChildren(this.#words, node);
    return this.#built.refs[0];
  }

  /** Frees all that was built. */
  abandon(): void {
    this.#taken.abandon();
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
    const node = this.#taken.take(this.#height);
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
