import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { LockdepError, Rcu, RcuStallError } from "../../src/sync/mod.ts";
import { rng, seeds } from "../seed.ts";
import { dyingAfter, Killed } from "../stress/dying.ts";
import type { RcuWorkerAnswer, RcuWorkerCommand } from "./rcu_worker.ts";
import {
  VirtualThreads,
  type VirtualThreadsOptions,
} from "./virtual_threads.ts";
import { TestWorker } from "./workers.ts";

/** So many refs make a batch that is worth a grace period. */
const BATCH = 64;

/** Three threads; the first two have an `Rcu` at hand. */
function threads(
  options?: VirtualThreadsOptions,
): { world: VirtualThreads; one: Rcu; two: Rcu; three: Rcu } {
  const world = new VirtualThreads(3, options);
  const [one, two, three] = world.rcus;
  return { world, one, two, three };
}

Deno.test("Rcu.join() claims the first free slot, leave() gives it back", () => {
  const world = new VirtualThreads(3);
  assertEquals(Rcu.join(world.words, world.slot(1), 3), 0, "all are taken");
  world.rcus[1].leave();
  assertEquals(
    [1, 2, 3].map((id) => Rcu.isJoined(world.words, world.slot(1), id)),
    [
      true,
      false,
      true,
    ],
  );
  assertEquals(Rcu.join(world.words, world.slot(1), 3), 2);
  assertEquals(Rcu.join(world.words, world.slot(1), 3), 0);
});

Deno.test("Rcu.leave() frees what the thread has deferred", () => {
  const { world, one } = threads();
  world.defer(1, 5);
  one.leave();
  assertEquals(world.freed, [5]);
});

Deno.test("Rcu.leave() frees what giving back has deferred", () => {
  const kept = [5, 6];
  const { world, one } = threads({
    giveBack(thread) {
      const ref = kept.pop();
      if (ref !== undefined) world.defer(thread, ref);
      return ref !== undefined;
    },
  });
  one.leave();
  assertEquals(world.freed, [6, 5]);
});

Deno.test("Rcu.leave() again is refused, whoever has the slot now", () => {
  const { world, two } = threads();
  two.leave();
  for (const joined of [0, 2]) {
    if (joined > 0) assertEquals(Rcu.join(world.words, world.slot(1), 3), 2);
    const before = world.words.slice();
    assertThrows(
      () => two.leave(),
      Error,
      "Cannot leave the arena: thread 2 has left already",
    );
    assertEquals(world.words.slice(), before);
  }
});

Deno.test("Rcu.leave() that stalls may be called again", () => {
  const { world, one, two } = threads();
  two.readLock();
  world.defer(1, 5);
  assertThrows(() => one.leave(1), RcuStallError);
  two.readUnlock();
  one.leave();
  assertEquals(world.freed, [5]);
});

Deno.test("Rcu.leave() inside a section is refused and keeps the slot", () => {
  const { world, one } = threads();
  one.readLock();
  assertThrows(() => one.leave(), LockdepError);
  assert(Rcu.isJoined(world.words, world.slot(1), 1));
});

Deno.test("Rcu.defer() frees nothing while a section is open that was open then", () => {
  const { world, one, two } = threads();
  two.readLock();
  world.defer(1, 5);
  assertEquals(one.pending, 1);
  assert(!one.flush());
  assert(!one.flush());
  assertEquals([world.freed, one.pending], [[], 1]);
  two.readUnlock();
  assertEquals(world.freed, [], "leaving frees nothing by itself");
  assert(one.flush());
  assertEquals([world.freed, one.pending], [[5], 0]);
});

Deno.test("Rcu frees a ref once, in the order that its list was chained", () => {
  const { world, one } = threads();
  for (const ref of [1, 2, 3]) world.defer(1, ref);
  one.barrier();
  one.barrier();
  assert(one.flush());
  assertEquals(world.freed, [3, 2, 1]);
});

Deno.test("Rcu does not wait for a section that began after the grace period", () => {
  const { world, one, two, three } = threads();
  two.readLock();
  world.defer(1, 5);
  assert(!one.flush());
  three.readLock();
  two.readUnlock();
  assert(one.flush());
  assertEquals(world.freed, [5]);
  three.readUnlock();
});

Deno.test("Rcu holds back what was deferred after the batch that waits", () => {
  const { world, one, two, three } = threads();
  two.readLock();
  world.defer(1, 5);
  assert(!one.flush());
  three.readLock();
  world.defer(1, 6);
  two.readUnlock();
  assert(!one.flush());
  assertEquals([world.freed, one.pending], [[5], 1]);
  three.readUnlock();
  assert(one.flush());
  assertEquals(world.freed, [5, 6]);
});

