/**
 * A way from the root to a leaf: the node at each height and the slot that leads on. It is private to the writer that
 * walked it, and valid while that writer holds the tree's lock.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import {
  countOf,
  descend,
  type Doubles,
  MAX_INDEX,
  MAX_SLOTS,
  pivotOf,
} from "./node.ts";

/** No tree is higher: but for the root, each node has at least 4 children, and an arena has room for 2^25 nodes. */
export const MAX_HEIGHT = 16;

/** A way from the root to a leaf. Heights count from the leaf, 0. */
export class Path {
  /** The node at each height. */
  readonly node: Int32Array = new Int32Array(MAX_HEIGHT);
  /** The slot taken in it. */
  readonly slot: Int32Array = new Int32Array(MAX_HEIGHT);

  /** Walks from a node to the slot of the leaf that covers an index. */
  walk(words: Words, doubles: Doubles, from: number, index: number): void {
    descend(words, doubles, from, index, this.node, this.slot);
  }

  /** Takes over the part of another path from the leaf to a height. */
  copyFrom(other: Path, top: number): void {
    for (let height = 0; height <= top; height++) {
      this.node[height] = other.node[height];
      this.slot[height] = other.slot[height];
    }
  }

  /** The first index that the slot at a height covers. */
  first(doubles: Doubles, height: number, top: number): number {
    for (let at = height; at <= top; at++) {
      if (this.slot[at] > 0) {
        return pivotOf(doubles, this.node[at], this.slot[at] - 1, 0) + 1;
      }
    }
    return 0;
  }

  /** The last index that the slot at a height covers. */
  last(doubles: Doubles, height: number, top: number): number {
    for (let at = height; at <= top; at++) {
      // The last slot of a full node has no pivot of its own: it ends where the node does.
      if (this.slot[at] < MAX_SLOTS - 1) {
        return pivotOf(doubles, this.node[at], this.slot[at], MAX_INDEX);
      }
    }
    return MAX_INDEX;
  }

  /** The first index of the node at a height. */
  min(doubles: Doubles, height: number, top: number): number {
    return this.first(doubles, height + 1, top);
  }

  /** The last index of the node at a height. */
  max(doubles: Doubles, height: number, top: number): number {
    return this.last(doubles, height + 1, top);
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
}
