import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { arenaOfPages } from "../memory/arenas.ts";

const POINTS = { name: "points", objectBytes: 64, link: 15 };

Deno.test("Slabs.of() is one for an arena object", () => {
  const arena = arenaOfPages(8);
  assertStrictEquals(Slabs.of(arena), Slabs.of(arena));
  assertNotStrictEquals(Slabs.of(Arena.attach(arena.buffer)), Slabs.of(arena));
});

Deno.test("Slabs.cache() creates a cache once and opens it from then on", () => {
  const arena = arenaOfPages(8);
  const slabs = Slabs.of(arena);
  const cache = slabs.cache(POINTS);
  assertStrictEquals(slabs.cache(POINTS), cache);
  const ref = cache.allocate();

  const other = Slabs.of(Arena.attach(arena.buffer)).cache(POINTS);
  assertEquals([other.name, other.objectBytes, other.capacity], [
    "points",
    64,
    64,
  ]);
  assert(other.isAllocated(ref));
  other.free(ref);
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Slabs.cache() refuses to open a cache as what it is not", () => {
  const arena = arenaOfPages(8);
  Slabs.of(arena).cache(POINTS);
  for (const slabs of [Slabs.of(arena), Slabs.of(Arena.attach(arena.buffer))]) {
    for (
      const [options, message] of [
        [{ objectBytes: 128 }, "objectBytes is 64, not 128"],
        [{ link: 3 }, "link is 15, not 3"],
        [{ mobility: "movable" }, "mobility is unmovable, not movable"],
      ] as const
    ) {
      assertThrows(
        () => slabs.cache({ ...POINTS, ...options }),
        RangeError,
        `Cannot open slab cache "points": its ${message}`,
      );
    }
    slabs.cache({ ...POINTS, mobility: "unmovable" });
  }
});

Deno.test("Slabs.cache() takes names that come back as they were, and refuses others", () => {
  const arena = arenaOfPages(8);
  const slabs = Slabs.of(arena);
  const cache = slabs.cache({ ...POINTS, name: "\uFEFFx" });
  assertStrictEquals(slabs.cache({ ...POINTS, name: "\uFEFFx" }), cache);
  assertEquals(cache.name, "\uFEFFx");
  for (const name of ["\ud800", "a\0"]) {
    assertThrows(() => slabs.cache({ ...POINTS, name }), RangeError, "name ");
  }
});

Deno.test("Slabs.cache() refuses what makes no cache, and changes nothing", () => {
  const arena = arenaOfPages(8);
  const slabs = Slabs.of(arena);
  slabs.cache({ ...POINTS, name: "first" });
  const before = arena.words.slice();
  for (const objectBytes of [0, -64, 32, 65, 4160, 64.5, NaN]) {
    assertThrows(
      () => slabs.cache({ ...POINTS, objectBytes }),
      RangeError,
      `Cannot create slab cache "points": object size ${objectBytes} is not a multiple of 64`,
    );
  }
  for (const link of [-1, 16, 0.5, NaN]) {
    assertThrows(
      () => slabs.cache({ ...POINTS, link }),
      RangeError,
      `link word ${link} is outside the object`,
    );
  }
  for (const name of ["", "x".repeat(25), "ö".repeat(13)]) {
    assertThrows(
      () => slabs.cache({ ...POINTS, name }),
      RangeError,
      "bytes, not 1 to 24",
    );
  }
  assertEquals(arena.words.slice(), before);
  assertEquals(
    slabs.cache({ ...POINTS, name: "ö".repeat(12) }).name,
    "ö".repeat(12),
  );
});

Deno.test("Slabs.cache() says when the table is full; what is there stays open", () => {
  const arena = arenaOfPages(8);
  const slabs = Slabs.of(arena);
  const names = Array.from({ length: 15 }, (_, i) => `cache ${i}`);
  for (const name of names) slabs.cache({ ...POINTS, name });
  assertThrows(
    () => slabs.cache(POINTS),
    RangeError,
    "all 15 caches are taken",
  );
  const other = Slabs.of(Arena.attach(arena.buffer));
  assertEquals(other.all().map(({ name }) => name), names);
  const last = other.cache({ ...POINTS, name: "cache 14" });
  last.free(last.allocate());
  arena.pages.validate();
  assertEquals(arena.roots.names(), []);
});

Deno.test("Slabs.all() lists the caches in the order of their creation, each one object", () => {
  const arena = arenaOfPages(8);
  const slabs = Slabs.of(arena);
  assertEquals(slabs.all(), []);
  const caches = ["b", "a", "c"].map((name) =>
    slabs.cache({ ...POINTS, name })
  );
  slabs.all().forEach((cache, i) => assertStrictEquals(cache, caches[i]));
});

Deno.test("Slabs frees a deferred chain of objects and pages of many caches", () => {
  const arena = arenaOfPages(200);
  const slabs = Slabs.of(arena);
  const caches = [64, 256, 576, 4096].map((objectBytes, i) =>
    slabs.cache({ name: `objects of ${objectBytes}`, objectBytes, link: 4 * i })
  );
  // One after the other, so that no two neighbours in the chain are of one cache.
  const refs = Array.from({ length: 400 }, (_, i) => caches[i % 4].allocate());
  refs.forEach((ref, i) => caches[i % 4].defer(ref));
  // Pages among the objects: slabs of 4096 that are empty are given up on the way.
  const other = Arena.attach(arena.buffer);
  Slabs.of(other);
  other.rcu.barrier();
  for (const cache of caches) {
    cache.validate();
    assertEquals(cache.stats().objects, 0);
    cache.shrink();
    assertEquals(cache.stats().slabs, 0);
  }
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 200);
  arena.pages.validate();
});

Deno.test("Slabs frees what another thread deferred in a cache that this thread never opened", () => {
  const arena = arenaOfPages(8);
  const other = Arena.attach(arena.buffer);
  Slabs.of(other);
  const cache = Slabs.of(arena).cache(POINTS);
  cache.defer(cache.allocate());
  other.rcu.barrier();
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Slabs frees the rest of a chain when one ref of it is a mistake, and says so once", () => {
  const arena = arenaOfPages(8);
  const cache = Slabs.of(arena).cache(POINTS);
  const [first, twice, last] = [0, 0, 0].map(() => cache.allocate());
  for (const ref of [first, twice, last]) cache.defer(ref);
  cache.free(twice);
  assertThrows(() => arena.rcu.barrier(), Error, `Cannot free object ${twice}`);
  assertEquals(cache.stats().objects, 0);
  // What was freed before the mistake is somebody's again and must stay so.
  const refs = [0, 0, 0].map(() => cache.allocate());
  arena.rcu.barrier();
  for (const ref of refs) assert(cache.isAllocated(ref));
  cache.validate();
});