Deno.test("Rcu sections nest: only the outermost counts", () => {
  const { world, one, two } = threads();
  two.readLock();
  world.defer(1, 5);
  two.readLock();
  assertEquals(two.depth, 2);
  two.readUnlock();
  assert(!one.flush());
  assertEquals([world.freed, two.depth], [[], 1]);
  two.readUnlock();
  assertEquals(two.depth, 0);
  assert(one.flush());
});

Deno.test("Rcu sections of the thread itself hold its own refs back", () => {
  const { world, one } = threads();
  {
    using _guard = one.read();
    world.defer(1, 5);
    assert(!one.flush());
  }
  assertEquals(world.freed, []);
  assert(one.flush());
});

Deno.test("Rcu.readUnlock() outside of a section throws and changes nothing", () => {
  const { world, one } = threads();
  assertThrows(() => one.readUnlock(), Error, "this thread is in none");
  assertEquals(one.depth, 0);
  one.readLock();
  world.defer(2, 5);
  assert(!world.rcus[1].flush(), "a section that follows counts as ever");
});

Deno.test("Rcu.section names the outermost section", () => {
  const { one } = threads();
  one.readLock();
  const first = one.section;
  one.readLock();
  assertEquals(one.section, first);
  one.readUnlock();
  one.readUnlock();
  one.readLock();
  assertNotEquals(one.section, first);
});

Deno.test("Rcu.poll() waits for a batch, flush() does not", () => {
  const { world, one } = threads();
  for (let ref = 1; ref < BATCH; ref++) {
    world.defer(1, ref);
    one.poll();
  }
  assertEquals(world.freed, []);
  const { epoch } = world;
  world.defer(1, BATCH);
  one.poll();
  assertEquals(world.freed.length, BATCH);
  assertEquals(world.epoch - epoch, 2, "one grace period for all of them");
  world.defer(1, 100);
  assert(one.flush());
  assertEquals(world.freed.length, BATCH + 1);
});

Deno.test("Rcu.poll() inside a section never waits and keeps all", () => {
  const { world, one } = threads();
  using _guard = one.read();
  for (let ref = 1; ref <= 3 * BATCH; ref++) {
    world.defer(1, ref);
    one.poll();
  }
  assertEquals([world.freed.length, one.pending], [0, 3 * BATCH]);
});

Deno.test("Rcu.flush() and barrier() go on with what freeing defers", () => {
  for (const free of ["flush", "barrier"] as const) {
    const { world, one } = threads({
      onFree: (ref, thread) => ref < 4 && world.defer(thread, ref + 1),
    });
    world.defer(1, 1);
    one[free]();
    assertEquals([world.freed, one.pending], [[1, 2, 3, 4], 0]);
  }
});

Deno.test("Rcu.barrier() frees what any thread has deferred", () => {
  const { world, one, two, three } = threads();
  one.readLock();
  world.defer(1, 1);
  world.defer(2, 2);
  assert(!two.flush(), "a batch that waits");
  world.defer(2, 3);
  world.defer(3, 4);
  one.readUnlock();
  three.barrier();
  assertEquals(world.freed.toSorted(), [1, 2, 3, 4]);
  for (const rcu of world.rcus) rcu.barrier();
  assert(one.flush() && two.flush() && three.flush());
  assertEquals(world.freed.length, 4);
});

Deno.test("Rcu threads defer on after another's barrier took their list", () => {
  const { world, one, two } = threads();
  world.defer(1, 1);
  two.barrier();
  world.defer(1, 2);
  assert(one.flush());
  assertEquals([world.freed, one.pending], [[1, 2], 0]);
});

Deno.test("Rcu.synchronize() frees nothing and returns once no old section is open", () => {
  const { world, one } = threads();
  world.defer(1, 5);
  one.synchronize();
  assertEquals([world.freed, one.pending], [[], 1]);
});

Deno.test("Rcu.synchronize() and barrier() inside a section are refused", () => {
  for (const lockdep of [true, false]) {
    const { world, one } = threads({ lockdep });
    world.defer(1, 5);
    one.readLock();
    one.readLock();
    for (const wait of ["synchronize", "barrier"] as const) {
      const error = assertThrows(() => one[wait](), LockdepError);
      assertMatch(error.message, /suspicious RCU usage\n/);
      assertMatch(
        error.message,
        new RegExp(`Rcu\\.${wait}: illegal wait for a grace period`),
      );
      assertMatch(error.message, /inside 2 nested read section/);
    }
    assertEquals([one.depth, one.pending], [2, 1]);
  }
});

