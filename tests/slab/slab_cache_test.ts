import {
  assert,
  assertArrayIncludes,
  assertEquals,
  assertFalse,
  assertMatch,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { type SlabCache, Slabs } from "../../src/slab/mod.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { arenaOfPages } from "../memory/arenas.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { TestWorker } from "../sync/workers.ts";
import { SlabMap } from "./slab_map.ts";
import type { SlabWorkerCommand } from "./slab_worker.ts";

/** A cache of objects of that size, in an arena of so many pages. */
function cacheOf(
  objectBytes: number,
  pages = 64,
  options: { debug?: boolean } = {},
): { arena: Arena; cache: SlabCache } {
  const arena = arenaOfPages(pages, { maxThreads: 4, ...options });
  const cache = Slabs.of(arena).cache({
    name: "objects",
    objectBytes,
    link: 3,
  });
  return { arena, cache };
}

/** Allocates so many objects. */
function allocate(cache: SlabCache, count: number): number[] {
  return Array.from({ length: count }, () => cache.allocate());
}

/** Runs `attempt`, which must throw that and leave every word of the arena as it was. */
function assertRefused(
  arena: Arena,
  attempt: () => void,
  errorClass: new (message: string) => Error,
  message: string,
): void {
  const before = arena.words.slice();
  assertThrows(attempt, errorClass, message);
  assert(
    arena.words.every((word, i) => word === before[i]),
    "a refused call has changed a word",
  );
}

Deno.test("SlabCache packs a slab to its capacity, without overlap", () => {
  for (
    const [objectBytes, capacity] of [
      [64, 64],
      [256, 16],
      [576, 7],
      [2112, 1],
      [4096, 1],
    ]
  ) {
    const { arena, cache } = cacheOf(objectBytes);
    assertEquals(cache.capacity, capacity);
    const refs = allocate(cache, capacity).toSorted((a, b) => a - b);
    assertEquals(new Set(refs.map((ref) => arena.pfnOf(ref))).size, 1);
    const start = arena.pageRef(arena.pfnOf(refs[0]));
    assertEquals(refs, refs.map((_, i) => start + i * objectBytes / 64));
    cache.validate();
    const [next] = allocate(cache, 1);
    assertNotEquals(arena.pfnOf(next), arena.pfnOf(refs[0]));
    assertEquals(cache.stats().slabs, 2);
    assertEquals(arena.pages.freePages, 62);
  }
});

Deno.test("SlabCache.allocate() takes from the fullest slab that has room", () => {
  const { arena, cache } = cacheOf(256);
  const slabs = [0, 1, 2, 3].map(() => allocate(cache, 16));
  // 10, 12, 0 and 16 objects stay.
  for (const ref of slabs[0].slice(0, 6)) cache.free(ref);
  for (const ref of slabs[1].slice(0, 4)) cache.free(ref);
  for (const ref of slabs[2]) cache.free(ref);
  const pfns = slabs.map(([ref]) => arena.pfnOf(ref));
  const order = allocate(cache, 4 + 6 + 16).map((ref) =>
    pfns.indexOf(arena.pfnOf(ref))
  );
  assertEquals(order, [
    ...Array(4).fill(1),
    ...Array(6).fill(0),
    ...Array(16).fill(2),
  ]);
  assertEquals(
    pfns.indexOf(arena.pfnOf(cache.allocate())),
    -1,
    "a new slab, as all are full",
  );
  cache.validate();
});

Deno.test("SlabCache.allocateInto() takes from the fullest slabs, as many as there is room for", () => {
  const { arena, cache } = cacheOf(256, 2);
  const first = allocate(cache, 20);
  first.slice(1, 6).forEach((ref) => cache.free(ref));
  // The slab of 4 is the emptier one.
  const refs: number[] = [];
  cache.allocateInto(refs, 7);
  assertEquals(refs.slice(0, 5), first.slice(1, 6));
  assertEquals(refs.slice(5).map((ref) => arena.pfnOf(ref)), [
    arena.pfnOf(first[16]),
    arena.pfnOf(first[16]),
  ]);
  cache.validate();
  cache.allocateInto(refs, 100);
  assertEquals(new Set([first[0], ...first.slice(6), ...refs]).size, 32);
  assertEquals(cache.stats().objects, 32);
  cache.validate();
  cache.allocateInto(refs, 1);
  assertEquals(refs.length, 17);
  cache.allocateInto(refs, 0);
  cache.validate();
});

Deno.test("SlabCache slabs hand out zeroed objects when they are new, whatever the page held", () => {
  const { arena, cache } = cacheOf(256, 8);
  const pages = Array.from(
    { length: 8 },
    () => arena.pages.allocate(0, "movable"),
  );
  for (const pfn of pages) {
    const start = arena.pageRef(pfn) * 16;
    arena.words.fill(-1, start, start + 1024);
    arena.pages.free(pfn);
  }
  for (const ref of allocate(cache, 16)) {
    // But for the word that the cache has of it.
    const words = arena.words.subarray(ref * 16, ref * 16 + 64);
    assert(words.every((word, i) => i === 3 || word === 0));
  }
});

Deno.test("SlabCache.free() takes nothing but allocated objects of the cache", () => {
  const { arena, cache } = cacheOf(256);
  const other = Slabs.of(arena).cache({
    name: "others",
    objectBytes: 256,
    link: 3,
  });
  const [ref, freed, next] = allocate(cache, 3);
  cache.free(freed);
  const foreign = other.allocate();
  const page = arena.pageRef(arena.pages.allocate(0, "movable"));
  const cases: [ref: number, why: string][] = [
    [freed, "it is free already"],
    [next + 4, "it is free already"],
    [ref + 1, "it is no object of this cache"],
    [ref + 0.5, "it is no object of this cache"],
    [foreign, "it is no object of this cache"],
    [page, "it is no object of this cache"],
    [0, "it is in no page"],
    [arena.pageRef(0) - 1, "it is in no page"],
    [arena.pageRef(64), "it is in no page"],
    [-1, "it is in no page"],
  ];
  for (const [bad, why] of cases) {
    const message = `Cannot free object ${bad} of "objects": ${why}`;
    assertRefused(arena, () => cache.free(bad), Error, message);
  }
  cache.validate();
  assertEquals(cache.stats().objects, 2);
});

Deno.test("SlabCache exhaustion is an OutOfMemoryError that changed nothing", () => {
  const { arena, cache } = cacheOf(576, 3);
  const refs = allocate(cache, 21);
  assertRefused(
    arena,
    () => cache.allocate(),
    OutOfMemoryError,
    'Cannot allocate an object of "objects": no slab has room and 0 pages are free',
  );
  const before = arena.words.slice();
  assertEquals(cache.tryAllocate(), 0);
  assertEquals(arena.words.slice(), before);
  cache.validate();
  cache.free(refs[9]);
  assertEquals(cache.allocate(), refs[9]);
});

Deno.test("SlabCache exhaustion in debug mode gives the page back that lacks a second", () => {
  const { arena, cache } = cacheOf(4096, 3, { debug: true });
  cache.allocate();
  assertEquals(
    arena.pages.freePages,
    1,
    "a slab takes a page, and one for its history",
  );
  assertThrows(() => cache.allocate(), OutOfMemoryError, "1 pages are free");
  assertEquals(cache.tryAllocate(), 0);
  assertEquals([arena.pages.freePages, cache.stats().slabs], [1, 1]);
  arena.pages.validate();
  cache.validate();
});

Deno.test("SlabCache keeps four empty slabs and gives back the rest", () => {
  const { arena, cache } = cacheOf(256);
  const refs = allocate(cache, 16 * 10);
  for (const ref of refs) cache.free(ref);
  assertEquals([cache.stats().slabs, cache.stats().slabsByOccupancy[0]], [
    4,
    4,
  ]);
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 60);
  assertEquals(cache.shrink(), 4);
  assertEquals(cache.shrink(), 0);
  arena.rcu.barrier();
  assertEquals([cache.stats().slabs, arena.pages.freePages], [0, 64]);
  assertEquals(arena.pages.freeBlocksByOrder(), [
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
  ]);
  arena.pages.validate();
});

