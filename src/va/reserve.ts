/**
 * Memory that is set aside for changes that must not fail, or must not allocate: nodes for the stores, mappings, VmBos.
 *
 * A promise says how much a set of changes needs at most, and tops the reserve up to the sum of all promises; that is all that
 * can fail. What the changes then take comes from the reserve. A store builds at most three nodes a level and a root (see
 * `rebuild.ts`), whatever it replaces, so what is to be set aside is
 *
 *     leaves       stores promised × 3
 *     inner nodes  stores promised × (3 × (levels − 1) + 1)
 *
 * where *levels* is what the highest of the manager's trees can come to have **once all that was promised is stored**. No
 * two free runs of a tree touch, so one with `count` entries has at most `2 × count + 1` slots in its leaves, and every node
 * but the root has at least seven slots in use: that bounds the levels ({@linkcode levelsAtMost}). A store adds at most two
 * entries. So
 *
 *     weight = 2 × count + 1 + 4 × (stores promised and not yet done)
 *
 * never rises by what was promised, in whatever order it is done; and what was not promised asks {@linkcode Reserve.admit}
 * first, which tops the reserve up if the weight would pass what it was reckoned for, or refuses. Only another thread can
 * make the trees higher unasked; a job looks at that when it is its turn ({@linkcode Reserve.keepPromises}).
 *
 * That is a lot for a long job (as it is in the kernel, whose drivers preallocate for every operation of one). So most of it
 * is set aside as pages, which are made slabs only if it comes to the worst; and a reserve keeps what it has from job to job
 * until it is trimmed: in the steady state a job costs only the nodes that it really used.
 *
 * Accounting: objects at hand + objects that the pages make ≥ objects promised, for each cache, at any time.
 *
 * @module
 */
import { type Arena, OutOfMemoryError } from "../memory/mod.ts";
import { entryCountOf, heldRootOf } from "../range_tree/header.ts";
import type { RangeTree } from "../range_tree/mod.ts";
import { heightOf } from "../range_tree/node.ts";
import { NodeReserve } from "../range_tree/node_supply.ts";
import { TreeLock } from "../range_tree/tree_lock.ts";
import type { SlabCache } from "../slab/mod.ts";
import type { VaSupply } from "./apply.ts";
import { initMapping, type MappingSpec } from "./mapping.ts";
import type { VaState } from "./va_state.ts";

/** What a set of changes needs at most. */
export interface VaNeed {
  /** Stores that may need nodes. */
  readonly stores: number;
  /** New mappings. */
  readonly mappings: number;
  /** The objects that are mapped. */
  readonly objects: readonly number[];
  /** Whether the changes come later, when VmBos that are there now may be gone. */
  readonly isLater: boolean;
}

/** How many levels a tree has at most whose leaves have so many slots in use. */
export function levelsAtMost(slots: number): number {
  let levels = 1;
  for (let fewest = fewestSlots(2); fewest <= slots; fewest *= 7) levels++;
  return levels;
}

/** How many slots the leaves of a tree of so many levels have in use at least. */
function fewestSlots(levels: number): number {
  return levels === 1 ? 1 : 2 * 7 ** (levels - 1);
}

/** The most leaves that one store builds. */
const LEAVES_PER_STORE = 3;
/** The most nodes above them, in a tree of so many levels. */
function innerPerStore(levels: number): number {
  return 3 * (levels - 1) + 1;
}

/** How many leaves so many stores are likely to need: nearly every one replaces one, and none may be short of what it can take. */
function likelyLeaves(stores: number): number {
  return stores === 0 ? 0 : Math.max(2 * stores, LEAVES_PER_STORE);
}

/** How many nodes above them: fewer. But what is missing becomes a slab of its own, of which one node may be all that is used. */
function likelyInner(stores: number, levels: number): number {
  return stores === 0 ? 0 : Math.max(stores, innerPerStore(levels));
}

/**
 * What is set aside of one cache: objects as far as they are likely to be needed, and pages for the rest. Pages cost less to
 * hold, and do not fill the slabs that a compactor could empty.
 */
class Stack {
  readonly #cache: SlabCache;
  readonly #arena: Arena;
  readonly #refs: number[] = [];
  readonly #pages: number[] = [];

  constructor(arena: Arena, cache: SlabCache) {
    this.#arena = arena;
    this.#cache = cache;
  }

  /** Sets aside what is missing of so many; says whether there was room for them. What was allocated in vain stays. */
  fill(most: number, likely: number): boolean {
    const cache = this.#cache, refs = this.#refs, pages = this.#pages;
    if (refs.length < likely) cache.allocateInto(refs, likely - refs.length);
    if (refs.length < likely) return false;
    const missing = this.#pagesFor(most - refs.length) - pages.length;
    if (missing > 0) cache.setPagesAside(pages, missing);
    return pages.length >= this.#pagesFor(most - refs.length);
  }

