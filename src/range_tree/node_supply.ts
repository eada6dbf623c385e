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
const NOTHING: number[] = [];

/** The nodes that one store takes. */
export class NodeSupply {
  readonly #arena: Arena;
  readonly #taken = new Int32Array(MAX_TAKEN);
  #count = 0;
  /** Nodes that were allocated beforehand, for the stores up to the next `useFirst`. */
  #reserve: number[] = NOTHING;
  /** How many of them were taken. */
  #reserveUsed = 0;

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
  useFirst(reserve: number[] = NOTHING): void {
    this.#reserve = reserve;
  }

  /** Begins a store: nothing is taken. */
  begin(): void {
    this.#count = this.#reserveUsed = 0;
  }

  /**
   * Takes a node of that height.
   *
   * @throws {OutOfMemoryError} If there is none; all that was taken has gone back.
   */
  take(nodes: NodeCaches, height: number): number {
    const node = this.#reserveUsed < this.#reserve.length
      ? this.#reserve[this.#reserveUsed++]
      : this.#allocate(nodes, height);
    this.#taken[this.#count++] = node;
    return node;
  }

  /** Ends a store that was published: what it took of the reserve is no longer there. */
  commit(): void {
    if (this.#reserveUsed > 0) this.#reserve.splice(0, this.#reserveUsed);
  }

  /** Ends a store that is not published: the reserve then holds what it took, and nothing else. */
  keep(nodes: NodeCaches): void {
    for (const node of this.#reserve.splice(this.#reserveUsed)) {
      nodes.free(node);
    }
    for (let i = 0; i < this.#count; i++) {
      // Not linked: a mover that looks at it gives up.
      setParent(this.#arena.words, this.#taken[i], 0);
      if (i >= this.#reserveUsed) this.#reserve.push(this.#taken[i]);
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
    for (let i = this.#reserveUsed; i < this.#count; i++) {
      nodes.free(this.#taken[i]);
    }
    this.begin();
    const [leaves, inner] = nodes.all;
    throw new OutOfMemoryError(
      `Cannot store: no slab of "${leaves.name}" or "${inner.name}" has room and ${this.#arena.pages.freePages} pages are free`,
    );
  }
}
