import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import {
  Arena,
  MAX_ORDER,
  type Mobility,
  OutOfMemoryError,
  type PageAllocator,
} from "../../src/memory/mod.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { rng, seeds } from "../seed.ts";
import { arenaOfPages } from "./arenas.ts";
import { PageMap } from "./page_map.ts";

/** Block counts by order, written as `{ order: count }`. */
function byOrder(counts: Record<number, number>): number[] {
  return Array.from(
    { length: MAX_ORDER + 1 },
    (_, order) => counts[order] ?? 0,
  );
}

/** Runs `attempt`, which must throw that and leave every word of the arena as it was. */
function assertRefused<E extends Error>(
  arena: Arena,
  attempt: () => void,
  errorClass: new (message: string) => E,
  message: string,
): E {
  const before = arena.words.slice();
  const error = assertThrows(attempt, errorClass, message);
  assert(
    arena.words.every((word, i) => word === before[i]),
    "a refused call has changed a word",
  );
  return error;
}

/** Compares everything that can be asked with what the mirror says. */
function assertAgrees(pages: PageAllocator, mirror: PageMap): void {
  pages.validate();
  const counts = mirror.freeBlocksByOrder();
  const { freePages } = mirror;
  assertEquals(pages.freePages, freePages);
  assertEquals(pages.freeBlocksByOrder(), counts);
  const [movable, unmovable] = [
    pages.freeBlocksByOrder("movable"),
    pages.freeBlocksByOrder("unmovable"),
  ];
  assertEquals(movable.map((n, order) => n + unmovable[order]), counts);
  assertEquals(pages.largestFreeOrder, counts.findLastIndex((n) => n > 0));
  const blocks = counts.reduce((sum, n) => sum + n, 0);
  for (let order = 0; order <= MAX_ORDER; order++) {
    let usable = 0;
    counts.forEach((n, at) => usable += at >= order ? n * 2 ** at : 0);
    const unusable = freePages === 0 ? 1 : 1 - usable / freePages;
    assertAlmostEquals(pages.unusableIndex(order), unusable, 1e-12);
    const expected = blocks === 0
      ? 0
      : usable > 0
      ? -1
      : 1 - (1 + freePages / 2 ** order) / blocks;
    assertAlmostEquals(pages.extfragIndex(order), expected, 1e-12);
  }
}

Deno.test("PageAllocator cuts a new arena into the largest aligned blocks", () => {
  for (const count of [1, 2, 3, 511, 512, 1023, 1024, 1025, 2047]) {
    const { pages } = arenaOfPages(count);
    assertEquals(pages.count, count);
    assertAgrees(pages, new PageMap(count));
  }
});

Deno.test("PageAllocator.allocate() splits a block and free() joins it again, each order", () => {
  const arena = arenaOfPages(1024);
  const { pages } = arena;
  for (let order = 0; order <= MAX_ORDER; order++) {
    const mirror = new PageMap(1024);
    const pfn = pages.allocate(order, "movable");
    assert(mirror.isFree(pfn, order));
    mirror.allocate(pfn, order);
    assertAgrees(pages, mirror);
    // What is left over: one block of each order from this one up.
    const rest = Object.fromEntries(
      Array.from({ length: MAX_ORDER - order }, (_, i) => [order + i, 1]),
    );
    assertEquals(pages.freeBlocksByOrder(), byOrder(rest));
    pages.free(pfn);
    assertEquals(pages.freeBlocksByOrder(), byOrder({ [MAX_ORDER]: 1 }));
  }
});

Deno.test("PageAllocator prefers the smallest block that will do", () => {
  const { pages } = arenaOfPages(64);
  const kept = Array.from({ length: 64 }, () => pages.allocate(0, "movable"));
  for (const pfn of kept) {
    if ((pfn >= 8 && pfn < 12) || pfn === 32) pages.free(pfn);
  }
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 0: 1, 2: 1 }));
  assertEquals(pages.allocate(0, "movable"), 32);
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 2: 1 }));
});

