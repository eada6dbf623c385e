import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  type BindJob,
  type BindOp,
  BindQueue,
  type BindQueueOptions,
  Compactor,
  PageTable,
  Timeline,
  VaError,
  VaManager,
} from "../../mod.ts";
import { Footprint } from "../../src/va/bind_order.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { PAGE } from "./mirror.ts";
import { objectsInUse, pages } from "./worlds.ts";

const PAGES = 64;

function world(options: BindQueueOptions = {}) {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const vm = VaManager.create(arena, {
    range: 2 ** 47,
    outerLock: options.mutex === true ? "manager" : "driver",
  });
  const table = new PageTable();
  const open = (more: BindQueueOptions = {}) =>
    new BindQueue(vm, { backend: table, ...options, ...more });
  return { arena, vm, table, open };
}

function map(first: number, count: number, object = 1, offset = 0): BindOp {
  return { op: "map", ...pages(first, count, object, offset) };
}

/** What an address leads to by the manager and its regions. */
function wanted(vm: VaManager, page: number): string {
  const address = page * PAGE;
  const mapping = vm.lookup(address);
  if (mapping === undefined) {
    return vm.findRegion(address, 1) === undefined ? "nothing" : "zero";
  }
  return mapping.object === 0
    ? "zero"
    : `${mapping.object}@${vm.translate(address)}`;
}

/** The page table says what the manager says, wherever no job that has not ended is about. */
function assertWritten(
  vm: VaManager,
  table: PageTable,
  unended: readonly BindJob[],
  step: string,
): void {
  for (let page = 0; page < PAGES; page++) {
    const address = page * PAGE;
    const isOpen = unended.some((job) =>
      job.ops.some((op) => op.start <= address && address < op.start + op.range)
    );
    if (isOpen) continue;
    const entry = table.read(address);
    const found = entry === undefined
      ? "nothing"
      : entry.object === 0
      ? "zero"
      : `${entry.object}@${entry.offset}`;
    const expected = wanted(vm, page);
    if (found !== expected) {
      assertEquals(found, expected, `page ${page}, ${step}`);
    }
  }
}

function randomOps(random: Rng): BindOp[] {
  return Array.from({ length: random.int(5) }, (): BindOp => {
    const first = random.int(PAGES - 12), count = 1 + random.int(12);
    const { start, range } = pages(first, count);
    switch (random.int(8)) {
      case 0:
        return { op: "sparseMap", start, range };
      case 1:
        return { op: "sparseUnmap", start, range };
      case 2:
      case 3:
        return { op: "unmap", start, range };
      default: {
        const object = random.int(4), block = 1 + random.int(3);
        const repeats = object > 0 && random.int(4) === 0;
        return {
          ...map(first, count, object, object === 0 ? 0 : random.int(20)),
          ...(repeats ? { repeat: block * PAGE, phase: 0 } : {}),
        } as BindOp;
      }
    }
  });
}

/** Waits until timers of a millisecond that were set before have fired: timers of one length fire in their order. */
function afterTimers(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

for (const strategies of [["submit"], ["run"], ["submit", "run"]] as const) {
  const name =
    `BindQueue keeps page table and tree the same with several queues, fences that fail, cancels and timeouts, strategies ${
      strategies.join(" and ")
    }`;
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, async () => {
      const random = rng(seed);
      const { arena, vm, table, open } = world();
      const compactor = new Compactor(arena);
      const queues = [0, 1, 2].map((i) =>
        open({ strategy: strategies[i % strategies.length] })
      );
      const fences: Timeline[] = [];
      let unended: BindJob[] = [];
      const ends: Record<string, number> = {};
      for (let step = 0; step < 600; step++) {
        const text = `step ${step}`;
        const choice = random.int(10);
        if (choice < 5) {
          const fence = random.int(3) > 0 ? new Timeline() : undefined;
          if (fence !== undefined) fences.push(fence);
          const sync = fence === undefined && random.int(2) === 0;
          try {
            const job = random.pick(queues).submit(randomOps(random), {
              sync,
              inFences: fence && [{ timeline: fence, value: 1 }],
              timeoutMillis: random.int(4) === 0 ? 1 : undefined,
            });
            if (sync) assertEquals(job.state, "done");
            unended.push(job);
            job.ended.catch(() => {}).then(() => {
              unended = unended.filter((each) => each !== job);
              ends[job.state] = (ends[job.state] ?? 0) + 1;
            });
          } catch (error) {
            if (!(error instanceof VaError)) throw error;
            ends[error.code] = (ends[error.code] ?? 0) + 1;
          }
        } else if (choice < 8 && fences.length > 0) {
          const [fence] = fences.splice(random.int(fences.length), 1);
          if (random.int(4) === 0) fence.cancel(new Error("failed"));
          else fence.signal(1);
        } else if (choice === 8 && unended.length > 0) {
          const job = random.pick(unended);
          for (const queue of queues) queue.cancel(job);
        } else if (random.int(3) === 0) await afterTimers();
        await Promise.resolve();
        if (random.int(10) === 0) compactor.run();
        vm.tree.validate();
        assertWritten(vm, table, unended, text);
      }
      for (const fence of fences) fence.signal(1);
      for (const job of [...unended]) await job.ended.catch(() => {});
      assertEquals(queues.map((queue) => queue.pending), [0, 0, 0]);
      assertWritten(vm, table, [], "the end");
      assert(ends.done > 20 && ends.canceled > 20, JSON.stringify(ends));
      queues[0].trim();
      assertEquals(objectsInUse(arena).va_mapping, vm.count);
      vm.destroy();
      const { va_bo, va_manager, range_node, range_inner } = objectsInUse(
        arena,
      );
      assertEquals([va_bo, va_manager, range_node + range_inner], [0, 0, 0]);
    });
  }
}

