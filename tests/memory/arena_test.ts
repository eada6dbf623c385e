import { Buffer } from "node:buffer";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertThrows,
} from "@std/assert";
import { Arena, PAGE_BYTES } from "../../src/memory/mod.ts";
import { checksum } from "../../src/memory/checksum.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { rng, seeds } from "../seed.ts";
import { arenaOfPages } from "./arenas.ts";

const POINTS = { name: "points", objectBytes: 64, link: 15 };
/** Words of a buffer's and of a file's header. */
const HEADER_WORDS = 16;

/** A shared buffer with the first bytes of another. */
function copyOf(
  buffer: SharedArrayBuffer,
  byteLength = buffer.byteLength,
): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(byteLength);
  const bytes = Math.min(byteLength, buffer.byteLength);
  new Uint8Array(copy).set(new Uint8Array(buffer, 0, bytes));
  return copy;
}

/** Asserts that it is refused for what it is, by an error that says what was expected and found. */
function assertSaysBoth(refused: () => unknown): void {
  const error = assertThrows(refused, TypeError);
  assertMatch(
    error.message,
    /^Cannot (attach to the buffer|load an arena): .*expected .*, found /,
  );
}

/** An arena with something in every section: roots, objects, single pages and a block. */
function furnished(): Arena {
  const arena = arenaOfPages(48, { maxThreads: 4 });
  const cache = Slabs.of(arena).cache(POINTS);
  for (let i = 0; i < 100; i++) arena.words[cache.allocate() * 16] = 1000 + i;
  for (const pfn of cache.slabs().slice(0, 1).map((slab) => slab.pfn)) {
    for (const ref of cache.objectsOf(pfn).slice(0, 9)) cache.free(ref);
  }
  const block = arena.pages.allocate(2, "unmovable");
  const start = arena.pageRef(block) * 16;
  for (let i = 0; i < 4096; i++) arena.words[start + i] = i;
  arena.roots.add("block", arena.pageRef(block));
  return arena;
}

Deno.test("Arena.create() joins the thread to an arena of free pages", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  assertInstanceOf(arena.buffer, SharedArrayBuffer);
  assertEquals(arena.buffer.byteLength, 2 ** 20);
  assertEquals([arena.thread, arena.debug, arena.lockdep.enabled], [
    1,
    false,
    true,
  ]);
  assertEquals(arena.pages.freePages, arena.pages.count);
  assertEquals(arena.roots.names(), []);
  arena.pages.validate();
});

Deno.test("Arena.create() writes its options down for those who attach", () => {
  for (const debug of [true, false]) {
    for (const lockdep of [true, false]) {
      const arena = Arena.create({ byteLength: 2 ** 20, debug, lockdep });
      const other = Arena.attach(arena.buffer);
      assertEquals([other.debug, other.lockdep.enabled], [debug, lockdep]);
    }
  }
});

Deno.test("Arena.create() refuses sizes that make no arena", () => {
  for (
    const byteLength of [1, 4095, 4097, 2 ** 20 + 64, 0.5, NaN, 2 ** 33 + 64]
  ) {
    const { message } = assertThrows(
      () => Arena.create({ byteLength }),
      RangeError,
    );
    assertMatch(
      message,
      RegExp(`byteLength ${byteLength} is not a multiple of 4096$`),
    );
  }
  for (const byteLength of [2 ** 33 + 4096, 2 ** 34]) {
    assertThrows(
      () => Arena.create({ byteLength }),
      RangeError,
      `byteLength ${byteLength} is over ${2 ** 33}, which is 8 GiB`,
    );
  }
  for (const maxThreads of [0, -1, 1025, 1.5, NaN]) {
    assertThrows(
      () => Arena.create({ byteLength: 2 ** 20, maxThreads }),
      RangeError,
      `maxThreads ${maxThreads} is outside [1, 1024]`,
    );
  }
});

