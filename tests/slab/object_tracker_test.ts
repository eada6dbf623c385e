import {
  assert,
  assertEquals,
  assertFalse,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type SlabCache, Slabs } from "../../src/slab/mod.ts";
import { arenaOfPages } from "../memory/arenas.ts";

/** Freed objects that a thread keeps from being reused. */
const QUARANTINE = 64;
const POISON = 0x6b6b6b6b;
const OPTIONS = { name: "nodes", objectBytes: 256, link: 60 };

/** A cache in debug mode, and a second thread's view of it. */
function debugCache(): {
  arena: Arena;
  cache: SlabCache;
  other: Arena;
  others: SlabCache;
} {
  const arena = arenaOfPages(100, { debug: true, maxThreads: 4 });
  const other = Arena.attach(arena.buffer);
  return {
    arena,
    cache: Slabs.of(arena).cache(OPTIONS),
    other,
    others: Slabs.of(other).cache(OPTIONS),
  };
}

/** An object's words. */
function wordsOf(arena: Arena, ref: number): Int32Array {
  return arena.words.subarray(ref * 16, ref * 16 + 64);
}

/** Whether an object is as it is handed out: zero, but for the word that the cache has of it. */
function isZeroed(arena: Arena, ref: number): boolean {
  return wordsOf(arena, ref).every((word, i) =>
    i === OPTIONS.link || word === 0
  );
}

/** Allocates until that object comes, and frees what came before it. */
function allocateAgain(cache: SlabCache, ref: number): void {
  const refs = [cache.allocate()];
  while (refs[refs.length - 1] !== ref) refs.push(cache.allocate());
  for (const other of refs.slice(0, -1)) cache.free(other);
}

/** Frees so many objects that whatever was freed before leaves the quarantine. */
function pushOut(cache: SlabCache): void {
  const refs = Array.from({ length: QUARANTINE }, () => cache.allocate());
  for (const ref of refs) cache.free(ref);
}

Deno.test("ObjectTracker hands objects out zeroed and poisons them when they are freed", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  assert(isZeroed(arena, ref));
  wordsOf(arena, ref).fill(7);
  cache.free(ref);
  assert(wordsOf(arena, ref).every((word) => word === POISON));
  pushOut(cache);
  assert(wordsOf(arena, ref).every((word) => word === POISON));
  assertEquals(
    cache.allocate(),
    ref,
    "the only free object of the fullest slab",
  );
  assert(isZeroed(arena, ref));
});

Deno.test("ObjectTracker leaves the neighbours of a freed object alone", () => {
  const { arena, cache } = debugCache();
  const [left, ref, right] = [
    cache.allocate(),
    cache.allocate(),
    cache.allocate(),
  ];
  assertEquals([ref - left, right - ref], [4, 4]);
  wordsOf(arena, left).fill(1);
  wordsOf(arena, right).fill(2);
  cache.free(ref);
  assert(wordsOf(arena, left).every((word) => word === 1));
  assert(wordsOf(arena, right).every((word) => word === 2));
});

Deno.test("ObjectTracker keeps a freed object from being reused until 64 more are freed", () => {
  const { cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  const refs = Array.from({ length: QUARANTINE }, () => cache.allocate());
  assertFalse(refs.includes(ref));
  for (const each of refs.slice(1)) cache.free(each);
  assert(cache.isAllocated(ref), "in quarantine it counts as in use");
  cache.free(refs[0]);
  assertFalse(cache.isAllocated(ref));
  cache.validate();
});

Deno.test("SlabCache.shrink() in debug mode empties the quarantine", () => {
  const { arena, cache } = debugCache();
  const refs = Array.from({ length: 40 }, () => cache.allocate());
  for (const ref of refs) cache.free(ref);
  assertEquals(cache.stats().objects, 40);
  cache.shrink();
  assertEquals([cache.stats().objects, cache.stats().slabs], [0, 0]);
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 100, "the pages of histories too");
  cache.validate();
});

