/**
 * What compaction is measured on: a tree whose slabs are half empty, because another tree that shared them is gone.
 *
 * @module
 */
import { type Arena, RangeTree } from "../mod.ts";
import { GAPPED, SPAN, storeOrder } from "./keys.ts";
import { arenaFor } from "./trees.ts";

/** Two trees whose nodes lie mixed in the same slabs. */
export interface Mixed {
  /** The arena that both are in. */
  readonly arena: Arena;
  /** The tree that is looked at. */
  readonly kept: RangeTree;
  /** The one that is destroyed to leave holes. */
  readonly other: RangeTree;
}

/** Two empty trees in one arena, a new one that has room for both if none is given. */
export function emptyMixed(
  ranges: number,
  arena: Arena = arenaFor(2 * ranges),
): Mixed {
  const create = () => RangeTree.create(arena, { rcu: true });
  return { arena, kept: create(), other: create() };
}

/** Stores the same ranges in both trees by turns. */
export function storeInBoth(mixed: Mixed, ranges: number): void {
  const order = storeOrder(ranges);
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN, last = first + GAPPED - 1;
    mixed.kept.storeRange(first, last, order[i] + 1);
    mixed.other.storeRange(first, last, order[i] + 1);
  }
}

/** A tree whose slabs are half empty, and the arena. */
export function fragmented(
  ranges: number,
  arena?: Arena,
): Pick<Mixed, "arena" | "kept"> {
  const mixed = emptyMixed(ranges, arena);
  storeInBoth(mixed, ranges);
  mixed.other.destroy();
  mixed.arena.rcu.barrier();
  return mixed;
}