Deno.test("Arena says of what type an argument is that looks like what it takes", () => {
  const text = "1048576" as unknown as number;
  assertThrows(
    () => Arena.create({ byteLength: text }),
    RangeError,
    "byteLength 1048576 (a string) is not a multiple",
  );
  assertThrows(
    () => Arena.create({ byteLength: 2 ** 20, maxThreads: text }),
    RangeError,
    "maxThreads 1048576 (a string) is outside",
  );
  const found: [unknown, string][] = [
    [undefined, "undefined"],
    [new ArrayBuffer(64), "[object ArrayBuffer] (an object)"],
    [[1, 2], "[object Array] (an object)"],
    [Object.create(null), "[object Object] (an object)"],
  ];
  for (const [bytes, text] of found) {
    assertThrows(
      () => Arena.load(bytes as Uint8Array),
      TypeError,
      `Cannot load an arena: expected a Uint8Array, found ${text}`,
    );
  }
});

Deno.test("Arena.create() refuses a negative size for what it is", () => {
  assertThrows(
    () => Arena.create({ byteLength: -4096 }),
    RangeError,
    "byteLength -4096 is not a multiple of 4096",
  );
});

Deno.test("Arena.create() of the smallest size has one page, and says which size that is", () => {
  for (const maxThreads of [1, 32, 1024]) {
    const error = assertThrows(
      () => Arena.create({ byteLength: 0, maxThreads }),
      RangeError,
      "byteLength 0 leaves no page",
    );
    const [, least] = error.message.match(/at least (\d+) are needed$/)!;
    const arena = Arena.create({ byteLength: Number(least), maxThreads });
    assertEquals(arena.pages.count, 1);
    assertThrows(
      () =>
        Arena.create({ byteLength: Number(least) - PAGE_BYTES, maxThreads }),
      RangeError,
      `at least ${least} are needed`,
    );
  }
});

Deno.test("Arena's sections do not overlap", () => {
  const arena = arenaOfPages(600, { maxThreads: 3 });
  Slabs.of(arena).cache(POINTS);
  arena.roots.add("x".repeat(56), 1);
  const all = Array.from(
    { length: 600 },
    () => arena.pages.allocate(0, "movable"),
  );
  for (const pfn of all) {
    const start = arena.pageRef(pfn) * 16;
    arena.words.fill(-1, start, start + PAGE_BYTES / 4);
    const frame = arena.frameOf(pfn);
    arena.words.fill(-1, frame + 1, frame + 8);
  }
  arena.pages.validate();
  Slabs.of(arena).cache(POINTS).validate();
  assertEquals(Slabs.of(arena).all().map(({ name }) => name), ["points"]);
  assertEquals(arena.roots.names(), ["x".repeat(56)]);
  for (const pfn of all) arena.pages.free(pfn);
  arena.pages.validate();
  const other = Arena.attach(arena.buffer);
  assertEquals(other.thread, 2);
  arena.rcu.synchronize(1);
});

Deno.test("Arena.pageRef() and pfnOf() are inverse, and pages do not overlap", () => {
  const arena = arenaOfPages(50);
  for (let pfn = 0; pfn < 50; pfn++) {
    const ref = arena.pageRef(pfn);
    assertEquals((ref * 64) % PAGE_BYTES, 0);
    for (const inside of [0, 1, 63]) {
      assertEquals(arena.pfnOf(ref + inside), pfn);
    }
  }
  const end = arena.pageRef(50) * 64;
  assertEquals(Math.ceil(end / 65536) * 65536, arena.buffer.byteLength);
  assert(arena.pfnOf(arena.pageRef(0) - 1) < 0);
  assertEquals(arena.pfnOf(arena.pageRef(50)), 50);
});

Deno.test("Arena.attach() gives each thread an id until all are taken; leave() gives it back", () => {
  const arena = Arena.create({ byteLength: 2 ** 20, maxThreads: 3 });
  const [second, third] = [
    Arena.attach(arena.buffer),
    Arena.attach(arena.buffer),
  ];
  assertEquals([second.thread, third.thread], [2, 3]);
  assertThrows(
    () => Arena.attach(arena.buffer),
    Error,
    "Cannot join the arena: all 3 thread slots are taken",
  );
  second.leave();
  assertEquals(Arena.attach(arena.buffer).thread, 2);
});