Deno.test("PageAllocator joins buddies alone: neighbours that are none stay apart", () => {
  const { pages } = arenaOfPages(8);
  const all = Array.from({ length: 8 }, () => pages.allocate(0, "movable"))
    .toSorted((a, b) => a - b);
  assertEquals(all, [0, 1, 2, 3, 4, 5, 6, 7]);
  pages.free(1);
  pages.free(2);
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 0: 2 }));
  pages.free(3);
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 0: 1, 1: 1 }));
  pages.free(0);
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 2: 1 }));
  pages.validate();
});

Deno.test("PageAllocator does not join beyond the last page", () => {
  const { pages } = arenaOfPages(3);
  const all = [0, 0, 0].map(() => pages.allocate(0, "movable"));
  for (const pfn of all) pages.free(pfn);
  assertEquals(pages.freeBlocksByOrder(), byOrder({ 0: 1, 1: 1 }));
  pages.validate();
});

Deno.test("PageAllocator exhaustion is an OutOfMemoryError that changed nothing", () => {
  const arena = arenaOfPages(40);
  const { pages } = arena;
  for (let left = 40; left > 0; left--) {
    pages.allocate(0, left % 2 === 0 ? "movable" : "unmovable");
  }
  for (const mobility of ["movable", "unmovable"] as const) {
    const error = assertRefused(
      arena,
      () => pages.allocate(0, mobility),
      OutOfMemoryError,
      "Cannot allocate a block of order 0: 0 pages are free, largest free order -1",
    );
    assertEquals(error.name, "OutOfMemoryError");
    const before = arena.words.slice();
    assertEquals(pages.tryAllocate(3, mobility), -1);
    assertEquals(arena.words.slice(), before);
  }
  pages.free(17);
  pages.free(20);
  assertRefused(
    arena,
    () => pages.allocate(1, "movable"),
    OutOfMemoryError,
    "order 1: 2 pages are free, largest free order 0",
  );
  pages.validate();
});

Deno.test("PageAllocator.allocate() refuses orders that there are none of", () => {
  const arena = arenaOfPages(1024);
  for (const order of [-1, 11, 0.5, NaN]) {
    assertRefused(
      arena,
      () => arena.pages.allocate(order, "movable"),
      RangeError,
      `order ${order} is outside [0, 10]`,
    );
  }
});

Deno.test("PageAllocator.extfragIndex() and unusableIndex() refuse orders that there are none of", () => {
  const { pages } = arenaOfPages(1024);
  for (const order of [-1, 11, 0.5, NaN]) {
    for (const index of ["extfragIndex", "unusableIndex"] as const) {
      assertThrows(
        () => pages[index](order),
        RangeError,
        `order ${order} is outside [0, 10]`,
      );
    }
  }
});

Deno.test("PageAllocator.free() refuses what is not the start of a used block", () => {
  const arena = arenaOfPages(64);
  const { pages } = arena;
  const pfn = pages.allocate(2, "movable");
  for (const inside of [pfn + 1, pfn + 2, pfn + 3, -1, 64, 65, 1e9, 0.5, NaN]) {
    assertRefused(
      arena,
      () => pages.free(inside),
      Error,
      "no block begins there",
    );
  }
  pages.free(pfn);
  assertRefused(
    arena,
    () => pages.free(pfn),
    Error,
    `Cannot free page ${pfn}: it is free already`,
  );
  pages.validate();
});

Deno.test("PageAllocator hands out frame records with the owner's words zeroed", () => {
  const arena = arenaOfPages(16);
  for (let turn = 0; turn < 3; turn++) {
    const all = Array.from(
      { length: 16 },
      () => arena.pages.allocate(0, "movable"),
    );
    for (const pfn of all) {
      const frame = arena.frameOf(pfn);
      assertEquals([...arena.words.subarray(frame + 1, frame + 8)], [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
      ]);
      arena.words.fill(-1, frame + 1, frame + 8);
    }
    for (const pfn of all) arena.pages.free(pfn);
    arena.pages.validate();
  }
});

Deno.test("PageAllocator leaves the contents of pages alone", () => {
  const arena = arenaOfPages(32);
  const pfn = arena.pages.allocate(1, "movable");
  const start = arena.pageRef(pfn) * 16;
  arena.words.fill(0x1234, start, start + 2048);
  arena.pages.allocate(0, "movable");
  arena.pages.free(pfn);
  assert(
    arena.words.subarray(start, start + 2048).every((word) => word === 0x1234),
  );
});

