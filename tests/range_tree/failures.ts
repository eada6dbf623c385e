/**
 * Failing the allocations of an operation one after the other, and seeing that nothing has changed each time.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { type Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import type { RangeTree } from "../../src/range_tree/mod.ts";
import type { SlabCache } from "../../src/slab/mod.ts";
import { bothOf } from "./both_caches.ts";
import { cacheOf, digest, nodesOf } from "./worlds.ts";

/** What a failed operation must leave as it was: all of the tree, and how much of each cache is in use. */
export function stateOf(arena: Arena, tree: RangeTree): unknown {
  arena.rcu.barrier();
  tree.validate();
  return {
    digest: digest(tree),
    header: arena.words.slice(tree.ref * 16, tree.ref * 16 + 32),
    nodes: nodesOf(arena, tree).map((node) =>
      arena.words.slice(node * 16, node * 16 + 63)
    ),
    stats: tree.stats(),
    objects: [
      bothOf(arena).stats().objects,
      bothOf(arena, false).stats().objects,
      cacheOf(arena, "range_tree").stats().objects,
    ],
    names: arena.roots.names(),
    held: arena.lockdep.held,
    depth: arena.rcu.depth,
  };
}

/**
 * Lets caches hand out so many objects in all and none after them, until disposed of. Compiled stores find none at hand, so that all
 * are asked for one by one.
 */
export function failAfter(
  { all }: { readonly all: readonly SlabCache[] },
  allocations: number,
): Disposable & { failed: boolean } {
  let left = allocations;
  const state = { failed: false };
  const stubs = all.flatMap((cache) => {
    const allocate = cache.tryAllocate.bind(cache);
    const allocateInto = cache.allocateInto.bind(cache);
    cache.giveBack();
    return [
      stub(cache, "tryAllocate", () => {
        if (left-- > 0) return allocate();
        state.failed = true;
        return 0;
      }),
      stub(cache, "stockUp", () => false),
      // Fewer than were asked for is no failure yet: the rest may not be needed.
      stub(cache, "allocateInto", (refs, count) => {
        const granted = Math.max(0, Math.min(count, left));
        left -= granted;
        allocateInto(refs, granted);
      }),
    ];
  });
  return Object.assign(state, {
    [Symbol.dispose]() {
      for (const each of stubs) each.restore();
    },
  });
}

/**
 * Fails each node allocation of an operation in turn, until it needs no more of them: each time nothing has changed.
 *
 * @returns How many allocations the operation needs.
 */
export function failEach(
  arena: Arena,
  tree: RangeTree,
  operation: () => unknown,
): number {
  const nodes = bothOf(arena, tree.lockMode === "internal");
  const before = stateOf(arena, tree);
  for (let allocations = 0;; allocations++) {
    using failing = failAfter(nodes, allocations);
    if (!throwsOutOfMemory(operation)) {
      assert(
        !failing.failed,
        "the operation went on after a failed allocation",
      );
      return allocations;
    }
    assertEquals(
      stateOf(arena, tree),
      before,
      `allocation ${allocations} failed`,
    );
  }
}

/** Whether a call ends for want of memory; any other error is thrown on. */
export function throwsOutOfMemory(operation: () => unknown): boolean {
  try {
    operation();
    return false;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return true;
    throw error;
  }
}