Deno.test("Arena.leave() again does not turn out who has the slot now", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const second = Arena.attach(arena.buffer);
  second.leave();
  const third = Arena.attach(arena.buffer);
  assertEquals(third.thread, second.thread);
  assertThrows(
    () => second.leave(),
    Error,
    "Cannot leave the arena: thread 2 has left already",
  );
  assertThrows(() => arena.save(), Error, "others are joined, too (2)");
  third.leave();
});

Deno.test("Arena.leave() frees what the thread has deferred", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache(POINTS);
  const other = Arena.attach(arena.buffer);
  const ref = cache.allocate();
  Slabs.of(other).cache(POINTS).defer(ref);
  other.leave();
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Arena.leave() of a thread that deferred nothing leaves others' refs to them", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache(POINTS);
  // It never opens a slab cache, so it can't free objects either.
  const visitor = Arena.attach(arena.buffer);
  cache.defer(cache.allocate());
  visitor.leave();
  arena.rcu.barrier();
  assertEquals(cache.stats().objects, 0);
  assertEquals(Arena.attach(arena.buffer).thread, visitor.thread);
});

Deno.test("Arena.leave() of a thread that deferred nothing does not wait for readers", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache(POINTS);
  const visitor = Arena.attach(arena.buffer);
  Slabs.of(visitor);
  arena.rcu.readLock();
  cache.defer(cache.allocate());
  visitor.leave();
  arena.rcu.readUnlock();
  arena.rcu.barrier();
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Arena.rcu can't free what it has no slab caches for, and keeps it", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache(POINTS);
  const visitor = Arena.attach(arena.buffer);
  cache.defer(cache.allocate());
  assertThrows(
    () => visitor.rcu.barrier(),
    Error,
    "this thread has opened no slab caches",
  );
  Slabs.of(visitor);
  visitor.rcu.barrier();
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Arena.attach() refuses what is no shared buffer", () => {
  const { buffer } = Arena.create({ byteLength: 2 ** 20 });
  const plain = new ArrayBuffer(2 ** 20);
  new Uint8Array(plain).set(new Uint8Array(buffer));
  for (const foreign of [plain, new Int32Array(buffer), null, undefined, {}]) {
    const error = assertThrows(
      () => Arena.attach(foreign as SharedArrayBuffer),
      TypeError,
      "it is no SharedArrayBuffer",
    );
    assertMatch(error.message, /^Cannot attach to the buffer: /);
  }
});

Deno.test("Arena.attach() refuses a foreign buffer and says what it expected", () => {
  assertThrows(
    () => Arena.attach(new SharedArrayBuffer(4096)),
    TypeError,
    "Cannot attach to the buffer: expected magic 0x414c4f50, found 0x0",
  );
  const text = new SharedArrayBuffer(4096);
  new TextEncoder().encode("a file of another kind").forEach((byte, i) =>
    new Uint8Array(text)[i] = byte
  );
  assertSaysBoth(() => Arena.attach(text));
});

Deno.test("Arena.attach() refuses a truncated or an extended buffer", () => {
  const { buffer } = Arena.create({ byteLength: 2 ** 20 });
  for (
    const byteLength of [
      2 ** 19,
      2 ** 20 - 4096,
      2 ** 20 - 1,
      2 ** 20 + 4096,
      64,
      4096,
    ]
  ) {
    assertThrows(
      () => Arena.attach(copyOf(buffer, byteLength)),
      TypeError,
      `expected ${2 ** 20} bytes, found ${byteLength}`,
    );
  }
});

Deno.test("Arena.attach() says what it expected of a buffer smaller than a header", () => {
  const { buffer } = Arena.create({ byteLength: 2 ** 20 });
  for (const byteLength of [0, 1, 4, 63]) {
    assertSaysBoth(() => Arena.attach(copyOf(buffer, byteLength)));
  }
});

Deno.test("Arena.attach() refuses another version", () => {
  const buffer = copyOf(Arena.create({ byteLength: 2 ** 20 }).buffer);
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  header[1]++;
  header[5] = checksum(header.slice(0, 5));
  assertThrows(
    () => Arena.attach(buffer),
    TypeError,
    "expected version 9, found 10",
  );
});

