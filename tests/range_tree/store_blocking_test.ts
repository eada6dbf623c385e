import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  Compactor,
  ExternalLock,
  LockdepError,
  type MoveOutcome,
  OutOfMemoryError,
  RangeTree,
  type SlabCache,
  Slabs,
} from "../../mod.ts";
import { Mirror } from "./mirror.ts";
import {
  assertSame,
  cacheOf,
  digest,
  insideSection,
  points,
} from "./worlds.ts";

/** Takes all pages, and all objects of the slabs that nodes come from. */
function exhaust(arena: Arena): void {
  arena.rcu.barrier();
  while (arena.pages.freePages > 0) arena.pages.allocate(0, "unmovable");
  for (const name of ["range_node", "range_node_pinned"]) {
    while (cacheOf(arena, name).tryAllocate() !== 0);
  }
}

/** A tree of 40 nodes and more that lets other nodes go when it does. */
function fillerOf(arena: Arena, lock: "internal" | "none" = "internal") {
  const filler = RangeTree.create(arena, { rcu: true, lock });
  filler.bulkLoad(points(400, 2));
  return filler;
}

interface World {
  arena: Arena;
  /** The same arena, as another thread sees it. */
  other: Arena;
  tree: RangeTree;
  mirror: Mirror;
}

function worldOf(): World {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { name: "tree", rcu: true });
  const mirror = new Mirror();
  mirror.entries = points(300, 2);
  tree.bulkLoad(mirror.entries);
  const other = Arena.attach(arena.buffer);
  Slabs.of(other);
  return { arena, other, tree, mirror };
}

/** A store that needs more than one node. */
const FIRST = 11, LAST = 301;

