import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Random } from "../../src/experiment/mod.ts";

function first(seed: number, count: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => random.next());
}

Deno.test("Random gives equal numbers for equal seeds and others for other seeds", () => {
  assertEquals(first(7, 100), first(7, 100));
  assertNotEquals(first(7, 3), first(8, 3));
  // Scenarios must be the same on every machine and in every version.
  assertEquals(first(1, 3), [1580013426, 350525680, 3524174333]);
});

Deno.test("Random.below stays below its bound and reaches every number", () => {
  const random = new Random(1);
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) seen.add(random.below(10));
  assertEquals([...seen].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

Deno.test("Random.shuffle makes each of the orders about equally often", () => {
  const random = new Random(1);
  const times = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const items = ["a", "b", "c"];
    random.shuffle(items);
    const order = items.join("");
    times.set(order, (times.get(order) ?? 0) + 1);
  }
  assertEquals([...times.keys()].sort(), [
    "abc",
    "acb",
    "bac",
    "bca",
    "cab",
    "cba",
  ]);
  for (const count of times.values()) assert(count > 850 && count < 1150);
});
