import { assertEquals } from "@std/assert";
import { planCompaction } from "../../src/defrag/mod.ts";
import {
  emptiestFirst,
  fewestMoves,
  slabsByOccupancy,
} from "../../src/defrag/planner.ts";
import type { Slab } from "../../src/slab/mod.ts";
import { rng, seeds } from "../seed.ts";

function slabsOf(occupancies: readonly number[]): Slab[] {
  return occupancies.map((inUse, pfn) => ({ pfn, inUse }));
}

/** Tries every set of slabs: the most that can be emptied into the others, and the fewest objects in so many. */
function bestOfAll(
  occupancies: readonly number[],
  capacity: number,
): { freeableSlabs: number; movesOf: number[] } {
  const total = occupancies.reduce((sum, inUse) => sum + inUse, 0);
  const movesOf: number[] = [];
  for (let set = 0; set < 2 ** occupancies.length; set++) {
    const chosen = occupancies.filter((_, i) => set >> i & 1);
    if (total > (occupancies.length - chosen.length) * capacity) continue;
    const moves = chosen.reduce((sum, inUse) => sum + inUse, 0);
    movesOf[chosen.length] = Math.min(
      movesOf[chosen.length] ?? Infinity,
      moves,
    );
  }
  return { freeableSlabs: movesOf.length - 1, movesOf };
}

function assertOptimal(occupancies: readonly number[], capacity: number): void {
  const slabs = slabsOf(occupancies);
  const { freeableSlabs, movesOf } = bestOfAll(occupancies, capacity);
  assertEquals(planCompaction(slabs, capacity), {
    slabs: slabs.length,
    objects: occupancies.reduce((sum, inUse) => sum + inUse, 0),
    freeableSlabs,
    fewestMoves: movesOf[freeableSlabs],
  }, `${occupancies} of ${capacity}`);
  movesOf.forEach((moves, count) =>
    assertEquals(fewestMoves(slabsByOccupancy(slabs), count), moves)
  );
}

Deno.test("planCompaction() of nothing frees nothing", () => {
  assertEquals(planCompaction([], 16), {
    slabs: 0,
    objects: 0,
    freeableSlabs: 0,
    fewestMoves: 0,
  });
});

Deno.test("planCompaction() is the best of all choices, for all occupancies of up to 5 slabs of capacity 3", () => {
  const grow = (occupancies: readonly number[]) => {
    assertOptimal(occupancies, 3);
    if (occupancies.length === 5) return;
    for (let inUse = 0; inUse <= 3; inUse++) grow([...occupancies, inUse]);
  };
  grow([]);
});

const RANDOM =
  "planCompaction() is the best of all choices, for random occupancies of up to 10 slabs";
Deno.test(RANDOM, () => {
  for (const seed of seeds(RANDOM)) {
    const random = rng(seed);
    for (let round = 0; round < 60; round++) {
      const capacity = random.pick([1, 7, 16, 64]);
      const most = random.pick([capacity, Math.ceil(capacity / 4)]);
      assertOptimal(
        Array.from({ length: random.int(11) }, () => random.int(most + 1)),
        capacity,
      );
    }
  }
});

Deno.test("emptiestFirst() sorts a copy by occupancy and keeps equal slabs in their order", () => {
  const slabs = slabsOf([5, 0, 5, 16, 3, 0]);
  assertEquals(emptiestFirst(slabs).map(({ pfn }) => pfn), [1, 5, 4, 0, 2, 3]);
  assertEquals(slabs, slabsOf([5, 0, 5, 16, 3, 0]));
});
