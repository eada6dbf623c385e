/**
 * Storing a range: everything that changes a tree goes through {@linkcode Writer.storeRange}.
 *
 * How a store works, with the tree's lock held:
 *
 * 1. Walk to the leaf of `first`. Storing over exactly one slot is one store of that slot.
 * 2. If what is left of the leaf, with the new range in it, is neither too much nor too little for a leaf, one new leaf
 *    takes the old one's place. Else the nodes that the range spans are built anew (`rebuild.ts`). New nodes are private.
 * 3. Publish: one atomic store, of the slot at the lowest common ancestor or of the root. A reader that loads that word
 *    before the store sees all of the old tree, after it all of the new one, because nothing that it reaches from the old
 *    nodes is changed and all of the new ones is written before.
 * 4. Point adopted children at their new parents, mark the replaced nodes dead, and defer their freeing: readers may
 *    still be inside them until a grace period has passed. In a tree that tracks gaps, bring those above up to date.
 *
 * Everything that allocates stands before step 3, so a failed allocation frees the private nodes and leaves the tree as it
 * was. Between 3 and 4 the parent words of adopted children are stale; only the mover follows parent words, and it
 * re-checks under the lock that the writer still holds.
 *
 * A free run is always exactly one slot: no two neighbouring slots are empty, also not across leaves. So before a range is
 * emptied it is widened over the free runs that touch it; nothing else can bring two together.
 *
 * Most stores change one leaf, or split it, or join it to its neighbour. Where there is a WebAssembly memory, these are done by
 * compiled loops (`assembly/writer.ts`), which build the same nodes and say if they can't;
 * where no reader can be inside without the lock, they change a leaf in place instead of copying it.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { perArena } from "../memory/per_arena.ts";
import type { Words } from "../sync/atomics.ts";
import { compiledFor, type CompiledStores } from "./compiled.ts";
import {
  headerParent,
  heldFlagsOf,
  heldRootOf,
  noteChange,
  setRoot,
  tracksGaps,
} from "./header.ts";
import {
  countOf,
  type Doubles,
  gapOf,
  heightOf,
  heldSlotOf,
  largestGap,
  largestRun,
  MAX_INDEX,
  MAX_SLOTS,
  MIN_SLOTS,
  pivotOf,
  setGap,
  setParent,
  setSlot,
  slotFor,
  spliceNode,
} from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";
import { type NodeReserve, NodeSupply } from "./node_supply.ts";
import { Pool } from "./pool.ts";
import { Rebuild } from "./rebuild.ts";
import { retireNode } from "./subtree.ts";

// In the thread's scratch words: what compiled stores leave.
const ERASED_FIRST = 128 / 2; // in doubles
const ERASED_LAST = 130 / 2;
const LEFT_COUNT = 624;
const LEFT = 625;
/** What they return where they can't be done so. */
const NOT_MINE = -1;
/** Where the thread has too few nodes above leaves at hand; else, of what else is below 0, too few leaves. */
const NO_INNER = -3;

/**
 * What one thread writes trees with: scratch memory that no store leaves anything in.
 *
 * Thread contract: an object belongs to one thread, and is used under the lock of the tree that is written.
 */
export class Writer {
  /** The first index of the range that was erased last. */
  first = 0;
  /** Its last index. */
  last = 0;
  readonly #arena: Arena;
  readonly #compiled: CompiledStores | undefined;
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #supply: NodeSupply;
  readonly #rebuild: Rebuild;
  /** What stands in the place of the slots that a range touches, if all are in one leaf. */
  readonly #pool: Pool;
  /** Whether to stop before anything is published. */
  #rehearsing = false;

  private constructor(arena: Arena) {
    this.#arena = arena;
    this.#compiled = compiledFor(arena);
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    this.#supply = new NodeSupply(arena);
    this.#rebuild = new Rebuild(arena.words, arena.doubles, this.#supply);
    this.#pool = new Pool(arena.words, arena.doubles);
  }

  /** The writer of this thread. */
  static readonly of: (arena: Arena) => Writer = perArena((arena) =>
    new Writer(arena)
  );

