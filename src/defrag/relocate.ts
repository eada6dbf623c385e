/**
 * Relocation: moving one node of a live range tree to another slab.
 *
 * The claim of this project in one file: the tree's lock is inside the tree, so whoever holds a ref of any node can find it
 * by walking up, take it, and replace the node by a copy. The steps, and the race that each check closes:
 *
 * 1. Inside a read section nothing that is reachable is freed, so parent words can be followed without a lock. A node
 *    whose parent word is its own ref is dead (*gone*); 0 says that nobody has linked it yet (*busy*).
 * 2. Walk up to the header. A dead node on the way means that a writer is replacing this path right now: *busy*.
 * 3. A tree of lock mode `"none"`, or `"external"` with no lock registered, gives the mover nothing to take: *pinned*.
 * 4. Take a new place, in a slab that is not isolated (they are allocated for a slab's nodes at once), and try the lock. Where there is no room, or the tree is
 *    contended, the node is visited again later: *busy*.
 * 5. Under the lock check again from the node up, since all that was seen in 2 may have changed before 4: each parent's slot
 *    holds the child, and the header's root is the topmost. From here on nothing of the tree changes but by us.
 * 6. Copy, point the children at the copy. Readers do not follow parent words. Claim the old node, so that it is found if this
 *    thread dies.
 * 7. One atomic store makes the parent's slot (or the root) name the copy: readers go through the old node or the copy,
 *    which hold the same. Then the old node is marked dead, and the lock released.
 * 8. The old node is freed after a grace period: readers may still be inside it. Those of a slab are deferred together.
 *
 * Most nodes of a slab are of the same tree as the one before. So within one read section, in which that tree's header can't
 * be reused, its lock is tried first and 1 to 3 are left out: 5 finds out if the node is of another tree, and then the whole
 * way is gone.
 *
 * Never is a grace period waited for or anything allocated under the lock, and the lock is held for one node.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import {
  headerParent,
  isHeaderParent,
  isLiveHeader,
  lockIndexOf,
  rootOf,
  setRoot,
} from "../range_tree/header.ts";
import {
  adoptChildren,
  copyNode,
  type Doubles,
  heightOf,
  parentOf,
  setParent,
  setSlot,
  slotOfChild,
  touchNodes,
} from "../range_tree/node.ts";
import { MAX_HEIGHT } from "../range_tree/path.ts";
import { guardIndexOf } from "../range_tree/tree_lock.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import type { MoveOutcome, Mover } from "../slab/mover.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import type { Words } from "../sync/atomics.ts";
import { spinTryLockFor, spinUnlock } from "../sync/spin_lock.ts";
import { HoldTimes } from "./hold_times.ts";

/**
 * Looks at a lock that is held before the node is left for later: about 4 µs, in which an ordinary store, a split included, is
 * done. (32 looks, 300 ns, met a busy writer's store 14 times for one move.)
 */
const LOCK_LOOKS = 400;

/**
 * Moves the nodes of one cache's trees.
 *
 * Thread contract: an object belongs to one thread; the trees may be read and written by others at the same time.
 */
export class NodeMover implements Mover {
  /** Where it is noted how long the moves hold a tree's lock: whoever moves says. */
  holdTimes: HoldTimes = new HoldTimes();
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #nodes: SlabCache;
  readonly #lockClass: number;
  readonly #externalLockClass: number;
  /** Private objects for the nodes that are moved next. */
  readonly #places: number[] = [];
  /** Nodes that were moved and marked dead; their freeing is still to be deferred. */
  readonly #retired: number[] = [];
  /** The parents of the nodes that are moved next: scratch memory. */
  readonly #parents: number[] = [];
  /** What was read to fetch it: of no use to anybody. */
  #fetched = 0;
  /** The header of the tree that the last node was moved in, and its lock: as long as the same read section goes on. */
  #lastHeader = 0;
  #lastLock = -1;
  #lastSection = -1;
  /** Whether that lock was not to be had. */
  #isLastContended = false;
  /** The refs that lie in pages: from this one on … */
  readonly #firstRef: number;
  /** … and before this one. */
  readonly #endRef: number;