for (const debug of [false, true]) {
  const pages = debug ? 2 : 1;
  Deno.test(`SlabCache.addSlabsOutside() adds empty slabs as far as there are pages outside, ${pages} each`, () => {
    const { arena, cache } = cacheOf(256, 16, { debug });
    cache.addSlabsOutside(4, 16, 1);
    assertEquals(arena.pages.freePages, 16 - pages);
    cache.addSlabsOutside(4, 16, 9);
    assertEquals(cache.slabs().length, 4 / pages);
    for (const { pfn, inUse } of cache.slabs()) {
      assert(pfn < 4);
      assertEquals(inUse, 0);
    }
    assertEquals(arena.pages.freePages, 12);
    cache.validate();
    assert(arena.pfnOf(cache.allocate()) < 4);
    // What lacks a second page is given back.
    cache.addSlabsOutside(5, 16, 1);
    assertEquals(arena.pages.freePages, debug ? 12 : 11);
    cache.validate();
    arena.pages.validate();
  });
}

Deno.test("SlabCache.shrink() in debug mode counts every slab that it gives back", () => {
  const { arena, cache } = cacheOf(4096, 64, { debug: true });
  for (const ref of allocate(cache, 10)) cache.free(ref);
  assertEquals(cache.stats().slabs, 10, "all are in quarantine");
  assertEquals(cache.shrink(), 10);
  arena.rcu.barrier();
  assertEquals([cache.stats().slabs, arena.pages.freePages], [0, 64]);
});

