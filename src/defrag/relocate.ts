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
 * 4. Take a new place, in a slab that is not isolated (they are allocated for many nodes at once), and try the lock. Where there
 *    is no room, or the tree is contended, the node is visited again later: *busy*.
 * 5. Under the lock check again from the node up, since all that was seen in 2 may have changed before 4: each parent's slot
 *    holds the child, and the header's root is the topmost. From here on nothing of the tree changes but by us.
 * 6. Copy, point the children at the copy. Readers do not follow parent words. Claim the old node, so that it is found if this
 *    thread dies.
 * 7. One atomic store makes the parent's slot (or the root) name the copy: readers go through the old node or the copy,
 *    which hold the same. Then the old node is marked dead, and the lock released.
 * 8. The old node is freed after a grace period: readers may still be inside it. Those that were moved together are deferred
 *    together.
 *
 * Most nodes are of the same tree as the one before. So its lock is tried first and 1 to 3 are left out: 5 finds out if the node
 * is of another tree, and then the whole way is gone. That the header is a header still, and the lock a lock, is known within
 * one read section; in the next one the tree's flags are looked at, which no other tree has in its place, and which are 0 once
 * it is destroyed: what lived inside the section is not reused before its end.
 *
 * Where there is a WebAssembly memory, 5 to 7 are compiled (`../range_tree/assembly/mover.ts`): the same accesses to the same words
 * in the same order. A run of nodes is moved there in one call, each under a hold of its own, taken by one compare-exchange and
 * released by one. All that is not as it should be ends the run: what it means is found out here, for that node alone. If this
 * thread dies within a run, then a lock that it holds, a node that it has claimed and a place that it has not used are found as
 * they are where it dies between two steps here.
 *
 * Never is a grace period waited for or anything allocated under the lock, and the lock is held for one node.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { compiledFor, type CompiledTrees } from "../range_tree/compiled.ts";
