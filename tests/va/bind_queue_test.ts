import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  type BindOp,
  BindQueue,
  type BindQueueOptions,
  Compactor,
  LockdepError,
  OutOfMemoryError,
  PageTable,
  Slabs,
  Timeline,
  VaError,
  VaManager,
} from "../../mod.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { PAGE, toText, VaMirror } from "./mirror.ts";
import { failAfter, failEach, objectsInUse, pages, spec } from "./worlds.ts";

const STRATEGIES = ["submit", "run"] as const;

function world(options: BindQueueOptions = {}, bytes = 2 ** 23) {
  const arena = Arena.create({ byteLength: bytes });
  const vm = VaManager.create(arena, {
    range: 2 ** 47,
    outerLock: options.mutex ? "manager" : "driver",
  });
  const table = new PageTable();
  const queue = new BindQueue(vm, { backend: table, ...options });
  return { arena, vm, table, queue };
}

function map(first: number, count: number, object = 1, offset = 0): BindOp {
  return { op: "map", ...pages(first, count, object, offset) };
}

function span(
  op: "unmap" | "sparseMap" | "sparseUnmap",
  first: number,
  count: number,
): BindOp {
  const { start, range } = pages(first, count);
  return { op, start, range };
}

function stateOf(vm: VaManager): unknown {
  vm.tree.validate();
  return [toText(vm.mappings()), [...vm.regions()]];
}

function randomOps(random: Rng, count: number): BindOp[] {
  return Array.from({ length: count }, () => {
    const first = random.int(60), size = 1 + random.int(12);
    return random.int(3) > 0
      ? map(first, size, 1 + random.int(3), random.int(20))
      : span("unmap", first, size);
  });
}

function carryOut(mirror: VaMirror, ops: readonly BindOp[]): void {
  for (const op of ops) {
    if (op.op === "map") mirror.map(spec(op));
    else mirror.unmap(op);
  }
}

