/**
 * Where the trees of an arena get their memory: one slab cache of nodes that can be moved, one of nodes that are pinned
 * (so that these do not hold up slabs that could be emptied), one of headers, one of external locks.
 *
 * @module
 */
import { type Arena, openForReap } from "../memory/arena.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { Slabs } from "../slab/slabs.ts";
import { HEADER_BYTES, HEADER_LINK } from "./header.ts";
import { NODE_BYTES, NODE_LINK } from "./node.ts";
import { recoverTrees } from "./recover.ts";
import { sweepTrees } from "./sweep.ts";

/** The name of the cache of external locks. */
const EXTERNAL_LOCKS = "external_lock";

const memoryOf = new WeakMap<Arena, TreeMemory>();

openForReap("range trees", (arena) => TreeMemory.of(arena));

/** The caches that the trees of one arena live in, as seen by one thread. */
export class TreeMemory {
  /** Nodes of trees whose lock the mover can take. */
  readonly movableNodes: SlabCache;
  /** Nodes of trees that have nothing to lock. */
  readonly pinnedNodes: SlabCache;
  /** Tree headers. */
  readonly headers: SlabCache;
  /** The class of the locks inside trees. */
  readonly lockClass: number;
  /** The class of external locks. */
  readonly externalLockClass: number;

  readonly #arena: Arena;
  #locks: SlabCache | undefined;

  private constructor(arena: Arena) {
    this.#arena = arena;
    const slabs = Slabs.of(arena);
    const node = { objectBytes: NODE_BYTES, link: NODE_LINK };
    this.movableNodes = slabs.cache({
      ...node,
      name: "range_node",
      mobility: "movable",
    });
    this.pinnedNodes = slabs.cache({
      ...node,
      name: "range_node_pinned",
      mobility: "unmovable",
    });
    this.headers = slabs.cache({
      name: "range_tree",
      objectBytes: HEADER_BYTES,
      link: HEADER_LINK,
    });
    arena.onReap("range trees", (gone) => {
      const locks = slabs.all().find(({ name }) => name === EXTERNAL_LOCKS);
      const caches = { nodes: this.movableNodes, headers: this.headers, locks };
      recoverTrees(arena, caches, gone);
      sweepTrees(arena, caches, gone);
    });
    this.lockClass = arena.lockdep.lockClass("range tree", "RangeTree.lock()");
    this.externalLockClass = arena.lockdep.lockClass(
      "external lock",
      "ExternalLock.guard()",
    );
  }

  /** The memory of an arena's trees. */
  static of(arena: Arena): TreeMemory {
    let memory = memoryOf.get(arena);
    if (memory === undefined) {
      memoryOf.set(arena, memory = new TreeMemory(arena));
    }
    return memory;
  }

  /** External locks; the cache is made when the first one is. */
  get locks(): SlabCache {
    return this.#locks ??= Slabs.of(this.#arena).cache({
      name: EXTERNAL_LOCKS,
      objectBytes: 64,
      link: 15,
    });
  }

  /** The cache of the nodes of a tree, whose lock the mover can take or not. */
  nodes(movable: boolean): SlabCache {
    return movable ? this.movableNodes : this.pinnedNodes;
  }
}
