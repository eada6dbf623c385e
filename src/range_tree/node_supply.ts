/**
 * Where the nodes of one store come from: first those that were allocated for it beforehand, then the slab caches. Until
 * the store is published nobody else has seen them, so when one can't be had all go back where they came from.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { setParent } from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";
import { MAX_HEIGHT } from "./path.ts";

/** A store builds at most three nodes a height, and a root. */
const MAX_TAKEN = 3 * MAX_HEIGHT + 1;

/** Nodes that were allocated beforehand. */
export class NodeReserve {
  /** Leaves to be. */
  readonly leaves: number[] = [];
  /** Nodes to be above them. */
  readonly inner: number[] = [];

  /** Whether there is none. */
  get isEmpty(): boolean {
    return this.leaves.length + this.inner.length === 0;
  }

  /** Those for that height. */
  ofHeight(height: number): number[] {
    return height === 0 ? this.leaves : this.inner;
  }
}

const NOTHING = new NodeReserve();

/** The nodes that one store takes. */
export class NodeSupply {
  readonly #arena: Arena;
  readonly #taken = new Int32Array(MAX_TAKEN);
  #count = 0;
  /** Those of them that were not allocated beforehand. */
  readonly #allocated = new Int32Array(MAX_TAKEN);
  /** And the heights that they are for: what is only rehearsed does not stand in them. */
  readonly #heights = new Uint8Array(MAX_TAKEN);
  #allocatedCount = 0;
  /** Nodes that were, for the stores up to the next `useFirst`. */
  #reserve = NOTHING;
  /** How many leaves of it were taken. */
  #leavesUsed = 0;
  /** And how many of the nodes above them. */
  #innerUsed = 0;

  /** A supply of nodes of one arena. */
  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** How many nodes were taken. */
  get count(): number {
    return this.#count;
  }

  /** The node that was taken as number `position`. */
  at(position: number): number {
    return this.#taken[position];
  }

  /** Has the stores from now on take these nodes first; none without an argument. */
  useFirst(reserve: NodeReserve = NOTHING): void {
    this.#reserve = reserve;
  }

  /** Begins a store: nothing is taken. */
  begin(): void {
    this.#count = this.#allocatedCount = 0;
    this.#leavesUsed = this.#innerUsed = 0;
  }

  /**
   * Takes a node of that height.
   *
   * @throws {OutOfMemoryError} If there is none; all that was taken has gone back.
   */
  take(nodes: NodeCaches, height: number): number {
    const reserved = this.#reserve.ofHeight(height);
    const used = height === 0 ? this.#leavesUsed : this.#innerUsed;
    let node: number;
    if (used < reserved.length) {
      node = reserved[used];
      if (height === 0) this.#leavesUsed++;
      else this.#innerUsed++;
    } else {
      node = this.#allocate(nodes, height);
      this.#heights[this.#allocatedCount] = height;
      this.#allocated[this.#allocatedCount++] = node;
    }
    this.#taken[this.#count++] = node;
    return node;
  }

  /** Ends a store that was published: what it took of the reserve is no longer there. */
  commit(): void {
    const { leaves, inner } = this.#reserve;
    if (this.#leavesUsed > 0) leaves.splice(0, this.#leavesUsed);
    if (this.#innerUsed > 0) inner.splice(0, this.#innerUsed);
  }

  /** Ends a store that is not published: the reserve then holds what it took, and nothing else. */
  keep(nodes: NodeCaches): void {
    const { words } = this.#arena, reserve = this.#reserve;
    for (const node of reserve.leaves.splice(this.#leavesUsed)) {
      nodes.free(node);
    }
    for (const node of reserve.inner.splice(this.#innerUsed)) nodes.free(node);
    for (let i = 0; i < this.#count; i++) {
      // Not linked: a mover that looks at it gives up.
      setParent(words, this.#taken[i], 0);
    }
    for (let i = 0; i < this.#allocatedCount; i++) {
      reserve.ofHeight(this.#heights[i]).push(this.#allocated[i]);
    }
  }

  #allocate(nodes: NodeCaches, height: number): number {
    const node = nodes.tryAllocate(height);
    if (node !== 0) return node;
    // What was deferred may be free by now; that can be asked without waiting.
    this.#arena.rcu.flush();
    const second = nodes.tryAllocate(height);
    return second !== 0 ? second : this.#giveUp(nodes);
  }

  #giveUp(nodes: NodeCaches): never {
    for (let i = 0; i < this.#allocatedCount; i++) {
      nodes.free(this.#allocated[i]);
    }
    this.begin();
    const [leaves, inner] = nodes.all;
    throw new OutOfMemoryError(
      `Cannot store: no slab of "${leaves.name}" or "${inner.name}" has room and ${this.#arena.pages.freePages} pages are free`,
    );
  }
}