for (const strategy of STRATEGIES) {
  for (const mutex of [false, true]) {
    const name =
      `BindQueue agrees with the mirror, strategy ${strategy}, mutex ${mutex}`;
    for (const seed of seeds(name)) {
      Deno.test(`${name}, seed ${seed}`, async () => {
        const random = rng(seed);
        const { arena, vm, table, queue } = world(
          mutex ? { strategy, mutex, backend: undefined } : { strategy },
        );
        const compactor = new Compactor(arena);
        const mirror = new VaMirror();
        for (let i = 0; i < 60; i++) {
          const ops = randomOps(random, random.int(8));
          const job = queue.submit(ops, { sync: random.int(2) === 0 });
          await job.ended;
          if (random.int(5) === 0) compactor.run();
          carryOut(mirror, ops);
          vm.tree.validate();
          assertEquals(toText(vm.mappings()), mirror.text);
          for (let page = 0; !mutex && page < 75; page++) {
            const entry = table.read(page * PAGE);
            assertEquals(
              entry ? `${entry.object}@${entry.offset}` : "nothing",
              mirror.at(page * PAGE),
            );
          }
        }
        queue.trim();
        const inUse = objectsInUse(arena);
        assertEquals(inUse.va_mapping, vm.count);
        vm.destroy();
        const { range_node, range_inner } = objectsInUse(arena);
        assertEquals([range_node, range_inner], [0, 0]);
      });
    }
  }

  Deno.test(`BindQueue.submit() leaves the VM as it was when operation k of n is refused, for every k, strategy ${strategy}`, () => {
    const { arena, vm, queue } = world({
      strategy,
      objectSize: (object) => object < 9 ? 2 ** 30 : undefined,
    });
    queue.submit([map(0, 40, 1), span("sparseMap", 100, 20)], { sync: true });
    const good: BindOp[] = [
      map(3, 5, 2),
      span("unmap", 10, 4),
      map(101, 2, 3),
      span("sparseMap", 200, 4),
      map(201, 1, 4),
      span("sparseUnmap", 100, 20),
    ];
    const bad: [BindOp, string][] = [
      [map(1, 1, 9), "ENOENT"],
      [map(1, 2 ** 20, 1), "EINVAL"],
      [{ ...map(1, 1), start: 5 } as BindOp, "EINVAL"],
      [span("sparseMap", 30, 4), "ENOSPC"],
      [span("sparseUnmap", 30, 4), "ENOENT"],
      [map(99, 2, 1), "ENOSPC"],
      [{ op: "bogus", start: 0, range: PAGE } as unknown as BindOp, "EINVAL"],
    ];
    queue.trim();
    const before = [stateOf(vm), objectsInUse(arena)];
    for (const [wrong, code] of bad) {
      for (let k = 0; k <= good.length; k++) {
        let error: unknown;
        try {
          error =
            queue.submit(good.toSpliced(k, 0, wrong), { sync: true }).error;
        } catch (thrown) {
          error = thrown;
        }
        assert(error instanceof VaError, `${wrong.op} at ${k} was taken`);
        assertEquals(error.code, code);
        queue.trim();
        assertEquals([stateOf(vm), objectsInUse(arena)], before);
        assertEquals(queue.pending, 0);
      }
    }
    assertEquals(queue.submit(good, { sync: true }).state, "done");
  });

  Deno.test(`BindQueue.submit() leaves the VM as it was when any of its allocations fails, strategy ${strategy}`, () => {
    const { arena, vm, queue } = world({ strategy });
    for (let i = 0; i < 400; i++) vm.insert(pages(5 * i, 4, 1, 8 * i));
    const ops = [
      ...Array.from({ length: 10 }, (_, i) => map(13 * i, 9, 2 + i % 3)),
      span("sparseMap", 9000, 10),
      map(9001, 1, 1),
      span("unmap", 500, 400),
    ];
    // The first submission that succeeds keeps its memory for the next.
    const needed = failEach(
      arena,
      () => stateOf(vm),
      () => queue.submit(ops, { sync: true }),
    );
    assert(needed >= 3, `${needed} allocations`);
  });

  Deno.test(`BindQueue executes jobs in order, each when its fences are reached, strategy ${strategy}`, async () => {
    const { vm, table, queue } = world({ strategy });
    const ready = new Timeline(), done = new Timeline();
    const inFences = [{ timeline: ready, value: 2 }];
    const jobs = [1, 2, 3].map((i) =>
      queue.submit([map(0, 4, i), map(10 * i, 1, i)], {
        inFences: i === 1 ? inFences : [],
        outFences: [{ timeline: done, value: i }],
      })
    );
    await Promise.resolve();
    assertEquals([queue.pending, done.value], [3, 0]);
    assertEquals(vm.count, strategy === "run" ? 0 : 4);
    assertEquals(table.read(0), undefined);
    ready.signal(1);
    await Promise.resolve();
    assertEquals(done.value, 0);
    ready.signal(2);
    await jobs[2].ended;
    assertEquals(jobs.map((job) => job.state), ["done", "done", "done"]);
    assertEquals([done.value, queue.pending], [3, 0]);
    assertEquals(table.read(0)?.object, 3);
    assertEquals(vm.lookup(0)?.object, 3);
    assertEquals(vm.count, 4);
  });

  Deno.test(`BindQueue.submit() of a synchronous job does not wait for another queue's jobs, strategy ${strategy}`, async () => {
    const { vm, queue } = world({ strategy });
    const other = new BindQueue(vm, { strategy });
    const ready = new Timeline();
    const late = queue.submit([map(0, 4, 1)], {
      inFences: [{ timeline: ready, value: 1 }],
    });
    assertEquals(other.submit([map(100, 4, 2)], { sync: true }).state, "done");
    assertEquals(vm.lookup(100 * PAGE)?.object, 2);
    const error = assertThrows(
      () => queue.submit([map(200, 4, 2)], { sync: true }),
      VaError,
      "1 jobs are ahead",
    );
    assertEquals(error.code, "ETIME");
    assertThrows(
      () =>
        other.submit([map(200, 4, 2)], {
          sync: true,
          inFences: [{ timeline: ready, value: 1 }],
        }),
      VaError,
      "a fence is at 0",
    );
    assertEquals(vm.lookup(200 * PAGE), undefined);
    ready.signal(1);
    await late.ended;
    assertEquals(vm.lookup(0)?.object, 1);
  });

  Deno.test(`BindQueue executes a job later whose submitter holds the lock that it takes, strategy ${strategy}`, async () => {
    for (const how of ["flush", "cancel", "dead fence"]) {
      const { vm, table, queue } = world({ strategy, mutex: true });
      const ready = new Timeline(), done = new Timeline();
      const job = queue.submit([map(0, 1)], {
        inFences: [{ timeline: ready, value: 1 }],
        outFences: [{ timeline: done, value: 1 }],
      });
      {
        using _guard = vm.lock();
        if (how === "flush") {
          ready.signal(1);
          assertThrows(() => queue.flush(), LockdepError);
        } else if (how === "cancel") assert(queue.cancel(job));
        else ready.cancel(new Error("dead"));
        assertEquals([queue.pending, done.value], [1, 0]);
      }
      await Promise.allSettled([job.ended]);
      const state = how === "flush" ? "done" : "canceled";
      assertEquals([job.state, done.value, queue.pending], [state, 1, 0]);
      const isThere = how === "flush" || strategy === "submit";
      assertEquals(
        [table.read(0)?.object, vm.lookup(0)?.object],
        isThere ? [1, 1] : [undefined, undefined],
      );
    }
  });

  Deno.test(`BindQueue leaves a job where it is when the driver's lock can't be taken, strategy ${strategy}`, async () => {
    let isBroken = false;
    const guard = () => {
      if (isBroken) throw new Error("broken");
      return { [Symbol.dispose]() {} };
    };
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const vm = VaManager.create(arena, { range: 2 ** 47 });
    const table = new PageTable(), ready = new Timeline();
    const mutex = { guard };
    const queue = new BindQueue(vm, { strategy, mutex, backend: table });
    const jobs = [1, 2].map((object) =>
      queue.submit([map(0, 1, object)], {
        inFences: [{ timeline: ready, value: 1 }],
      })
    );
    ready.signal(1);
    isBroken = true;
    for (let i = 0; i < 3; i++) {
      assertThrows(() => queue.flush(), Error, "broken");
      assertEquals([queue.pending, jobs[0].state], [2, "armed"]);
    }
    isBroken = false;
    assertEquals(queue.flush(), 2);
    await Promise.all(jobs.map((job) => job.ended));
    assertEquals([table.read(0)?.object, vm.lookup(0)?.object], [2, 2]);
  });

  Deno.test(`BindQueue executes a synchronous job under one hold of the lock, or not at all, strategy ${strategy}`, async () => {
    let holds = 0, mayHold = 1;
    const guard = () => {
      if (holds === mayHold) throw new Error("broken");
      holds++;
      return { [Symbol.dispose]() {} };
    };
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const vm = VaManager.create(arena, { range: 2 ** 47 });
    const table = new PageTable();
    const queue = new BindQueue(vm, {
      strategy,
      mutex: { guard },
      backend: table,
    });
    queue.submit([map(0, 1)], { sync: true });
    assertEquals([holds, table.read(0)?.object], [1, 1]);
    const submit = () => queue.submit([map(1, 1)], { sync: true });
    assertThrows(submit, Error, "broken");
    mayHold = 9;
    await Promise.resolve();
    assertEquals([queue.flush(), queue.pending, vm.count], [0, 0, 1]);
    assertEquals(submit().state, "done");
  });

  Deno.test(`BindQueue without a mutex refuses a job that would be executed without the manager's own lock, strategy ${strategy}`, () => {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const vm = VaManager.create(arena, {
      range: 2 ** 47,
      outerLock: "manager",
    });
    const table = new PageTable();
    const queue = new BindQueue(vm, { strategy, backend: table });
    using _guard = vm.lock();
    const { code } = assertThrows(() => queue.submit([map(0, 1)]), VaError);
    assertEquals([code, queue.pending, vm.count], ["EINVAL", 0, 0]);
    const job = queue.submit([map(0, 1)], { sync: true });
    assertEquals([job.state, table.read(0)?.object], ["done", 1]);
  });

  Deno.test(`BindQueue gives up jobs whose fence is canceled or too late, and frees everything, strategy ${strategy}`, async () => {
    const { arena, vm, table, queue } = world({ strategy });
    const ready = new Timeline(), done = new Timeline();
    await queue.submit([map(0, 8, 1)]).ended;
    const canceled = queue.submit([map(2, 2, 2)], {
      inFences: [{ timeline: ready, value: 1 }],
      outFences: [{ timeline: done, value: 1 }],
    });
    const next = queue.submit([map(20, 1, 3)]);
    ready.cancel(new Error("lost"));
    await assertRejects(() => canceled.ended, Error, "lost");
    await next.ended;
    assertEquals([canceled.state, done.value], ["canceled", 1]);
    // With strategy "submit" the tree was changed already, so the page table is written all the same.
    const object = strategy === "run" ? 1 : 2;
    assertEquals(vm.lookup(2 * PAGE)?.object, object);
    assertEquals(table.read(2 * PAGE)?.object, object);

    const late = queue.submit([map(30, 1, 3)], {
      inFences: [{ timeline: new Timeline(), value: 1 }],
      timeoutMillis: 1,
    });
    const error = await assertRejects(() => late.ended, VaError);
    assertEquals(error.code, "ETIME");
    queue.trim();
    assertEquals(objectsInUse(arena).va_mapping, vm.count);
    assertEquals(queue.pending, 0);
  });
}

