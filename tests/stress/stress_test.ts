import { assert, assertEquals, assertMatch } from "@std/assert";
import { seeds } from "../seed.ts";
import { runStress, SHORT_OF_MEMORY } from "./stress.ts";
import {
  BAND,
  entryOf,
  firstOf,
  generationOf,
  placeAt,
  STRIDE,
  WIDE_LENGTH,
  wideBehind,
  WIDES,
} from "./world.ts";

const WORLDS = {
  "freed memory poisoned": { debug: true, byteLength: 2 ** 24, writers: 1 },
  "two writers": { debug: false, byteLength: 2 ** 24, writers: 2 },
  "memory short": { debug: false, byteLength: SHORT_OF_MEMORY, writers: 2 },
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
    assert(result.wideChanges > 10 && result.moves > 0);
    assertEquals(result.exhausted > 0, name === "memory short");
  });
}

const CELL = 7;
const WIDE = wideBehind(3);

Deno.test("generationOf() finds the generation of every answer that is possible, the empty ones among them", () => {
  const at = entryOf;
  for (
    const [place, found, oldest, newest, generation] of [
      [CELL, at(CELL, 5), 5, 5, 5],
      [CELL, at(CELL, 5), 4, 5, 5],
      [CELL, at(CELL, 3), 3, 7, 3],
      [CELL, at(CELL, 7), 3, 7, 7],
      [CELL, 0, 4, 4, 4],
      [CELL, 0, 4, 5, 4],
      [CELL, 0, 5, 6, 6],
      [CELL, 0, 3, 7, 4],
      [CELL, at(CELL, 2 ** 18 + 1), 2 ** 18 - 1, 2 ** 18 + 1, 2 ** 18 + 1],
      [WIDE, at(WIDE, 6), 5, 6, 6],
      [WIDE, 0, 8, 8, 8],
      [WIDE, 0, 6, 9, 8],
    ]
  ) assertEquals(generationOf(place, found, oldest, newest), generation);
});

Deno.test("generationOf() finds foreign, stale, premature and missing answers", () => {
  const at = entryOf;
  for (
    const [place, found, oldest, newest, wrong] of [
      [CELL, at(CELL, 3), 4, 5, /^generation 3, generations 4 to 5 are poss/],
      [CELL, at(CELL, 3), 5, 9, /^generation 3, /],
      [CELL, at(CELL, 7), 5, 6, /^generation 7, /],
      [CELL, at(CELL, 4), 4, 4, /erased/],
      [CELL, at(CELL + 1, 5), 5, 5, /foreign/],
      [CELL, 0x6b6b6b6b, 5, 5, /foreign/],
      [CELL, 1, 5, 5, /foreign/],
      // What is there is missed: nothing empties it meanwhile.
      [CELL, 0, 5, 5, /^it is empty, generations 5 to 5 are possible$/],
      [WIDE, 0, 5, 7, /empty/],
      [WIDE, at(WIDE, 8), 8, 8, /erased/],
      [WIDE, at(CELL, 5), 5, 5, /foreign/],
    ] as const
  ) assertMatch(String(generationOf(place, found, oldest, newest)), wrong);
});

Deno.test("placeAt() finds the place of every index, and places do not overlap", () => {
  let end = 0;
  for (let band = 0; band < WIDES; band++) {
    for (let cell = band * BAND; cell < (band + 1) * BAND; cell++) {
      assertEquals(firstOf(cell), end);
      end += STRIDE;
      assertEquals(placeAt(firstOf(cell)), cell);
      assertEquals(placeAt(end - 1), cell);
    }
    const wide = wideBehind(band);
    assertEquals(firstOf(wide), end);
    end += WIDE_LENGTH;
    assertEquals([placeAt(firstOf(wide)), placeAt(end - 1)], [wide, wide]);
  }
});