Deno.test("Rcu.synchronize() and barrier() under a lock are refused", () => {
  const { world, one } = threads();
  const [lockdep] = world.lockdeps;
  world.defer(1, 5);
  lockdep.acquire(lockdep.lockClass("tree"), 77, "RangeTree.store");
  for (const wait of ["synchronize", "barrier"] as const) {
    const error = assertThrows(
      () => one[wait](),
      LockdepError,
      "illegal wait for a grace period while holding a lock",
    );
    assertMatch(error.message, /tree \(word 77\), taken at RangeTree\.store/);
  }
  assertEquals(world.freed, []);
  lockdep.release(77);
  one.barrier();
  assertEquals(world.freed, [5]);
});

Deno.test("RcuStallError names every thread in the way, and what waits", () => {
  const { world, one, two, three } = threads();
  two.readLock();
  three.readLock();
  for (const ref of [1, 2]) world.defer(1, ref);
  const error = assertThrows(() => one.barrier(1), RcuStallError);
  assertEquals(error.stalls.map(({ thread, waiting }) => [thread, waiting]), [[
    2,
    2,
  ], [3, 2]]);
  for (const { waitedMillis } of error.stalls) assert(waitedMillis > 1);
  assertMatch(
    error.message,
    /Cannot end a grace period: threads 2, 3 have been inside/,
  );
  assertMatch(error.message, /2 deferred refs are waiting$/);
  two.readUnlock();
  const left = assertThrows(() => one.synchronize(1), RcuStallError);
  assertEquals(left.stalls.map(({ thread }) => thread), [3]);
  assertMatch(
    left.message,
    /: thread 3 has been inside .* 2 deferred refs are/,
  );
});

Deno.test("Rcu.barrier() that gives up leaves all queued for its next one", () => {
  const { world, one, two } = threads();
  two.readLock();
  world.defer(1, 1);
  world.defer(3, 2);
  assertThrows(() => one.barrier(1), RcuStallError);
  assertThrows(() => one.barrier(1), RcuStallError);
  assertEquals([world.freed, one.pending], [[], 1]);
  world.defer(1, 3);
  assertEquals(one.pending, 2);
  two.readUnlock();
  one.barrier();
  assertEquals([world.freed.toSorted(), one.pending], [[1, 2, 3], 0]);
});

Deno.test("Rcu.barrier() that gives up leaves all queued for any thread's next one", () => {
  const { world, one, two, three } = threads();
  two.readLock();
  world.defer(1, 1);
  world.defer(3, 2);
  assertThrows(() => one.barrier(1), RcuStallError);
  two.readUnlock();
  three.barrier();
  assertEquals(world.freed.toSorted(), [1, 2]);
});

/** Three threads have deferred 1; 2 and 3; 4, some in a batch that waits. The second's section holds all up. */
function queuedByEach(): ReturnType<typeof threads> {
  const all = threads();
  const { world, one, two } = all;
  two.readLock();
  world.defer(2, 2);
  assert(!two.flush());
  world.defer(2, 3);
  world.defer(1, 1);
  assert(!one.flush());
  world.defer(3, 4);
  return all;
}

Deno.test("Rcu.barrier() that gives up leaves every ref to the thread that deferred it", () => {
  const { world, one, two, three } = queuedByEach();
  assertThrows(() => three.barrier(1), RcuStallError);
  two.readUnlock();
  assert(one.flush());
  assertEquals(world.freed, [1]);
  two.leave();
  assertEquals(world.freed.toSorted(), [1, 2, 3]);
  assertEquals(three.pending, 1);
  assert(three.flush());
  assertEquals(world.freed.toSorted(), [1, 2, 3, 4]);
});

Deno.test("Rcu.flush() knows what a barrier that gave up has put back", () => {
  const { world, one, two, three } = queuedByEach();
  assertThrows(() => three.barrier(1), RcuStallError);
  assert(!one.flush(), "a reader is still inside");
  // What was deferred meanwhile is on the same list.
  world.defer(1, 5);
  assert(!one.flush());
  two.readUnlock();
  assert(one.flush());
  assertEquals(world.freed.toSorted(), [1, 5]);
});

Deno.test("RcuStallError of a barrier counts what all threads have deferred, each time", () => {
  const { world, one, two, three } = queuedByEach();
  for (const rcu of [one, three, one]) {
    const error = assertThrows(() => rcu.barrier(1), RcuStallError);
    assertEquals(error.stalls.map(({ waiting }) => waiting), [4]);
  }
  const error = assertThrows(() => three.synchronize(1), RcuStallError);
  assertMatch(error.message, / ms, 1 deferred ref is waiting$/);
  two.readUnlock();
  one.barrier();
  assertEquals(world.freed.toSorted(), [1, 2, 3, 4]);
});

