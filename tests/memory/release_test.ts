import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Arena, releaseFreePages } from "../../src/memory/mod.ts";
import { stub } from "@std/testing/mock";
import type { BesideFigures } from "./release_beside.ts";
import type { ReleaseFigures } from "./release_program.ts";

const PROGRAM = new URL("./release_program.ts", import.meta.url).pathname;

function run(...args: string[]): ReleaseFigures {
  return JSON.parse(output(...args));
}

function output(...args: string[]): string {
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
  return new TextDecoder().decode(stdout);
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
  const figures = run("--allow-ffi", PROGRAM, "huge");
  const { first, second, same, notZero, freeBlocksByOrder } = figures;
  const [of9, of10] = freeBlocksByOrder.slice(9);
  assert(of9 > 0 && of10 > 0, `${freeBlocksByOrder}`);
  // All of every block: they lie as huge pages do.
  assertEquals([first.bytes, first.blocks], [
    of9 * 2 ** 21 + of10 * 2 ** 22,
    of9 + of10,
  ]);
  assertEquals(second.bytes, 0);
  assertEquals([same, notZero], [true, 0]);
  // What lies beside huge pages in a block is not forgotten.
  const { smallFreePages, smallHuge, smallRest } = figures;
  assert(smallHuge.bytes > 0);
  assert(smallRest.bytes >= smallFreePages * 4096 - smallHuge.bytes);
});

Deno.test("releaseFreePages() beside a reader and a writer that goes on changes none of their answers", () => {
  const figures: BesideFigures = JSON.parse(output(
    "--allow-ffi",
    new URL("./release_beside.ts", import.meta.url).pathname,
  ));
  assert(figures.bytes > 0 && figures.blocks > 0 && figures.moves > 0);
  assert(figures.passes >= figures.turns, JSON.stringify(figures));
  assert(figures.same);
});

Deno.test("PageAllocator.releaseFree() holds the lock for one block at a time, and gives each block once", () => {
  const arena = Arena.create({ byteLength: 2 ** 24 });
  const held: number[] = [];
  for (let i = 0; i < 2000; i++) held.push(arena.pages.allocate(0, "movable"));
  for (const pfn of held) if (pfn % 2 === 0) arena.pages.free(pfn);
  const free = new Map(arena.pages.freeBlocks());
  const lock = arena.lockdep;
  const seen = new Map<number, number>();
  let calls = 0;
  let inHold = 0;
  const acquire = stub(lock, "acquire", () => void (inHold = 0));
  {
    using _acquire = acquire;
    using _release = stub(lock, "release", () => {});
    arena.pages.releaseFree(0, (pfn, order) => {
      assertEquals(++inHold, 1);
      calls++;
      // Every third one can't be released now.
      if (pfn % 3 === 0) return false;
      seen.set(pfn, order);
      return true;
    });
  }
  assertEquals(calls, free.size);
  arena.pages.releaseFree(0, (pfn, order) => {
    assert(!seen.has(pfn));
    seen.set(pfn, order);
    return true;
  });
  assertEquals(seen, free);
  arena.pages.releaseFree(0, () => {
    throw new Error("there is nothing left");
  });
  // What is allocated and freed again is given again, also where it joins others.
  arena.pages.free(held.find((pfn) => pfn % 2 === 1)!);
  let again = 0;
  arena.pages.releaseFree(0, () => ++again > 0);
  assertEquals(again, 1);
  arena.pages.validate();
});

Deno.test("PageAllocator.releaseFree() goes on where blocks join under it", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const held: number[] = [];
  for (let i = 0; i < 256; i++) held.push(arena.pages.allocate(0, "movable"));
  const kept = held.filter((pfn) => pfn % 4 !== 0);
  for (const pfn of held) if (pfn % 4 === 0) arena.pages.free(pfn);
  const given: number[] = [];
  const spinUnlock = arena.lockdep.release.bind(arena.lockdep);
  let changes = 0;
  {
    // Between two holds somebody frees two pages, which join what was released.
    using _release = stub(arena.lockdep, "release", (index: number) => {
      spinUnlock(index);
      if (changes++ > 40 || changes % 2 === 0) return;
      const pfn = kept.shift();
      if (pfn !== undefined) arena.pages.free(pfn);
    });
    arena.pages.releaseFree(0, (pfn) => given.push(pfn) > 0);
  }
  assertEquals(new Set(given).size, given.length);
  arena.pages.validate();
  arena.pages.releaseFree(0, () => true);
  arena.pages.releaseFree(0, () => {
    throw new Error("there is nothing left");
  });
});

Deno.test("Arena.create() begins the pages of a large arena at a huge page, and loses no block by that", () => {
  for (const mebibytes of [64, 66, 128]) {
    const arena = Arena.create({ byteLength: mebibytes * 2 ** 20 });
    assertEquals(arena.pageRef(0) * 64 % 2 ** 21, 0);
    assertEquals(arena.pages.count, mebibytes * 256 - 512);
  }
  const small = Arena.create({ byteLength: 63 * 2 ** 20 });
  assert(small.pages.count > 63 * 256 - 512);
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