Deno.test("BindQueue.submit() waits as long as it is told, however long that is", () => {
  const { queue } = world();
  const timers: { call: () => void; millis: number }[] = [];
  using _timers = stub(
    globalThis,
    "setTimeout",
    ((call: () => void, millis: number) =>
      timers.push({ call, millis })) as unknown as typeof setTimeout,
  );
  const inFences = [{ timeline: new Timeline(), value: 1 }];
  const submit = (timeoutMillis: number) =>
    queue.submit([map(0, 1)], { inFences, timeoutMillis });
  assertEquals([submit(Infinity).state, timers.length], ["armed", 0]);
  for (const millis of [0, 1.5, 2 ** 31 - 1, 2 ** 31, 1e10, 2 ** 33 + 7]) {
    const job = submit(millis);
    let waited = 0;
    for (let timer = timers.shift(); timer; timer = timers.shift()) {
      assertEquals(job.state, "armed");
      assert(timer.millis < 2 ** 31, `${timer.millis}`);
      waited += timer.millis;
      timer.call();
    }
    assertEquals([job.state, waited], ["canceled", millis]);
  }
});

Deno.test("BindQueue.submit() refuses times and fences that there can't be, and changes nothing", () => {
  for (const strategy of STRATEGIES) {
    const { arena, vm, queue } = world({ strategy });
    const before = objectsInUse(arena);
    for (const timeoutMillis of [NaN, -1, -Infinity]) {
      const submit = () => queue.submit([map(0, 1)], { timeoutMillis });
      assertThrows(submit, RangeError, `${timeoutMillis} ms`);
    }
    const timeline = new Timeline();
    const fences = [NaN, -1, 0.5, Infinity, 2 ** 53].map((value) => ({
      timeline,
      value,
    }));
    for (const fence of [...fences, null, { value: 1 }]) {
      for (const name of ["inFences", "outFences"]) {
        const submit = () => queue.submit([map(0, 1)], { [name]: [fence] });
        assertEquals(assertThrows(submit, VaError, "timeline").code, "EINVAL");
      }
    }
    assertEquals([vm.count, queue.pending], [0, 0]);
    assertEquals(objectsInUse(arena), before);
  }
});