  private constructor(arena: Arena, nodes: SlabCache) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    this.#nodes = nodes;
    const memory = TreeMemory.of(arena);
    this.#lockClass = memory.lockClass;
    this.#externalLockClass = memory.externalLockClass;
    this.#firstRef = arena.pageRef(0);
    this.#endRef = arena.pageRef(arena.pages.count);
  }

  /** The mover of a cache of range-tree nodes: one for all compactors of the thread, which may work by turns. */
  static of(arena: Arena, nodes: SlabCache): NodeMover {
    if (nodes.mover instanceof NodeMover) return nodes.mover;
    const mover = new NodeMover(arena, nodes);
    nodes.mover = mover;
    return mover;
  }

  /** The movers of all range-tree nodes of an arena, those included that nothing can be locked for. */
  static allOf(arena: Arena): NodeMover[] {
    const { movableNodes, pinnedNodes } = TreeMemory.of(arena);
    return [movableNodes, pinnedNodes].map((cache) =>
      NodeMover.of(arena, cache)
    );
  }

  /**
   * Allocates the places that these nodes will be moved to, under one hold of the cache's lock instead of one a node, and
   * fetches the nodes, their parents and the places into the processor's cache. Called inside a read section.
   */
  prepare(nodes: readonly number[]): void {
    this.#deferRetired();
    this.#nodes.allocateInto(this.#places, nodes.length - this.#places.length);
    this.#fetched = touchNodes(this.#words, this.#places) ^
      touchNodes(this.#words, nodes);
    const parents = this.#parents;
    parents.length = 0;
    for (let i = 0; i < nodes.length; i++) {
      const parent = parentOf(this.#words, nodes[i]);
      if (this.#isInPage(parent) && !isHeaderParent(parent)) {
        parents.push(parent);
      }
    }
    this.#fetched ^= touchNodes(this.#words, parents);
  }

  /** Defers the freeing of the last nodes that were moved, and frees the places that no node was moved to. */
  finish(): void {
    this.#deferRetired();
    for (const place of this.#places.splice(0)) this.#nodes.free(place);
  }

  /** Moves one node. Called with no lock held. */
  relocate(node: number): MoveOutcome {
    const rcu = this.#arena.rcu;
    rcu.readLock();
    try {
      return this.#relocate(node);
    } finally {
      rcu.readUnlock();
    }
  }

  /** Whether nothing can be locked to move the node. Stale as soon as it is read. */
  isPinned(node: number): boolean {
    const rcu = this.#arena.rcu;
    rcu.readLock();
    const header = this.#headerAbove(node, parentOf(this.#words, node));
    const pinned = header !== 0 && guardIndexOf(this.#words, header) < 0;
    rcu.readUnlock();
    return pinned;
  }

  #relocate(node: number): MoveOutcome {
    const isSameSection = this.#lastSection === this.#arena.rcu.section;
    // Most often it is of the same tree as the last one: then the way up is walked once, under the lock.
    if (isSameSection && !this.#isLastContended) {
      const outcome = this.#moveIn(node, this.#lastHeader, this.#lastLock);
      if (outcome === "moved") return outcome;
    }
    const parent = parentOf(this.#words, node);
    if (parent === node) return "gone";
    const header = this.#headerAbove(node, parent);
    if (header === 0) return "busy";
    // Whoever holds a lock for that long is no ordinary store: the rest of the slab does not wait for it again.
    const isContended = isSameSection && this.#isLastContended;
    if (isContended && header === this.#lastHeader) return "busy";
    const lock = guardIndexOf(this.#words, header);
    if (lock < 0) return "pinned";
    this.#isLastContended = false;
    this.#lastHeader = header;
    this.#lastLock = lock;
    this.#lastSection = this.#arena.rcu.section;
    return this.#moveIn(node, header, lock);
  }

  /** Moves a node if it hangs in that tree and the tree's lock is to be had. */
  #moveIn(node: number, header: number, lock: number): "moved" | "busy" {
    if (this.#places.length === 0) this.#nodes.allocateInto(this.#places, 1);
    if (this.#places.length === 0) return "busy";
    const lockClass = lock === lockIndexOf(header)
      ? this.#lockClass
      : this.#externalLockClass;
    this.#arena.lockdep.tryAcquire(lockClass, lock, "NodeMover.relocate");
    if (!spinTryLockFor(this.#words, lock, this.#arena.thread, LOCK_LOOKS)) {
      this.#isLastContended = true;
      this.#arena.lockdep.release(lock);
      return "busy";
    }
    this.holdTimes.start();
    try {
      const above = parentOf(this.#words, node);
      return this.#isLinked(node, above, header) &&
          this.#replace(node, above, header)
        ? "moved"
        : "busy";
    } finally {
      this.holdTimes.stop();
      spinUnlock(this.#words, lock, this.#arena.thread);
      this.#arena.lockdep.release(lock);
    }
  }

  /** The header that the way up ends at; 0 if the way is broken: a writer is at work, or nobody has linked the node. */
  #headerAbove(node: number, parentOfNode: number): number {
    let child = node, parent = parentOfNode;
    for (let steps = 0; steps <= MAX_HEIGHT; steps++) {
      if (isHeaderParent(parent)) {
        const header = parent - 1;
        return this.#isInPage(header) && isLiveHeader(this.#words, header)
          ? header
          : 0;
      }
      if (parent === 0 || parent === child || !this.#isInPage(parent)) return 0;
      child = parent;
      parent = parentOf(this.#words, child);
    }
    return 0;
  }

  /** Whether a ref can be followed at all: what a debug arena poisoned can't. */
  #isInPage(ref: number): boolean {
    return ref >= this.#firstRef && ref < this.#endRef;
  }

  /**
   * Whether the node's parent hangs in this tree: from there up each parent's slot holds the child, and the header's root is
   * the topmost. Under the tree's lock. That the parent holds the node itself is seen when it is replaced.
   *
   * The node itself may be somebody's private one, that still has the parent word of an earlier life and gets another at any
   * moment. So its parent word is read once, for this and for the replacing: were it read again there, it could name a
   * parent that holds the node and is not the one that was found to hang in this tree. All parent words are read
   * atomically: those of a tree that was cleared are marked without its lock.
   */
  #isLinked(node: number, parentOfNode: number, header: number): boolean {
    let child = node, parent = parentOfNode;
    for (let steps = 0; steps <= MAX_HEIGHT; steps++) {
      if (isHeaderParent(parent)) {
        return parent === headerParent(header) &&
          rootOf(this.#words, header) === child;
      }
      if (parent === 0 || parent === child || !this.#isInPage(parent)) {
        return false;
      }
      if (steps > 0 && slotOfChild(this.#words, parent, child) < 0) {
        return false;
      }
      child = parent;
      parent = parentOf(this.#words, child);
    }
    return false;
  }

  /** Puts a copy in the node's place; says whether it could. Under the tree's lock. */
  #replace(node: number, parent: number, header: number): boolean {
    const words = this.#words;
    const isRoot = isHeaderParent(parent);
    const slot = isRoot ? 0 : slotOfChild(words, parent, node);
    if (slot < 0) return false;
    const copy = this.#places.pop()!;
    copyNode(words, this.#doubles, node, copy);
    setParent(words, copy, parent);
    if (heightOf(words, copy) > 0) adoptChildren(words, copy);
    this.#nodes.claim(node);
    if (isRoot) setRoot(words, header, copy);
    else setSlot(words, parent, slot, copy);
    setParent(words, node, node);
    this.#retired.push(node);
    return true;
  }

  /** Hands over what was moved since: at once, which costs one compare-exchange instead of one a node. */
  #deferRetired(): void {
    this.#nodes.deferAll(this.#retired);
    this.#retired.length = 0;
  }
}
