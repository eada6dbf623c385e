import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  Compactor,
  ExternalLock,
  LockdepError,
  RangeTree,
  Slabs,
} from "../../mod.ts";
import { lockIndexOf } from "../../src/range_tree/header.ts";
import { spinLockOwner } from "../../src/sync/spin_lock.ts";
import { inTheMiddle } from "../range_tree/in_the_middle.ts";
import { Mirror } from "../range_tree/mirror.ts";
import { dyingAfter, Killed } from "../stress/dying.ts";
import { lostIn, NOTHING_LOST, settle } from "../stress/lost.ts";
import { TestWorker } from "../sync/workers.ts";
import { assertSame, cacheOf, digest, points } from "../range_tree/worlds.ts";
import { bothOf } from "../range_tree/both_caches.ts";

type Operation = (
  tree: RangeTree,
  arena: Arena,
) => void;

/** What is killed at every step, and what the mirror then holds if it came through. */
const OPERATIONS: Record<
  string,
  { run: Operation; expect: (mirror: Mirror) => void }
> = {
  "a store that splits a range": {
    run: (tree) => tree.storeRange(301, 302, 7),
    expect: (mirror) => mirror.storeRange(301, 302, 7),
  },
  "a store over levels": {
    run: (tree) => tree.storeRange(500, 9000, 7),
    expect: (mirror) => mirror.storeRange(500, 9000, 7),
  },
  "a store in place": {
    run: (tree) => tree.storeRange(300, 305, 7),
    expect: (mirror) => mirror.storeRange(300, 305, 7),
  },
  "an erase": {
    run: (tree) => void tree.erase(300),
    expect: (mirror) => void mirror.erase(300),
  },
  "an erase over levels": {
    run: (tree) => tree.eraseRange(100, 15_000),
    expect: (mirror) => mirror.storeRange(100, 15_000, 0),
  },
  "a clear": {
    run: (tree) => tree.clear(),
    expect: (mirror) => mirror.entries = [],
  },
  "the life of another tree": {
    run: (_, arena) => {
      const other = RangeTree.create(arena, { name: "other" });
      other.bulkLoad(points(400, 10, 0));
      other.storeRange(100, 3900, 7);
      other.destroy();
      arena.rcu.flush();
    },
    expect: () => {},
  },
  "a clone": { run: (tree) => void tree.clone(), expect: () => {} },
  "a compaction": {
    run: (_, arena) => void new Compactor(arena).run(),
    expect: () => {},
  },
  "a barrier": {
    run: (_, arena) => arena.rcu.barrier(),
    expect: () => {},
  },
  "a lookup": { run: (tree) => void tree.load(300), expect: () => {} },
  "an iteration": { run: (tree) => void [...tree], expect: () => {} },
};

interface World {
  arena: Arena;
  tree: RangeTree;
  mirror: Mirror;
  /** Another thread, that will die. */
  victim: Arena;
  victimTree: RangeTree;
}

function worldOf(rcu: boolean, gaps: boolean, external: boolean): World {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const externalLock = external
    ? ExternalLock.create(arena, { name: "lock" })
    : undefined;
  const tree = RangeTree.create(arena, {
    name: "tree",
    rcu,
    gaps,
    lock: external ? "external" : "internal",
    externalLock,
  });
  const mirror = new Mirror();
  mirror.entries = points(1200, 10, 0).map((entry) => {
    return { ...entry, last: entry.first + 5 };
  });
  // Another tree's nodes between, so that there is something to compact.
  const other = RangeTree.create(arena);
  {
    using _guard = externalLock?.guard();
    for (const { first, last, value } of mirror.entries) {
      tree.storeRange(first, last, value);
      if (first < 6000) other.storeRange(first, last, value);
    }
  }
  other.destroy();
  arena.rcu.barrier();
  const victim = Arena.attach(arena.buffer);
  const victimTree = RangeTree.attach(victim, "tree");
  Slabs.of(victim);
  return { arena, tree, mirror, victim, victimTree };
}

