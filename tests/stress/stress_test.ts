import { assert, assertEquals } from "@std/assert";
import { seeds } from "../seed.ts";
import { runStress } from "./stress.ts";
import { entryOf, wrongWith } from "./world.ts";

const WORLDS = {
  "freed memory poisoned": { debug: true, byteLength: 2 ** 24, writers: 1 },
  "two writers": { debug: false, byteLength: 2 ** 24, writers: 2 },
  "memory short": { debug: false, byteLength: 720_896, writers: 2 },
};

for (const [name, world] of Object.entries(WORLDS)) {
  const test =
    `Readers, writers and a compactor at once see nothing wrong, ${name}`;
  Deno.test(test, async () => {
    const [seed] = seeds(test);
    const result = await runStress({
      seed,
      millis: 1500,
      readers: 2,
      ...world,
    });
    assertEquals(result.wrong, []);
    assert(result.lookups > 1000 && result.changes > 100);
    assert(result.moves > 0, "nothing was moved");
    assertEquals(result.exhausted > 0, name === "memory short");
  });
}

Deno.test("wrongWith() finds foreign, stale and premature answers, and no others", () => {
  const at = (generation: number) => entryOf(7, generation);
  for (
    const [found, before, after] of [
      [at(5), 5, 5],
      [at(5), 4, 4],
      [0, 4, 4],
      [0, 5, 5],
      [at(3), 3, 6],
      [0, 3, 6],
      [at(7), 3, 6],
      [at(2 ** 18 + 1), 2 ** 18 + 1, 2 ** 18 + 1],
    ]
  ) assertEquals(wrongWith(7, found, before, after), undefined);
  for (
    const [found, before, after] of [
      [at(3), 4, 4],
      [at(3), 5, 9],
      [at(7), 5, 5],
      [at(4), 4, 4],
      [entryOf(8, 5), 5, 5],
      [0x6b6b6b6b, 5, 5],
      [1, 5, 5],
    ]
  ) assert(wrongWith(7, found, before, after) !== undefined, `${found}`);
});
