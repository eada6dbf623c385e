/**
 * What the operations on a tree work on.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { NodeCaches } from "./node_caches.ts";
import type { TreeLock } from "./tree_lock.ts";

/** A tree, as seen by one thread. */
export interface TreeParts {
  /** The arena. */
  readonly arena: Arena;
  /** The tree's header. */
  readonly header: number;
  /** Where its nodes come from. */
  readonly nodes: NodeCaches;
  /** Who guards its writers, and whether it lives. */
  readonly lock: TreeLock;
  /** Whether it tracks gaps. */
  readonly gaps: boolean;
}