Deno.test("Arena.leave() in debug mode empties the quarantine", () => {
  const { arena, cache, other, others } = debugCache();
  const refs = Array.from({ length: QUARANTINE }, () => others.allocate());
  refs.slice(1).forEach((ref) => others.free(ref));
  others.defer(refs[0]);
  other.leave();
  assertEquals(cache.stats().objects, 0);
  cache.shrink();
  arena.rcu.barrier();
  assertEquals(arena.pages.freePages, 100);
});

Deno.test("Arena.leave() reports what was used after it was freed; then it can leave", () => {
  const { cache, other, others } = debugCache();
  const ref = others.allocate();
  others.free(ref);
  wordsOf(other, ref)[5] = 1;
  assertThrows(() => other.leave(), Error, "was used after it was freed");
  other.leave();
  assertEquals(cache.stats().objects, 0);
});

Deno.test("Arena.save() in debug mode leaves nothing in quarantine", () => {
  const { arena, cache, other } = debugCache();
  other.leave();
  const refs = Array.from({ length: 8 }, () => cache.allocate());
  refs.forEach((ref) => cache.defer(ref));
  const loaded = Arena.load(arena.save());
  assertEquals(Slabs.of(loaded).all()[0].stats().objects, 0);
});

Deno.test("SlabCache.defer() in debug mode refuses what is no object of the cache", () => {
  const { arena, cache } = debugCache();
  const other = Slabs.of(arena).cache({ ...OPTIONS, name: "others" });
  const foreign = other.allocate();
  const page = arena.pageRef(arena.pages.allocate(0, "movable"));
  for (const ref of [foreign, page, cache.allocate() + 1]) {
    assertThrows(
      () => cache.defer(ref),
      Error,
      `Cannot free object ${ref} of "nodes": it is no object of this cache`,
    );
  }
  for (const ref of [0, arena.pageRef(arena.pages.count)]) {
    assertThrows(() => cache.defer(ref), Error, "it is in no page");
  }
  const never = cache.allocate() + 4;
  assertThrows(() => cache.defer(never), Error, "it was never allocated");
  assertEquals(arena.rcu.pending, 0);
});

Deno.test("ObjectTracker finds a use after free when the object leaves the quarantine", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  wordsOf(arena, ref)[5] = 0x1234;
  const error = assertThrows(
    () => pushOut(cache),
    Error,
    "was used after it was freed",
  );
  assertStringIncludes(error.message, `Object ${ref} of "nodes"`);
  assertStringIncludes(error.message, "word 5 is 0x1234, not 0x6b6b6b6b");
  assertMatch(
    error.message,
    /history of the object:\n {2}event 0: allocated by thread 1\n {2}event 1: freed by thread 1$/,
  );
});

Deno.test("ObjectTracker finds a use after free when the quarantine is emptied", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  wordsOf(arena, ref)[63] = 0;
  assertThrows(() => cache.shrink(), Error, "word 63 is 0x0, not 0x6b6b6b6b");
});

Deno.test("ObjectTracker finds a use after free when the object is allocated again", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  pushOut(cache);
  wordsOf(arena, ref)[0] = POISON ^ 1;
  const error = assertThrows(
    () => cache.allocate(),
    Error,
    "was used after it was freed",
  );
  assertStringIncludes(error.message, `Object ${ref} of "nodes"`);
  assertStringIncludes(error.message, "word 0 is 0x6b6b6b6a, not 0x6b6b6b6b");
  assertMatch(
    error.message,
    /event 0: allocated by thread 1\n {2}event 1: freed by thread 1$/,
  );
  cache.validate();
  assertNotEquals(cache.allocate(), ref, "nobody gets the damaged object");
  assertEquals(arena.lockdep.held, 0);
});