  pop(): number {
    if (
      this.#refs.length === 0 &&
      this.#pages.length >= this.#cache.pagesPerSlab
    ) this.#cache.adopt(this.#pages, this.#refs);
    const ref = this.#refs.pop();
    if (ref !== undefined) return ref;
    throw new OutOfMemoryError(
      `Cannot take an object of "${this.#cache.name}" from the reserve: more was needed than was promised`,
    );
  }

  push(ref: number): void {
    this.#refs.push(ref);
  }

  /** Frees what is more than so many. */
  trim(most: number, likely: number): void {
    const { capacity, pagesPerSlab } = this.#cache;
    const inPages = Math.floor(this.#pages.length / pagesPerSlab) * capacity;
    const refs = Math.max(likely, most - inPages);
    while (this.#refs.length > refs) this.#cache.free(this.#refs.pop()!);
    const pages = this.#pagesFor(most - this.#refs.length);
    while (this.#pages.length > pages) {
      this.#arena.pages.free(this.#pages.pop()!);
    }
  }

  #pagesFor(objects: number): number {
    const { capacity, pagesPerSlab } = this.#cache;
    return Math.ceil(Math.max(0, objects) / capacity) * pagesPerSlab;
  }
}

/** What was promised to one set of changes: how much of each at most. */
export interface Promised {
  /** Stores. */
  readonly stores: number;
  /** Mappings. */
  readonly mappings: number;
  /** VmBos. */
  readonly bos: number;
}

/**
 * The reserve of one manager, as one thread uses it.
 *
 * Thread contract: an object belongs to one thread; it is used under the manager's outer lock.
 */
export class Reserve implements VaSupply {
  readonly #state: VaState;
  readonly #leaves: Stack;
  readonly #inner: Stack;
  readonly #mappings: Stack;
  readonly #bos: Stack;
  /** What one store may take: small, because a store takes from its front. Counts as set aside. */
  readonly #working = new NodeReserve();
  // The sums of all promises.
  #stores = 0;
  #mappingCount = 0;
  #boCount = 0;
  /** How many levels a tree may come to have. */
  #levels = 0;
  /** The weight up to which that is so. */
  #limit = 0;
  #isClosed = false;

  /** An empty reserve. */
  constructor(state: VaState) {
    const { arena, caches } = state;
    this.#state = state;
    this.#leaves = new Stack(arena, state.nodes.leaves);
    this.#inner = new Stack(arena, state.nodes.inner);
    this.#mappings = new Stack(arena, caches.mappings);
    this.#bos = new Stack(arena, caches.bos);
  }

