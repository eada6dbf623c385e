/**
 * The optimum that a compaction is measured against.
 *
 * For a cache of `n` slabs of capacity `c` with occupancies `aᵢ`, `A = Σ aᵢ`: the objects need `⌈A / c⌉` slabs, so at most
 * `k* = n − ⌈A / c⌉` can be freed. To free `k` slabs all of their objects must move, so the fewest moves are the sum of the
 * `k` smallest occupancies; the rest has room for them, since `k ≤ k*`. So emptiest-first is optimal.
 *
 * @module
 */
import type { Slab } from "../slab/slab_cache.ts";

/** What can be won, at best. */
export interface CompactionPlan {
  /** Slabs there are. */
  readonly slabs: number;
  /** Objects in them. */
  readonly objects: number;
  /** The most slabs that can be freed: k*. */
  readonly freeableSlabs: number;
  /** The fewest moves that free so many. */
  readonly fewestMoves: number;
}

/**
 * The optimum for one cache's slabs.
 *
 * @param slabs The slabs, in any order.
 * @param capacity Objects a slab has room for.
 *
 * @example Two half-empty slabs are one too many
 * ```ts
 * import { planCompaction } from "@pollard/pollard/defrag";
 * import { assertEquals } from "@std/assert";
 *
 * const plan = planCompaction([{ pfn: 0, inUse: 5 }, { pfn: 1, inUse: 9 }], 16);
 * assertEquals(plan, { slabs: 2, objects: 14, freeableSlabs: 1, fewestMoves: 5 });
 * ```
 */
export function planCompaction(
  slabs: readonly Slab[],
  capacity: number,
): CompactionPlan {
  return planOf(slabsByOccupancy(slabs), capacity);
}

/** As {@linkcode planCompaction}, of how many slabs have 0, 1, … objects in use. */
export function planOf(
  slabsByOccupancy: readonly number[],
  capacity: number,
): CompactionPlan {
  let slabs = 0, objects = 0;
  for (let inUse = 0; inUse < slabsByOccupancy.length; inUse++) {
    slabs += slabsByOccupancy[inUse];
    objects += slabsByOccupancy[inUse] * inUse;
  }
  const freeableSlabs = slabs - Math.ceil(objects / capacity);
  return {
    slabs,
    objects,
    freeableSlabs,
    fewestMoves: fewestMoves(slabsByOccupancy, freeableSlabs),
  };
}

/** The fewest moves that free `count` of the slabs: the sum of the smallest occupancies. */
export function fewestMoves(
  slabsByOccupancy: readonly number[],
  count: number,
): number {
  let moves = 0, left = count;
  for (let inUse = 0; inUse < slabsByOccupancy.length; inUse++) {
    const freed = Math.min(left, slabsByOccupancy[inUse]);
    moves += freed * inUse;
    left -= freed;
  }
  return moves;
}

/** How many of the slabs have 0, 1, … objects in use. */
export function slabsByOccupancy(slabs: readonly Slab[]): number[] {
  const counts: number[] = [];
  for (const { inUse } of slabs) {
    while (counts.length <= inUse) counts.push(0);
    counts[inUse]++;
  }
  return counts;
}

/** The slabs, the emptiest first; equal ones stay in their order. */
export function emptiestFirst(slabs: readonly Slab[]): Slab[] {
  return slabs.toSorted((a, b) => a.inUse - b.inUse);
}