Deno.test("Arena.attach() refuses a buffer with any bit of its geometry flipped", () => {
  const buffer = copyOf(Arena.create({ byteLength: 2 ** 20 }).buffer);
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  const joined = new Uint8Array(buffer).slice();
  for (let word = 0; word < 6; word++) {
    for (let bit = 0; bit < 32; bit++) {
      header[word] ^= 1 << bit;
      assertSaysBoth(() => Arena.attach(buffer));
      header[word] ^= 1 << bit;
    }
  }
  assertEquals(
    new Uint8Array(buffer).slice(),
    joined,
    "whoever was refused left no trace",
  );
  Arena.attach(buffer);
});

Deno.test("Arena.load() brings back what save() wrote", () => {
  const arena = furnished();
  const loaded = Arena.load(arena.save());
  assertNotStrictEquals(loaded.buffer, arena.buffer);
  assertEquals(loaded.buffer.byteLength, arena.buffer.byteLength);
  assertEquals(loaded.thread, 1);
  assertEquals(loaded.roots.names(), ["block"]);
  loaded.pages.validate();
  assertEquals(
    loaded.pages.freeBlocksByOrder(),
    arena.pages.freeBlocksByOrder(),
  );

  const start = loaded.roots.get("block") * 16;
  for (let i = 0; i < 4096; i++) assertEquals(loaded.words[start + i], i);

  const [cache] = Slabs.of(loaded).all();
  cache.validate();
  const [original] = Slabs.of(arena).all();
  assertEquals(cache.stats(), original.stats());
  for (const { pfn } of original.slabs()) {
    assertEquals(cache.objectsOf(pfn), original.objectsOf(pfn));
    for (const ref of cache.objectsOf(pfn)) {
      assertEquals(loaded.words[ref * 16], arena.words[ref * 16]);
    }
  }
});

Deno.test("Arena.load() makes an arena that works on, apart from the first", () => {
  const arena = furnished();
  const loaded = Arena.load(arena.save());
  const before = arena.words.slice();
  const [cache] = Slabs.of(loaded).all();
  const all = cache.slabs().flatMap(({ pfn }) => cache.objectsOf(pfn));
  const ref = cache.allocate();
  assert(!all.includes(ref));
  for (const each of [...all, ref]) cache.defer(each);
  loaded.rcu.barrier();
  cache.shrink();
  loaded.rcu.barrier();
  assertEquals(cache.stats().slabs, 0);
  loaded.pages.free(loaded.pfnOf(loaded.roots.get("block")));
  loaded.pages.validate();
  assertEquals(loaded.pages.freePages, loaded.pages.count);
  assertEquals(Arena.attach(loaded.buffer).thread, 2);
  assert(arena.words.every((word, i) => word === before[i]));
});

Deno.test("Arena.save() of what load() made is the same bytes", () => {
  const bytes = furnished().save();
  assertEquals(Arena.load(bytes).save(), bytes);
});

Deno.test("Arena.save() writes used pages alone", () => {
  const arena = arenaOfPages(500);
  const empty = arena.save().length;
  const pfn = arena.pages.allocate(5, "movable");
  assertEquals(arena.save().length, empty + 32 * PAGE_BYTES);
  arena.pages.free(pfn);
  assertEquals(arena.save().length, empty);
});

Deno.test("Arena.save() leaves the arena as it was, but for what was deferred", () => {
  const arena = furnished();
  arena.save();
  const before = arena.words.slice();
  arena.save();
  assert(arena.words.every((word, i) => word === before[i]));
  const [cache] = Slabs.of(arena).all();
  const { objects } = cache.stats();
  cache.defer(cache.allocate());
  const loaded = Arena.load(arena.save());
  assertEquals(Slabs.of(loaded).all()[0].stats().objects, objects);
});

Deno.test("Arena.save() is refused while another thread is joined", () => {
  const arena = furnished();
  const [second, third] = [
    Arena.attach(arena.buffer),
    Arena.attach(arena.buffer),
  ];
  assertThrows(
    () => arena.save(),
    Error,
    "Cannot save the arena: others are joined, too (2, 3)",
  );
  second.leave();
  assertThrows(() => second.save(), Error, "this thread has left it");
  third.leave();
  arena.save();
});

