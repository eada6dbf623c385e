import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Arena, releaseFreePages } from "../../src/memory/mod.ts";
import type { ReleaseFigures } from "./release_program.ts";

const PROGRAM = new URL("./release_program.ts", import.meta.url).pathname;

function run(...args: string[]): ReleaseFigures {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--v8-flags=--expose-gc",
      "--allow-read",
      ...args,
    ],
  }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("releaseFreePages() lowers the resident size by what was freed, and no tree changes", () => {
  const figures = run("--allow-ffi", PROGRAM);
  const { first, second, freePages, freedPages } = figures;
  const { residentBefore, residentAfter } = figures;
  assertEquals(first.reason, undefined);
  assertEquals(first.bytes, freePages * 4096);
  // What was never touched was not resident.
  const fell = (residentBefore - residentAfter) / (freedPages * 4096);
  assert(freedPages > 5000, `${freedPages} pages`);
  assert(fell > 0.95 && fell < 1.05, `it fell by ${fell} of that`);
  assertEquals([second.bytes, second.blocks], [0, 0]);
  assertEquals([figures.same, figures.notZero], [true, 0]);
  assertEquals(figures.storedAfter, 50_000);
});

Deno.test("releaseFreePages({ huge }) hands back whole huge pages only", () => {
  const { first, second, same } = run("--allow-ffi", PROGRAM, "huge");
  assert(first.bytes > 0 && first.bytes % 2 ** 21 === 0);
  assertEquals(second.bytes, 0);
  assert(same);
});

Deno.test("releaseFreePages() without the permission does nothing, and names the flag", () => {
  const { first, second, residentAfter, residentBefore, same } = run(PROGRAM);
  for (const result of [first, second]) {
    assertEquals([result.bytes, result.blocks], [0, 0]);
    assertStringIncludes(result.reason!, "--allow-ffi");
  }
  assert(same && residentAfter >= residentBefore * 0.9);
});

Deno.test("releaseFreePages() asks for no permission", () => {
  const { bytes, reason } = releaseFreePages(
    Arena.create({ byteLength: 2 ** 20 }),
  );
  assertEquals(bytes, 0);
  assert(reason !== undefined);
});