Deno.test("SlabCache.defer() frees after the sections that are open, poll() in batches", () => {
  const { arena, cache } = cacheOf(256);
  const reader = Arena.attach(arena.buffer);
  const refs = allocate(cache, 100);
  reader.rcu.readLock();
  for (const ref of refs) {
    cache.defer(ref);
    arena.rcu.poll();
  }
  assertEquals([cache.stats().objects, arena.rcu.pending], [100, 100]);
  for (const ref of refs) assert(cache.isAllocated(ref));
  reader.rcu.readUnlock();
  // The batch that was under way can be freed, and the rest follows.
  cache.defer(cache.allocate());
  assert(arena.rcu.flush());
  assertEquals(cache.stats().objects, 0);
  cache.validate();
});

Deno.test("SlabCache memory stays an object of the cache until a grace period after it is free", () => {
  const { arena, cache } = cacheOf(256);
  const reader = Arena.attach(arena.buffer);
  const refs = allocate(cache, 16 * 6);
  for (const ref of refs) arena.words[ref * 16] = ref;
  reader.rcu.readLock();
  for (const ref of refs) cache.free(ref);
  assertEquals(cache.shrink(), 4);
  assertEquals(cache.stats().slabs, 0);
  assertFalse(arena.rcu.flush());
  assertEquals(
    arena.pages.freePages,
    58,
    "no page is given away under the reader",
  );
  for (const ref of refs) {
    assertEquals(reader.words[ref * 16], ref);
    assertFalse(cache.isAllocated(ref));
    assertThrows(() => cache.free(ref), Error, "it is free already");
  }
  const fresh = cache.allocate();
  assertFalse(
    refs.includes(fresh),
    "a slab that is given up is not used again",
  );
  assertFalse(cache.isolate(arena.pfnOf(refs[0])));
  assertFalse(cache.unisolate(arena.pfnOf(refs[0])));
  assertEquals(cache.objectsOf(arena.pfnOf(refs[0])), []);
  reader.rcu.readUnlock();
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 63);
  arena.pages.validate();
  cache.validate();
});

Deno.test("SlabCache.isolate() keeps new objects out, unisolate() lets them in again", () => {
  const { arena, cache } = cacheOf(256);
  const refs = allocate(cache, 24);
  const full = arena.pfnOf(refs[0]), half = arena.pfnOf(refs[23]);
  assert(cache.isolate(half));
  assertFalse(cache.isolate(half), "it is isolated already");
  assert(cache.isolate(full));
  assertEquals(cache.slabs(), []);
  assertEquals(
    [cache.stats().slabs, cache.stats().isolated, cache.stats().objects],
    [2, 2, 24],
  );
  cache.validate();
  const fresh = cache.allocate();
  assertFalse([full, half].includes(arena.pfnOf(fresh)));
  cache.free(refs[23]);
  assertEquals(cache.objectsOf(half), refs.slice(16, 23));
  assert(cache.unisolate(half));
  assertFalse(cache.unisolate(half));
  assertFalse(cache.unisolate(arena.pfnOf(fresh)), "it never was isolated");
  cache.validate();
  assertEquals(arena.pfnOf(cache.allocate()), half);
});