Deno.test("PageAllocator.extfragIndex() and unusableIndex() by hand", () => {
  const { pages } = arenaOfPages(16);
  assertEquals([pages.extfragIndex(4), pages.unusableIndex(4)], [-1, 0]);
  assertEquals(
    pages.unusableIndex(5),
    1,
    "all memory is of no use for a larger block",
  );
  // One block of 16 pages, 32 wanted: 1 - (1 + 16/32) / 1, too little memory.
  assertEquals(pages.extfragIndex(5), -0.5);
  for (let i = 0; i < 16; i++) pages.allocate(0, "movable");
  assertEquals([pages.extfragIndex(0), pages.unusableIndex(0)], [0, 1]);

  // Four single pages free, 2 wanted: 1 - (1 + 4/2) / 4.
  for (const pfn of [0, 4, 8, 12]) pages.free(pfn);
  assertEquals([pages.extfragIndex(0), pages.unusableIndex(0)], [-1, 0]);
  assertEquals([pages.extfragIndex(1), pages.unusableIndex(1)], [0.25, 1]);
  assertEquals([pages.extfragIndex(2), pages.unusableIndex(2)], [0.5, 1]);

  // Blocks 0-1, 4, 8, 12: five pages, of which two serve an order of 1.
  pages.free(1);
  assertEquals([pages.extfragIndex(1), pages.unusableIndex(1)], [-1, 0.6]);
  // 1 - (1 + 5/4) / 4.
  assertEquals([pages.extfragIndex(2), pages.unusableIndex(2)], [0.4375, 1]);

  // All eight even pages and page 1: 0-1, 2, 4, 6, 8, 10, 12, 14; 1 - (1 + 9/8) / 8.
  for (const pfn of [2, 6, 10, 14]) pages.free(pfn);
  assertEquals(pages.extfragIndex(3), 1 - 2.125 / 8);
  assertAlmostEquals(pages.unusableIndex(1), 7 / 9, 1e-12);
});

Deno.test("PageAllocator serves a mobility from its own pageblocks", () => {
  const { pages } = arenaOfPages(2048);
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({ 10: 2 }));
  assertEquals(pages.freeBlocksByOrder("unmovable"), byOrder({}));
  const unmovable = pages.allocate(0, "unmovable");
  // The block of 1024 pages that it came from is unmovable now, both of its pageblocks.
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({ 10: 1 }));
  assertEquals(
    pages.freeBlocksByOrder("unmovable"),
    byOrder({ 0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1 }),
  );
  const half = (pfn: number) => pfn >> 10;
  for (let i = 0; i < 100; i++) {
    assertEquals(half(pages.allocate(i % 3, "unmovable")), half(unmovable));
    assertNotEquals(half(pages.allocate(i % 3, "movable")), half(unmovable));
  }
  pages.validate();
});

Deno.test("PageAllocator takes whole pageblocks of the other mobility, and frees into them", () => {
  const { pages } = arenaOfPages(1024);
  const movable = pages.allocate(9, "movable");
  const other = movable ^ 512;
  const unmovable = pages.allocate(0, "unmovable");
  assertEquals(unmovable & 512, other, "the pageblock that is free");
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({}));
  pages.free(movable);
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({ 9: 1 }));
  pages.free(unmovable);
  // Joined over the border; the block hangs where it begins.
  const first = movable === 0 ? "movable" : "unmovable";
  assertEquals(pages.freeBlocksByOrder(first), byOrder({ 10: 1 }));
  pages.validate();
});

Deno.test("PageAllocator takes half a pageblock with all that is free in it", () => {
  const { pages } = arenaOfPages(512);
  const used = [8, 7, 6].map((order) => pages.allocate(order, "movable"));
  pages.free(used[0]);
  // Free: 256 pages, and the 64 that nobody took.
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({ 6: 1, 8: 1 }));
  pages.allocate(8, "unmovable");
  assertEquals(pages.freeBlocksByOrder("movable"), byOrder({}));
  assertEquals(pages.freeBlocksByOrder("unmovable"), byOrder({ 6: 1 }));
  pages.free(used[1]);
  assertEquals(pages.freeBlocksByOrder("unmovable"), byOrder({ 6: 1, 7: 1 }));
  pages.validate();
});

