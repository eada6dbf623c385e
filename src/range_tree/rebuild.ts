/**
 * Building what takes the place of the nodes that a range spans, from the leaves up, and publishing it by one store.
 *
 * At each height the slots that the boundary nodes keep, with what is new between them, are gathered in a pool, and new
 * nodes are built from it: privately, nobody sees them. If one node takes the place of one node, its parent's slot is all
 * that is to be stored; else the new nodes take the place of a run of slots one height up, where the same is done. What is
 * stored in the end leads to new nodes only, or through them to old ones that nobody changes; so a reader finds all of the
 * old tree before that store, and all of the new one after it.
 *
 * {@linkcode Rebuild.build} is all that allocates, {@linkcode Rebuild.publish} all that others see.
 *
 * No node that is not the root has fewer than a third of its slots in use: a pool of `n` items makes ⌈n / 21⌉ nodes of
 * about equal size, so at least 11 each when there are two or more, and a smaller pool takes in a neighbour, which has at
 * least 7 itself. (At the edge of a node the split is uneven, 7 on the side that grows, so that ascending and descending
 * stores leave fuller nodes behind. Inner nodes of a tree that tracks gaps have 12 slots: so 12, 6, and 4.)
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { headerParent, setRoot } from "./header.ts";
import {
  adoptChildren,
  countOf,
  type Doubles,
  heightOf,
  heldSlotOf,
  MAX_INDEX,
  maxSlots,
  minSlots,
  setParent,
  setSlot,
} from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";
import type { NodeSupply } from "./node_supply.ts";
import { Path } from "./path.ts";
import { Pool } from "./pool.ts";
import { retireSubtree } from "./subtree.ts";

/**
 * One replacement of nodes after the other: scratch memory of one thread's writer.
 *
 * Thread contract: an object belongs to one thread, and is used under the lock of the tree that is written.
 */
export class Rebuild {
  /** The way to the first index of the range; widened when a neighbour is taken in. */
  readonly left: Path = new Path();
  /** The way to the last index of the range; likewise. */
  readonly right: Path = new Path();
  /** The root's height. */
  top = 0;
  /** Whether the tree tracks gaps. */
  gaps = false;
  /** The largest free run below what is published. */
  publishedGap = 0;
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #supply: NodeSupply;
  readonly #pool: Pool;
  /** The nodes that were built at one height: what replaces the run between the two paths at the height above. */
  readonly #children: Pool;
  readonly #replaced: number[] = [];
  readonly #covered: number[] = [];
  /** The height of what is published. */
  #height = 0;
  /** Whether it becomes the root; else it takes the slot of the left path above its height. */
  #atRoot = false;
  /** By how much the number of entries changes, but for those in covered subtrees. */
  #delta = 0;

  /** Builds with the nodes of that supply. */
  constructor(words: Words, doubles: Doubles, supply: NodeSupply) {
    this.#words = words;
    this.#doubles = doubles;
    this.#supply = supply;
    this.#pool = new Pool(words, doubles);
    this.#children = new Pool(words, doubles);
  }

  /** The height of what {@linkcode Rebuild.publish} publishes. */
  get publishedHeight(): number {
    return this.#height;
  }

  /** Whether it becomes the root. */
  get publishesRoot(): boolean {
    return this.#atRoot;
  }