  /**
   * Stores `value` over all of `first` … `last`; returns what was at `first`.
   *
   * @throws {OutOfMemoryError} If a node can't be allocated; the tree is as it was.
   */
  storeRange(
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): number {
    const compiled = this.#compiled;
    if (compiled !== undefined && this.#arena.lockdep.mayAllocate) {
      this.#freeTaken(nodes);
      const { leafStock, innerStock } = nodes;
      for (;;) {
        const before = compiled
          .storeRange(header, first, last, value, leafStock, innerStock);
        if (before >= 0) return before;
        if (!this.#stockUp(nodes, before)) break;
      }
    }
    return this.#storeRange(header, nodes, first, last, value);
  }

  /**
   * Stores `value` over all of `first` … `last` if all of it is free; says whether it did.
   *
   * @throws {OutOfMemoryError} If a node can't be allocated; the tree is as it was.
   */
  insertRange(
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): boolean {
    const compiled = this.#compiled;
    if (compiled !== undefined && this.#arena.lockdep.mayAllocate) {
      this.#freeTaken(nodes);
      const { leafStock, innerStock } = nodes;
      for (;;) {
        const done = compiled
          .insertRange(header, first, last, value, leafStock, innerStock);
        if (done >= 0) return done === 1;
        if (!this.#stockUp(nodes, done)) break;
      }
    }
    const root = this.#begin(header, first);
    if (root === 0) {
      this.#storeFirst(header, nodes, first, last, value);
      return true;
    }
    const { left, top } = this.#rebuild;
    // A free run is one slot.
    if (this.#held() !== 0 || last > left.last(this.#doubles, 0, top)) {
      return false;
    }
    this.#store(header, nodes, root, first, last, value);
    return true;
  }

  /**
   * Empties the whole range that contains an index; returns what it held. It was `first` … `last` of this writer.
   *
   * @throws {OutOfMemoryError} If a node can't be allocated; the tree is as it was.
   */
  erase(header: number, nodes: NodeCaches, index: number): number {
    const compiled = this.#compiled;
    if (compiled !== undefined && this.#arena.lockdep.mayAllocate) {
      this.#freeTaken(nodes);
      const { leafStock, innerStock } = nodes;
      for (;;) {
        const before = compiled.erase(header, index, leafStock, innerStock);
        if (before >= 0) {
          const { doubles, scratchIndex } = this.#arena;
          this.first = doubles[scratchIndex / 2 + ERASED_FIRST];
          this.last = doubles[scratchIndex / 2 + ERASED_LAST];
          return before;
        }
        if (!this.#stockUp(nodes, before)) break;
      }
    }
    const root = this.#begin(header, index);
    if (root === 0) {
      this.first = 0;
      this.last = MAX_INDEX;
      return 0;
    }
    const { left, top } = this.#rebuild;
    this.first = left.first(this.#doubles, 0, top);
    this.last = left.last(this.#doubles, 0, top);
    const before = this.#held();
    if (before !== 0) {
      this.#store(header, nodes, root, this.first, this.last, 0);
    }
    return before;
  }

  /**
   * As {@linkcode Writer.storeRange}, but takes nodes that {@linkcode Writer.rehearse} allocated before any other, and
   * removes them from `reserve`.
   *
   * @throws {OutOfMemoryError} If they do not suffice and another can't be allocated; tree and reserve are as they were.
   */
  storeRangeFrom(
    reserve: NodeReserve,
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): number {
    this.#supply.useFirst(reserve);
    try {
      return this.#storeRange(header, nodes, first, last, value);
    } finally {
      this.#supply.useFirst();
    }
  }

  /**
   * Does all of a store but publish it, and has the reserve hold exactly the nodes that it takes: what is missing is
   * allocated, what is not needed is freed. So the same store, if nothing changes before it, allocates nothing.
   *
   * @throws {OutOfMemoryError} If a node can't be allocated; the reserve is as it was.
   */
  rehearse(
    reserve: NodeReserve,
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): void {
    this.#supply.useFirst(reserve);
    this.#rehearsing = true;
    try {
      this.#storeRange(header, nodes, first, last, value);
      this.#supply.keep(nodes);
    } finally {
      this.#supply.useFirst();
      this.#rehearsing = false;
    }
  }

  /** Gets nodes for a compiled store that had too few of a kind; says whether there are any, so that it is to be tried again. */
  #stockUp(nodes: NodeCaches, answer: number): boolean {
    if (answer === NOT_MINE) return false;
    this.#freeTaken(nodes);
    return (answer === NO_INNER ? nodes.inner : nodes.leaves).stockUp();
  }

  /** Frees the nodes that a compiled store has taken and left, if it did: before another one is tried. */
  #freeTaken(nodes: NodeCaches): void {
    const words = this.#words, { scratchIndex } = this.#arena;
    const count = words[scratchIndex + LEFT_COUNT];
    words[scratchIndex + LEFT_COUNT] = 0;
    for (let i = 0; i < count; i++) nodes.free(words[scratchIndex + LEFT + i]);
  }

  #storeRange(
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): number {
    const root = this.#begin(header, first);
    if (root === 0) {
      this.#storeFirst(header, nodes, first, last, value);
      return 0;
    }
    const before = this.#held();
    this.#store(header, nodes, root, first, last, value);
    return before;
  }

  /** Begins a store: walks to where it begins, if the tree holds anything, and returns the root. */
  #begin(header: number, first: number): number {
    this.#supply.begin();
    const root = heldRootOf(this.#words, header);
    if (root === 0) return 0;
    const rebuild = this.#rebuild;
    rebuild.gaps = tracksGaps(heldFlagsOf(this.#words, header));
    rebuild.top = heightOf(this.#words, root);
    rebuild.left.walk(this.#words, this.#doubles, root, first);
    return root;
  }

  /** What the slot holds that the left path leads to. */
  #held(): number {
    const { left } = this.#rebuild;
    return heldSlotOf(this.#words, left.node[0], left.slot[0]) >>> 0;
  }

  #store(
    header: number,
    nodes: NodeCaches,
    root: number,
    first: number,
    last: number,
    value: number,
  ): void {
    if (value === 0) {
      last = this.#widenedLast(root, last);
      first = this.#widenedFirst(root, first);
    }
    if (this.#storeInLeaf(header, nodes, first, last, value)) return;
    const rebuild = this.#rebuild;
    rebuild.build(nodes, first, last, value);
    if (this.#rehearsing) return;
    const delta = rebuild.publish(header, nodes);
    if (rebuild.gaps && !rebuild.publishesRoot) {
      this.#updateGapsAbove(rebuild.publishedHeight, rebuild.publishedGap);
    }
    this.#supply.commit();
    noteChange(this.#words, header, delta);
  }

  #storeFirst(
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): void {
    if (value === 0) return;
    const pool = this.#pool;
    pool.size = 0;
    if (first > 0) pool.push(first - 1, 0);
    pool.push(last, value | 0);
    if (last < MAX_INDEX) pool.push(MAX_INDEX, 0);
    const root = this.#supply.take(nodes, 0);
    if (this.#rehearsing) return;
    pool.fill(root, 0, 0, pool.size, false);
    setParent(this.#words, root, headerParent(header));
    setRoot(this.#words, header, root);
    this.#supply.commit();
    noteChange(this.#words, header, 1);
  }

  /** The end of the free run that `last` is in or that follows it; `last` if there is none. */
  #widenedLast(root: number, last: number): number {
    const words = this.#words, doubles = this.#doubles;
    const { left, right, top } = this.#rebuild;
    if (last === MAX_INDEX) return last;
    const leaf = left.node[0];
    const max = left.max(doubles, 0, top);
    if (last < max) {
      const slot = slotFor(doubles, leaf, last + 1);
      return heldSlotOf(words, leaf, slot) === 0
        ? pivotOf(doubles, leaf, slot, max)
        : last;
    }
    right.walk(words, doubles, root, last + 1);
    return heldSlotOf(words, right.node[0], right.slot[0]) === 0
      ? right.last(doubles, 0, top)
      : last;
  }

  /** The beginning of the free run that `first` is in or that precedes it; `first` if there is none. Moves the left path. */
  #widenedFirst(root: number, first: number): number {
    const words = this.#words, doubles = this.#doubles;
    const { left, right, top } = this.#rebuild;
    const begin = left.first(doubles, 0, top);
    if (begin < first || first === 0) {
      return heldSlotOf(words, left.node[0], left.slot[0]) === 0
        ? begin
        : first;
    }
    if (left.slot[0] > 0) {
      if (heldSlotOf(words, left.node[0], left.slot[0] - 1) !== 0) return first;
      left.slot[0]--;
      return left.first(doubles, 0, top);
    }
    right.walk(words, doubles, root, first - 1);
    if (heldSlotOf(words, right.node[0], right.slot[0]) !== 0) return first;
    left.copyFrom(right, top);
    return left.first(doubles, 0, top);
  }

  /**
   * The fast path: what changes one leaf and leaves it neither too full nor too empty. Either one slot is stored, or one
   * new leaf takes the old one's place.
   */
  #storeInLeaf(
    header: number,
    nodes: NodeCaches,
    first: number,
    last: number,
    value: number,
  ): boolean {
    const words = this.#words, doubles = this.#doubles;
    const { left, top } = this.#rebuild;
    const leaf = left.node[0];
    const firstSlot = left.slot[0];
    const leafMax = left.max(doubles, 0, top);
    if (last > leafMax) return false;
    let slot = firstSlot;
    let slotLast = pivotOf(doubles, leaf, slot, leafMax);
    const leafMin = left.min(doubles, 0, top);
    const begin = firstSlot === 0
      ? leafMin
      : pivotOf(doubles, leaf, firstSlot - 1, leafMax) + 1;
    const cut = heldSlotOf(words, leaf, firstSlot);
    if (
      last === slotLast && first === begin && this.#canStoreSlot(leaf, value)
    ) {
      this.#storeSlot(header, leafMin, leafMax, cut, value);
      return true;
    }
    let delta = (value === 0 ? 0 : 1) - (cut === 0 ? 0 : 1);
    while (slotLast < last) {
      slotLast = pivotOf(doubles, leaf, ++slot, leafMax);
      if (heldSlotOf(words, leaf, slot) !== 0) delta--;
    }
    const pool = this.#pool;
    pool.size = 0;
    if (first > begin) {
      pool.push(first - 1, cut);
      if (cut !== 0) delta++;
    }
    pool.push(last, value | 0);
    if (last < slotLast) {
      const rest = heldSlotOf(words, leaf, slot);
      pool.push(slotLast, rest);
      if (rest !== 0) delta++;
    }
    const size = countOf(words, leaf) - (slot + 1 - firstSlot) + pool.size;
    if (
      size > MAX_SLOTS || (size < MIN_SLOTS && top > 0) ||
      (size === 1 && value === 0)
    ) {
      return false;
    }
    this.#replaceLeaf(header, nodes, leafMin, leafMax, slot + 1, delta);
    return true;
  }

  /** Whether one slot can be stored in place: all but emptying the last one of a tree. */
  #canStoreSlot(leaf: number, value: number): boolean {
    return value !== 0 || countOf(this.#words, leaf) > 1;
  }

  #storeSlot(
    header: number,
    leafMin: number,
    leafMax: number,
    old: number,
    value: number,
  ): void {
    if ((old === 0 && value === 0) || this.#rehearsing) return;
    const { left, gaps } = this.#rebuild;
    const leaf = left.node[0];
    setSlot(this.#words, leaf, left.slot[0], value | 0);
    const delta = (value === 0 ? 0 : 1) - (old === 0 ? 0 : 1);
    if (gaps && delta !== 0) this.#updateGapsOfLeaf(leaf, leafMin, leafMax);
    noteChange(this.#words, header, delta);
  }

  /** Puts a copy of the leaf in its place, in which the pool stands for the slots from the left path's up to `to`. */
  #replaceLeaf(
    header: number,
    nodes: NodeCaches,
    leafMin: number,
    leafMax: number,
    to: number,
    delta: number,
  ): void {
    const words = this.#words;
    const { left: { node, slot }, top, gaps } = this.#rebuild;
    const leaf = node[0];
    const copy = this.#supply.take(nodes, 0);
    if (this.#rehearsing) return;
    spliceNode(
      words,
      this.#doubles,
      leaf,
      copy,
      slot[0],
      to,
      leafMax,
      this.#pool.pivots,
      this.#pool.slots,
      this.#pool.size,
    );
    setParent(words, copy, top === 0 ? headerParent(header) : node[1]);
    nodes.claim(leaf);
    if (top === 0) setRoot(words, header, copy);
    else setSlot(words, node[1], slot[1], copy);
    this.#supply.commit();
    retireNode(words, nodes, leaf);
    if (gaps) this.#updateGapsOfLeaf(copy, leafMin, leafMax);
    noteChange(words, header, delta);
  }

  #updateGapsOfLeaf(leaf: number, min: number, max: number): void {
    if (this.#rebuild.top === 0) return;
    const gap = largestRun(this.#words, this.#doubles, leaf, min, max);
    this.#updateGapsAbove(0, gap);
  }

  /** Notes the gap of the left path's node of a height in those above it, as far as it changes theirs. */
  #updateGapsAbove(height: number, gap: number): void {
    const words = this.#words, doubles = this.#doubles;
    const { left: { node, slot }, top } = this.#rebuild;
    for (let at = height + 1; at <= top; at++) {
      if (gapOf(doubles, node[at], slot[at]) === gap) return;
      setGap(doubles, node[at], slot[at], gap);
      gap = largestGap(words, doubles, node[at]);
    }
  }
}
