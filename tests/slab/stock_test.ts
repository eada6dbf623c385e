import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { type SlabCache, Slabs } from "../../src/slab/mod.ts";
import { Stock } from "../../src/slab/stock.ts";
import { arenaOfPages } from "../memory/arenas.ts";

/** As many as poll() waits for before it frees anything. */
const BATCH = 64;

/** The stocks of three threads in memory of their own. */
function stocks(): { words: Int32Array<SharedArrayBuffer>; stocks: Stock[] } {
  const words = new Int32Array(new SharedArrayBuffer(4 * 16 * 1024));
  const options = {
    first: 1,
    stride: 16,
    threads: 3,
    size: 8,
    link: 3,
    keeping: 0,
  };
  return {
    words,
    stocks: [1, 2, 3].map((thread) =>
      new Stock(words, { ...options, thread, hands: -thread })
    ),
  };
}

function takeEach(stock: Stock): number[] {
  const refs = [];
  for (let ref = stock.take(); ref !== 0; ref = stock.take()) refs.push(ref);
  return refs;
}

Deno.test("Stock.take() hands out what was kept last first, then 0", () => {
  const { stocks: [one] } = stocks();
  assertEquals(one.take(), 0);
  one.keep([10, 20]);
  one.keep([30]);
  assertEquals(takeEach(one), [30, 20, 10]);
  assertEquals(one.take(), 0);
});

Deno.test("Stock.takeAll() takes every thread's objects, once", () => {
  const { stocks: [one, two, three] } = stocks();
  one.keep([10, 20]);
  three.keep([30]);
  assertEquals(two.takeAll().toSorted((a, b) => a - b), [10, 20, 30]);
  assertEquals(two.takeAll(), []);
  assertEquals(one.take(), 0);
});

Deno.test("Stock.room counts what is kept, and anew after another thread took it", () => {
  const { stocks: [one, two] } = stocks();
  const empty = one.room;
  one.keep([10, 20, 30]);
  assertEquals(one.room, empty - 3);
  one.take();
  assertEquals(one.room, empty - 2);
  two.takeAll();
  one.keep([40]);
  assertEquals(one.room, empty - 1);
});

Deno.test("Stock keeps refs beyond 2^31", () => {
  // The link words of such refs lie outside of this memory; one object needs none but its own.
  const words = new Int32Array(new SharedArrayBuffer(1024));
  const stock = new Stock(words, {
    first: 0,
    stride: 16,
    threads: 1,
    size: 8,
    thread: 1,
    link: 3,
    keeping: 1,
    hands: -1,
  });
  stock.keep([0xffff_fff0]);
  assertEquals(stock.take(), 0xffff_fff0);
});

/** A cache of 64-byte objects in an arena of so many pages, with this many allocated. */
function filled(
  pages: number,
  count: number,
): { arena: Arena; cache: SlabCache; refs: number[] } {
  const arena = arenaOfPages(pages, { maxThreads: 4 });
  const cache = Slabs.of(arena).cache({
    name: "objects",
    objectBytes: 64,
    link: 3,
  });
  return {
    arena,
    cache,
    refs: Array.from({ length: count }, () => cache.allocate()),
  };
}

/** Defers a batch of objects and lets this thread get them back. */
function retire(arena: Arena, cache: SlabCache, refs: readonly number[]): void {
  refs.forEach((ref) => cache.defer(ref));
  arena.rcu.poll();
}

Deno.test("SlabCache.allocate() hands out again what this thread got back", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  const retired = refs.slice(0, BATCH);
  retire(arena, cache, retired);
  const again = retired.map(() => cache.allocate());
  assertEquals(new Set(again), new Set(retired));
  cache.validate();
  assertEquals(cache.stats().objects, 4 * BATCH);
});

Deno.test("SlabCache.stats() and shrink() return to the slabs what threads keep at hand", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  retire(arena, cache, refs.slice(0, BATCH));
  assertEquals(cache.stats().objects, 3 * BATCH);
  retire(arena, cache, refs.slice(BATCH, 2 * BATCH));
  const other = Arena.attach(arena.buffer);
  Slabs.of(other).all()[0].shrink();
  other.rcu.barrier();
  assertEquals(cache.stats().objects, 2 * BATCH);
  cache.validate();
});