  /**
   * Builds all nodes that storing over `first` … `last` needs. The left path leads to `first`.
   *
   * @throws {OutOfMemoryError} If there is no node; those that were built have gone back.
   */
  build(nodes: NodeCaches, first: number, last: number, value: number): void {
    const top = this.top;
    const left = this.left, right = this.right;
    this.#replaced.length = this.#covered.length = 0;
    if (last <= left.max(this.#doubles, 0, top)) {
      right.copyFrom(left, top);
      right.walk(this.#words, this.#doubles, left.node[0], last);
    } else {
      right.walk(this.#words, this.#doubles, left.node[top], last);
      this.#collectCovered(top);
    }
    this.#delta = this.#gatherEntries(first, last, value);
    for (let height = 0;; height++) {
      if (this.#buildHeight(nodes, height)) return;
      this.#gatherChildren(height + 1);
    }
  }

  /** Publishes what was built, and retires what it replaces; returns by how much the number of entries changed. */
  publish(header: number, nodes: NodeCaches): number {
    const words = this.#words;
    const node = this.#children.size === 0 ? 0 : this.#children.slots[0];
    for (const replaced of this.#replaced) nodes.claim(replaced);
    for (const covered of this.#covered) nodes.claim(covered, true);
    if (!this.#atRoot) {
      const parent = this.left.node[this.#height + 1];
      setParent(words, node, parent);
      setSlot(words, parent, this.left.slot[this.#height + 1], node);
    } else {
      if (node !== 0) setParent(words, node, headerParent(header));
      setRoot(words, header, node);
    }
    for (let i = 0; i < this.#supply.count; i++) {
      const built = this.#supply.at(i);
      if (heightOf(words, built) > 0) adoptChildren(words, built);
    }
    return this.#delta - this.#retireReplaced(nodes);
  }

  /** Builds the nodes of one height from the pool; says whether nothing above them is to be built. */
  #buildHeight(nodes: NodeCaches, height: number): boolean {
    const { left, right, top } = this;
    const pool = this.#pool;
    this.#replace(height);
    if (pool.size < minSlots(height, this.gaps)) this.#takeInNeighbour(height);
    this.#height = height;
    this.#children.size = 0;
    if (height === 0 && pool.size === 1 && pool.slots[0] === 0) {
      this.#replaceAbove(0);
      return this.#atRoot = true;
    }
    const single = left.node[height] === right.node[height];
    this.#buildAll(nodes, height);
    if (this.#children.size > 1) {
      if (height < top) return false;
      this.#buildRoot(nodes, top + 1);
      return this.#atRoot = true;
    }
    if (single && height < top) {
      this.#atRoot = false;
      return true;
    }
    if (!this.#isWholeLevel(height)) return false;
    this.#replaceAbove(height);
    return this.#atRoot = true;
  }

  /** Fills the pool with what the boundary leaves keep and the new range; returns by how much the entries change. */
  #gatherEntries(first: number, last: number, value: number): number {
    const doubles = this.#doubles, words = this.#words, pool = this.#pool;
    const { left, right, top } = this;
    const leftNode = left.node[0], leftSlot = left.slot[0];
    const rightNode = right.node[0], rightSlot = right.slot[0];
    let delta = value === 0 ? 0 : 1;
    pool.size = 0;
    pool.append(leftNode, 0, leftSlot, left.max(doubles, 0, top), false);
    const cut = heldSlotOf(words, leftNode, leftSlot);
    if (first > left.first(doubles, 0, top)) {
      pool.push(first - 1, cut);
      if (cut !== 0) delta++;
    }
    pool.push(last, value | 0);
    const rightLast = right.last(doubles, 0, top);
    const rest = heldSlotOf(words, rightNode, rightSlot);
    if (last < rightLast) {
      pool.push(rightLast, rest);
      if (rest !== 0) delta++;
    }
    const rightMax = right.max(doubles, 0, top);
    const count = countOf(words, rightNode);
    pool.append(rightNode, rightSlot + 1, count, rightMax, false);
    return delta - this.#entriesBetween();
  }

  /** How many entries the boundary leaves hold from the first index's slot to the last index's. */
  #entriesBetween(): number {
    const { left, right } = this;
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
    const { left, right, top, gaps } = this;
    const pool = this.#pool, doubles = this.#doubles;
    const leftNode = left.node[height], rightNode = right.node[height];
    pool.size = 0;
    const leftMax = left.max(doubles, height, top);
    pool.append(leftNode, 0, left.slot[height], leftMax, gaps);
    pool.appendPool(this.#children);
    const from = right.slot[height] + 1;
    const count = countOf(this.#words, rightNode);
    pool.append(
      rightNode,
      from,
      count,
      right.max(doubles, height, top),
      gaps,
    );
  }

  /** Notes that the boundary nodes of a height will be replaced. */
  #replace(height: number): void {
    const leftNode = this.left.node[height];
    const rightNode = this.right.node[height];
    this.#replaced.push(leftNode);
    if (rightNode !== leftNode) this.#replaced.push(rightNode);
  }

  /** Notes that all nodes of the paths above a height will be replaced: the tree gets lower. */
  #replaceAbove(height: number): void {
    for (let at = height + 1; at <= this.top; at++) this.#replace(at);
  }

  /** Notes the subtrees that lie wholly between the two paths. */
  #collectCovered(top: number): void {
    const { left, right } = this;
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
  #takeInNeighbour(height: number): void {
    const { left, right, top } = this;
    if (height === top) return;
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
    const { right, top } = this;
    this.#stepAside(height, right, right.max(this.#doubles, height, top) + 1);
    const node = right.node[height];
    this.#replaced.push(node);
    const max = right.max(this.#doubles, height, top);
    const gaps = this.gaps && height > 0;
    this.#pool.append(node, 0, countOf(this.#words, node), max, gaps);
  }

  #takeInLeft(height: number): void {
    const { left, top } = this;
    this.#stepAside(height, left, left.min(this.#doubles, height, top) - 1);
    const node = left.node[height];
    this.#replaced.push(node);
    const max = left.max(this.#doubles, height, top);
    const gaps = this.gaps && height > 0;
    this.#pool.prepend(node, countOf(this.#words, node), max, gaps);
  }

  /** Moves a path to the neighbour at a height. Nodes above that it leaves, and that nobody keeps, are replaced. */
  #stepAside(height: number, path: Path, index: number): void {
    const other = path === this.left ? this.right : this.left;
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
    return index >= path.min(this.#doubles, height, this.top) &&
      index <= path.max(this.#doubles, height, this.top);
  }

  /** Builds the nodes that the pool fills: the children for the height above. */
  #buildAll(nodes: NodeCaches, height: number): void {
    const size = this.#pool.size;
    const parts = Math.ceil(size / maxSlots(height, this.gaps));
    const min = this.left.min(this.#doubles, height, this.top);
    let from = 0;
    for (let part = 0; part < parts; part++) {
      const left = parts - part;
      let count = Math.ceil((size - from) / left);
      if (left === 2) count = this.#splitPoint(size - from, height);
      const node = this.#build(nodes, this.#pool, height, from, count);
      const gap = this.gaps
        ? this.#pool.largestGap(height, from, count, min)
        : 0;
      this.#children.push(this.#pool.pivots[from + count - 1], node, gap);
      this.publishedGap = gap;
      from += count;
    }
  }

  /** How many of the items that fill the last two nodes go into the first: half, but at the tree's edges uneven. */
  #splitPoint(size: number, height: number): number {
    const { left, right, top } = this;
    const most = maxSlots(height, this.gaps);
    const fewest = minSlots(height, this.gaps);
    if (
      right.max(this.#doubles, height, top) === MAX_INDEX &&
      right.slot[height] >= countOf(this.#words, right.node[height]) - 2
    ) {
      return Math.min(most, size - fewest);
    }
    if (left.min(this.#doubles, height, top) === 0 && left.slot[height] <= 1) {
      return Math.max(fewest, size - most);
    }
    return (size + 1) >> 1;
  }

  /** Puts a root above the children that were built. */
  #buildRoot(nodes: NodeCaches, height: number): void {
    const children = this.#children;
    const root = this.#build(nodes, children, height, 0, children.size);
    children.size = 0;
    children.push(MAX_INDEX, root);
    this.#height = height;
  }

  /** Takes a node and fills it from a pool. */
  #build(
    nodes: NodeCaches,
    pool: Pool,
    height: number,
    from: number,
    count: number,
  ): number {
    const node = this.#supply.take(nodes, height);
    pool.fill(node, height, from, count, this.gaps);
    return node;
  }

  #isWholeLevel(height: number): boolean {
    return this.left.isLeftEdge(height, this.top) &&
      this.right.isRightEdge(this.#words, height, this.top);
  }

  /** Marks what was replaced dead and defers its freeing; returns how many entries were in whole subtrees. */
  #retireReplaced(nodes: NodeCaches): number {
    const words = this.#words;
    // All before the first is freed: so no parent word leads to what is free, also if the thread dies half-way.
    for (const node of this.#replaced) setParent(words, node, node);
    for (const node of this.#covered) setParent(words, node, node);
    for (const node of this.#replaced) nodes.defer(node);
    let entries = 0;
    for (const node of this.#covered) {
      entries += retireSubtree(words, nodes, node);
    }
    return entries;
  }
}