Deno.test("BindQueue executes without allocating: lockdep finds a backend that does", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const vm = VaManager.create(arena, { range: 2 ** 47 });
  const cache = Slabs.of(arena).cache({ name: "x", objectBytes: 64, link: 15 });
  let allocate = false;
  const table = new PageTable();
  const queue = new BindQueue(vm, {
    strategy: "run",
    backend: {
      execute: (lists) => {
        if (allocate) cache.allocate();
        table.execute(lists);
      },
      setSparse: (span, on) => table.setSparse(span, on),
    },
  });
  for (let i = 0; i < 300; i++) {
    queue.submit([map(3 * i, 2, 1 + i % 40), map(3 * i + 1, 3, 50)], {
      sync: true,
    });
  }
  allocate = true;
  assertThrows(
    () => queue.submit([map(0, 1)], { sync: true }),
    LockdepError,
    "must not wait for memory",
  );
  allocate = false;
  assertEquals(queue.submit([map(0, 1)], { sync: true }).state, "done");
});

Deno.test("BindQueue with strategy run needs no memory at run: nothing is left to allocate", async () => {
  const { arena, vm, queue } = world({ strategy: "run" });
  const ready = new Timeline();
  const ops = Array.from(
    { length: 200 },
    (_, i) => map(7 * (i * 37 % 200), 5, 1 + i % 3),
  );
  const job = queue.submit(ops, { inFences: [{ timeline: ready, value: 1 }] });
  using failing = failAfter(arena, 0);
  ready.signal(1);
  await job.ended;
  assertEquals(failing.failed, false);
  assertEquals(vm.count, 200);
});

