/**
 * What the functions of a range tree are told, and what they return.
 *
 * @module
 */
import type { ExternalLock } from "./external_lock.ts";
import type { LockMode } from "./header.ts";

/** How a tree is created. */
export interface RangeTreeOptions {
  /**
   * A name under which other threads find it, of 1 to 56 bytes; a tree without one is found by its ref. An arena has 64 names
   * for all that has one: trees, external locks and VA managers.
   */
  name?: string;
  /**
   * Whether readers need no lock.
   *
   * @default {false}
   */
  rcu?: boolean;
  /**
   * Whether the tree knows its free runs, which finding room in it needs. It makes stores dearer.
   *
   * @default {false}
   */
  gaps?: boolean;
  /**
   * Who guards the writers.
   *
   * @default {"internal"}
   */
  lock?: LockMode;
  /** The lock that guards the writers, where the lock mode is `"external"`: with it the tree's nodes can be moved. */
  externalLock?: ExternalLock;
}

/** Where room is looked for. */
export interface AllocationWindow {
  /**
   * The lowest index that may be used.
   *
   * @default {0}
   */
  min?: number;
  /**
   * The highest one.
   *
   * @default {MAX_INDEX}
   */
  max?: number;
}

/** Where {@linkcode RangeTree.allocCyclic} looks. */
export interface CyclicWindow extends AllocationWindow {
  /**
   * Where the search begins: what the call before returned as `next`.
   *
   * @default {0}
   */
  next?: number;
}

/** What {@linkcode RangeTree.allocCyclic} found. */
export interface CyclicAllocation {
  /** The index that the entry is stored at. */
  readonly index: number;
  /** Whether the search came to the end of its window and began anew. */
  readonly wrapped: boolean;
  /** Where the next search is to begin. */
  readonly next: number;
}