Deno.test("PageAllocator takes small blocks of the other mobility one by one, the smallest first", () => {
  const { pages } = arenaOfPages(512);
  pages.allocate(8, "movable");
  const small = pages.allocate(2, "movable");
  assertEquals(
    pages.freeBlocksByOrder("movable"),
    byOrder({ 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1 }),
  );
  const unmovable = pages.allocate(1, "unmovable");
  assertEquals(unmovable, small ^ 4, "half of the smallest that will do");
  assertEquals(pages.freeBlocksByOrder("unmovable"), byOrder({}));
  assertEquals(
    pages.freeBlocksByOrder("movable"),
    byOrder({ 1: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1 }),
  );
  pages.validate();
});

Deno.test("PageAllocator serves either mobility to the last page", () => {
  for (const mobility of ["movable", "unmovable"] as const) {
    const { pages } = arenaOfPages(1500);
    const all = new Set(
      Array.from({ length: 1500 }, () => pages.allocate(0, mobility)),
    );
    assertEquals([all.size, pages.freePages], [1500, 0]);
    for (const pfn of all) pages.free(pfn);
    pages.validate();
    assertEquals(
      pages.freeBlocksByOrder(),
      new PageMap(1500).freeBlocksByOrder(),
    );
  }
});

Deno.test("PageAllocator.tryAllocateOutside() takes all pages of free blocks outside of a window, of the smallest first, and none inside", () => {
  const random = rng(7);
  for (let round = 0; round < 60; round++) {
    const count = 8 + random.int(1200);
    const { pages } = arenaOfPages(count);
    const other = random.pick<Mobility>(["movable", "unmovable"]);
    for (let i = random.int(2 * count); i > 0; i--) {
      pages.tryAllocate(0, random.pick<Mobility>(["movable", other]));
    }
    for (const pfn of pages.usedPages()) if (random.int(3) > 0) pages.free(pfn);
    const from = random.int(count), to = from + random.int(300);
    const isInside = (pfn: number) => pfn >= from && pfn < to;
    for (;;) {
      const outside = pages.freeBlocks().filter(([pfn]) => !isInside(pfn));
      const pfn = pages.tryAllocateOutside(from, to, "movable");
      if (pfn < 0) {
        assertEquals(outside, []);
        break;
      }
      const block = outside.find(([first]) => first === pfn);
      assert(block !== undefined, `page ${pfn} begins no free block outside`);
      if (other === "movable") {
        assertEquals(block[1], Math.min(...outside.map(([, order]) => order)));
      }
    }
    pages.validate();
  }
});

Deno.test("PageAllocator is one for all threads", () => {
  const arena = arenaOfPages(64);
  const other = Arena.attach(arena.buffer);
  const pfn = arena.pages.allocate(3, "movable");
  assertEquals(other.pages.freePages, 56);
  other.pages.free(pfn);
  assertEquals(arena.pages.freeBlocksByOrder(), byOrder({ 6: 1 }));
});

Deno.test("PageAllocator's lock has a place in the lock order", () => {
  const arena = arenaOfPages(64);
  const outer = arena.lockdep.lockClass("outer");
  arena.lockdep.acquire(outer, 1, "outer");
  const pfn = arena.pages.allocate(0, "movable");
  arena.lockdep.release(1);
  arena.lockdep.acquire(arena.lockdep.lockClass("page allocator"), 2, "inner");
  assertThrows(() => arena.pages.free(pfn), LockdepError, "recursive");
  assertThrows(
    () => arena.lockdep.acquire(outer, 1, "outer"),
    LockdepError,
    "circular",
  );
  arena.lockdep.release(2);
  arena.pages.free(pfn);
  assertEquals(arena.lockdep.held, 0);
});