Deno.test("Footprint.overlaps() is true exactly where the spans of both have an address in common", () => {
  for (const seed of seeds("Footprint")) {
    const random = rng(seed);
    const spans = () =>
      Array.from({ length: random.int(5) }, () => ({
        start: random.int(40),
        range: 1 + random.int(4),
      }));
    let overlapping = 0;
    for (let i = 0; i < 3000; i++) {
      const a = spans(), b = spans();
      const expected = a.some((x) =>
        b.some((y) =>
          x.start < y.start + y.range && y.start < x.start + x.range
        )
      );
      const found = new Footprint(a).overlaps(new Footprint(b));
      assertEquals(found, expected, JSON.stringify([a, b]));
      if (found) overlapping++;
    }
    assert(overlapping > 500 && overlapping < 2500);
  }
});

Deno.test("BindQueue writes the page table in the order in which the tree was changed where jobs of two queues overlap", async () => {
  const { vm, table, open } = world();
  const [first, second] = [open(), open()];
  const ready = new Timeline(), order: number[] = [];
  const outFence = (at: number) => {
    const timeline = new Timeline();
    timeline.whenSettled(1, () => order.push(at));
    return [{ timeline, value: 1 }];
  };
  const late = first.submit([map(0, 4, 1)], {
    inFences: [{ timeline: ready, value: 1 }],
    outFences: outFence(1),
  });
  const error = assertThrows(
    () => second.submit([map(3, 4, 2)], { sync: true }),
    VaError,
    "a job of another queue is ahead at the same addresses",
  );
  assertEquals([error.code, vm.lookup(5 * PAGE)], ["ETIME", undefined]);
  second.submit([map(20, 4, 2)], { sync: true });
  const over = second.submit([map(3, 4, 2)], { outFences: outFence(2) });
  const behind = second.submit([map(30, 1, 2)], { outFences: outFence(3) });
  await Promise.resolve();
  assertEquals([over.state, behind.state, order.length], ["armed", "armed", 0]);
  ready.signal(1);
  await Promise.all([late.ended, over.ended, behind.ended]);
  assertEquals(order, [1, 2, 3]);
  assertEquals(
    [0, 3, 6].map((page) => table.read(page * PAGE)?.object),
    [1, 2, 2],
  );
  assertWritten(vm, table, [], "the end");
});

Deno.test("BindQueue ends a job that was given up in its place: not before the jobs ahead of it", async () => {
  for (const strategy of ["submit", "run"] as const) {
    const { vm, table, open } = world({ strategy });
    const queue = open();
    const ready = new Timeline(), done = new Timeline();
    const [first, second] = [1, 2].map((i) =>
      queue.submit([map(0, 4, i)], {
        inFences: [{ timeline: ready, value: i }],
        outFences: [{ timeline: done, value: i }],
      })
    );
    assert(queue.cancel(second));
    await Promise.resolve();
    // Were its fence signalled, so would be that of the job before it.
    assertEquals([second.state, queue.pending, done.value], ["canceled", 2, 0]);
    ready.signal(1);
    await Promise.allSettled([first.ended, second.ended]);
    assertEquals([first.state, done.value, queue.pending], ["done", 2, 0]);
    assertEquals(vm.lookup(0)?.object, strategy === "run" ? 1 : 2);
    assertWritten(vm, table, [], strategy);
  }
});

