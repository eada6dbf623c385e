import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  add,
  compareExchange,
  exchange,
  load,
  store,
  type Words,
  wordsOf,
} from "../../src/sync/atomics.ts";
import { WasmModule } from "../../src/sync/wasm.ts";
import { rng, seeds } from "../seed.ts";

const WORDS = 16;

/** The words of one memory twice: by WebAssembly's instructions, and by `Atomics`. */
function both(): [Words, Words] {
  const memory = new WebAssembly.Memory({
    initial: 1,
    maximum: 1,
    shared: true,
  });
  return [
    wordsOf(memory),
    wordsOf(memory.buffer as unknown as SharedArrayBuffer),
  ];
}

Deno.test("wordsOf() gives a WebAssembly memory's words their instructions, and what is made of them none", () => {
  const [inline, plain] = both();
  assertNotEquals(inline.inline, undefined);
  assertEquals(plain.inline, undefined);
  inline[3] = 7;
  const part: Words = inline.subarray(3, 5);
  assertEquals([part.inline, part.length, part[0]], [undefined, 2, 7]);
});

const RANDOM_TEST = "Atomics of either kind agree with an array";
for (const seed of seeds(RANDOM_TEST)) {
  Deno.test(`${RANDOM_TEST} (seed ${seed})`, () => testAgainstMirror(seed));
}

function testAgainstMirror(seed: number): void {
  const random = rng(seed);
  const words = both();
  const mirror = new Int32Array(WORDS);
  for (let turn = 0; turn < 5_000; turn++) {
    const by = words[random.int(2)];
    const at = random.int(WORDS);
    const value = random.int(3) - 1 | (random.int(2) << 31);
    const before = mirror[at];
    switch (random.int(5)) {
      case 0:
        assertEquals(load(by, at), before);
        break;
      case 1:
        store(by, at, value);
        mirror[at] = value;
        break;
      case 2:
        assertEquals(exchange(by, at, value), before);
        mirror[at] = value;
        break;
      case 3: {
        const expected = random.int(2) === 0 ? before : value;
        assertEquals(compareExchange(by, at, expected, 5), before);
        if (before === expected) mirror[at] = 5;
        break;
      }
      case 4:
        assertEquals(add(by, at, value), before);
        mirror[at] += value;
        break;
    }
    for (const of of words) assertEquals(of[at], mirror[at]);
  }
}

Deno.test("load() behind the end of the memory is an error by either kind of access", () => {
  for (const words of both()) assertThrows(() => load(words, words.length));
});

Deno.test("WasmModule.over() gives nothing where the runtime can't run the module", () => {
  const memory = new WebAssembly.Memory({
    initial: 1,
    maximum: 1,
    shared: true,
  });
  assertEquals(new WasmModule(btoa("no module")).over(memory), undefined);
});