Deno.test("Rcu.flush() frees what a barrier that gave up has left", () => {
  const { world, one, two } = threads();
  two.readLock();
  world.defer(1, 1);
  assertThrows(() => one.barrier(1), RcuStallError);
  two.readUnlock();
  assert(one.flush());
  assertEquals(world.freed, [1]);
});

Deno.test("Rcu.read() guards that end in the same turn are quiet", async () => {
  const { one, two } = threads();
  for (let turn = 0; turn < 3; turn++) {
    {
      using _outer = one.read();
      using _inner = one.read();
      using _other = two.read();
    }
    {
      using _again = one.read();
      assertEquals([one.depth, two.depth], [1, 0]);
    }
    await Promise.resolve();
  }
  assertEquals(one.depth, 0);
});

Deno.test("Rcu.read() reports a guard that spans an await", async () => {
  const { world, one } = threads();
  const error = await assertRejects(
    async () => {
      using _guard = one.read();
      await Promise.resolve();
    },
    LockdepError,
    "a read section spans an await",
  );
  assertMatch(
    error.message,
    /suspicious RCU usage\n.*voluntary context switch within it/,
  );
  assertEquals(one.depth, 0, "the section is left all the same");
  world.defer(1, 5);
  assert(one.flush());
});

Deno.test("Rcu.read() reports the outer of two guards that spans an await", async () => {
  const { one } = threads();
  await assertRejects(
    async () => {
      using _outer = one.read();
      {
        using _inner = one.read();
      }
      await Promise.resolve();
      {
        using _inner = one.read();
      }
    },
    LockdepError,
    "spans an await",
  );
});

Deno.test("Rcu.readUnlock() reports a section that spans an await, the first of a turn or a later one", async () => {
  const { world, one, two } = threads();
  for (const before of [0, 1, 5]) {
    for (let section = 0; section < before; section++) {
      one.readLock();
      one.readUnlock();
    }
    one.readLock();
    two.readLock();
    one.readLock();
    two.readUnlock();
    await Promise.resolve();
    one.readUnlock();
    assertThrows(() => one.readUnlock(), LockdepError, "spans an await");
    assertEquals(one.depth, 0, "the section is left all the same");
    // What follows is as ever.
    one.readLock();
    one.readUnlock();
    two.readLock();
    two.readUnlock();
    await Promise.resolve();
  }
  world.defer(1, 5);
  assert(one.flush());
});

Deno.test("Rcu.read() says nothing when lockdep is off", async () => {
  const { one } = threads({ lockdep: false });
  {
    using _guard = one.read();
    await Promise.resolve();
  }
  assertEquals(one.depth, 0);
});

Deno.test("Rcu epochs wrap round", () => {
  for (const turn of [2 ** 31, 2 ** 32]) {
    for (let before = 2; before <= 8; before += 2) {
      const { world, one, two, three } = threads({
        epoch: (turn - before) | 0,
      });
      for (let ref = 1; ref <= 8; ref++) {
        two.readLock();
        world.defer(1, ref);
        assert(!one.flush(), `an old section at epoch ${world.epoch}`);
        three.readLock();
        two.readUnlock();
        assert(one.flush(), `a new section at epoch ${world.epoch}`);
        three.readUnlock();
        one.synchronize();
      }
      assertEquals(world.freed, [1, 2, 3, 4, 5, 6, 7, 8]);
      assertEquals(
        Math.sign((turn - before) | 0),
        -Math.sign(world.epoch || 1),
        "it did wrap",
      );
    }
  }
});

Deno.test("Rcu waits for a section that began nearly 2^30 grace periods ago", () => {
  const { world, one, two } = threads();
  two.readLock();
  // A grace period raises it by 2.
  world.words[0] = 2 ** 31 - 4;
  world.defer(1, 5);
  assert(!one.flush());
  two.readUnlock();
  assert(one.flush());
});

const SECTIONS_TEST =
  "Rcu frees nothing that an open section could have seen, and all in the end";