/** The steps of an operation that take place: all at first, then fewer, since they repeat. */
function nextStep(step: number): number {
  return step < 150 ? step + 1 : Math.ceil(step * 1.13);
}

for (const [name, { run, expect }] of Object.entries(OPERATIONS)) {
  for (
    const [rcu, gaps, external] of [
      [true, false, false],
      [false, true, false],
      [true, true, true],
    ]
  ) {
    if (external && !name.startsWith("a store") && !name.startsWith("an er")) {
      continue;
    }
    const mode = `rcu ${rcu}, gaps ${gaps}${external ? ", external lock" : ""}`;
    Deno.test(`Arena.reap() recovers from a thread that dies at any step of ${name}, ${mode}`, () => {
      let died = true;
      for (let step = 0; died; step = nextStep(step)) {
        const world = worldOf(rcu, gaps, external);
        const { arena, tree, mirror, victim, victimTree } = world;
        const before = digestUnderLock(tree, external, arena);
        {
          using killing = dyingAfter(step);
          try {
            if (external) ExternalLock.attach(victim, "lock").lock();
            run(victimTree, victim);
            if (external) ExternalLock.attach(victim, "lock").unlock();
          } catch (error) {
            // What a dead thread would throw of itself is no matter.
            assert(killing.died, String(error));
          }
          died = killing.died;
        }
        if (!died) {
          victim.leave();
          break;
        }
        arena.reap(victim.thread);
        {
          using _guard = external
            ? ExternalLock.attach(arena, "lock").guard()
            : undefined;
          // All of it or nothing.
          if (digest(tree) !== before) expect(mirror);
          assertSame(tree, mirror);
          tree.storeRange(20_000, 20_010, 5);
          mirror.storeRange(20_000, 20_010, 5);
          assertSame(tree, mirror);
        }
        for (const cache of Slabs.of(arena).all()) {
          cache.validate();
          assertEquals(cache.isolatedSlabs(), []);
        }
        arena.pages.validate();
        assertNothingLost(arena, `died at access ${step}`);
        // The slot is free again.
        const next = Arena.attach(arena.buffer);
        assertEquals(next.thread, victim.thread);
        next.leave();
      }
    });
  }
}

/** Nothing is in use that belongs to nothing. */
function assertNothingLost(arena: Arena, message: string): void {
  settle(arena);
  const isExternal = arena.roots.get("lock") !== 0;
  using _guard = isExternal
    ? ExternalLock.attach(arena, "lock").guard()
    : undefined;
  assertEquals(lostIn(arena), NOTHING_LOST, message);
}

Deno.test("Arena.reap() recovers from a thread that dies at any step of freeing a batch and keeping it at hand", () => {
  let died = true;
  for (let step = 0; died; step++) {
    const { arena, tree, mirror, victim, victimTree } = worldOf(
      true,
      false,
      false,
    );
    // Each replaces one leaf; the next one is the last of a batch.
    for (let i = 1; i < 64; i++) {
      victimTree.store(100 * i + 1, i);
      mirror.storeRange(100 * i + 1, 100 * i + 1, i);
    }
    const { pending } = victim.rcu;
    assertEquals(pending, 63);
    const before = digest(tree);
    {
      using killing = dyingAfter(step);
      try {
        victimTree.store(7001, 7);
      } catch (error) {
        assert(killing.died, String(error));
      }
      died = killing.died;
    }
    assert(died || victim.rcu.pending < pending, "nothing was freed");
    arena.reap(victim.thread);
    if (digest(tree) !== before) mirror.storeRange(7001, 7001, 7);
    assertSame(tree, mirror);
    assertNothingLost(arena, `died at access ${step}`);
  }
});