Deno.test("SlabCache.isolate() takes pages that are no slab of the cache for what they are", () => {
  const { arena, cache } = cacheOf(256);
  const other = Slabs.of(arena).cache({
    name: "others",
    objectBytes: 64,
    link: 3,
  });
  cache.allocate();
  const foreign = arena.pfnOf(other.allocate());
  const page = arena.pages.allocate(0, "movable");
  const before = arena.words.slice();
  for (const pfn of [foreign, page, page + 1, 63, 64]) {
    assertFalse(cache.isolate(pfn));
    assertFalse(cache.unisolate(pfn));
    assertEquals(cache.objectsOf(pfn), []);
  }
  assertEquals(arena.words.slice(), before);
});

Deno.test("SlabCache gives an isolated slab back once it is empty", () => {
  const { arena, cache } = cacheOf(256);
  const refs = allocate(cache, 3);
  const pfn = arena.pfnOf(refs[0]);
  cache.isolate(pfn);
  cache.free(refs[0]);
  cache.defer(refs[1]);
  cache.defer(refs[2]);
  assertEquals([cache.stats().slabs, cache.stats().isolated], [1, 1]);
  arena.rcu.barrier();
  assertEquals([
    cache.stats().slabs,
    cache.stats().isolated,
    cache.stats().objects,
  ], [0, 0, 0]);
  assertEquals(arena.pages.freePages, 64);
  cache.validate();
});

Deno.test("SlabCache.isolate() gives an empty slab back at once", () => {
  const { arena, cache } = cacheOf(256);
  const ref = cache.allocate();
  cache.free(ref);
  assertEquals(cache.stats().slabs, 1);
  assert(cache.isolate(arena.pfnOf(ref)));
  assertEquals([cache.stats().slabs, cache.stats().isolated], [0, 0]);
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 64);
  cache.validate();
});

Deno.test("SlabCache.slabs(), objectsOf() and isAllocated() say what is there", () => {
  const { arena, cache } = cacheOf(576);
  const refs = allocate(cache, 17);
  cache.free(refs[8]);
  const slabs = cache.slabs();
  assertEquals(
    slabs.map(({ inUse }) => inUse).toSorted((a, b) => a - b),
    [3, 6, 7],
  );
  for (const { pfn, inUse } of slabs) {
    const objects = cache.objectsOf(pfn);
    assertEquals(objects.length, inUse);
    assertArrayIncludes(refs, objects);
    assert(
      objects.every((ref) =>
        arena.pfnOf(ref) === pfn && cache.isAllocated(ref)
      ),
    );
  }
  for (
    const ref of [
      refs[8],
      refs[0] + 1,
      0,
      -1,
      arena.pageRef(63),
      arena.pageRef(64),
    ]
  ) {
    assertFalse(cache.isAllocated(ref));
  }
});

Deno.test("SlabCache pages come from blocks of the cache's mobility", () => {
  for (const mobility of ["movable", "unmovable"] as const) {
    const arena = arenaOfPages(1024);
    const cache = Slabs.of(arena).cache({
      name: "objects",
      objectBytes: 4096,
      link: 0,
      mobility,
    });
    cache.allocate();
    const other = mobility === "movable" ? "unmovable" : "movable";
    assertEquals(
      arena.pages.freeBlocksByOrder(other).findLastIndex((n) => n > 0),
      -1,
    );
    assertEquals(arena.pages.freeBlocksByOrder(mobility)[0], 1);
  }
});

Deno.test("SlabCache has one lock for all threads, in the lock order above the pages'", () => {
  const { arena, cache } = cacheOf(256);
  const other = Arena.attach(arena.buffer);
  cache.allocate();
  const lockdep = other.lockdep;
  lockdep.acquire(lockdep.lockClass("page allocator"), 1, "inner");
  assertThrows(
    () =>
      Slabs.of(other).cache({ name: "objects", objectBytes: 256, link: 3 })
        .allocate(),
    LockdepError,
    "circular",
  );
  lockdep.release(1);
  assertEquals(lockdep.held, 0);
  cache.validate();
});

