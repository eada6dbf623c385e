import { assertEquals } from "@std/assert";
import { beside, columns } from "../../src/report/mod.ts";

const RED = "\x1b[31mred\x1b[39m";

Deno.test("columns lines up the first column left and the others right, whatever their colour", () => {
  assertEquals(
    columns([["", RED, "b"], ["long name", "1", "1 000"], ["c", "22", ""]]),
    `           ${RED}      b\n` +
      "long name    1  1 000\n" +
      "c           22\n",
  );
});

Deno.test("beside puts blocks next to each other, the shorter ones ending earlier", () => {
  assertEquals(
    beside([["a", "bbb"], [RED, "x", "yy"], ["z"]]),
    `a     ${RED}   z\n` +
      "bbb   x\n" +
      "      yy\n",
  );
});
