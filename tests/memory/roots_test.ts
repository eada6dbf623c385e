import { assertEquals, assertThrows } from "@std/assert";
import { Arena, MAX_ROOTS, Roots } from "../../src/memory/mod.ts";
import { ROOTS_WORDS } from "../../src/memory/roots.ts";
import { rng, seeds } from "../seed.ts";

/** Two threads' views of one table, with words before and behind it that must stay 0. */
function twoThreads(): {
  words: Int32Array<SharedArrayBuffer>;
  one: Roots;
  two: Roots;
} {
  const words = new Int32Array(new SharedArrayBuffer(4 * (ROOTS_WORDS + 32)));
  return { words, one: new Roots(words, 16, 1), two: new Roots(words, 16, 2) };
}

Deno.test("Roots finds by name what another thread has named", () => {
  const { one, two } = twoThreads();
  assertEquals([one.get("vm"), one.names()], [0, []]);
  one.add("vm", 7);
  two.add("pages", 0xffff_ffff);
  assertEquals(
    [two.get("vm"), one.get("pages"), one.get("v"), one.get("vm ")],
    [
      7,
      0xffff_ffff,
      0,
      0,
    ],
  );
  assertEquals(two.names(), ["vm", "pages"]);
});

Deno.test("Roots.add() refuses a name that is taken, and changes nothing", () => {
  const { words, one, two } = twoThreads();
  one.add("vm", 7);
  const before = words.slice();
  assertThrows(
    () => two.add("vm", 8),
    Error,
    'Cannot take a name in the arena: "vm" is taken',
  );
  assertThrows(() => one.add("vm", 7), Error, "is taken");
  assertEquals(words.slice(), before);
});

Deno.test("Roots.add() refuses a name for nothing, and changes nothing", () => {
  const { roots } = Arena.create({ byteLength: 2 ** 20 });
  assertThrows(() => roots.add("tree", 0), RangeError, "0 is no ref");
  roots.add("tree", 64);
  assertEquals(roots.get("tree"), 64);
});

Deno.test("Roots.add() takes names of 1 to 56 bytes", () => {
  const { words, one } = twoThreads();
  for (const name of ["", "x".repeat(57), "ö".repeat(29)]) {
    const bytes = new TextEncoder().encode(name).length;
    const before = words.slice();
    assertThrows(
      () => one.add(name, 1),
      RangeError,
      `"${name}" takes ${bytes} bytes, not 1 to 56`,
    );
    assertEquals(words.slice(), before);
  }
  const fit = ["x", "x".repeat(56), "ö".repeat(28), "日本語", "a\0b", "🜂"];
  fit.push("\uFEFFx", "\0x");
  fit.forEach((name, i) => one.add(name, i + 1));
  assertEquals(one.names(), fit);
  assertEquals(fit.map((name) => one.get(name)), fit.map((_, i) => i + 1));
});

Deno.test("Roots.add() refuses names that would not come back as they are", () => {
  const { words, one } = twoThreads();
  const before = words.slice();
  for (
    const [name, why] of [
      ["\ud800", "holds half of a surrogate pair"],
      ["x\udc00y", "holds half of a surrogate pair"],
      ["x\0", "ends in a zero"],
    ]
  ) {
    assertThrows(
      () => one.add(name, 1),
      RangeError,
      `Cannot take a name in the arena: name ${JSON.stringify(name)} ${why}`,
    );
  }
  assertEquals([words.slice(), one.names()], [before, []]);
});

Deno.test("Roots says when the table is full, and takes a name once one is gone", () => {
  const { words, one, two } = twoThreads();
  const longest = (i: number) => `${i}`.padStart(56, "-");
  for (let i = 1; i <= MAX_ROOTS; i++) one.add(longest(i), i);
  const before = words.slice();
  assertThrows(
    () => two.add("vm", 7),
    RangeError,
    `Cannot take a name in the arena: all ${MAX_ROOTS} are taken, "vm" would be one more`,
  );
  assertThrows(() => two.add(longest(3), 7), Error, "is taken");
  assertEquals(words.slice(), before);
  assertEquals([two.get("vm"), two.get("")], [0, 0]);
  for (
    const border of [words.subarray(0, 16), words.subarray(16 + ROOTS_WORDS)]
  ) {
    assertEquals([...border], new Array(16).fill(0));
  }
  one.remove(40);
  two.add("vm", 7);
  assertEquals([one.get("vm"), one.get(longest(40)), one.names().length], [
    7,
    0,
    MAX_ROOTS,
  ]);
});

Deno.test("Roots.remove() forgets all names of the ref and no other", () => {
  const { one } = twoThreads();
  one.add("a", 7);
  one.add("b", 8);
  one.add("also a", 7);
  one.remove(7);
  one.remove(9);
  assertEquals(one.names(), ["b"]);
  one.add("c", 0x8000_0000);
  assertEquals([one.names(), one.get("c")], [["c", "b"], 0x8000_0000]);
  one.remove(0x8000_0000);
  assertEquals(one.names(), ["b"]);
});

const RANDOM_TEST = "Roots agrees with a Map";
for (const seed of seeds(RANDOM_TEST)) {
  Deno.test(`${RANDOM_TEST} (seed ${seed})`, () => {
    const random = rng(seed);
    const { one, two } = twoThreads();
    const mirror = new Map<string, number>();
    for (let step = 0; step < 2000; step++) {
      const roots = random.pick([one, two]);
      const name = `root ${random.int(90)}`;
      const ref = 1 + random.int(200);
      if (random.int(3) === 0) {
        roots.remove(ref);
        for (const [key, value] of mirror) {
          if (value === ref) mirror.delete(key);
        }
      } else if (mirror.has(name)) {
        assertThrows(() => roots.add(name, ref), Error, "is taken");
      } else if (mirror.size === MAX_ROOTS) {
        assertThrows(() => roots.add(name, ref), RangeError, "are taken");
      } else {
        roots.add(name, ref);
        mirror.set(name, ref);
      }
      assertEquals(roots.names().toSorted(), [...mirror.keys()].toSorted());
      assertEquals(one.get(name), mirror.get(name) ?? 0);
    }
  });
}

Deno.test("Roots of an arena are found by whoever attaches", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  arena.roots.add("vm", 7);
  assertEquals(Arena.attach(arena.buffer).roots.get("vm"), 7);
});