Deno.test("SlabCache keeps nothing at hand of a slab that is isolated or less than half full", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  const slabOf = (i: number) => refs.slice(i * BATCH, (i + 1) * BATCH);
  assert(cache.isolate(arena.pfnOf(refs[0])));
  retire(arena, cache, slabOf(0));
  arena.rcu.barrier();
  assertEquals(cache.stats().slabs, 3);
  // From half on the objects go back to their slab.
  retire(arena, cache, slabOf(1));
  const again = Array.from({ length: BATCH }, () => cache.allocate());
  assertEquals(new Set(again), new Set(slabOf(1)));
  for (const ref of slabOf(2).slice(0, 40)) cache.free(ref);
  retire(arena, cache, [...slabOf(2).slice(40), ...slabOf(3).slice(0, 40)]);
  const next = cache.allocate();
  assertEquals(arena.pfnOf(next), arena.pfnOf(slabOf(3)[0]));
  cache.validate();
});

Deno.test("SlabCache.isolate() leaves nothing at hand of the slab, whoever keeps it", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  const other = Arena.attach(arena.buffer);
  const theirs = Slabs.of(other).all()[0];
  const mixed = refs.filter((_, i) => i % 4 === 0);
  retire(arena, cache, mixed);
  const pfns = [...new Set(refs.map((ref) => arena.pfnOf(ref)))];
  const before = cache.usage().objects;
  assertEquals(theirs.isolateAll([...pfns, pfns[0], -1]), pfns);
  assertEquals(cache.usage().objects, before - mixed.length);
  for (const _ of mixed) {
    assert(!pfns.includes(arena.pfnOf(cache.allocate())));
  }
  cache.validate();
});

Deno.test("SlabCache.isolateAll() of no slab leaves what is at hand there", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  retire(arena, cache, refs.slice(0, BATCH));
  assertEquals(cache.isolateAll([-1, arena.pages.count]), []);
  assertEquals(cache.allocate(), refs[BATCH - 2]);
});

Deno.test("A thread uses again first what it deferred last, but what its list began with at the very end", () => {
  const { arena, cache, refs } = filled(16, 4 * BATCH);
  const retired = refs.slice(0, BATCH);
  retire(arena, cache, retired);
  const [head, ...before] = retired.toReversed();
  assertEquals(retired.map(() => cache.allocate()), [...before, head]);
});

Deno.test("A thread that leaves keeps nothing at hand", () => {
  const { arena, cache } = filled(64, 0);
  for (let visit = 0; visit < 3; visit++) {
    const visitor = Arena.attach(arena.buffer);
    const theirs = Slabs.of(visitor).all()[0];
    const refs = Array.from({ length: 5 * BATCH }, () => theirs.allocate());
    retire(visitor, theirs, refs.filter((_, i) => i % 5 === 0));
    const inUse = cache.usage().objects;
    visitor.leave();
    assertEquals(cache.usage().objects, inUse - BATCH);
  }
  cache.validate();
});

Deno.test("Stock.takeOwn() takes this thread's objects only", () => {
  const { stocks: [one, two] } = stocks();
  one.keep([10, 20]);
  two.keep([30]);
  assertEquals(one.takeOwn(), [20, 10]);
  assertEquals([one.take(), two.take()], [0, 30]);
});

Deno.test("SlabCache.allocate() finds what another thread keeps at hand before it gives up", () => {
  const { arena, cache, refs } = filled(1, BATCH);
  const other = Arena.attach(arena.buffer);
  const theirs = Slabs.of(other).all()[0];
  retire(arena, cache, refs);
  const again = refs.map(() => theirs.allocate());
  assertEquals(new Set(again), new Set(refs));
  assertThrows(() => theirs.allocate(), OutOfMemoryError);
  assertThrows(() => cache.allocate(), OutOfMemoryError);
  cache.validate();
});

Deno.test("SlabCache of a debug arena keeps nothing at hand", () => {
  const arena = arenaOfPages(16, { debug: true });
  const cache = Slabs.of(arena).cache({
    name: "objects",
    objectBytes: 64,
    link: 3,
  });
  const refs = Array.from({ length: BATCH }, () => cache.allocate());
  retire(arena, cache, refs);
  assert(!refs.includes(cache.allocate()));
});