for (const seed of seeds(SECTIONS_TEST)) {
  Deno.test(`${SECTIONS_TEST} (seed ${seed})`, () => {
    const random = rng(seed);
    for (const epoch of [0, 2 ** 31 - 30, -30]) {
      /** The sections, as "thread section", that were open when the ref was deferred. */
      const watchers = new Map<number, string[]>();
      const open = () =>
        world.rcus.flatMap((rcu, i) =>
          rcu.depth > 0 ? [`${i + 1} ${rcu.section}`] : []
        );
      const { world } = threads({
        epoch,
        onFree(ref) {
          const seen = watchers.get(ref);
          assert(
            seen !== undefined,
            `ref ${ref} was freed twice or never deferred`,
          );
          for (const section of seen) {
            assert(!open().includes(section), `${section} sees ${ref}`);
          }
          watchers.delete(ref);
        },
      });
      let next = 1;
      let freedEarly = 0;
      for (let step = 0; step < 1000; step++) {
        const thread = 1 + random.int(3);
        const rcu = world.rcus[thread - 1];
        const action = random.int(10);
        if (action < 3) {
          if (rcu.depth < 3) rcu.readLock();
        } else if (action < 6) {
          if (rcu.depth > 0) rcu.readUnlock();
        } else if (action < 8) {
          watchers.set(next, open());
          world.defer(thread, next++);
        } else if (action < 9) {
          rcu.flush();
        } else if (open().length === 0) {
          rcu.barrier();
          assertEquals(watchers.size, 0);
        }
        freedEarly = next - 1 - watchers.size;
      }
      assert(freedEarly > 20, `only ${freedEarly} refs were freed on the way`);
      for (const rcu of world.rcus) while (rcu.depth > 0) rcu.readUnlock();
      world.rcus[random.int(3)].barrier();
      assertEquals(watchers.size, 0);
      assertEquals(world.freed.length, next - 1);
    }
  });
}

Deno.test("Rcu of an arena: an attached thread's section keeps an object", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache({
    name: "points",
    objectBytes: 64,
    link: 15,
  });
  const reader = Arena.attach(arena.buffer);
  const ref = cache.allocate();
  arena.words[ref * 16] = 4711;
  reader.rcu.readLock();
  cache.defer(ref);
  assert(!arena.rcu.flush());
  assertEquals([cache.stats().objects, reader.words[ref * 16]], [1, 4711]);
  const error = assertThrows(() => arena.rcu.barrier(1), RcuStallError);
  assertEquals(error.stalls.map(({ thread }) => thread), [reader.thread]);
  assert(cache.isAllocated(ref));
  reader.rcu.readUnlock();
  arena.rcu.barrier();
  assertEquals(cache.stats().objects, 0);
  cache.validate();
});

Deno.test("Rcu of an arena: a worker's section keeps an object", async () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const cache = Slabs.of(arena).cache({
    name: "points",
    objectBytes: 64,
    link: 15,
  });
  const ref = cache.allocate();
  arena.words[ref * 16] = 4711;
  const gate = new Int32Array(new SharedArrayBuffer(4));
  using worker = new TestWorker(new URL("./rcu_worker.ts", import.meta.url));
  worker.send(
    {
      buffer: arena.buffer,
      object: ref * 16,
      gate: gate.buffer,
    } satisfies RcuWorkerCommand,
  );
  assertEquals(await worker.answer(), "inside");

  cache.defer(ref);
  assert(!arena.rcu.flush());
  const error = assertThrows(() => arena.rcu.barrier(1), RcuStallError);
  assertEquals(error.stalls.map(({ thread }) => thread), [2]);
  // Were the object free, it would be the next one.
  const other = cache.allocate();
  assertNotEquals(other, ref);
  arena.words[other * 16] = 1;

  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  // Waits for the worker if need be, while this thread can't take its answer.
  arena.rcu.barrier();
  assert(!cache.isAllocated(ref));
  assertEquals(await worker.answer<RcuWorkerAnswer>(), {
    thread: 2,
    seen: [4711, 4711],
  });
  assertEquals(cache.allocate(), ref);
});

Deno.test("Rcu loses nothing of a thread that dies of deferring what the one before it in its slot had deferred", () => {
  for (const isWaiting of [false, true]) {
    for (let step = 0, died = true; died; step++) {
      const threads = new VirtualThreads(2);
      const { freed, rcus } = threads;
      threads.defer(2, 5);
      // It moves what it has deferred to the other list; a read section keeps it there.
      rcus[0].readLock();
      if (isWaiting) rcus[1].flush();
      rcus[0].readUnlock();
      rcus[0].barrier();
      rcus[1].leave();
      assertEquals(freed, [5]);

      assertEquals(threads.join(), 2);
      {
        using dying = dyingAfter(step);
        try {
          threads.defer(2, 5);
        } catch (error) {
          assert(error instanceof Killed);
        }
        died = dying.died;
      }
      rcus[0].endSectionsOf(2);
      rcus[0].recover(2);
      rcus[0].barrier();
      assertEquals(freed, [5, 5], `at step ${step}`);
    }
  }
});