Deno.test("SlabCache.validate() names the slab and the rule", () => {
  const { arena, cache } = cacheOf(256);
  const [ref] = allocate(cache, 20);
  const pfn = arena.pfnOf(ref);
  const frame = arena.frameOf(pfn);
  // The words of a slab's frame record: its owner, the bitmap, how many objects are in use.
  const cases: [word: number, value: number, message: RegExp][] = [
    [3, 9, new RegExp(`page ${pfn} has owner word 9, not 1$`)],
    [4, 0x7fff, new RegExp(`page ${pfn} has 15 bits set, 16 are counted$`)],
    [6, 15, new RegExp(`page ${pfn} has 16 bits set, 15 are counted$`)],
  ];
  for (const [word, value, message] of cases) {
    const was = arena.words[frame + word];
    arena.words[frame + word] = value;
    const error = assertThrows(() => cache.validate(), Error);
    assertMatch(error.message, /^Slab cache "objects": /);
    assertMatch(error.message, message);
    arena.words[frame + word] = was;
    cache.validate();
  }
  arena.words[frame + 4] = 0x7fff;
  arena.words[frame + 6] = 15;
  assertThrows(
    () => cache.validate(),
    Error,
    `page ${pfn} with 15 objects is on the list of 16`,
  );
});

/** A cache that two threads use, and its mirror; every action is done to both. */
class MirroredCache {
  readonly live = new Map<number, number>();
  readonly mirror: SlabMap;
  readonly threads: { arena: Arena; cache: SlabCache; deferred: number[] }[];
  readonly #random: Rng;
  #tags = 0;

  constructor(objectBytes: number, pages: number, random: Rng) {
    const { arena } = cacheOf(objectBytes, pages);
    const options = { name: "objects", objectBytes, link: 3 };
    this.threads = [arena, Arena.attach(arena.buffer)].map((arena) => ({
      arena,
      cache: Slabs.of(arena).cache(options),
      deferred: [],
    }));
    this.mirror = new SlabMap(this.threads[0].cache.capacity);
    this.#random = random;
  }

  /** Allocates an object; says whether there was room, which must be as the mirror says. */
  allocate(): boolean {
    const { arena, cache } = this.#random.pick(this.threads);
    const candidates = this.mirror.candidates();
    const room = candidates.length > 0 || arena.pages.freePages > 0;
    const ref = cache.tryAllocate();
    assertEquals(ref !== 0, room);
    if (!room) return false;
    const pfn = arena.pfnOf(ref);
    if (candidates.length > 0) assertArrayIncludes(candidates, [pfn]);
    else assertFalse(this.mirror.slabs.has(pfn));
    this.mirror.allocate(pfn, ref);
    this.live.set(ref, ++this.#tags);
    this.#wordsOf(ref).fill(this.#tags);
    return true;
  }

  /** Frees any live object, at once or later. */
  release(): void {
    if (this.live.size === 0) return;
    const [ref, tag] = this.#random.pick([...this.live]);
    assert(
      this.#wordsOf(ref).every((word) => word === tag),
      `object ${ref} was overwritten`,
    );
    this.live.delete(ref);
    const { cache, deferred } = this.#random.pick(this.threads);
    if (this.#random.int(2) === 0) {
      cache.free(ref);
      this.#freed([ref]);
    } else {
      cache.defer(ref);
      deferred.push(ref);
    }
  }

  flush(): void {
    const thread = this.#random.pick(this.threads);
    assert(thread.arena.rcu.flush());
    this.#freeDeferred([thread]);
  }

  barrier(): void {
    this.#random.pick(this.threads).arena.rcu.barrier();
    this.#freeDeferred(this.threads);
  }

  shrink(): void {
    assertEquals(
      this.#random.pick(this.threads).cache.shrink(),
      this.mirror.shrink(),
    );
  }

  isolate(): void {
    const pfn = this.#anyPage();
    const { arena, cache } = this.#random.pick(this.threads);
    assertEquals(cache.isolate(pfn), this.mirror.isolate(pfn, arena.thread));
  }

  unisolate(): void {
    const pfn = this.#anyPage();
    const { arena, cache } = this.#random.pick(this.threads);
    assertEquals(
      cache.unisolate(pfn),
      this.mirror.unisolate(pfn, arena.thread),
    );
  }

  assertAgrees(): void {
    for (const { arena, cache } of this.threads) {
      cache.validate();
      arena.pages.validate();
      const slabs = [...this.mirror.slabs.values()];
      assertEquals(cache.stats(), {
        name: "objects",
        objectBytes: cache.objectBytes,
        capacity: cache.capacity,
        slabs: slabs.length,
        isolated: slabs.filter(({ isolatedBy }) => isolatedBy > 0).length,
        objects: slabs.reduce((sum, { refs }) => sum + refs.size, 0),
        slabsByOccupancy: this.mirror.slabsByOccupancy(),
      });
      for (const [pfn, { refs }] of this.mirror.slabs) {
        assertEquals(cache.objectsOf(pfn), [...refs].toSorted((a, b) => a - b));
      }
    }
  }

  #freeDeferred(threads: { deferred: number[] }[]): void {
    this.#freed(threads.flatMap(({ deferred }) => deferred.splice(0)));
  }