Deno.test("BindQueue in a full arena refuses a job, and takes it once there is room", () => {
  const { arena, vm, queue } = world({}, 2 ** 20);
  const other = VaManager.create(arena, { range: 2 ** 40 });
  assertThrows(() => {
    for (let i = 0;; i++) other.insert(pages(2 * i, 1, 1));
  }, OutOfMemoryError);
  const before = stateOf(vm);
  assertThrows(
    () => queue.submit([map(0, 1)], { sync: true }),
    OutOfMemoryError,
  );
  assertEquals(stateOf(vm), before);
  other.destroy();
  arena.rcu.barrier();
  assertEquals(queue.submit([map(0, 1)], { sync: true }).state, "done");
});

Deno.test("BindQueue fails a job of strategy run whose sparse rule is broken when it is its turn, and changes nothing", async () => {
  const { vm, queue } = world({ strategy: "run" });
  const ready = new Timeline();
  const inFences = [{ timeline: ready, value: 1 }];
  const first = queue.submit([map(0, 8)], { inFences });
  const second = queue.submit([map(20, 1), span("sparseMap", 4, 8)]);
  ready.signal(1);
  await first.ended;
  const error = await assertRejects(() => second.ended, VaError);
  assertEquals([error.code, second.state], ["ENOSPC", "failed"]);
  assertEquals(vm.count, 1);
  assertEquals([...vm.regions()], []);
});

Deno.test("Timeline reaches no point that it has said is never reached", async () => {
  const timeline = new Timeline();
  timeline.signal(1);
  timeline.cancel(new Error("gone"));
  timeline.signal(3);
  assertEquals([timeline.value, timeline.canceled?.message], [1, "gone"]);
  await timeline.reach(1);
  await assertRejects(() => timeline.reach(2), Error, "gone");
  assertThrows(() => timeline.signal(0), RangeError);
  // A job ends all the same whose fence that is.
  const { queue } = world();
  const outFences = [{ timeline, value: 2 }];
  assertEquals(
    queue.submit([map(0, 1)], { sync: true, outFences }).state,
    "done",
  );
  assertEquals(timeline.value, 1);
});

Deno.test("Timeline goes up only, and wakes who waits", async () => {
  const timeline = new Timeline();
  const seen: number[] = [];
  for (const value of [3, 1, 2]) {
    timeline.whenSettled(value, () => seen.push(value));
  }
  timeline.whenSettled(1, () => seen.push(99))();
  timeline.signal(2);
  assertEquals(seen, [1, 2]);
  assertThrows(() => timeline.signal(1), RangeError);
  const never = timeline.reach(9);
  timeline.cancel(new Error("gone"));
  await assertRejects(() => never, Error, "gone");
  assertEquals(seen, [1, 2, 3]);
  await timeline.reach(2);
});