Deno.test("PageAllocator.validate() names the page and the rule", () => {
  // The words of a frame record: its state, then what links the free list.
  const cases: [pfn: number, word: number, value: number, message: RegExp][] = [
    [0, 0, 0, /page 0 on the list of order 0 is not so free$/],
    [1, 0, 0, /page 1 begins no block$/],
    [62, 1, -1, /1 blocks of order 0 are listed, not as counted$/],
    [0, 1, 1, /page 1 on the list of order 0 is not so free$/],
  ];
  for (const [page, word, value, message] of cases) {
    const arena = arenaOfPages(64);
    const all = Array.from(
      { length: 64 },
      () => arena.pages.allocate(0, "movable"),
    );
    for (const pfn of all) if (pfn % 2 === 0) arena.pages.free(pfn);
    arena.pages.validate();
    arena.words[arena.frameOf(page) + word] = value;
    const error = assertThrows(() => arena.pages.validate(), Error);
    assertMatch(error.message, /^Page allocator: /);
    assertMatch(error.message, message);
    assertEquals(arena.lockdep.held, 0);
  }
});

Deno.test("PageAllocator agrees with a map of pages after every way to use four pages", () => {
  const { pages } = arenaOfPages(4);
  // All sequences of 5 steps out of: allocate order 0, 1 or 2, free the oldest or the newest block.
  const steps = 5, choices = 5;
  for (let path = 0; path < choices ** steps; path++) {
    const mirror = new PageMap(4);
    for (
      let step = 0, rest = path;
      step < steps;
      step++, rest = Math.floor(rest / choices)
    ) {
      const choice = rest % choices;
      if (choice < 3) {
        const pfn = pages.tryAllocate(
          choice,
          step % 2 === 0 ? "movable" : "unmovable",
        );
        assertEquals(pfn >= 0, mirror.hasFree(choice));
        if (pfn < 0) continue;
        assert(mirror.isFree(pfn, choice));
        mirror.allocate(pfn, choice);
      } else if (mirror.blocks.size > 0) {
        const starts = [...mirror.blocks.keys()];
        const pfn = choice === 3 ? starts[0] : starts[starts.length - 1];
        pages.free(pfn);
        mirror.free(pfn);
      }
      pages.validate();
      assertEquals(pages.freeBlocksByOrder(), mirror.freeBlocksByOrder());
    }
    for (const pfn of [...mirror.blocks.keys()]) pages.free(pfn);
  }
});

const RANDOM_TEST = "PageAllocator agrees with a map of pages";
for (const seed of seeds(RANDOM_TEST)) {
  for (const count of [37, 700, 1600]) {
    Deno.test(`${RANDOM_TEST} (${count} pages, seed ${seed})`, () => {
      const random = rng(seed);
      const arena = arenaOfPages(count);
      const { pages } = arena;
      const mirror = new PageMap(count);
      for (let step = 0; step < 400; step++) {
        // Fills up, runs dry, fills up, runs dry.
        const filling = step % 200 < 110;
        if (random.int(10) < (filling ? 8 : 2)) {
          const order = random.int(random.int(MAX_ORDER + 1) + 1);
          const mobility: Mobility = random.pick(["movable", "unmovable"]);
          if (mirror.hasFree(order)) {
            const pfn = pages.allocate(order, mobility);
            assert(
              mirror.isFree(pfn, order),
              `page ${pfn}, order ${order} at step ${step}`,
            );
            mirror.allocate(pfn, order);
          } else {
            assertRefused(
              arena,
              () => pages.allocate(order, mobility),
              OutOfMemoryError,
              `order ${order}: ${mirror.freePages} pages are free`,
            );
          }
        } else if (mirror.blocks.size > 0) {
          const pfn = random.pick([...mirror.blocks.keys()]);
          pages.free(pfn);
          mirror.free(pfn);
        }
        assertAgrees(pages, mirror);
      }
      // To the last page, the largest blocks first.
      for (let order = MAX_ORDER; order >= 0; order--) {
        while (mirror.hasFree(order)) {
          mirror.allocate(pages.allocate(order, "movable"), order);
        }
        assertEquals(pages.tryAllocate(order, "unmovable"), -1);
      }
      assertAgrees(pages, mirror);
      assertEquals(mirror.freePages, 0);
      for (const pfn of [...mirror.blocks.keys()]) pages.free(pfn);
      assertAgrees(pages, new PageMap(count));
    });
  }
}