Deno.test("BindQueue leaves nothing waiting for a job whose fence is dead when it is submitted", async () => {
  const { open } = world({ strategy: "run" });
  const queue = open();
  const dead = new Timeline(), live = new Timeline();
  dead.cancel(new Error("dead"));
  let waiting = 0;
  const whenSettled = live.whenSettled.bind(live);
  live.whenSettled = (value, call) => {
    const takeBack = whenSettled(value, call);
    waiting++;
    return () => {
      waiting--;
      takeBack();
    };
  };
  for (const fences of [[dead, live], [live, dead]]) {
    const job = queue.submit([map(0, 1)], {
      inFences: fences.map((timeline) => ({ timeline, value: 1 })),
      // A timer that is left makes the test fail.
      timeoutMillis: 10 ** 6,
    });
    assertEquals([job.state, job.error?.message], ["canceled", "dead"]);
    assertEquals(waiting, 0);
    await Promise.allSettled([job.ended]);
    assertEquals(queue.pending, 0);
  }
});

Deno.test("BindQueue copies what it is given: what becomes of the caller's operations is no concern of a job", async () => {
  for (const strategy of ["submit", "run"] as const) {
    const { vm, table, open } = world({ strategy });
    const ready = new Timeline();
    const op = { op: "map" as const, ...pages(0, 4, 1) };
    const ops: BindOp[] = [op, { op: "unmap", ...pages(2, 1) }];
    const done = new Timeline();
    const inFences = [{ timeline: ready, value: 1 }];
    const outFences = [{ timeline: done, value: 2 }];
    const job = open().submit(ops, { inFences, outFences });
    Object.assign(op, { start: 5, object: -1 });
    Object.assign(ops[1], { start: NaN });
    ops.push(map(9, 1));
    inFences[0].value = 9;
    outFences[0].value = 9;
    Object.assign(job.ops[0], { start: 3 * PAGE });
    const isJobsToSay = Reflect.set(job, "state", "canceled");
    ready.signal(1);
    await job.ended;
    assertEquals([job.ops.length, isJobsToSay, job.state], [2, false, "done"]);
    assertEquals([vm.count, vm.translate(PAGE)], [2, PAGE]);
    assertEquals(done.value, 2);
    assertWritten(vm, table, [], strategy);
  }
});

Deno.test("BindQueue refuses what can't be mapped, whole pages only, and changes nothing", () => {
  const good = pages(1, 4, 1);
  const changes: Record<string, unknown>[] = [
    ...[-1, 1.5, NaN, 2 ** 32 + 5, 2 ** 33].map((object) => ({ object })),
    ...[2 ** 60, -PAGE, NaN, Infinity, 0.5, 5].map((offset) => ({ offset })),
    { object: 0, offset: -PAGE },
    { object: 0, offset: 2 ** 60 },
    { flags: 4 },
    { flags: 1 },
    { flags: -1 },
    { flags: 128 },
    { phase: PAGE },
    { repeat: 100, phase: 0 },
    { repeat: 1.5 * PAGE, phase: 0 },
    { repeat: 2 * PAGE, phase: 100 },
    { repeat: NaN },
    ...[-PAGE, NaN, 0.5, 100, 2 ** 60].map((start) => ({ start })),
    ...[0, -PAGE, NaN, 0.5, 100, 2 ** 60].map((range) => ({ range })),
  ];
  for (const strategy of ["submit", "run"] as const) {
    const { arena, vm, table, open } = world({ strategy });
    const queue = open();
    for (const change of changes) {
      const op = { op: "map", ...good, ...change } as BindOp;
      const error = assertThrows(
        () => queue.submit([map(9, 1), op], { sync: true }),
        VaError,
        "Cannot",
        JSON.stringify(change),
      );
      assert(["EINVAL", "ENOENT"].includes(error.code));
      assertEquals([vm.count, queue.pending, arena.lockdep.held], [0, 0, 0]);
    }
    assertEquals(table.stats().writes, 0);
  }
});

Deno.test("BindQueue takes a mapping only inside of a region, if the manager requires that", async () => {
  for (const strategy of ["submit", "run"] as const) {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const vm = VaManager.create(arena, { range: 2 ** 47, regions: true });
    const queue = new BindQueue(vm, { strategy });
    const sparse = (op: "sparseMap" | "sparseUnmap"): BindOp => ({
      op,
      ...pages(0, 8),
    });
    const refused: BindOp[][] = [
      [map(0, 1)],
      [map(2, 1), sparse("sparseMap")],
      [sparse("sparseMap"), map(9, 1)],
      [sparse("sparseMap"), map(7, 2)],
    ];
    for (const ops of refused) {
      assertThrows(() => queue.submit(ops, { sync: true }), VaError);
      assertEquals([vm.count, [...vm.regions()]], [0, []]);
    }
    await queue.submit([sparse("sparseMap"), map(2, 3)]).ended;
    queue.submit([map(7, 1)], { sync: true });
    assertThrows(() => queue.submit([map(8, 1)], { sync: true }), VaError);
    assertEquals(vm.count, 2);
  }
});