  /**
   * Sets memory aside for a set of changes.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was promised.
   */
  promise(need: VaNeed): Promised {
    const bos = this.#countNewBos(need);
    const promised: Promised = {
      stores: need.stores + bos,
      mappings: need.mappings,
      bos,
    };
    this.#add(promised, 1);
    if (this.#fill(0)) return promised;
    this.#add(promised, -1);
    this.trim();
    throw this.#noRoom(`${promised.stores} stores`);
  }

  /** Ends a promise: what is left of it is nobody's. */
  release(promised: Promised): void {
    if (!this.#isClosed) this.#add(promised, -1);
  }

  /**
   * Does something with memory that is set aside for it, and then for nothing.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was done.
   */
  within(need: VaNeed, change: () => void): void {
    const promised = this.promise(need);
    try {
      change();
    } finally {
      this.release(promised);
      this.trim();
    }
  }

  /**
   * To be called before a store that was not promised: sees to it that the promises can be kept after it. Costs next to nothing
   * where there are none.
   *
   * @throws {OutOfMemoryError} If there is no room to keep them; the store must not be.
   */
  admit(): void {
    if (this.#stores === 0 || this.#weight(1) <= this.#limit) return;
    if (!this.#fill(1)) throw this.#noRoom("a store beside promised ones");
  }

  /** Sees to it that the promises can be kept although other threads have changed the trees; says whether they can. */
  keepPromises(): boolean {
    return this.#weight(0) <= this.#limit || this.#fill(0);
  }

  /** Frees what is promised to nobody. Needs no lock. */
  trim(): void {
    const { leaves, inner } = this.#working;
    for (const node of leaves.splice(0)) this.#leaves.push(node);
    for (const node of inner.splice(0)) this.#inner.push(node);
    const stores = this.#stores;
    this.#leaves.trim(stores * LEAVES_PER_STORE, likelyLeaves(stores));
    const levels = this.#levels;
    this.#inner.trim(
      stores * innerPerStore(levels),
      likelyInner(stores, levels),
    );
    this.#mappings.trim(this.#mappingCount, this.#mappingCount);
    this.#bos.trim(this.#boCount, this.#boCount);
  }

  /** Frees everything: nobody will ask for what was promised. Needs no lock. */
  close(): void {
    this.#stores = this.#mappingCount = this.#boCount = 0;
    this.#isClosed = true;
    this.trim();
  }

  #add({ stores, mappings, bos }: Promised, sign: 1 | -1): void {
    this.#stores += sign * stores;
    this.#mappingCount += sign * mappings;
    this.#boCount += sign * bos;
  }

  /** Sets aside what is missing of all that is promised, if so many more stores come; says whether there was room. */
  #fill(more: number): boolean {
    if (this.#fillUp(more)) return true;
    // What was replaced is to be freed like all the rest, by whoever makes room.
    this.#state.replaced.settle();
    // And what was got in vain goes back to all.
    this.trim();
    return false;
  }

  #fillUp(more: number): boolean {
    const levels = levelsAtMost(this.#weight(more));
    const stores = this.#stores;
    const { leaves, inner } = this.#working;
    const mostLeaves = stores * LEAVES_PER_STORE - leaves.length;
    const mostInner = stores * innerPerStore(levels) - inner.length;
    if (
      !this.#leaves.fill(mostLeaves, likelyLeaves(stores) - leaves.length) ||
      !this.#inner.fill(
        mostInner,
        likelyInner(stores, levels) - inner.length,
      ) ||
      !this.#mappings.fill(this.#mappingCount, this.#mappingCount) ||
      !this.#bos.fill(this.#boCount, this.#boCount)
    ) return false;
    this.#levels = levels;
    this.#limit = fewestSlots(levels + 1) - 1;
    return true;
  }

  /** The weight of the heaviest tree, with so many stores more than were promised. Under the outer lock. */
  #weight(more: number): number {
    const { words, tree, boTree, regions } = this.#state;
    const count = Math.max(
      entryCountOf(words, tree.ref),
      entryCountOf(words, boTree.ref),
      entryCountOf(words, regions.ref),
    );
    return 2 * count + 1 + 4 * (this.#stores + more);
  }

  #countNewBos({ objects, isLater }: VaNeed): number {
    let count = 0;
    for (const object of new Set(objects)) {
      if (isLater || this.#state.bos.find(object) === 0) count++;
    }
    return count;
  }

  #noRoom(what: string): OutOfMemoryError {
    return new OutOfMemoryError(
      `Cannot set memory aside for ${what}: ${this.#state.arena.pages.freePages} pages are free`,
    );
  }

  /** A mapping from the reserve, filled. */
  createMapping(spec: MappingSpec): number {
    const ref = this.#mappings.pop();
    initMapping(this.#state.words, this.#state.doubles, ref, spec);
    return ref;
  }

  /** Gives a mapping back that nobody has seen. */
  giveBack(mapping: number): void {
    this.#mappings.push(mapping);
  }

  /** Stores with nodes from the reserve. */
  storeRange(
    tree: RangeTree,
    first: number,
    last: number,
    value: number,
  ): void {
    const { arena, treeLock } = this.#state;
    const lock = tree === this.#state.tree
      ? treeLock
      : new TreeLock(arena, tree.ref);
    lock.enterWriter("Reserve.storeRange");
    try {
      this.storeLocked(tree, first, last, value);
    } finally {
      lock.exitWriter();
    }
  }

  /** As {@linkcode Reserve.storeRange}, under the tree's lock. */
  storeLocked(
    tree: RangeTree,
    first: number,
    last: number,
    value: number,
  ): void {
    const { writer, nodes, words } = this.#state;
    const working = this.#working;
    const { leaves, inner } = working;
    const root = heldRootOf(words, tree.ref);
    const mostInner = root === 0 ? 0 : innerPerStore(heightOf(words, root) + 1);
    while (leaves.length < LEAVES_PER_STORE) leaves.push(this.#leaves.pop());
    while (inner.length < mostInner) inner.push(this.#inner.pop());
    writer.storeRangeFrom(working, tree.ref, nodes, first, last, value);
  }

  /** The VmBo of an object, from the reserve if it has none yet. */
  obtainBo(object: number): number {
    const { bos, boTree } = this.#state;
    const found = bos.find(object);
    if (found !== 0) return found;
    const bo = this.#bos.pop();
    bos.init(bo, object);
    try {
      this.storeRange(boTree, object, object, bo);
    } catch (error) {
      // It may be that the tree's lock is not to be had.
      this.#bos.push(bo);
      throw error;
    }
    return bo;
  }
}
