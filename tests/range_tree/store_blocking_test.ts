import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  Compactor,
  ExternalLock,
  LockdepError,
  type MoveOutcome,
  OutOfMemoryError,
  RangeTree,
  RcuStallError,
  type SlabCache,
  Slabs,
} from "../../mod.ts";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { validateTree } from "../../src/range_tree/inspect.ts";
import { guardIndexOf } from "../../src/range_tree/tree_lock.ts";
import { TestWorker } from "../sync/workers.ts";
import { Mirror } from "./mirror.ts";
import { type SecondWriterCommand, Signal } from "./second_writer_worker.ts";
import {
  assertSame,
  digest,
  insideSection,
  nodesOf,
  points,
} from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** Takes all pages, and all objects of the slabs that nodes come from: of trees whose lock can be taken, of the others. */
function exhaust(arena: Arena, ...kinds: ("movable" | "pinned")[]): void {
  while (arena.pages.freePages > 0) arena.pages.allocate(0, "unmovable");
  for (const kind of kinds) {
    while (bothOf(arena, kind === "movable").tryAllocate() !== 0);
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

/** After this long the other thread hangs. Nothing waits for it to pass where all is well. */
const HANG = 30_000;

Deno.test("RangeTree.storeRange() waits for no reader: what was retired is no room as long as one stays inside its section", () => {
  const { arena, tree, mirror } = worldOf();
  const filler = fillerOf(arena);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  {
    using _reader = insideSection(arena);
    filler.destroy();
    assertThrows(() => tree.storeRange(FIRST, LAST, 7), OutOfMemoryError);
    assertSame(tree, mirror);
  }
  tree.storeRange(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
});

Deno.test("RangeTree.storeBlocking() waits for what another thread has deferred", () => {
  const { arena, other, tree, mirror } = worldOf();
  const filler = fillerOf(other);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  filler.destroy(); // deferred on the other thread, which does nothing more
  assertThrows(() => tree.storeRange(FIRST, LAST, 7), OutOfMemoryError);
  assertSame(tree, mirror);
  tree.storeBlocking(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
});

Deno.test("RangeTree.storeBlocking() goes on as long as there is something to free: others may take what it has freed", () => {
  const { arena, tree, mirror } = worldOf();
  // Each of a thread of its own, which has too little to free to do it itself.
  const fillers = Array.from(
    { length: 3 },
    () => fillerOf(Arena.attach(arena.buffer)),
  );
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  fillers.pop()!.destroy();
  let waits = 0;
  const barrier = arena.rcu.barrier.bind(arena.rcu);
  using _stub = stub(arena.rcu, "barrier", (stallMillis) => {
    const freed = barrier(stallMillis);
    // Each way of making room waits twice.
    if (++waits % 2 === 0 && fillers.length > 0) {
      exhaust(arena, "movable", "pinned");
      fillers.pop()!.destroy();
    }
    return freed;
  });
  tree.storeBlocking(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
  assertEquals([fillers.length, waits], [0, 6]);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  assertThrows(() => tree.storeBlocking(14, 400, 8), OutOfMemoryError);
  assertSame(tree, mirror);
});

Deno.test("RangeTree.storeBlocking() goes on as long as there are empty slabs to give back, too", () => {
  const { arena, tree, mirror } = worldOf();
  const { cache, refs } = movableObjects(arena, 320);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  const freeSome = () => refs.splice(0, 64).forEach((ref) => cache.free(ref));
  freeSome();
  let waits = 0;
  const barrier = arena.rcu.barrier.bind(arena.rcu);
  using _stub = stub(arena.rcu, "barrier", (stallMillis) => {
    const freed = barrier(stallMillis);
    // Another thread takes what was won, and lets other things go.
    if (++waits === 2) {
      exhaust(arena, "movable", "pinned");
      freeSome();
    }
    return freed;
  });
  tree.storeBlocking(FIRST, LAST, 7);
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
  assertEquals(waits, 4);
});

for (const what of ["RangeTree", "Cursor"] as const) {
  Deno.test(`${what}.storeBlocking() that a reader holds up throws an RcuStallError, with all as it was`, () => {
    const { arena, other, tree, mirror } = worldOf();
    const filler = fillerOf(other);
    arena.rcu.barrier();
    exhaust(arena, "movable", "pinned");
    filler.destroy();
    using _reader = insideSection(arena);
    const barrier = arena.rcu.barrier.bind(arena.rcu);
    using _stub = stub(arena.rcu, "barrier", () => barrier(1));
    if (what === "RangeTree") {
      assertThrows(() => tree.storeBlocking(FIRST, LAST, 7), RcuStallError);
      assertEquals(arena.lockdep.held, 0);
    } else {
      using _guard = tree.lock();
      const cursor = tree.cursor(FIRST, LAST);
      assertThrows(() => cursor.storeBlocking(7), RcuStallError);
      assertEquals(arena.lockdep.held, 1);
      assertEquals([cursor.index, cursor.last], [FIRST, LAST]);
      assertEquals(cursor.state, "start");
      assertEquals(cursor.find(), mirror.find(FIRST)!.value);
    }
    assertSame(tree, mirror);
  });
}

Deno.test("Cursor.storeBlocking() drops the lock while it waits, and holds it again after", () => {
  const { arena, other, tree, mirror } = worldOf();
  const filler = fillerOf(other);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
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
      "the cursor's position is of another hold",
    );
  }
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
});

Deno.test("Cursor.storeBlocking() of a cursor that has walked somewhere drops the lock, and is no use of its position in another hold", () => {
  const { arena, other, tree, mirror } = worldOf();
  const filler = fillerOf(other);
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
  filler.destroy();
  {
    using _guard = tree.lock();
    const cursor = tree.cursor(20);
    assertEquals(cursor.walk(), 11);
    assertThrows(() => cursor.store(0), OutOfMemoryError);
    assertEquals(cursor.storeBlocking(0), 11);
    assertEquals(cursor.walk(), 0);
  }
  mirror.erase(20);
  assertSame(tree, mirror);
});

Deno.test("Cursor.storeBlocking() that fails does not have the cursor go on where nodes were moved away meanwhile", () => {
  const { arena, tree, mirror } = worldOf();
  const nodes = bothOf(arena), mover = nodes.mover();
  const leaves = nodesOf(arena, tree).filter((node) => nodes.leaves.owns(node));
  const room = nodes.allocate();
  exhaust(arena, "movable", "pinned");
  let moves = 0;
  Slabs.of(arena).compact = () => {
    if (moves > 0) return;
    nodes.free(room);
    // Each into the place of the one before.
    for (const leaf of leaves) {
      mover.prepare([leaf]);
      if (mover.relocate(leaf) === "moved") moves++;
      mover.finish();
      arena.rcu.barrier();
    }
    // What is left is somebody else's at once.
    exhaust(arena, "movable", "pinned");
  };
  {
    using _guard = tree.lock();
    const cursor = tree.cursor(30);
    assertEquals(cursor.walk(), 16);
    assertThrows(() => cursor.storeBlocking(0), OutOfMemoryError);
    assertEquals([cursor.index, cursor.state], [30, "active"]);
    assertEquals([cursor.next(), cursor.index], [17, 32]);
  }
  assertEquals(moves, leaves.length);
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
    relocateRun: () => 0,
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
  arena.rcu.barrier();
  exhaust(arena, "movable", "pinned");
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

/**
 * Trees whose nodes lie in the other cache, in slabs that are nearly empty. A store finds every free place in the slabs of
 * its own cache, so compacting those would win it nothing: room comes from what holds pages for objects of another kind.
 */
function othersOf(arena: Arena): RangeTree[] {
  const mover = NodeMover.of(arena, bothOf(arena, false).leaves);
  const trees = Array.from({ length: 40 }, () => RangeTree.create(arena));
  for (const tree of trees) {
    tree.bulkLoad(points(60, 2));
    const nodes = nodesOf(arena, tree);
    mover.prepare(nodes);
    for (const node of nodes) assertEquals(mover.relocate(node), "moved");
    mover.finish();
  }
  const kept = trees.filter((tree, i) => {
    if (i % 4 === 0) return true;
    tree.destroy();
    return false;
  });
  // What waiting alone would win is won already.
  arena.rcu.barrier();
  for (const cache of Slabs.of(arena).all()) cache.shrink();
  arena.rcu.barrier();
  return kept;
}

Deno.test("RangeTree.storeBlocking() moves the nodes of other trees, under their locks, where that makes room", () => {
  const { arena, other, tree, mirror } = worldOf();
  const others = othersOf(arena);
  exhaust(arena, "movable");
  const nodes = () => others.flatMap((tree) => nodesOf(arena, tree));
  const before = nodes(), digests = others.map(digest);
  assertThrows(() => tree.storeBlocking(FIRST, LAST, 7), OutOfMemoryError);
  assertEquals(nodes(), before);
  new Compactor(arena);

  const cache = bothOf(arena, false);
  const { slabs } = cache.stats();
  // One of them is in use: its nodes stay, the others suffice.
  const used = RangeTree.attach(other, others[0].ref);
  {
    using _guard = used.lock();
    tree.storeBlocking(FIRST, LAST, 7);
  }
  mirror.storeRange(FIRST, LAST, 7);
  assertSame(tree, mirror);
  const after = nodes();
  const moved = after.filter((node, i) => node !== before[i]);
  assert(moved.length > 20, `${moved.length} nodes`);
  assert(cache.stats().slabs < slabs / 2, `${cache.stats().slabs} slabs`);
  const still = nodesOf(arena, others[0]).length;
  assertEquals(after.slice(0, still), before.slice(0, still));
  assertEquals(others.map(digest), digests);
  for (const { ref } of others) {
    validateTree(arena.words, arena.doubles, ref, cache.nodes);
  }
});

/** What a second writer does to the range, and beside it. */
const CHANGES: Record<string, SecondWriterCommand["changes"]> = {
  erases: [[0, 598, 0]],
  overwrites: [[0, 598, 5]],
  "cuts up": [
    [0, 598, 5],
    ...points(20, 14, 15).map(({ first, last }) =>
      [first, last, 6] as [number, number, number]
    ),
  ],
  "cuts off": [[0, FIRST, 5], [LAST, 598, 0]],
};

/** At which moment it does so: when the first thread waits for a grace period, or before it compacts. */
const PHASES = ["grace period", "compaction"] as const;

/** Has a worker change the tree while `store` has dropped the lock. */
async function withSecondWriter(
  phase: typeof PHASES[number],
  changes: SecondWriterCommand["changes"],
  store: (tree: RangeTree) => unknown,
): Promise<World> {
  const world = worldOf();
  const { arena, tree, mirror } = world;
  othersOf(arena);
  new Compactor(arena);
  const signals = new Int32Array(new SharedArrayBuffer(8));
  using worker = new TestWorker(
    new URL("second_writer_worker.ts", import.meta.url),
  );
  const inside = phase === "grace period";
  const command: SecondWriterCommand = {
    buffer: arena.buffer,
    signals,
    inside,
    changes,
    other: { index: FIRST, value: 7 },
  };
  worker.send(command);
  assertEquals(await worker.answer(), "ready");
  exhaust(arena, "movable");
  let drops = 0;
  const drop = () => {
    if (drops++ > 0) return;
    Atomics.store(signals, Signal.dropped, 1);
    Atomics.notify(signals, Signal.dropped);
  };
  const { rcu } = arena, slabs = Slabs.of(arena);
  const barrier = rcu.barrier.bind(rcu), compact = slabs.compact!;
  using _wait = stub(rcu, "barrier", () => {
    if (inside) drop();
    return barrier();
  });
  slabs.compact = () => {
    drop();
    if (!inside) {
      assert(Atomics.wait(signals, Signal.changed, 0, HANG) !== "timed-out");
    }
    compact();
  };
  store(tree);
  assert(drops > 0, "the lock was never dropped");
  assertEquals(await worker.answer(), { wasFree: true, wasAlone: true });
  for (const [first, last, value] of changes) {
    mirror.storeRange(first, last, value);
  }
  return world;
}

for (const phase of PHASES) {
  for (const [what, changes] of Object.entries(CHANGES)) {
    Deno.test(`RangeTree.storeBlocking() begins anew in the tree that a second writer ${what} before the ${phase} is over`, async () => {
      const { tree, mirror } = await withSecondWriter(
        phase,
        changes,
        (tree) => tree.storeBlocking(FIRST, LAST, 7),
      );
      mirror.storeRange(FIRST, LAST, 7);
      assertSame(tree, mirror);
    });

    Deno.test(`Cursor.storeBlocking() begins anew in the tree that a second writer ${what} before the ${phase} is over`, async () => {
      let before: number | undefined;
      const { tree, mirror, arena } = await withSecondWriter(
        phase,
        changes,
        (tree) => {
          using _guard = tree.lock();
          const cursor = tree.cursor(FIRST, LAST);
          assertEquals(cursor.insert(1), false); // it has been there
          before = cursor.storeBlocking(7);
          assertEquals([cursor.index, cursor.last], [FIRST, LAST]);
          assertEquals(cursor.walk(), 7);
        },
      );
      assertEquals(before, mirror.load(FIRST));
      mirror.storeRange(FIRST, LAST, 7);
      assertSame(tree, mirror);
      assertEquals(arena.lockdep.held, 0);
    });
  }
}

for (const handles of [1, 2]) {
  Deno.test(`Cursor.storeBlocking() whose tree another thread destroys meanwhile holds no lock, and neither does the guard, by ${handles} handles`, () => {
    const { arena, other, tree } = worldOf();
    const own = handles === 1 ? tree : RangeTree.attach(arena, tree.ref);
    exhaust(arena, "movable");
    const theirs = RangeTree.attach(other, "tree");
    Slabs.of(arena).compact = () => {
      theirs.destroy();
      other.rcu.barrier();
    };
    assertThrows(
      () => {
        using _guard = tree.lock();
        own.cursor(FIRST, LAST).storeBlocking(7);
      },
      Error,
      "Cannot use the tree in Cursor.storeBlocking: it was destroyed",
    );
    assertEquals(arena.lockdep.held, 0);
    assertThrows(() => tree.lock(), Error, "it was destroyed");
  });
}

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
    arena.rcu.barrier();
    exhaust(arena, "movable", "pinned");
    // Waiting for its end would wait for ever.
    using _reader = insideSection(arena);
    for (const filler of fillers) filler.destroy();
    using _guard = externalLock?.guard();
    const before = digest(tree);
    const stamp = () =>
      arena.lockdep.stampOf(guardIndexOf(arena.words, tree.ref));
    const hold = stamp();
    assertThrows(() => tree.storeBlocking(FIRST, LAST, 7), OutOfMemoryError);
    const cursor = tree.cursor(FIRST, LAST);
    assertThrows(() => cursor.storeBlocking(7), OutOfMemoryError);
    // It is the same hold: nobody else had the lock meanwhile.
    assertEquals([stamp(), hold !== 0], [hold, lock === "external"]);
    assertEquals([cursor.index, cursor.last], [FIRST, LAST]);
    assertEquals(cursor.state, "start");
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