Deno.test("Arena.save() is refused inside a read section and under a lock", () => {
  const arena = furnished();
  arena.rcu.readLock();
  assertThrows(() => arena.save(), LockdepError, "inside a read section");
  arena.rcu.readUnlock();
  arena.lockdep.acquire(arena.lockdep.lockClass("tree"), 1, "RangeTree.store");
  assertThrows(() => arena.save(), LockdepError, "while holding a lock");
});

Deno.test("Arena.load() takes bytes wherever they lie in memory", () => {
  const bytes = furnished().save();
  for (const offset of [1, 2, 4]) {
    for (
      const arrayOf of [(b: ArrayBuffer) => new Uint8Array(b), Buffer.from]
    ) {
      const shifted: Uint8Array = arrayOf(new ArrayBuffer(bytes.length + 8));
      shifted.set(bytes, offset);
      Arena.load(shifted.subarray(offset, offset + bytes.length)).pages
        .validate();
    }
  }
});

Deno.test("Arena.load() refuses a truncated or an extended file", () => {
  const bytes = furnished().save();
  const { length } = bytes;
  for (
    const size of [
      64,
      68,
      4096,
      length - PAGE_BYTES,
      length - 64,
      length - 4,
      length + 4,
    ]
  ) {
    const file = new Uint8Array(size);
    file.set(bytes.subarray(0, size));
    assertThrows(
      () => Arena.load(file),
      TypeError,
      `Cannot load an arena: expected ${length} bytes, found ${size}`,
    );
  }
});

Deno.test("Arena.load() says what it expected of a file that breaks off within a word or the header", () => {
  const bytes = furnished().save();
  const { length } = bytes;
  for (const size of [0, 1, 4, 60, 63, length - 1, length - 2]) {
    assertSaysBoth(() => Arena.load(bytes.subarray(0, size)));
  }
});

Deno.test("Arena.load() refuses a foreign file", () => {
  assertThrows(
    () => Arena.load(new Uint8Array(4096)),
    TypeError,
    "expected magic 0x534c4f50, found 0x0",
  );
  const text = new TextEncoder().encode("no arena at all ".repeat(100));
  assertSaysBoth(() => Arena.load(text));
  // An arena's buffer is not a saved arena.
  assertSaysBoth(() => Arena.load(new Uint8Array(furnished().buffer).slice()));
});

Deno.test("Arena.load() refuses another version", () => {
  const bytes = furnished().save();
  new Int32Array(bytes.buffer)[1]++;
  assertThrows(
    () => Arena.load(bytes),
    TypeError,
    "expected version 9, found 10",
  );
});

Deno.test("Arena.load() refuses a file with any bit of its header flipped", () => {
  const bytes = furnished().save();
  const words = new Int32Array(bytes.buffer, 0, HEADER_WORDS);
  for (let word = 0; word < HEADER_WORDS; word++) {
    for (const bit of [0, 1, 15, 30, 31]) {
      words[word] ^= 1 << bit;
      assertSaysBoth(() => Arena.load(bytes));
      words[word] ^= 1 << bit;
    }
  }
  Arena.load(bytes);
});

const DAMAGE_TEST = "Arena.load() refuses a file with any bit flipped";
for (const seed of seeds(DAMAGE_TEST)) {
  Deno.test(`${DAMAGE_TEST} (seed ${seed})`, () => {
    const random = rng(seed);
    const bytes = furnished().save();
    const { length } = bytes;
    for (let turn = 0; turn < 60; turn++) {
      const at = 64 + random.int(length - 64);
      const flip = 1 << random.int(8);
      bytes[at] ^= flip;
      const error = assertThrows(() => Arena.load(bytes), TypeError);
      assertMatch(
        error.message,
        /^Cannot load an arena: expected checksum 0x[0-9a-f]+, found 0x[0-9a-f]+$/,
      );
      bytes[at] ^= flip;
    }
    Arena.load(bytes);
  });
}

Deno.test("Arena.nextSerial() never gives the same number twice, in any view of the arena or of its copy", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const other = Arena.attach(arena.buffer);
  const serials = [arena, other, arena].map((view) => view.nextSerial());
  other.leave();
  const copy = Arena.load(arena.save());
  serials.push(copy.nextSerial(), copy.nextSerial());
  assertEquals(new Set(serials).size, 5);
  assert(serials.every((serial) => serial >= 0));
});
