import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  Arena,
  BackgroundCompactor,
  Compactor,
  LockdepError,
  planCompaction,
  RangeTree,
} from "../../mod.ts";
import { stub } from "@std/testing/mock";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "../range_tree/mirror.ts";
import { chooseEntries, chooseRun, doOne } from "../range_tree/sequences.ts";
import {
  assertSame,
  digest,
  insideSection,
  points,
} from "../range_tree/worlds.ts";
import { bothOf } from "../range_tree/both_caches.ts";

/** Trees whose slabs are a quarter full. */
function fragmented(arena: Arena, lock: "internal" | "none" = "internal") {
  const trees = Array.from(
    { length: 500 },
    () => RangeTree.create(arena, { rcu: true, lock }),
  );
  for (const tree of trees) tree.bulkLoad(points(60, 2));
  return trees.filter((tree, i) => {
    if (i % 4 === 0) return true;
    tree.destroy();
    return false;
  });
}

function freeable(arena: Arena): number {
  arena.rcu.barrier();
  return bothOf(arena).all.reduce((sum, cache) => {
    cache.shrink();
    return sum + planCompaction(cache.slabs(), cache.capacity).freeableSlabs;
  }, 0);
}

Deno.test("BackgroundCompactor.slice() wins all that is above its upper threshold, and no tree changes", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees = fragmented(arena);
  const before = trees.map(digest);
  const expected = freeable(arena);
  assert(expected > 64, `${expected} slabs`);
  const compactor = new BackgroundCompactor(arena, { stopAbove: 1 });
  while (compactor.slice());
  const { freedSlabs, passes, moves, pinned } = compactor.totals();
  assertEquals(freeable(arena), 0);
  assert(passes > 1 && moves > 0);
  assertEquals([freedSlabs, pinned], [expected, 0]);
  assertEquals(trees.map(digest), before);
  for (const tree of trees) tree.validate();
  bothOf(arena).validate();
  assertEquals(bothOf(arena).isolatedSlabs(), []);
});

Deno.test("BackgroundCompactor starts below one threshold and stops above the other", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  // The thresholds are for each cache.
  const occupancies = () =>
    bothOf(arena).all.map((cache) => {
      const { slabs, objects } = cache.usage();
      return objects / (slabs * 16);
    });
  arena.rcu.barrier();
  const low = Math.min(...occupancies()), high = Math.max(...occupancies());
  const idle = new BackgroundCompactor(arena, {
    startBelow: low - 0.01,
    stopAbove: 1,
  });
  assertEquals(idle.slice(), false);
  assertEquals(idle.totals().passes, 0);
  const busy = new BackgroundCompactor(arena, {
    startBelow: high + 0.01,
    stopAbove: 0.6,
  });
  while (busy.slice());
  assert(occupancies().every((each) => each >= 0.6), `${occupancies()}`);
  const { passes } = busy.totals();
  assertEquals(busy.slice(), false);
  assertEquals(busy.totals().passes, passes);
});

Deno.test("BackgroundCompactor.slice() ends after one move if its time is up, and goes on where it was", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees = fragmented(arena);
  const before = trees.map(digest);
  const compactor = new BackgroundCompactor(arena, { sliceMillis: 1e-9 });
  let slices = 0;
  for (let moves = 0; compactor.slice(); slices++) {
    const now = compactor.totals();
    assert(now.moves >= moves);
    moves = now.moves;
    if (slices % 50 === 0) assertEquals(trees.map(digest), before);
  }
  // Nothing but one move fits in a slice, and each pass has one or more that settle.
  assert(slices >= compactor.totals().moves, `${slices} slices`);
  assertEquals(trees.map(digest), before);
});

Deno.test("BackgroundCompactor.stop() puts back what it has isolated", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  const compactor = new BackgroundCompactor(arena, { sliceMillis: 1e-9 });
  for (let i = 0; i < 5; i++) assert(compactor.slice());
  assert(bothOf(arena).isolatedSlabs().length > 0);
  compactor.stop();
  assertEquals(bothOf(arena).isolatedSlabs(), []);
  const objects = bothOf(arena).stats().objects;
  arena.rcu.barrier();
  assert(bothOf(arena).stats().objects < objects, "places were kept");
  bothOf(arena).validate();
});

Deno.test("BackgroundCompactor.slice() does not wait for a reader, and frees the slabs once it is gone", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  arena.rcu.barrier();
  const compactor = new BackgroundCompactor(arena);
  {
    using _reader = insideSection(arena);
    for (let i = 0; i < 50; i++) assert(compactor.slice());
    assertEquals(compactor.totals().freedSlabs, 0);
    assertEquals(compactor.totals().passes, 1);
  }
  while (compactor.slice());
  assert(compactor.totals().freedSlabs > 0);
});

