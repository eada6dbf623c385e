/**
 * Storing a range: everything that changes a tree goes through {@linkcode Writer.storeRange}.
 *
 * How a store works, with the tree's lock held:
 *
 * 1. Walk to the leaf of `first` and to the leaf of `last`. Storing over exactly one slot is one store of that slot.
 * 2. Gather the slots that the boundary leaves keep, with the new range between them, in a pool; neighbouring empty
 *    slots merge. Too small a pool takes in a neighbour leaf.
 * 3. Build new nodes from the pool: privately, nobody sees them. If one node replaces one node, that is all; else the new
 *    nodes replace a run of slots of the parents, and the same is done one height up.
 * 4. Publish: one atomic store, of the slot at the lowest common ancestor or of the root. A reader that loads that word
 *    before the store sees all of the old tree, after it all of the new one, because nothing that it reaches from the old
 *    nodes is changed and all of the new ones is written before.
 * 5. Point adopted children at their new parents, mark the replaced nodes dead, and defer their freeing: readers may
 *    still be inside them until a grace period has passed.
 *
 * Everything that allocates stands before step 4, so a failed allocation frees the private nodes and leaves the tree as it
 * was. Between 4 and 5 the parent words of adopted children are stale; only the mover follows parent words, and it
 * re-checks under the lock that the writer still holds.
 *
 * No node that is not the root has fewer than a third of its slots in use: a pool of `n` items makes ⌈n / 21⌉ nodes of
 * about equal size, so at least 11 each when there are two or more, and a smaller pool takes in a neighbour, which has at
 * least 7 itself. (At the edge of a node the split is uneven, 7 on the side that grows, so that ascending and descending
 * stores leave fuller nodes behind.)
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import type { Words } from "../sync/atomics.ts";
import { headerParent, noteChange, rootOf, setRoot } from "./header.ts";
import {
  adoptChildren,
  countOf,
  type Doubles,
  fillNode,
  heightOf,
  heldSlotOf,
  MAX_INDEX,
  MAX_SLOTS,
  MIN_SLOTS,
  pivotOf,
  readSlots,
  setParent,
  setSlot,
  spliceNode,
} from "./node.ts";
import { Path } from "./path.ts";
import { retireNode, retireSubtree } from "./subtree.ts";

/** What both boundary nodes keep (20 each), three new ones, and room to spare for a neighbour. */
const POOL_SIZE = 72;

const writerOf = new WeakMap<Arena, Writer>();

/**
 * What one thread writes trees with: scratch memory that no store leaves anything in.
 *
 * Thread contract: an object belongs to one thread, and is used under the lock of the tree that is written.
 */
export class Writer {
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #doubles: Doubles;
  /** The ways to the first and to the last index; widened when a neighbour is taken in. */
  readonly #left = new Path();
  readonly #right = new Path();
  readonly #pivots = new Float64Array(POOL_SIZE);
  readonly #slots = new Int32Array(POOL_SIZE);
  #poolSize = 0;
  /** The root's height. */
  #top = 0;
  /** The children that replace the run between the two paths at the height below. */
  readonly #childPivots = new Float64Array(8);
  readonly #childRefs = new Int32Array(8);
  #childCount = 0;
  readonly #built: number[] = [];
  readonly #replaced: number[] = [];
  readonly #covered: number[] = [];

