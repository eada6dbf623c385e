/**
 * Memory that is set aside for changes that must not fail, or must not allocate: nodes for the stores, mappings, VmBos.
 *
 * A promise says how much a set of changes needs at most, and tops the reserve up to the sum of all promises; that is all that
 * can fail. What the changes then take comes from the reserve. A store builds at most three nodes a height and a root (see
 * `rebuild.ts`), whatever it replaces. The height may grow in the course of the changes: a root grows by one level when
 * it overflows, and for the next level its (at least 7-ary) children must overflow in turn, so that each further level takes
 * seven times as many stores. {@linkcode levelsAdded} is on the safe side of that, with one level to spare for what others store
 * meanwhile.
 *
 * That is a lot for a long job (as it is in the kernel, whose drivers preallocate for every operation of one). So most of it
 * is set aside as pages, which are made slabs only if it comes to the worst; and a reserve keeps what it has from job to job until it is trimmed: in the steady state a job costs only the nodes that it
 * really used.
 *
 * @module
 */
import { type Arena, OutOfMemoryError } from "../memory/mod.ts";
import type { RangeTree } from "../range_tree/mod.ts";
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
}

/** How many levels so many stores can add to a tree, and one. */
export function levelsAdded(stores: number): number {
  let levels = 2;
  for (let enough = 70; enough <= stores; enough *= 7) levels++;
  return levels;
}

/** The most nodes that one store builds in a tree of that height. */
export function nodesPerStore(height: number): number {
  return 3 * height + 1;
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
  #promised = 0;
  /** How many of the promised are likely to be needed. */
  #likely = 0;

  constructor(arena: Arena, cache: SlabCache) {
    this.#arena = arena;
    this.#cache = cache;
  }

  get promised(): number {
    return this.#promised;
  }

  /** Promises so many; says whether there is room for them. What was allocated in vain stays until it is trimmed. */
  promise(count: number, likely: number): boolean {
    const cache = this.#cache;
    const wanted = this.#likely + likely - this.#refs.length;
    if (wanted > 0) cache.allocateInto(this.#refs, wanted);
    if (this.#refs.length < this.#likely + likely) return false;
    const pages = this.#pagesFor(
      this.#promised + count - this.#likely - likely,
    );
    const missing = pages - this.#pages.length;
    if (missing > 0) cache.setPagesAside(this.#pages, missing);
    if (this.#pages.length < pages) return false;
    this.#promised += count;
    this.#likely += likely;
    return true;
  }

  /** Takes a promise back. */
  release(count: number, likely: number): void {
    this.#promised -= count;
    this.#likely -= likely;
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

  trim(): void {
    while (this.#refs.length > this.#likely) {
      this.#cache.free(this.#refs.pop()!);
    }
    const pages = this.#pagesFor(this.#promised - this.#likely);
    while (this.#pages.length > pages) {
      this.#arena.pages.free(this.#pages.pop()!);
    }
  }

  #pagesFor(objects: number): number {
    const { capacity, pagesPerSlab } = this.#cache;
    return Math.ceil(objects / capacity) * pagesPerSlab;
  }
}

/** What was promised to one set of changes. */
export interface Promised {
  /** Nodes a store. */
  readonly perStore: number;
  /** The height up to which that suffices. */
  readonly height: number;
  /** For each kind of object: how many at most, and how many are likely to be needed. */
  readonly counts: readonly (readonly [most: number, likely: number])[];
}

/**
 * The reserve of one manager, as one thread uses it.
 *
 * Thread contract: an object belongs to one thread; it is used under the manager's outer lock.
 */
export class Reserve implements VaSupply {
  readonly #state: VaState;
  readonly #nodes: Stack;
  readonly #mappings: Stack;
  readonly #bos: Stack;
  /** What one store may take: small, because a store takes from its front. */
  readonly #working: number[] = [];
  #perStore = 0;

  /** An empty reserve. */
  constructor(state: VaState) {
    const { arena, caches } = state;
    this.#state = state;
    this.#nodes = new Stack(arena, state.nodes);
    this.#mappings = new Stack(arena, caches.mappings);
    this.#bos = new Stack(arena, caches.bos);
  }

  /**
   * Sets memory aside for a set of changes.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was promised.
   */
  promise(need: VaNeed): Promised {
    const { bos, tree, boTree, regions } = this.#state;
    const objects = new Set(need.objects);
    let fresh = 0;
    for (const object of objects) if (bos.find(object) === 0) fresh++;
    const stores = need.stores + fresh;
    const height = Math.max(tree.height, boTree.height, regions.height) +
      levelsAdded(stores);
    // Not below what a store takes in advance because of an earlier promise.
    const perStore = Math.max(this.#perStore, nodesPerStore(height));
    // Nearly every store replaces one leaf.
    const nodes = stores === 0 ? 0 : stores * perStore;
    const promised: Promised = {
      perStore,
      height,
      counts: [
        [nodes, Math.min(nodes, 2 * stores)],
        [need.mappings, need.mappings],
        [fresh, fresh],
      ],
    };
    const stacks = this.#stacks();
    for (const [at, [most, likely]] of promised.counts.entries()) {
      if (stacks[at].promise(most, likely)) continue;
      promised.counts.slice(0, at).forEach((count, i) =>
        stacks[i].release(...count)
      );
      this.trim();
      throw new OutOfMemoryError(
        `Cannot set memory aside for ${stores} stores: ${most} objects are too many, ${this.#state.arena.pages.freePages} pages are free`,
      );
    }
    this.#perStore = perStore;
    return promised;
  }

  /** Ends a promise: what is left of it is nobody's. */
  release(promised: Promised): void {
    const stacks = this.#stacks();
    promised.counts.forEach((count, i) => stacks[i].release(...count));
  }

  /** Frees what is promised to nobody. */
  trim(): void {
    for (const node of this.#working.splice(0)) this.#nodes.push(node);
    if (this.#nodes.promised === 0) this.#perStore = 0;
    for (const stack of this.#stacks()) stack.trim();
  }

  #stacks(): readonly [Stack, Stack, Stack] {
    return [this.#nodes, this.#mappings, this.#bos];
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
    const { writer, nodes } = this.#state;
    const working = this.#working;
    while (working.length < this.#perStore) working.push(this.#nodes.pop());
    writer.storeRangeFrom(working, tree.ref, nodes, first, last, value);
  }

  /** The VmBo of an object, from the reserve if it has none yet. */
  obtainBo(object: number): number {
    const { bos, boTree } = this.#state;
    const found = bos.find(object);
    if (found !== 0) return found;
    const bo = this.#bos.pop();
    bos.init(bo, object);
    this.storeRange(boTree, object, object, bo);
    return bo;
  }
}