Deno.test("BackgroundCompactor.slice() ends behind a slab of a tree whose lock is held, and goes on when it is released", () => {
  // Attached by its buffer, a thread's accesses are those of `Atomics`, which can be watched.
  const other = Arena.create({ byteLength: 2 ** 23 });
  const arena = Arena.attach(other.buffer);
  const [, ...others] = fragmented(arena);
  for (const tree of others) tree.destroy();
  // One tree, whose nodes lie in slabs between what is gone.
  const tree = RangeTree.create(arena, { rcu: true });
  const beside = RangeTree.create(arena, { rcu: true });
  for (let i = 0; i < 3000; i++) {
    tree.store(i * 2, i + 1);
    if (i % 2 === 0) beside.store(i * 2, 1);
  }
  beside.destroy();
  arena.rcu.barrier();
  const before = digest(tree);
  const compactor = new BackgroundCompactor(arena, {
    sliceMillis: 60_000,
    startBelow: 1,
    stopAbove: 1,
  });
  {
    using _guard = RangeTree.attach(other, tree.ref).lock();
    assert(compactor.slice());
    const tries = stub(Atomics, "compareExchange", Atomics.compareExchange);
    using _tries = tries;
    assert(compactor.slice());
    // The lock is tried for one node of the slab, not for each.
    const lock = tree.ref * 16 + 16;
    assertEquals(
      tries.calls.filter(({ args }) => args[1] === lock).length,
      1,
    );
  }
  const left = freeable(arena);
  while (compactor.slice());
  const { freedSlabs, busy } = compactor.totals();
  assertEquals(busy, 0);
  assert(freedSlabs > left / 2, `${freedSlabs} of ${left}`);
  assertEquals(digest(tree), before);
  tree.validate();
});

Deno.test("Compactors of one thread share a mover, and take nothing from each other", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees = fragmented(arena);
  const before = trees.map(digest);
  const compactor = new BackgroundCompactor(arena, {
    sliceMillis: 1e-9,
    stopAbove: 1,
  });
  for (let i = 0; i < 70; i++) compactor.slice();
  const holds = compactor.totals().lockHoldNanos;
  assert(holds.max > 0);
  const second = new Compactor(arena);
  assertEquals(compactor.totals().lockHoldNanos, holds);
  assert(second.run().moves > 0);
  assertEquals(compactor.totals().lockHoldNanos, holds);
  while (compactor.slice());
  assert(compactor.totals().lockHoldNanos.max >= holds.max);
  arena.rcu.barrier();
  assertEquals(
    bothOf(arena).stats().objects,
    trees.reduce((sum, tree) => sum + tree.stats().nodes, 0),
  );
  assertEquals(freeable(arena), 0);
  assertEquals(trees.map(digest), before);
});

Deno.test("BackgroundCompactor goes round trees that nothing can be locked for, and backs off", async () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees = fragmented(arena, "none");
  arena.rcu.barrier();
  bothOf(arena, false).shrink();
  const compactor = new BackgroundCompactor(arena, { idleMillis: 1 });
  for (let i = 0; i < 5; i++) while (compactor.slice());
  const { moves, freedSlabs, pinned, passes } = compactor.totals();
  assertEquals([moves, freedSlabs], [0, 0]);
  assert(pinned > 0 && passes > 0);
  assertEquals(trees.map((tree) => tree.count), trees.map(() => 60));
  // An abort ends the sleep.
  await compactor.run(AbortSignal.timeout(5));
});

Deno.test("BackgroundCompactor leaves a cache out of ever more looks while nothing can be freed of it, and goes on with the others", () => {
  const arena = Arena.create({ byteLength: 2 ** 24 });
  const pinned = fragmented(arena, "none");
  arena.rcu.barrier();
  bothOf(arena, false).shrink();
  const compactor = new BackgroundCompactor(arena, { sliceMillis: 60_000 });
  for (let i = 0; i < 200; i++) compactor.slice();
  // Looks 1, 3, 6, 11, 20, 37, 70 and 135, and another one if the first pass frees what was empty.
  const before = compactor.totals();
  assert(before.passes >= 7 && before.passes <= 9, `${before.passes} passes`);
  const movable = fragmented(arena);
  for (let i = 0; i < 20; i++) compactor.slice();
  const { freedSlabs, moves } = compactor.totals();
  assert(freedSlabs > before.freedSlabs && moves > 0);
  for (const tree of [...pinned, ...movable]) tree.validate();
});

Deno.test("BackgroundCompactor keeps the thresholds of each cache apart", () => {
  const arena = Arena.create({ byteLength: 2 ** 24 });
  // Of one cache nothing can be freed, and it is sparse; the other is between the thresholds.
  fragmented(arena, "none");
  const trees = Array.from(
    { length: 200 },
    () => RangeTree.create(arena, { rcu: true }),
  );
  for (const tree of trees) tree.bulkLoad(points(60, 2));
  trees.forEach((tree, i) => i % 9 === 0 && tree.destroy());
  assert(freeable(arena) > 0);
  const compactor = new BackgroundCompactor(arena, { startBelow: 0.8 });
  for (let i = 0; i < 20; i++) compactor.slice();
  assertEquals(compactor.totals().moves, 0);
  assert(compactor.totals().passes > 0);
});

