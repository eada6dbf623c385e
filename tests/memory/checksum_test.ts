import { assertEquals, assertNotEquals } from "@std/assert";
import { checksum } from "../../src/memory/checksum.ts";

Deno.test("checksum() is FNV-1a over words", () => {
  const prime = 0x01000193n, mask = 0xffffffffn;
  const words = [0, 1, -1, 0x12345678, -0x80000000, 7];
  let hash = 0x811c9dc5n;
  for (const word of words) {
    hash = ((hash ^ (BigInt(word) & mask)) * prime) & mask;
  }
  assertEquals(checksum(new Int32Array(words)), Number(hash));
  assertEquals(checksum(new Int32Array()), 0x811c9dc5);
});

Deno.test("checksum() can be continued", () => {
  const words = Int32Array.from({ length: 100 }, (_, i) => i * i - 50);
  for (const cut of [0, 1, 50, 100]) {
    const first = checksum(words.subarray(0, cut));
    assertEquals(checksum(words.subarray(cut), first), checksum(words));
  }
});

Deno.test("checksum() differs whichever bit of whichever word does", () => {
  const words = new Int32Array(20);
  const sum = checksum(words);
  for (let word = 0; word < words.length; word++) {
    for (let bit = 0; bit < 32; bit++) {
      words[word] ^= 1 << bit;
      assertNotEquals(checksum(words), sum);
      words[word] ^= 1 << bit;
    }
  }
});