Deno.test("RangeTree.storeBlocking() waits for what another thread has deferred", () => {
  const { arena, other, tree, mirror } = worldOf();
  const filler = fillerOf(other);
  exhaust(arena);
  filler.destroy(); // deferred on the other thread, which does nothing more
  assertThrows(() => tree.storeRange(FIRST, LAST, 7), OutOfMemoryError);
  assertSame(tree, mirror);
  tree.storeBlocking(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
});

Deno.test("Cursor.storeBlocking() drops the lock while it waits, and holds it again after", () => {
  const { arena, other, tree, mirror } = worldOf();
  const filler = fillerOf(other);
  exhaust(arena);
  filler.destroy();
  {
    using _guard = tree.lock();
    const cursor = tree.cursor(FIRST, LAST);
    const bystander = tree.cursor(20);
    bystander.walk();
    assertThrows(() => cursor.store(7), OutOfMemoryError);
    assertEquals(cursor.storeBlocking(7), 0);
    assertEquals([cursor.index, cursor.last], [FIRST, LAST]);
    assertEquals(arena.lockdep.held, 1);
    assertEquals(cursor.walk(), 7);
    // What was found before the lock was dropped is worth nothing any more.
    assertThrows(
      () => bystander.next(),
      LockdepError,
      "used after its lock was dropped",
    );
  }
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
});

/** Objects of another kind that can be moved: each holds its number, and a table knows where it is. */
function movableObjects(arena: Arena, count: number): {
  cache: SlabCache;
  refs: number[];
} {
  const cache = Slabs.of(arena).cache({
    name: "blobs",
    objectBytes: 256,
    link: 63,
    mobility: "movable",
  });
  const refs = Array.from({ length: count }, () => cache.allocate());
  cache.mover = {
    prepare() {},
    finish() {},
    isPinned: () => false,
    relocate(ref: number): MoveOutcome {
      const place = cache.tryAllocate();
      if (place === 0) return "busy";
      refs[refs.indexOf(ref)] = place;
      cache.defer(ref);
      return "moved";
    },
  };
  return { cache, refs };
}

Deno.test("RangeTree.storeBlocking() compacts the arena if freeing what is deferred does not suffice", () => {
  const { arena, tree, mirror } = worldOf();
  const { cache, refs } = movableObjects(arena, 320);
  const filler = fillerOf(arena);
  exhaust(arena);
  const before = digest(filler);
  for (const ref of refs.filter((_, i) => i % 4 !== 0)) {
    cache.free(ref);
    refs.splice(refs.indexOf(ref), 1);
  }
  assertThrows(() => tree.storeBlocking(FIRST, LAST, 7), OutOfMemoryError);
  assertSame(tree, mirror);
  new Compactor(arena);
  const { slabs } = cache.stats();
  tree.storeBlocking(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
  assertEquals(digest(filler), before);
  assert(cache.stats().slabs < slabs / 2, `${cache.stats().slabs} slabs`);
});

for (const what of ["erases", "overwrites"] as const) {
  Deno.test(`RangeTree.storeBlocking() begins anew in the tree that a second writer ${what} meanwhile`, () => {
    const { arena, other, tree, mirror } = worldOf();
    const filler = fillerOf(other);
    exhaust(arena);
    const writer = RangeTree.attach(other, "tree");
    let calls = 0;
    // The lock is free while room is made.
    Slabs.of(arena).compact = () => {
      calls++;
      filler.destroy();
      other.rcu.barrier();
      const value = what === "erases" ? 0 : 5;
      writer.storeRange(0, 598, value);
      mirror.storeRange(0, 598, value);
    };
    tree.storeBlocking(FIRST, LAST, 7);
    mirror.storeRange(FIRST, LAST, 7);
    assertEquals(calls, 1);
    assertSame(tree, mirror);
  });
}

Deno.test("Cursor.storeBlocking() whose tree another thread destroys meanwhile holds no lock, and neither does the guard", () => {
  const { arena, other, tree } = worldOf();
  exhaust(arena);
  const theirs = RangeTree.attach(other, "tree");
  Slabs.of(arena).compact = () => {
    theirs.destroy();
    other.rcu.barrier();
  };
  assertThrows(
    () => {
      using _guard = tree.lock();
      tree.cursor(FIRST, LAST).storeBlocking(7);
    },
    Error,
    "Cannot use the tree in Cursor.storeBlocking: it was destroyed",
  );
  assertEquals(arena.lockdep.held, 0);
  assertThrows(() => tree.lock(), Error, "it was destroyed");
});

for (const lock of ["external", "none"] as const) {
  Deno.test(`RangeTree.storeBlocking() with lock ${lock} drops nothing and gives up, with all as it was`, () => {
    const { arena, other } = worldOf();
    const externalLock = lock === "external"
      ? ExternalLock.create(arena)
      : undefined;
    const tree = RangeTree.create(arena, { lock, externalLock });
    const fillers = [fillerOf(other), fillerOf(other, "none")];
    {
      using _guard = externalLock?.guard();
      tree.bulkLoad(points(300, 2));
    }
    exhaust(arena);
    // Waiting for its end would wait for ever.
    using _reader = insideSection(arena);
    for (const filler of fillers) filler.destroy();
    using _guard = externalLock?.guard();
    const before = digest(tree);
    assertThrows(() => tree.storeBlocking(FIRST, LAST, 7), OutOfMemoryError);
    const cursor = tree.cursor(FIRST, LAST);
    assertThrows(() => cursor.storeBlocking(7), OutOfMemoryError);
    assertEquals(digest(tree), before);
    tree.validate();
    assertEquals(arena.lockdep.held, externalLock ? 1 : 0);
  });
}

Deno.test("RangeTree.storeBlocking() and Cursor.storeBlocking() are errors where nobody may wait, also if there is room", () => {
  const { arena, tree, mirror } = worldOf();
  {
    using _section = arena.rcu.read();
    assertThrows(
      () => tree.storeBlocking(1, 2, 3),
      LockdepError,
      "illegal wait for a grace period inside a read section",
    );
    using _guard = tree.lock();
    assertThrows(
      () => tree.cursor().storeBlocking(3),
      LockdepError,
      "inside a read section",
    );
  }
  const outer = ExternalLock.create(arena);
  using _outer = outer.guard();
  assertThrows(
    () => tree.storeBlocking(1, 2, 3),
    LockdepError,
    "illegal wait for a grace period while holding a lock",
  );
  {
    using _guard = tree.lock();
    assertThrows(
      () => tree.cursor().storeBlocking(3),
      LockdepError,
      "while holding a lock",
    );
  }
  assertEquals(tree.tryLock() !== undefined, true);
  assertEquals(arena.lockdep.held, 2);
  assertEquals([...tree], mirror.entries);
});
