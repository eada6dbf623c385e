/**
 * Where the trees of an arena get their memory: two slab caches of nodes that can be moved, of leaves and of the nodes above them
 * (`node_caches.ts`); two of nodes that are pinned, so that these do not hold up slabs that could be emptied; one of headers, one
 * of external locks.
 *
 * @module
 */
import { type Arena, openForReap } from "../memory/arena.ts";
import type { Mobility } from "../memory/page_allocator.ts";
import { perArena } from "../memory/per_arena.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { Slabs } from "../slab/slabs.ts";
import { HEADER_BYTES, HEADER_LINK } from "./header.ts";
import { NODE_BYTES, NODE_LINK } from "./node.ts";
import { NodeCaches } from "./node_caches.ts";
import { recoverTrees } from "./recover.ts";
import { sweepTrees } from "./sweep.ts";

/** The name of the cache of external locks. */
const EXTERNAL_LOCKS = "external_lock";

openForReap("range trees", (arena) => TreeMemory.of(arena));

/** The caches that the trees of one arena live in, as seen by one thread. */
export class TreeMemory {
  /** Nodes of trees whose lock the mover can take. */
  readonly movableNodes: NodeCaches;
  /** Nodes of trees that have nothing to lock. */
  readonly pinnedNodes: NodeCaches;
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
    const nodes = (suffix: string, mobility: Mobility) => {
      const [leaves, inner] = ["range_node", "range_inner"].map((name) =>
        slabs.cache({
          name: name + suffix,
          objectBytes: NODE_BYTES,
          link: NODE_LINK,
          mobility,
        })
      );
      return new NodeCaches(leaves, inner, arena.debug);
    };
    this.movableNodes = nodes("", "movable");
    this.pinnedNodes = nodes("_pinned", "unmovable");
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
  static readonly of: (arena: Arena) => TreeMemory = perArena((arena) =>
    new TreeMemory(arena)
  );

  /** External locks; the cache is made when the first one is. */
  get locks(): SlabCache {
    return this.#locks ??= Slabs.of(this.#arena).cache({
      name: EXTERNAL_LOCKS,
      objectBytes: 64,
      link: 15,
    });
  }

  /** The caches of the nodes of a tree, whose lock the mover can take or not. */
  nodes(movable: boolean): NodeCaches {
    return movable ? this.movableNodes : this.pinnedNodes;
  }
}