Deno.test("Arena.reap() recovers from a thread that dies at any step of making a block, for which it adds slabs elsewhere", () => {
  let died = true;
  for (let step = 0; died; step++) {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const tree = RangeTree.create(arena, { rcu: true });
    const mirror = new Mirror();
    const held = new Set<number>();
    for (let pfn = 0; (pfn = arena.pages.tryAllocate(0, "movable")) >= 0;) {
      held.add(pfn);
    }
    const giveBack = (pfn: number) => {
      if (held.delete(pfn)) arena.pages.free(pfn);
    };
    // Where the tree's nodes come to lie, in three slabs; then where these can go.
    [48, 49, 50, 51, 52, 53, 54, 55].forEach(giveBack);
    mirror.entries = points(170, 2);
    tree.bulkLoad(mirror.entries);
    [120, 121, 200, 201].forEach(giveBack);
    const victim = Arena.attach(arena.buffer);
    {
      using killing = dyingAfter(step);
      try {
        assert(new Compactor(victim).makeBlock(3).made);
      } catch (error) {
        assert(killing.died, String(error));
      }
      died = killing.died;
    }
    if (died) arena.reap(victim.thread);
    else victim.leave();
    assertSame(tree, mirror);
    for (const cache of bothOf(arena).all) {
      cache.validate();
      assertEquals(cache.isolatedSlabs(), []);
    }
    held.forEach(giveBack);
    arena.pages.validate();
    assertNothingLost(arena, `died at access ${step}`);
  }
});

/** What another thread destroys that this one has created under the name "it". */
const CREATED: Record<
  string,
  {
    cache: string;
    create: (arena: Arena) => void;
    attach: (arena: Arena) => { destroy(): void };
  }
> = {
  "a tree": {
    cache: "range_tree",
    create: (arena) => void RangeTree.create(arena, { name: "it" }),
    attach: (arena) => RangeTree.attach(arena, "it"),
  },
  "an external lock": {
    cache: "external_lock",
    create: (arena) => void ExternalLock.create(arena, { name: "it" }),
    attach: (arena) => ExternalLock.attach(arena, "it"),
  },
};

for (const [name, { cache, create, attach }] of Object.entries(CREATED)) {
  Deno.test(`Arena.reap() recovers from a thread that dies at any step of destroying ${name} that another one has created`, () => {
    let died = true;
    for (let step = 0; died; step++) {
      const arena = Arena.create({ byteLength: 2 ** 20 });
      create(arena);
      const victim = Arena.attach(arena.buffer);
      const theirs = attach(victim);
      {
        using killing = dyingAfter(step);
        try {
          theirs.destroy();
        } catch (error) {
          assert(killing.died, String(error));
        }
        died = killing.died;
      }
      if (!died) break;
      arena.reap(victim.thread);
      settle(arena);
      // Its object, its name and itself are there, or none of them is.
      const { objects } = cacheOf(arena, cache).stats();
      assertEquals(
        objects === 1,
        arena.roots.get("it") !== 0,
        `died at access ${step}`,
      );
      if (objects === 1) attach(arena).destroy();
      else assertThrows(() => attach(arena), Error, "there is none");
    }
  });
}

Deno.test("Arena.reap() leaves alone what another thread is about to retire, though the dead one has built it", () => {
  let done = false;
  for (let at = 1; !done; at = Math.ceil(at * 1.2)) {
    const arena = Arena.create({ byteLength: 2 ** 20, debug: true });
    RangeTree.create(arena, { name: "tree", rcu: true });
    const dead = Arena.attach(arena.buffer);
    RangeTree.attach(dead, "tree").bulkLoad(points(600, 2));
    const other = Arena.attach(arena.buffer);
    const tree = RangeTree.attach(other, "tree");
    {
      const reap = () => arena.reap(dead.thread);
      using middle = inTheMiddle(at, reap, ["store"]);
      tree.clear();
      done = !middle.came;
    }
    settle(other);
    settle(arena);
    for (const cache of Slabs.of(arena).all()) cache.validate();
    if (!done) {
      const { objects } = bothOf(arena).stats();
      assertEquals(objects, 0, `reaped after ${at} stores`);
    }
  }
});