  #freed(refs: number[]): void {
    const { arena, cache } = this.threads[0];
    this.mirror.free(
      refs.map((ref) => [arena.pfnOf(ref), ref]),
      cache.slabs().map(({ pfn }) => pfn),
    );
  }

  #anyPage(): number {
    const { count } = this.threads[0].arena.pages;
    return this.#random.pick([
      ...this.mirror.slabs.keys(),
      this.#random.int(count),
    ]);
  }

  #wordsOf(ref: number): Int32Array {
    const { arena, cache } = this.threads[0];
    return arena.words.subarray(ref * 16, ref * 16 + cache.objectBytes / 4);
  }
}

const RANDOM_TEST = "SlabCache agrees with a set of refs a page";
for (const seed of seeds(RANDOM_TEST)) {
  for (
    const [objectBytes, pages] of [[64, 9], [256, 9], [576, 9], [4096, 30]]
  ) {
    Deno.test(`${RANDOM_TEST} (${objectBytes} bytes, seed ${seed})`, () => {
      const random = rng(seed);
      const world = new MirroredCache(objectBytes, pages, random);
      const { arena, cache } = world.threads[0];
      // Objects by the handful, as a slab of 64 takes some filling.
      const handful = Math.ceil(cache.capacity / 4);
      for (let step = 0; step < 600; step++) {
        // Fills up for a hundred steps, and then for certain, runs dry for a hundred.
        if (step % 200 === 100) { while (world.allocate()); }
        const share = step % 200 < 100 ? 14 : 4;
        const action = random.int(24);
        if (action < share) {
          for (let i = 0; i < handful; i++) world.allocate();
        } else if (action < 18) {
          for (let i = 0; i < handful; i++) world.release();
        } else if (action < 20) world.flush();
        else if (action < 21) world.barrier();
        else if (action < 22) world.shrink();
        else if (action < 23) world.isolate();
        else world.unisolate();
        world.assertAgrees();
      }
      while (world.live.size > 0) world.release();
      world.barrier();
      for (const pfn of world.mirror.slabs.keys()) {
        for (const { cache } of world.threads) cache.unisolate(pfn);
      }
      cache.shrink();
      arena.rcu.barrier();
      assertEquals(cache.stats().slabs, 0);
      assertEquals(arena.pages.freePages, pages);
    });
  }
}

const WORKERS_TEST =
  "SlabCache keeps two workers' objects apart, and all is free in the end";
for (const seed of seeds(WORKERS_TEST).slice(0, 1)) {
  Deno.test(`${WORKERS_TEST} (seed ${seed})`, async () => {
    const arena = arenaOfPages(400, { maxThreads: 4 });
    const sizes = [64, 256, 576];
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const command = {
      buffer: arena.buffer,
      gate: gate.buffer,
      sizes,
      steps: 30_000,
    };
    const workers = [seed, seed + 1].map((seed) => {
      const worker = new TestWorker(
        new URL("./slab_worker.ts", import.meta.url),
      );
      worker.send({ ...command, seed } satisfies SlabWorkerCommand);
      return worker;
    });
    try {
      for (const worker of workers) {
        assertEquals(await worker.answer(), "waits");
      }
      Atomics.store(gate, 0, 1);
      Atomics.notify(gate, 0);
      for (const worker of workers) assertEquals(await worker.answer(), "left");
    } finally {
      for (const worker of workers) worker[Symbol.dispose]();
    }
    const caches = Slabs.of(arena).all();
    assertEquals(caches.length, sizes.length);
    arena.rcu.barrier();
    for (const cache of caches) {
      cache.validate();
      assertEquals(cache.stats().objects, 0);
      cache.shrink();
    }
    arena.rcu.barrier();
    arena.pages.validate();
    assertEquals(arena.pages.freePages, 400);
  });
}