Deno.test("BackgroundCompactor.pauseMillis keeps the duty, also behind the last slice, and idles at least as long as it is told", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  const duty = 0.001, sliceMillis = 1;
  const compactor = new BackgroundCompactor(arena, {
    duty,
    sliceMillis,
    idleMillis: 1e-6,
  });
  for (let hasMore = true; hasMore;) {
    const { seconds } = compactor.totals();
    hasMore = compactor.slice();
    const taken = (compactor.totals().seconds - seconds) * 1000;
    // This thread may have waited for its processor in between.
    const worked = Math.min(taken, sliceMillis);
    assertAlmostEquals(
      worked / (worked + compactor.pauseMillis),
      duty,
      duty / 100,
    );
  }
  const idle = new BackgroundCompactor(arena, { duty: 1, idleMillis: 7 });
  while (idle.slice());
  assertEquals(idle.pauseMillis, 7);
});

Deno.test("BackgroundCompactor.pauseMillis counts no slice as longer than it may be, however long the thread was kept from its processor", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  const duty = 0.25, sliceMillis = 2;
  const compactor = new BackgroundCompactor(arena, { duty, sliceMillis });
  let now = 0;
  using _clock = stub(performance, "now", () => now += 500);
  assert(compactor.slice());
  assert(compactor.totals().longestSliceMillis >= 500);
  assertEquals(compactor.pauseMillis, sliceMillis * (1 - duty) / duty);
});

Deno.test("BackgroundCompactor.run() puts back what it has isolated when it fails", async () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  const compactor = new BackgroundCompactor(arena, { sliceMillis: 1e-9 });
  assert(compactor.slice());
  assert(bothOf(arena).isolatedSlabs().length > 0);
  const { mover } = bothOf(arena).leaves;
  using _relocate = stub(mover!, "relocate", () => {
    throw new Error("a mistake in the mover");
  });
  await assertRejects(
    () => compactor.run(new AbortController().signal),
    Error,
    "a mistake in the mover",
  );
  assertEquals(bothOf(arena).isolatedSlabs(), []);
});

Deno.test("BackgroundCompactor takes an option that is undefined for one that is not given", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  fragmented(arena);
  const compactor = new BackgroundCompactor(arena, {
    policy: undefined,
    startBelow: undefined,
    stopAbove: undefined,
    sliceMillis: undefined,
    duty: undefined,
    idleMillis: undefined,
  });
  while (compactor.slice());
  assert(compactor.totals().freedSlabs > 0);
});

Deno.test("BackgroundCompactor refuses options out of bounds, and work where it could block", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  for (
    const options of [
      { startBelow: 0.9, stopAbove: 0.8 },
      { startBelow: -1 },
      { stopAbove: 1.1 },
      { sliceMillis: 0 },
      { duty: 0 },
      { duty: 1.5 },
      { idleMillis: NaN },
    ]
  ) {
    assertThrows(
      () => new BackgroundCompactor(arena, options),
      RangeError,
      "Cannot compact in the background",
    );
  }
  const compactor = new BackgroundCompactor(arena);
  using _section = arena.rcu.read();
  assertThrows(() => compactor.slice(), LockdepError, "inside a read section");
});

const BETWEEN =
  "BackgroundCompactor.slice() between any two operations changes no answer";
Deno.test(BETWEEN, () => {
  for (const seed of seeds(BETWEEN)) {
    const random = rng(seed);
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const worlds = [false, true].map((rcu) => ({
      tree: RangeTree.create(arena, { rcu, gaps: rcu }),
      mirror: new Mirror(),
      run: chooseRun(random, 400),
    }));
    for (const { tree, mirror, run } of worlds) {
      mirror.entries = chooseEntries(random, run);
      tree.bulkLoad(mirror.entries);
    }
    const compactor = new BackgroundCompactor(arena, {
      sliceMillis: 1e-9,
      startBelow: 1,
      stopAbove: 1,
    });
    let others: RangeTree[] = [];
    for (let step = 0; step < 500; step++) {
      const { tree, mirror, run } = random.pick(worlds);
      doOne(tree, mirror, random, run);
      // Other trees come and go, and leave holes.
      if (step % 4 === 0) {
        const other = RangeTree.create(arena);
        other.bulkLoad(points(20, 2));
        others.push(other);
      }
      if (others.length > 50) {
        others = others.filter((other, i) => {
          if (i % 5 === 0) return true;
          other.destroy();
          return false;
        });
      }
      for (let slices = random.int(4); slices > 0; slices--) compactor.slice();
      for (const world of worlds) assertSame(world.tree, world.mirror);
    }
    compactor.stop();
    assert(compactor.totals().moves > 0);
    bothOf(arena).validate();
    arena.pages.validate();
  }
});
