/**
 * Where the nodes of trees come from: leaves from one slab cache, the nodes above them from another.
 *
 * There are ten to twenty times as many leaves as inner nodes, and every lookup meets inner nodes. Were all in the same slabs, each
 * inner node would be the only one of its page, so that a lookup would miss the processor's cache of pages (TLB) for it as it does for
 * the leaf. Among themselves the inner nodes of a million ranges lie in a few hundred pages.
 *
 * Which of both a node lies in is a matter of speed alone: a node of any height is right in either, and what finds no room in its own
 * comes from the other one. So a node goes back to the cache that its page belongs to, not to that of its height. What is written
 * into the link word of a node is the same for both.
 *
 * @module
 */
import type { SlabCache } from "../slab/slab_cache.ts";

/** The two caches that the nodes of some trees live in, as seen by one thread. */
export class NodeCaches {
  /** Where leaves are allocated. */
  readonly leaves: SlabCache;
  /** Where the nodes above them are. */
  readonly inner: SlabCache;
  /** Both. */
  readonly all: readonly [leaves: SlabCache, inner: SlabCache];
  /** The head of the leaves that this thread keeps at hand, for compiled loops, which run in no debug arena. */
  readonly leafStock: number;
  /** And of the inner nodes. */
  readonly innerStock: number;
  readonly #isTracked: boolean;

  /**
   * Puts two caches together, of objects of one size with the same link word.
   *
   * @param isTracked Whether the caches note what is deferred, as in debug mode: then each must be told of its own objects.
   */
  constructor(leaves: SlabCache, inner: SlabCache, isTracked: boolean) {
    this.leaves = leaves;
    this.inner = inner;
    this.all = [leaves, inner];
    this.leafStock = isTracked ? 0 : leaves.stockIndex;
    this.innerStock = isTracked ? 0 : inner.stockIndex;
    this.#isTracked = isTracked;
  }

  /** Where nodes of that height are allocated. */
  ofHeight(height: number): SlabCache {
    return height === 0 ? this.leaves : this.inner;
  }

  /** Allocates a node of that height; 0 if neither cache has room. */
  tryAllocate(height: number): number {
    const own = this.ofHeight(height);
    const node = own.tryAllocate();
    if (node !== 0) return node;
    return (own === this.leaves ? this.inner : this.leaves).tryAllocate();
  }

  /**
   * Allocates a node of that height.
   *
   * @throws {OutOfMemoryError} If neither cache has room; nothing was changed.
   */
  allocate(height: number): number {
    const node = this.tryAllocate(height);
    return node !== 0 ? node : this.ofHeight(height).allocate();
  }

  /** Frees a node at once: {@linkcode SlabCache.free}. */
  free(node: number): void {
    this.#cacheOf(node).free(node);
  }

  /** Frees a node after a grace period: {@linkcode SlabCache.defer}. */
  defer(node: number): void {
    const cache = this.#isTracked ? this.#cacheOf(node) : this.leaves;
    cache.defer(node);
  }

  /** As {@linkcode NodeCaches.defer} for each of the nodes. */
  deferAll(nodes: readonly number[]): void {
    for (const [cache, own] of this.#parted(nodes)) cache.deferAll(own);
  }

  /** Notes that a node is in this thread's hands: {@linkcode SlabCache.claim}. */
  claim(node: number, withAllBelow = false): void {
    this.leaves.claim(node, withAllBelow);
  }

  /** Whose hands a node is in, or was in last: {@linkcode SlabCache.claimant}. */
  claimant(node: number): { thread: number; withAllBelow: boolean } {
    return this.leaves.claimant(node);
  }

  /** The nodes that a thread that is gone had in its hands last. */
  claimedBy(gone: number): number[] {
    return this.all.flatMap((cache) => cache.claimedBy(gone));
  }

  /** Defers the freeing of what a thread that is gone had in its hands: {@linkcode SlabCache.deferLost}. */
  deferLost(nodes: readonly number[]): void {
    for (const [cache, own] of this.#parted(nodes)) cache.deferLost(own);
  }

  /** Whether the ref is an allocated node. Stale as soon as it is read. */
  isAllocated(node: number): boolean {
    return this.all.some((cache) => cache.isAllocated(node));
  }

  /** How many slabs there are, how many nodes are in use in them, and how few slabs would do for these. */
  usage(): { slabs: number; objects: number; slabsAtBest: number } {
    let slabs = 0, objects = 0, slabsAtBest = 0;
    for (const cache of this.all) {
      const usage = cache.usage();
      slabs += usage.slabs;
      objects += usage.objects;
      slabsAtBest += Math.ceil(usage.objects / cache.capacity);
    }
    return { slabs, objects, slabsAtBest };
  }

  /** Gives all empty slabs back: {@linkcode SlabCache.shrink}. */
  shrink(): void {
    for (const cache of this.all) cache.shrink();
  }

  /** The nodes of each cache; all at once where the caches need not be told apart. */
  #parted(nodes: readonly number[]): [SlabCache, readonly number[]][] {
    if (!this.#isTracked) return [[this.leaves, nodes]];
    return this.all.map((cache) => [
      cache,
      nodes.filter((node) => this.#cacheOf(node) === cache),
    ]);
  }

  /** The cache that a node which is in use lies in. */
  #cacheOf(node: number): SlabCache {
    return this.inner.owns(node) ? this.inner : this.leaves;
  }
}