function digestUnderLock(
  tree: RangeTree,
  external: boolean,
  arena: Arena,
): string {
  using _guard = external
    ? ExternalLock.attach(arena, "lock").guard()
    : undefined;
  return digest(tree);
}

Deno.test("Arena.reap() lets a grace period end that a dead reader held up, and frees what the dead thread deferred", () => {
  const { arena, victim, victimTree } = worldOf(true, false, false);
  victim.rcu.readLock();
  victimTree.eraseRange(0, 5000);
  assertThrows(() => arena.rcu.barrier(50), Error, `thread ${victim.thread}`);
  const { objects } = bothOf(arena).stats();
  arena.reap(victim.thread);
  arena.rcu.barrier();
  assert(bothOf(arena).stats().objects < objects);
});

Deno.test("Arena.reap() refuses this thread, one that has not joined, and to wait where it may not", () => {
  const { arena, victim } = worldOf(true, false, false);
  assertThrows(() => arena.reap(arena.thread), RangeError, "it is this one");
  assertThrows(() => arena.reap(9), RangeError, "it has not joined");
  assertThrows(() => arena.reap(0.5), RangeError, "it has not joined");
  using _section = arena.rcu.read();
  assertThrows(() => arena.reap(victim.thread), LockdepError);
});

Deno.test("Arena.reap() on a thread that has opened nothing releases the locks of trees all the same", () => {
  const { arena, victimTree, victim, tree } = worldOf(true, false, false);
  const supervisor = Arena.attach(arena.buffer);
  victimTree.lock();
  supervisor.reap(victim.thread);
  tree.store(3, 3);
  assertEquals(tree.load(3), 3);
});

Deno.test("Arena.reap() is refused where what the arena holds can't be put in order, and changes nothing", async () => {
  const { arena, victim, victimTree, tree } = worldOf(true, false, false);
  victimTree.lock();
  using worker = new TestWorker(new URL("./bare_worker.ts", import.meta.url));
  worker.send({ buffer: arena.buffer, gone: victim.thread });
  assertEquals(
    await worker.answer(),
    `Cannot reap thread ${victim.thread}: the arena holds slab caches, and the module that recovers them is not imported here`,
  );
  assertEquals(
    spinLockOwner(arena.words, lockIndexOf(tree.ref)),
    victim.thread,
  );
  arena.reap(victim.thread);
  tree.store(3, 3);
});

Deno.test("Arena.reap() leaves the slabs of a living compactor isolated", () => {
  const { arena, victim } = worldOf(true, false, false);
  const cache = bothOf(arena).leaves, theirs = bothOf(victim).leaves;
  const slabs = cache.slabs().filter(({ inUse }) => inUse > 0);
  assert(cache.isolate(slabs[0].pfn) && theirs.isolate(slabs[1].pfn));
  const idle = Arena.attach(arena.buffer);
  Slabs.of(idle);
  arena.reap(idle.thread);
  assertEquals(cache.stats().isolated, 2);
  arena.reap(victim.thread);
  assertEquals(cache.isolatedSlabs(), [slabs[0].pfn]);
  cache.validate();
  assert(cache.unisolate(slabs[0].pfn));
});

Deno.test("Arena.reap() leaves the slabs of a living compactor isolated when the dead thread held the cache's lock", () => {
  const { arena, victim } = worldOf(true, false, false);
  const cache = bothOf(arena).leaves, theirs = bothOf(victim).leaves;
  const slabs = cache.slabs().filter(({ inUse }) => inUse > 0);
  assert(cache.isolate(slabs[0].pfn));
  {
    // The lock is taken; nothing more happens.
    using _killing = dyingAfter(1);
    assertThrows(() => theirs.isolate(slabs[1].pfn), Killed);
  }
  arena.reap(victim.thread);
  assertEquals(cache.isolatedSlabs(), [slabs[0].pfn]);
  cache.validate();
});