Deno.test("ObjectTracker finds a use after free when several objects are allocated at once", () => {
  const { arena, cache } = debugCache();
  const [, ref] = [cache.allocate(), cache.allocate()];
  cache.free(ref);
  pushOut(cache);
  wordsOf(arena, ref)[0] = 1;
  const refs: number[] = [];
  assertThrows(
    () => cache.allocateInto(refs, 8),
    Error,
    "was used after it was freed",
  );
  assertFalse(refs.includes(ref), "nobody gets the damaged object");
  cache.validate();
  assertEquals(arena.lockdep.held, 0);
});

Deno.test("ObjectTracker finds another thread's use after free", () => {
  const { arena, cache, other, others } = debugCache();
  const ref = cache.allocate();
  others.free(ref);
  pushOut(others);
  wordsOf(other, ref)[9] = 1;
  const error = assertThrows(
    () => cache.allocate(),
    Error,
    "was used after it was freed",
  );
  assertMatch(
    error.message,
    /event 0: allocated by thread 1\n {2}event 1: freed by thread 2$/,
  );
  assertEquals(arena.thread, 1);
});

Deno.test("ObjectTracker finds a double free, with the object's history", () => {
  const { cache, others } = debugCache();
  const ref = cache.allocate();
  others.free(ref);
  const before = cache.stats();
  for (const thread of [cache, others]) {
    const error = assertThrows(
      () => thread.free(ref),
      Error,
      `Cannot free object ${ref}`,
    );
    assertStringIncludes(error.message, 'of "nodes": it is freed already');
    assertMatch(
      error.message,
      /history of the object:\n {2}event 0: allocated by thread 1\n {2}event 1: freed by thread 2$/,
    );
  }
  assertEquals(cache.stats(), before);
  cache.validate();
});

Deno.test("ObjectTracker finds a double free after the quarantine too", () => {
  const { cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  pushOut(cache);
  const error = assertThrows(
    () => cache.free(ref),
    Error,
    "it is free already",
  );
  assertMatch(
    error.message,
    /history of the object:\n {2}event 0: allocated by thread 1/,
  );
  cache.validate();
});

Deno.test("ObjectTracker finds a double defer at once", () => {
  const { arena, cache, others } = debugCache();
  const ref = cache.allocate();
  cache.defer(ref);
  for (const thread of [cache, others]) {
    const error = assertThrows(
      () => thread.defer(ref),
      Error,
      `Cannot free object ${ref} of "nodes": it is deferred already`,
    );
    assertMatch(
      error.message,
      /event 0: allocated by thread 1\n {2}event 1: deferred by thread 1$/,
    );
  }
  arena.rcu.barrier();
  const error = assertThrows(
    () => cache.defer(ref),
    Error,
    "it is freed already",
  );
  assertMatch(
    error.message,
    /event 1: deferred by thread 1\n {2}event 2: freed by thread 1$/,
  );
  cache.validate();
});

Deno.test("SlabCache.free() of a deferred object is refused", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  cache.defer(ref);
  assertThrows(
    () => cache.free(ref),
    Error,
    `Cannot free object ${ref} of "nodes": it is deferred already`,
  );
  arena.rcu.barrier();
  cache.validate();
});

Deno.test("SlabCache.defer() of what was never allocated is refused", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  assertThrows(() => cache.defer(ref + 4), Error, "Cannot free object");
  arena.rcu.barrier();
  assertEquals(cache.stats().objects, 1);
});

Deno.test("ObjectTracker keeps an object's last seven events, over its lives", () => {
  const { arena, cache, others } = debugCache();
  const ref = cache.allocate();
  cache.defer(ref);
  arena.rcu.barrier();
  for (let life = 0; life < 2; life++) {
    pushOut(cache);
    allocateAgain(others, ref);
    others.free(ref);
    pushOut(others);
    allocateAgain(cache, ref);
    cache.free(ref);
  }
  const error = assertThrows(
    () => cache.free(ref),
    Error,
    "it is freed already",
  );
  assertEquals(error.message.split("\n").slice(1), [
    "history of the object:",
    "  event 4: freed by thread 2",
    "  event 5: allocated by thread 1",
    "  event 6: freed by thread 1",
    "  event 7: allocated by thread 2",
    "  event 8: freed by thread 2",
    "  event 9: allocated by thread 1",
    "  event 10: freed by thread 1",
  ]);
});