  private constructor(arena: Arena) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#doubles = arena.doubles;
  }

  /** The writer of this thread. */
  static of(arena: Arena): Writer {
    let writer = writerOf.get(arena);
    if (writer === undefined) writerOf.set(arena, writer = new Writer(arena));
    return writer;
  }

  /**
   * Stores `value` over all of `first` … `last`.
   *
   * @throws {OutOfMemoryError} If a node can't be allocated; the tree is as it was.
   */
  storeRange(
    header: number,
    nodes: SlabCache,
    first: number,
    last: number,
    value: number,
  ): void {
    const root = rootOf(this.#words, header);
    if (root === 0) return this.#storeFirst(header, nodes, first, last, value);
    const top = this.#top = heightOf(this.#words, root);
    this.#left.walk(this.#words, this.#doubles, root, first);
    if (this.#storeInLeaf(header, nodes, top, first, last, value)) return;
    try {
      this.#rebuild(header, nodes, first, last, value);
    } finally {
      this.#built.length = 0;
      this.#replaced.length = 0;
      this.#covered.length = 0;
    }
  }

  #storeFirst(
    header: number,
    nodes: SlabCache,
    first: number,
    last: number,
    value: number,
  ): void {
    if (value === 0) return;
    this.#poolSize = 0;
    if (first > 0) this.#push(first - 1, 0);
    this.#push(last, value);
    if (last < MAX_INDEX) this.#push(MAX_INDEX, 0);
    const root = this.#build(nodes, 0, 0, this.#poolSize);
    this.#built.length = 0;
    setParent(this.#words, root, headerParent(header));
    setRoot(this.#words, header, root);
    noteChange(this.#words, header, 1);
  }

  /**
   * The fast path: what changes one leaf and leaves it neither too full nor too empty. Either one slot is stored, or one
   * new leaf takes the old one's place.
   */
  #storeInLeaf(
    header: number,
    nodes: SlabCache,
    top: number,
    first: number,
    last: number,
    value: number,
  ): boolean {
    const words = this.#words, doubles = this.#doubles;
    const leaf = this.#left.node[0];
    const firstSlot = this.#left.slot[0];
    const leafMax = this.#left.max(doubles, 0, top);
    if (last > leafMax) return false;
    let slot = firstSlot;
    let slotLast = pivotOf(doubles, leaf, slot, leafMax);
    const begin = firstSlot === 0
      ? this.#left.min(doubles, 0, top)
      : pivotOf(doubles, leaf, firstSlot - 1, leafMax) + 1;
    const cut = heldSlotOf(words, leaf, firstSlot);
    if (last <= slotLast && value === 0 && cut === 0) return true;
    if (last === slotLast && first === begin && value !== 0) {
      setSlot(words, leaf, slot, value | 0);
      noteChange(words, header, cut === 0 ? 1 : 0);
      return true;
    }
    let delta = (value === 0 ? 0 : 1) - (cut === 0 ? 0 : 1);
    while (slotLast < last) {
      slotLast = pivotOf(doubles, leaf, ++slot, leafMax);
      if (heldSlotOf(words, leaf, slot) !== 0) delta--;
    }
    return this.#spliceLeaf(
      header,
      nodes,
      leafMax,
      begin,
      first,
      last,
      value,
      slot,
      delta,
    );
  }

  /** Replaces slots of the leaf, from the one that `first` is in to `lastSlot`, by what remains of them and the new range. */
  #spliceLeaf(
    header: number,
    nodes: SlabCache,
    leafMax: number,
    begin: number,
    first: number,
    last: number,
    value: number,
    lastSlot: number,
    delta: number,
  ): boolean {
    const words = this.#words, doubles = this.#doubles;
    const leaf = this.#left.node[0];
    const count = countOf(words, leaf);
    let from = this.#left.slot[0], to = lastSlot + 1;
    const before = heldSlotOf(words, leaf, from);
    const after = heldSlotOf(words, leaf, lastSlot);
    const end = pivotOf(doubles, leaf, lastSlot, leafMax);
    this.#poolSize = 0;
    if (first > begin) this.#push(first - 1, before);
    else if (
      value === 0 && from > 0 && heldSlotOf(words, leaf, from - 1) === 0
    ) from--;
    this.#push(last, value | 0);
    if (last < end) this.#push(end, after);
    else if (value === 0 && to < count && heldSlotOf(words, leaf, to) === 0) {
      this.#push(pivotOf(doubles, leaf, to++, leafMax), 0);
    }
    const size = count - (to - from) + this.#poolSize;
    const top = this.#top;
    if (
      size > MAX_SLOTS || (size < MIN_SLOTS && top > 0) ||
      (size === 1 && value === 0)
    ) {
      return false;
    }
    if (first > begin && before !== 0) delta++;
    if (last < end && after !== 0) delta++;
    const copy = this.#allocate(nodes);
    const { node, slot } = this.#left;
    spliceNode(
      words,
      doubles,
      leaf,
      copy,
      from,
      to,
      leafMax,
      this.#pivots,
      this.#slots,
      this.#poolSize,
    );
    setParent(words, copy, top === 0 ? headerParent(header) : node[1]);
    if (top === 0) setRoot(words, header, copy);
    else setSlot(words, node[1], slot[1], copy);
    retireNode(words, nodes, leaf);
    noteChange(words, header, delta);
    return true;
  }

  #rebuild(
    header: number,
    nodes: SlabCache,
    first: number,
    last: number,
    value: number,
  ): void {
    const top = this.#top;
    const left = this.#left, right = this.#right;
    if (last <= left.max(this.#doubles, 0, top)) {
      right.copyFrom(left, top);
      right.walk(this.#words, this.#doubles, left.node[0], last);
    } else {
      right.walk(this.#words, this.#doubles, left.node[top], last);
      this.#collectCovered(top);
    }
    let delta = this.#gatherEntries(first, last, value);
    for (let height = 0;; height++) {
      this.#replace(height);
      if (this.#poolSize < MIN_SLOTS) this.#takeInNeighbour(height, top);
      if (height === 0 && this.#poolSize === 1 && this.#slots[0] === 0) {
        setRoot(this.#words, header, 0);
        this.#replaceAbove(0, top);
        break;
      }
      const single = left.node[height] === right.node[height];
      this.#buildAll(nodes, height);
      if (this.#childCount === 1) {
        if (single && height < top) {
          this.#publishChild(height);
          break;
        }
        if (this.#isWholeLevel(height, top)) {
          this.#publishRoot(header, this.#childRefs[0]);
          this.#replaceAbove(height, top);
          break;
        }
      } else if (height === top) {
        this.#publishRoot(header, this.#buildRoot(nodes, top + 1));
        break;
      }
      this.#gatherChildren(height + 1);
    }
    delta -= this.#retireReplaced(nodes);
    noteChange(this.#words, header, delta);
  }

  /** Fills the pool with what the boundary leaves keep and the new range; returns by how much the entries change. */
  #gatherEntries(first: number, last: number, value: number): number {
    const doubles = this.#doubles;
    const left = this.#left, right = this.#right;
    const leftNode = left.node[0], leftSlot = left.slot[0];
    const rightNode = right.node[0], rightSlot = right.slot[0];
    let delta = value === 0 ? 0 : 1;
    this.#poolSize = leftSlot;
    this.#read(leftNode, 0, leftSlot, left.max(doubles, 0, this.#top), 0);
    const cut = heldSlotOf(this.#words, leftNode, leftSlot);
    if (first > left.first(doubles, 0, this.#top)) {
      this.#push(first - 1, cut);
      if (cut !== 0) delta++;
    }
    this.#push(last, value | 0);
    const rightLast = right.last(doubles, 0, this.#top);
    const rest = heldSlotOf(this.#words, rightNode, rightSlot);
    if (last < rightLast) {
      this.#push(rightLast, rest);
      if (rest !== 0) delta++;
    }
    const count = countOf(this.#words, rightNode);
    const keptFrom = rightSlot + 1;
    if (keptFrom < count) {
      this.#appendSlots(
        rightNode,
        keptFrom,
        count,
        right.max(doubles, 0, this.#top),
      );
    }
    return delta - this.#entriesBetween();
  }

  /** How many entries the boundary leaves hold from the first index's slot to the last index's. */
  #entriesBetween(): number {
    const left = this.#left, right = this.#right;
    const leftNode = left.node[0], rightNode = right.node[0];
    let entries = 0;
    const leftEnd = leftNode === rightNode
      ? right.slot[0] + 1
      : countOf(this.#words, leftNode);
    for (let slot = left.slot[0]; slot < leftEnd; slot++) {
      if (heldSlotOf(this.#words, leftNode, slot) !== 0) entries++;
    }
    if (leftNode === rightNode) return entries;
    for (let slot = 0; slot <= right.slot[0]; slot++) {
      if (heldSlotOf(this.#words, rightNode, slot) !== 0) entries++;
    }
    return entries;
  }

  /** Fills the pool with what the boundary nodes of a height keep and the new children between them. */
  #gatherChildren(height: number): void {
    const left = this.#left, right = this.#right;
    this.#poolSize = left.slot[height];
    this.#read(
      left.node[height],
      0,
      left.slot[height],
      left.max(this.#doubles, height, this.#top),
      0,
    );
    for (let i = 0; i < this.#childCount; i++) {
      this.#pivots[this.#poolSize] = this.#childPivots[i];
      this.#slots[this.#poolSize++] = this.#childRefs[i];
    }
    const node = right.node[height];
    const count = countOf(this.#words, node);
    const from = right.slot[height] + 1;
    this.#read(
      node,
      from,
      count,
      right.max(this.#doubles, height, this.#top),
      this.#poolSize,
    );
    this.#poolSize += count - from;
  }

  /** Adds the slots of a leaf to the pool. */
  #appendSlots(leaf: number, from: number, count: number, max: number): void {
    // Only the seam can bring two empty slots together.
    const seam = this.#poolSize > 0 && this.#slots[this.#poolSize - 1] === 0 &&
        heldSlotOf(this.#words, leaf, from) === 0
      ? 1
      : 0;
    this.#poolSize -= seam;
    this.#read(leaf, from, count, max, this.#poolSize);
    this.#poolSize += count - from;
  }

  /** Adds one slot of a leaf to the pool; an empty one merges with an empty one before it. */
  #push(pivot: number, slot: number): void {
    if (
      slot === 0 && this.#poolSize > 0 && this.#slots[this.#poolSize - 1] === 0
    ) {
      this.#pivots[this.#poolSize - 1] = pivot;
      return;
    }
    this.#pivots[this.#poolSize] = pivot;
    this.#slots[this.#poolSize++] = slot;
  }

  #read(node: number, from: number, to: number, max: number, at: number): void {
    readSlots(
      this.#words,
      this.#doubles,
      node,
      from,
      to,
      max,
      this.#pivots,
      this.#slots,
      at,
    );
  }

  /** Notes that the boundary nodes of a height will be replaced. */
  #replace(height: number): void {
    const leftNode = this.#left.node[height];
    const rightNode = this.#right.node[height];
    this.#replaced.push(leftNode);
    if (rightNode !== leftNode) this.#replaced.push(rightNode);
  }

  /** Notes that all nodes of the paths above a height will be replaced: the tree gets lower. */
  #replaceAbove(height: number, top: number): void {
    for (let at = height + 1; at <= top; at++) this.#replace(at);
  }

  /** Notes the subtrees that lie wholly between the two paths. */
  #collectCovered(top: number): void {
    const left = this.#left, right = this.#right;
    for (let height = 1; height <= top; height++) {
      const leftNode = left.node[height], rightNode = right.node[height];
      if (leftNode === rightNode) {
        this.#cover(leftNode, left.slot[height] + 1, right.slot[height]);
        return;
      }
      this.#cover(
        leftNode,
        left.slot[height] + 1,
        countOf(this.#words, leftNode),
      );
      this.#cover(rightNode, 0, right.slot[height]);
    }
  }

  #cover(node: number, from: number, to: number): void {
    for (let slot = from; slot < to; slot++) {
      this.#covered.push(heldSlotOf(this.#words, node, slot));
    }
  }

  /** Takes a neighbour node into the pool, if the height has one: a sibling if possible. */
  #takeInNeighbour(height: number, top: number): void {
    if (height === top) return;
    const left = this.#left, right = this.#right;
    const above = height + 1;
    if (right.slot[above] < countOf(this.#words, right.node[above]) - 1) {
      this.#takeInRight(height);
    } else if (left.slot[above] > 0) {
      this.#takeInLeft(height);
    } else if (!right.isRightEdge(this.#words, height, top)) {
      this.#takeInRight(height);
    } else if (!left.isLeftEdge(height, top)) {
      this.#takeInLeft(height);
    }
  }

  #takeInRight(height: number): void {
    const right = this.#right;
    const top = this.#top;
    this.#stepAside(height, right, right.max(this.#doubles, height, top) + 1);
    const node = right.node[height];
    this.#replaced.push(node);
    const count = countOf(this.#words, node);
    if (height === 0) {
      this.#appendSlots(node, 0, count, right.max(this.#doubles, 0, top));
    } else {
      this.#read(
        node,
        0,
        count,
        right.max(this.#doubles, height, top),
        this.#poolSize,
      );
      this.#poolSize += count;
    }
  }

  #takeInLeft(height: number): void {
    const left = this.#left;
    const top = this.#top;
    this.#stepAside(height, left, left.min(this.#doubles, height, top) - 1);
    const node = left.node[height];
    this.#replaced.push(node);
    const count = countOf(this.#words, node);
    const seam = height === 0 && this.#slots[0] === 0 &&
        heldSlotOf(this.#words, node, count - 1) === 0
      ? 1
      : 0;
    const moved = count - seam;
    this.#pivots.copyWithin(moved, 0, this.#poolSize);
    this.#slots.copyWithin(moved, 0, this.#poolSize);
    this.#read(node, 0, moved, left.max(this.#doubles, height, top), 0);
    this.#poolSize += moved;
  }

  /** Moves a path to the neighbour at a height. Nodes above that it leaves, and that nobody keeps, are replaced. */
  #stepAside(height: number, path: Path, index: number): void {
    const other = path === this.#left ? this.#right : this.#left;
    let from = height + 1;
    while (!this.#covers(path, from, index)) {
      // A node that only this path held is consumed: all that it kept lies on the side of the new nodes.
      if (path.node[from] !== other.node[from]) {
        this.#replaced.push(path.node[from]);
      }
      from++;
    }
    path.walk(this.#words, this.#doubles, path.node[from], index);
  }

  #covers(path: Path, height: number, index: number): boolean {
    return index >= path.min(this.#doubles, height, this.#top) &&
      index <= path.max(this.#doubles, height, this.#top);
  }

  /** Builds the nodes that the pool fills: the children for the height above. */
  #buildAll(nodes: SlabCache, height: number): void {
    const size = this.#poolSize;
    const parts = Math.ceil(size / MAX_SLOTS);
    this.#childCount = 0;
    let from = 0;
    for (let part = 0; part < parts; part++) {
      const left = parts - part;
      let count = Math.ceil((size - from) / left);
      if (left === 2) count = this.#splitPoint(size - from, height);
      this.#childPivots[this.#childCount] = this.#pivots[from + count - 1];
      this.#childRefs[this.#childCount++] = this.#build(
        nodes,
        height,
        from,
        count,
      );
      from += count;
    }
  }

  /** How many of the items that fill the last two nodes go into the first: half, but at the tree's edges uneven. */
  #splitPoint(size: number, height: number): number {
    const left = this.#left, right = this.#right;
    if (
      right.max(this.#doubles, height, this.#top) === MAX_INDEX &&
      right.slot[height] >= countOf(this.#words, right.node[height]) - 2
    ) {
      return Math.min(MAX_SLOTS, size - MIN_SLOTS);
    }
    if (
      left.min(this.#doubles, height, this.#top) === 0 && left.slot[height] <= 1
    ) {
      return Math.max(MIN_SLOTS, size - MAX_SLOTS);
    }
    return (size + 1) >> 1;
  }

  #buildRoot(nodes: SlabCache, height: number): number {
    this.#poolSize = this.#childCount;
    for (let i = 0; i < this.#childCount; i++) {
      this.#pivots[i] = this.#childPivots[i];
      this.#slots[i] = this.#childRefs[i];
    }
    return this.#build(nodes, height, 0, this.#poolSize);
  }

  /** Allocates a node and fills it from the pool. */
  #build(
    nodes: SlabCache,
    height: number,
    from: number,
    count: number,
  ): number {
    const node = this.#allocate(nodes);
    this.#built.push(node);
    fillNode(
      this.#words,
      this.#doubles,
      node,
      height,
      this.#pivots,
      this.#slots,
      from,
      count,
    );
    return node;
  }

  /** Allocates a node; without one, frees what was built and gives up. */
  #allocate(nodes: SlabCache): number {
    const node = nodes.tryAllocate();
    if (node !== 0) return node;
    // What was deferred may be free by now; that can be asked without waiting.
    this.#arena.rcu.flush();
    const second = nodes.tryAllocate();
    return second !== 0 ? second : this.#undo(nodes);
  }

  /** Frees what was built: nobody has seen it. */
  #undo(nodes: SlabCache): never {
    for (const node of this.#built) nodes.free(node);
    this.#built.length = 0;
    throw new OutOfMemoryError(
      `Cannot store: no slab of "${nodes.name}" has room and ${this.#arena.pages.freePages} pages are free`,
    );
  }

  #isWholeLevel(height: number, top: number): boolean {
    return this.#left.isLeftEdge(height, top) &&
      this.#right.isRightEdge(this.#words, height, top);
  }

  /** One new node takes the place of one old node: its parent's slot is stored. */
  #publishChild(height: number): void {
    const parent = this.#left.node[height + 1];
    const node = this.#childRefs[0];
    setParent(this.#words, node, parent);
    setSlot(this.#words, parent, this.#left.slot[height + 1], node);
    this.#adopt();
  }

  #publishRoot(header: number, root: number): void {
    setParent(this.#words, root, headerParent(header));
    setRoot(this.#words, header, root);
    this.#adopt();
  }

  /** Points the children of every new node at it. */
  #adopt(): void {
    for (const node of this.#built) {
      if (heightOf(this.#words, node) > 0) adoptChildren(this.#words, node);
    }
  }

  /** Marks what was replaced dead and defers its freeing; returns how many entries were in whole subtrees. */
  #retireReplaced(nodes: SlabCache): number {
    for (const node of this.#replaced) retireNode(this.#words, nodes, node);
    let entries = 0;
    for (const node of this.#covered) {
      entries += retireSubtree(this.#words, nodes, node);
    }
    return entries;
  }
}
