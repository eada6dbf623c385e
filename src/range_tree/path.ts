/**
 * A way from the root to a leaf, one step a height: the node there, the slot that leads on, and the node's first and last
 * index. It is private to the writer that walked it, and valid while that writer holds the tree's lock.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import {
  countOf,
  type Doubles,
  heightOf,
  MAX_INDEX,
  pivotOf,
  slotFor,
  slotOf,
} from "./node.ts";

/** No tree is higher: each node has at least 7 children and refs are u32. */
export const MAX_HEIGHT = 16;

/** A way from the root to a leaf. Heights count from the leaf, 0. */
export class Path {
  /** The node at each height. */
  readonly node: Int32Array = new Int32Array(MAX_HEIGHT);
  /** The slot taken in it. */
  readonly slot: Int32Array = new Int32Array(MAX_HEIGHT);
  /** The first index of the node. */
  readonly min: Float64Array = new Float64Array(MAX_HEIGHT);
  /** The last index of the node. */
  readonly max: Float64Array = new Float64Array(MAX_HEIGHT);

  /** Walks from the root to the slot of the leaf that covers an index. */
  walk(words: Words, doubles: Doubles, root: number, index: number): void {
    const height = heightOf(words, root);
    this.node[height] = root;
    this.min[height] = 0;
    this.max[height] = MAX_INDEX;
    this.walkFrom(words, doubles, height, index);
  }

  /** Walks on from the node at a height. */
  walkFrom(words: Words, doubles: Doubles, from: number, index: number): void {
    let node = this.node[from];
    let min = this.min[from];
    let max = this.max[from];
    for (let height = from;; height--) {
      const slot = slotFor(doubles, node, index);
      this.slot[height] = slot;
      if (height === 0) return;
      if (slot > 0) min = pivotOf(doubles, node, slot - 1, max) + 1;
      max = pivotOf(doubles, node, slot, max);
      node = slotOf(words, node, slot);
      this.node[height - 1] = node;
      this.min[height - 1] = min;
      this.max[height - 1] = max;
    }
  }

  /** Takes over another path from a height upwards. */
  copyFrom(other: Path, height: number, top: number): void {
    for (let at = height; at <= top; at++) {
      this.node[at] = other.node[at];
      this.slot[at] = other.slot[at];
      this.min[at] = other.min[at];
      this.max[at] = other.max[at];
    }
  }

  /** Whether no node of this height lies left of the path. */
  isLeftEdge(height: number, top: number): boolean {
    for (let at = height + 1; at <= top; at++) {
      if (this.slot[at] > 0) return false;
    }
    return true;
  }

  /** Whether no node of this height lies right of the path. */
  isRightEdge(words: Words, height: number, top: number): boolean {
    for (let at = height + 1; at <= top; at++) {
      if (this.slot[at] < countOf(words, this.node[at]) - 1) return false;
    }
    return true;
  }

  /** The first index that the leaf's slot covers. */
  first(doubles: Doubles): number {
    const slot = this.slot[0];
    return slot === 0
      ? this.min[0]
      : pivotOf(doubles, this.node[0], slot - 1, this.max[0]) + 1;
  }

  /** The last index that the leaf's slot covers. */
  last(doubles: Doubles): number {
    return pivotOf(doubles, this.node[0], this.slot[0], this.max[0]);
  }
}