Deno.test("ObjectTracker histories survive the thread and a save", () => {
  const { arena, cache, other, others } = debugCache();
  const ref = others.allocate();
  other.leave();
  const loaded = Arena.load(arena.save());
  assert(loaded.debug);
  const [again] = Slabs.of(loaded).all();
  again.free(ref);
  const error = assertThrows(
    () => again.free(ref),
    Error,
    "it is freed already",
  );
  assertMatch(
    error.message,
    /event 0: allocated by thread 2\n {2}event 1: freed by thread 1$/,
  );
  cache.free(ref);
});

Deno.test("ObjectTracker forgets what an earlier slab's objects did", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  wordsOf(arena, ref).fill(3);
  cache.free(ref);
  cache.shrink();
  arena.rcu.barrier();
  const fresh = Array.from({ length: 16 }, () => cache.allocate());
  for (const each of fresh) {
    assert(isZeroed(arena, each));
    cache.free(each);
    const error = assertThrows(() => cache.free(each), Error);
    assertMatch(
      error.message,
      /object:\n {2}event 0: allocated.*\n {2}event 1: freed.*$/,
    );
  }
});

Deno.test("ObjectTracker reports a use after free once", () => {
  const { arena, cache } = debugCache();
  const ref = cache.allocate();
  cache.free(ref);
  wordsOf(arena, ref)[5] = 0x1234;
  assertThrows(() => pushOut(cache), Error, "was used after it was freed");
  allocateAgain(cache, ref);
  assert(isZeroed(arena, ref));
});

Deno.test("ObjectTracker's report leaves all other objects in order", () => {
  for (const way of ["free", "defer", "shrink"] as const) {
    const { arena, cache } = debugCache();
    const refs = Array.from({ length: 2 * QUARANTINE }, () => cache.allocate());
    for (const ref of refs.slice(0, QUARANTINE)) cache.free(ref);
    wordsOf(arena, refs[7])[0] = 1;
    let reports = 0;
    const report = (step: () => void) => {
      try {
        step();
      } catch (error) {
        assertStringIncludes(
          (error as Error).message,
          `Object ${refs[7]} of "nodes" was used`,
        );
        reports++;
      }
    };
    const rest = refs.slice(QUARANTINE);
    if (way === "defer") { for (const ref of rest) cache.defer(ref); }
    if (way === "free") {
      for (const ref of rest) report(() => cache.free(ref));
    }
    report(() => arena.rcu.barrier());
    report(() => cache.shrink());
    arena.rcu.barrier();
    if (way === "shrink") { for (const ref of rest) cache.free(ref); }
    cache.shrink();
    arena.rcu.barrier();
    assertEquals([way, reports, cache.stats().objects], [way, 1, 0]);
    assertEquals(arena.pages.freePages, 100);
    cache.validate();
  }
});

Deno.test("Debug mode finds nothing where nothing is wrong", () => {
  const { arena, cache, others, other } = debugCache();
  const live: number[] = [];
  for (let step = 0; step < 3000; step++) {
    const [from, rcu] = step % 3 === 0
      ? [others, other.rcu]
      : [cache, arena.rcu];
    if (step % 5 < 3 && live.length < 200) {
      const ref = from.allocate();
      wordsOf(arena, ref).fill(step);
      live.push(ref);
    } else if (live.length > 0) {
      const [ref] = live.splice((step * 7) % live.length, 1);
      if (step % 2 === 0) from.free(ref);
      else from.defer(ref);
      rcu.poll();
    }
  }
  for (const ref of live) cache.free(ref);
  arena.rcu.barrier();
  others.shrink();
  cache.shrink();
  arena.rcu.barrier();
  cache.validate();
  assertEquals([cache.stats().objects, arena.pages.freePages], [0, 100]);
});
