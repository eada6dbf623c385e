import { assert, assertEquals } from "@std/assert";
import { Histogram } from "../../src/experiment/mod.ts";
import { rng, seeds } from "../seed.ts";

const NAME = "Histogram.percentile() is within a 45th above the sorted times";
Deno.test(NAME, () => {
  for (const seed of seeds(NAME)) {
    const random = rng(seed);
    const histogram = new Histogram();
    const times = Array.from(
      { length: 5000 },
      () => 2 + random.int(10) ** random.int(9),
    );
    for (const time of times) histogram.add(time);
    times.sort((a, b) => a - b);
    for (const share of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = times[Math.ceil(times.length * share) - 1];
      const found = histogram.percentile(share);
      assert(
        found >= exact && found <= exact * 2 ** (1 / 32),
        `${found} for ${exact}`,
      );
    }
  }
});

Deno.test("Histogram adds another one, forgets, and knows nothing of nothing", () => {
  const one = new Histogram(), two = new Histogram();
  assertEquals(one.percentile(0.5), 0);
  one.add(100);
  two.add(1e6);
  one.addAll(new Histogram(two.counts));
  assert(one.percentile(1) >= 1e6 && one.percentile(0.5) < 103);
  one.clear();
  assertEquals(one.percentile(1), 0);
  for (const odd of [0, -5, NaN, 1e300]) one.add(odd);
  assertEquals(one.counts.reduce((sum, count) => sum + count), 4);
});