import {
  flagsOf,
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
import { handsOf } from "../slab/hands.ts";
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
/** So many nodes are handed to a compiled loop at most: in the thread's scratch words stand nodes, and a place for each. */
const MAX_RUN = 64;
/** In the answer of a run: how many were moved, and whether the lock is still held, since others wait for it. */
const RUN_MOVED = 0xff;
const RUN_IS_HELD = 0x100;

/**
 * Moves the nodes of one cache, leaves or inner ones, to other slabs of that cache.
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
  /** The header of the tree that the last node was moved in, its flags and its lock; and the read section when it was seen to live. */
  #lastHeader = 0;
  #lastFlags = 0;
  #lastLock = -1;
  #lastSection = -1;
  /** Whether that lock was not to be had. */
  #isLastContended = false;
  /** The refs that lie in pages: from this one on … */
  readonly #firstRef: number;
  /** … and before this one. */
  readonly #endRef: number;
  /** The compiled loops, where they can run. */
  readonly #compiled: CompiledTrees | undefined;

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
    const hands = handsOf(arena.thread);
    this.#compiled = compiledFor(arena);
    this.#compiled?.bindMover(
      this.#firstRef,
      this.#endRef,
      arena.thread,
      hands,
    );
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
    return [...movableNodes.all, ...pinnedNodes.all].map((cache) =>
      NodeMover.of(arena, cache)
    );
  }

  /**
   * Allocates the places that these nodes will be moved to, under one hold of the cache's lock instead of one a node, and
   * fetches the nodes, what hangs on them and the places into the processor's cache. Called inside a read section.
   */
  prepare(nodes: readonly number[]): void {
    this.#deferRetired();
    this.#nodes.allocateInto(this.#places, nodes.length - this.#places.length);
    if (this.#compiled === undefined) this.#fetch(nodes);
    else this.#fetched = this.#compiled.fetchNodes(this.#handOver(nodes, 0));
  }

  #fetch(nodes: readonly number[]): void {
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

  /**
   * Moves nodes from `from` on, as long as they are of the tree of the last one and nothing is in the way, and returns how many:
   * each as {@linkcode NodeMover.relocate} does, under a hold of its own, but all in one compiled loop. A hold that is to be timed
   * ends the run. Called inside a read section, with no lock held.
   */
  relocateRun(nodes: readonly number[], from: number): number {
    const compiled = this.#compiled;
    if (compiled === undefined || !this.#isLastTreeAlive()) return 0;
    if (this.#isLastContended) return 0;
    const count = Math.min(
      this.#handOver(nodes, from),
      this.holdTimes.untilNext,
    );
    if (count === 0) return 0;
    const header = this.#lastHeader, lock = this.#lastLock;
    // One note for all holds: between two of them this thread takes no other lock, so they stand in the same order to all others.
    this.#noteAcquire(header, lock, "NodeMover.relocateRun");
    const answer = compiled.moveRun(count, header, lock);
    if ((answer & RUN_IS_HELD) !== 0) {
      spinUnlock(this.#words, lock, this.#arena.thread);
    }
    this.#arena.lockdep.release(lock);
    const moved = answer & RUN_MOVED;
    this.holdTimes.skip(moved);
    this.#places.length -= moved;
    for (let i = 0; i < moved; i++) this.#retired.push(nodes[from + i]);
    return moved;
  }

  /** Leaves nodes from one on, and the places where they go, for the compiled loops; returns how many. */
  #handOver(nodes: readonly number[], from: number): number {
    const words = this.#words, places = this.#places;
    const at = this.#arena.scratchIndex;
    const count = Math.min(nodes.length - from, places.length, MAX_RUN);
    for (let i = 0; i < count; i++) {
      words[at + i] = nodes[from + i];
      words[at + MAX_RUN + i] = places[places.length - 1 - i];
    }
    return count;
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
    const isSameTree = this.#isLastTreeAlive();
    // Most often it is of the same tree as the last one: then the way up is walked once, under the lock.
    if (isSameTree && !this.#isLastContended) {
      const outcome = this.#moveIn(node, this.#lastHeader, this.#lastLock);
      if (outcome === "moved") return outcome;
    }
    const parent = parentOf(this.#words, node);
    if (parent === node) return "gone";
    const header = this.#headerAbove(node, parent);
    if (header === 0) return "busy";
    // Whoever holds a lock for that long is no ordinary store: the rest of the slab does not wait for it again.
    const isContended = isSameTree && this.#isLastContended;
    if (isContended && header === this.#lastHeader) return "busy";
    const lock = guardIndexOf(this.#words, header);
    if (lock < 0) return "pinned";
    this.#isLastContended = false;
    this.#lastHeader = header;
    // 0 if it was destroyed by now.
    this.#lastFlags = flagsOf(this.#words, header);
    this.#lastLock = lock;
    this.#lastSection = this.#arena.rcu.section;
    return this.#moveIn(node, header, lock);
  }

  /**
   * Whether the last tree was seen to live inside this read section: then what it has for a header and a lock is that to the
   * section's end, whatever becomes of the tree. In another section than the last one its flags tell it from all others.
   */
  #isLastTreeAlive(): boolean {
    const { section } = this.#arena.rcu;
    if (section === this.#lastSection) return true;
    this.#isLastContended = false;
    const flags = this.#lastFlags;
    if (flags === 0 || flagsOf(this.#words, this.#lastHeader) !== flags) {
      return false;
    }
    this.#lastSection = section;
    return true;
  }

  /** Notes for lockdep that a tree's lock is tried. */
  #noteAcquire(header: number, lock: number, site: string): void {
    const lockClass = lock === lockIndexOf(header)
      ? this.#lockClass
      : this.#externalLockClass;
    this.#arena.lockdep.tryAcquire(lockClass, lock, site);
  }

  /** Moves a node if it hangs in that tree and the tree's lock is to be had. */
  #moveIn(node: number, header: number, lock: number): "moved" | "busy" {
    if (this.#places.length === 0) this.#nodes.allocateInto(this.#places, 1);
    if (this.#places.length === 0) return "busy";
    this.#noteAcquire(header, lock, "NodeMover.relocate");
    if (!spinTryLockFor(this.#words, lock, this.#arena.thread, LOCK_LOOKS)) {
      this.#isLastContended = true;
      this.#arena.lockdep.release(lock);
      return "busy";
    }
    this.holdTimes.start();
    try {
      return this.#replaceIn(node, header) ? "moved" : "busy";
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

  /** Puts a copy in the node's place, if it is linked in that tree; says whether it did. Under the tree's lock. */
  #replaceIn(node: number, header: number): boolean {
    const compiled = this.#compiled;
    if (compiled === undefined) {
      const above = parentOf(this.#words, node);
      if (!this.#isLinked(node, above, header)) return false;
      if (!this.#replace(node, above, header)) return false;
    } else if (
      compiled.replace(node, this.#places[this.#places.length - 1], header) ===
        0
    ) return false;
    this.#places.pop();
    this.#retired.push(node);
    return true;
  }

  /** Puts a copy in the node's place; says whether it could. Under the tree's lock. */
  #replace(node: number, parent: number, header: number): boolean {
    const words = this.#words;
    const isRoot = isHeaderParent(parent);
    const slot = isRoot ? 0 : slotOfChild(words, parent, node);
    if (slot < 0) return false;
    const copy = this.#places[this.#places.length - 1];
    copyNode(words, this.#doubles, node, copy);
    setParent(words, copy, parent);
    if (heightOf(words, copy) > 0) adoptChildren(words, copy);
    this.#nodes.claim(node);
    if (isRoot) setRoot(words, header, copy);
    else setSlot(words, parent, slot, copy);
    setParent(words, node, node);
    return true;
  }

  /** Hands over what was moved since: at once, which costs one compare-exchange instead of one a node. */
  #deferRetired(): void {
    this.#nodes.deferAll(this.#retired);
    this.#retired.length = 0;
  }
}