Deno.test("BindQueue refuses what is no operation, and no strategy", () => {
  for (const strategy of ["submit", "run"] as const) {
    const { vm, open } = world({ strategy });
    for (const op of [null, undefined, "map", 5, {}, { op: "mop" }]) {
      const ops = [map(9, 1), op as BindOp];
      const submit = () => open().submit(ops, { sync: true });
      assertEquals(assertThrows(submit, VaError, "unknown").code, "EINVAL");
      assertEquals(vm.count, 0);
    }
  }
  for (const strategy of ["foo", "", 5, null]) {
    const options = { strategy } as BindQueueOptions;
    assertThrows(() => world().open(options), VaError, "strategy");
  }
});

Deno.test("BindQueue refuses a page that its page table can't map, before anything is mapped", () => {
  const { open } = world();
  for (const pageSize of [1024, 0, -4096, NaN, 6144]) {
    assertThrows(() => open({ pageSize }), VaError, "no multiple of 4096");
  }
  assertThrows(
    () => open({ pageSize: 0, backend: undefined }),
    VaError,
    "no multiple of 1",
  );
  open({ pageSize: 65_536 });
  open({ pageSize: 1024, backend: undefined });
});

Deno.test("BindQueue.submit() throws what makes a synchronous job fail when it is executed", () => {
  const { vm, open } = world({ strategy: "run" });
  const queue = open();
  queue.submit([map(0, 8)], { sync: true });
  const error = assertThrows(
    () => queue.submit([{ op: "sparseMap", ...pages(0, 1) }], { sync: true }),
    VaError,
  );
  assertEquals([error.code, vm.count, queue.pending], ["ENOSPC", 1, 0]);
});

Deno.test("BindQueue executes a synchronous job that a fence's waiter submits, at once or not at all", async () => {
  for (const strategy of ["submit", "run"] as const) {
    const { vm, table, open } = world({ strategy });
    const queue = open();
    const done = new Timeline();
    const states: string[] = [];
    done.whenSettled(1, () => {
      states.push(queue.submit([map(10, 1)], { sync: true }).state);
    });
    await queue.submit([map(0, 1)], {
      outFences: [{ timeline: done, value: 1 }],
    }).ended;
    assertEquals([states, vm.count], [["done"], 2]);
    assertWritten(vm, table, [], strategy);
  }
  // Not while a job is being executed.
  const { vm, open } = world();
  let inner: unknown;
  const queue: BindQueue = open({
    backend: {
      execute: () => {
        try {
          queue.submit([map(20, 1)], { sync: true });
        } catch (error) {
          inner = error;
        }
      },
      setSparse: () => {},
    },
  });
  queue.submit([map(0, 1)], { sync: true });
  assert(inner instanceof VaError);
  assertEquals([inner.code, vm.count], ["ETIME", 1]);
});

Deno.test("Timeline.signal() reports what a waiter throws, and calls the others; a job whose fence it is ends all the same", async () => {
  const { open } = world();
  const queue = open();
  const done = new Timeline();
  const reported: string[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error.message);
  };
  addEventListener("error", onError);
  try {
    done.whenSettled(1, () => {
      throw new Error("boom");
    });
    const seen: number[] = [];
    done.whenSettled(1, () => seen.push(1));
    const jobs = [1, 2].map((i) =>
      queue.submit([map(i, 1)], { outFences: [{ timeline: done, value: i }] })
    );
    await Promise.all(jobs.map((job) => job.ended));
    assertEquals([reported, seen], [["boom"], [1]]);
    assertEquals(jobs.map((job) => job.state), ["done", "done"]);
  } finally {
    removeEventListener("error", onError);
  }
});

Deno.test("Timeline calls no waiter that another has taken back", () => {
  const timeline = new Timeline();
  let called = 0;
  const takeBack: (() => void)[] = [];
  for (let i = 0; i < 2; i++) {
    takeBack.push(timeline.whenSettled(1, () => {
      called++;
      for (const each of takeBack) each();
    }));
  }
  timeline.signal(1);
  assertEquals(called, 1);
});
