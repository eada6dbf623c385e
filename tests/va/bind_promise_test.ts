import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  type BindOp,
  BindQueue,
  OutOfMemoryError,
  RangeTree,
  Slabs,
  Timeline,
  VaError,
  VaManager,
} from "../../mod.ts";
import { heightOf } from "../../src/range_tree/node.ts";
import { levelsAtMost } from "../../src/va/reserve.ts";
import { cacheOf, nodesOf } from "../range_tree/worlds.ts";
import { rng, seeds } from "../seed.ts";
import { failAfter, objectsInUse, pages } from "./worlds.ts";

function world(bytes = 2 ** 26) {
  const arena = Arena.create({ byteLength: bytes });
  const vm = VaManager.create(arena, { range: 2 ** 47 });
  return { arena, vm, queue: new BindQueue(vm, { strategy: "run" }) };
}

function map(first: number, count: number, object = 1): BindOp {
  return { op: "map", ...pages(first, count, object) };
}

/** A fence that holds jobs up. */
function gate() {
  const timeline = new Timeline();
  const inFences = [{ timeline, value: 1 }];
  return { inFences, open: () => timeline.signal(1) };
}

/** The objects in use, and how many pages are free or slabs: those that were set aside are neither. */
function usage(arena: Arena): unknown {
  const inUse = objectsInUse(arena);
  for (const cache of Slabs.of(arena).all()) cache.shrink();
  arena.rcu.barrier();
  let pages = arena.pages.freePages;
  for (const cache of Slabs.of(arena).all()) {
    pages += cache.stats().slabs * cache.pagesPerSlab;
  }
  return { inUse, pages };
}

Deno.test("levelsAtMost() bounds the levels of trees however they have come about", () => {
  for (const seed of seeds("levelsAtMost")) {
    const random = rng(seed);
    const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 23 }));
    for (let i = 0; i < 6000; i++) {
      const grows = i % 3000 < 2000;
      const first = random.int(9000);
      const last = first + random.int(grows ? 2 : 40);
      tree.storeRange(first, last, grows ? 1 + random.int(9) : 0);
      const most = levelsAtMost(2 * tree.count + 1);
      assert(tree.height <= most, `${tree.height} levels, ${most} at most`);
    }
    assert(tree.height > 0);
  }
});

Deno.test("BindQueue keeps its promises to 2000 jobs of one operation behind one fence", async () => {
  const { arena, vm, queue } = world();
  const { inFences, open } = gate();
  const before = usage(arena);
  const jobs = Array.from(
    { length: 2000 },
    (_, i) =>
      queue.submit([map(2 * (i * 997 % 2000), 1, 1 + i % 9)], { inFences }),
  );
  {
    using failing = failAfter(arena, 0);
    open();
    await jobs[1999].ended;
    assertEquals(jobs.filter((job) => job.state !== "done"), []);
    assertEquals([vm.count, failing.failed], [2000, false]);
  }
  queue.trim();
  vm.unbind(pages(0, 4000));
  for (let object = 1; object < 10; object++) vm.releaseBo(object);
  assertEquals(usage(arena), before);
});

Deno.test("BindQueue keeps its promise to a job while the manager grows beside it, also by new objects and regions", async () => {
  for (const how of ["bind", "insert", "commit", "region", "object", "queue"]) {
    const { arena, vm, queue } = world();
    const other = new BindQueue(vm);
    const { inFences, open } = gate();
    const job = queue.submit([map(0, 1), map(9, 1, 2)], { inFences });
    for (let i = 0; i < 1000; i++) {
      const request = pages(100 + 2 * i, 1, how === "object" ? 3 + i : 1);
      if (how === "bind") vm.bind(request);
      else if (how === "commit") vm.commit(vm.mapOps(request));
      else if (how === "region") vm.insertRegion(request);
      else if (how === "queue") {
        other.submit([{ op: "map", ...request }], { sync: true });
      } else if (i % 2 === 0) vm.insert(request);
      else vm.obtainBo(request.object);
    }
    using failing = failAfter(arena, 0);
    open();
    await job.ended;
    assertEquals([job.state, failing.failed], ["done", false], how);
    vm.tree.validate();
  }
});

Deno.test("VaManager rather refuses to grow than to break a promise to a job", async () => {
  const { arena, vm, queue } = world(2 ** 20);
  const { inFences, open } = gate();
  const job = queue.submit([map(0, 3), map(1, 1, 2)], { inFences });
  const page = arena.pages.tryAllocate(0, "movable");
  assert(page > 0);
  let bound = 0;
  assertThrows(() => {
    for (;; bound++) vm.bind(pages(100 + 2 * bound, 1, 1));
  }, OutOfMemoryError);
  assert(bound > 100);
  open();
  await job.ended;
  assertEquals([job.state, vm.count], ["done", bound + 3]);
  vm.tree.validate();
});

{
  const name =
    "BindQueue keeps its promises whatever other jobs are canceled, and memory is trimmed, meanwhile";
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, async () => {
      const random = rng(seed);
      for (let round = 0; round < 20; round++) {
        const { arena, vm, queue } = world(2 ** 27);
        const grown = random.pick([0, 1, 8, 20, 300]);
        for (let i = 0; i < grown; i++) vm.insert(pages(10 ** 6 + 2 * i, 1, 1));
        const before = usage(arena);
        const { inFences, open } = gate();
        const submit = (count: number) =>
          queue.submit(
            Array.from(
              { length: count },
              () =>
                map(random.int(4000), 1 + random.int(3), 1 + random.int(99)),
            ),
            { inFences },
          );
        const jobs = Array.from({ length: 12 }, () => {
          const job = submit(random.pick([1, 2, 3, 7, 40, 2000]));
          if (random.int(3) === 0) queue.trim();
          return job;
        });
        for (const job of jobs) {
          if (random.int(2) === 0) queue.cancel(job);
          if (random.int(3) === 0) queue.trim();
        }
        const kept = jobs.filter((job) => job.state === "armed");
        {
          using failing = failAfter(arena, 0);
          open();
          await Promise.allSettled(jobs.map((job) => job.ended));
          assertEquals(kept.filter((job) => job.state !== "done"), []);
          assertEquals(failing.failed, false);
        }
        queue.trim();
        assertEquals(objectsInUse(arena).va_mapping, vm.count);
        vm.unbind(pages(0, 10 ** 5));
        for (let object = grown === 0 ? 1 : 2; object < 100; object++) {
          vm.releaseBo(object);
        }
        if (grown > 0 && vm.bo(1)?.count === 0) vm.releaseBo(1);
        assertEquals(usage(arena), before);
      }
    });
  }
}

Deno.test("BindQueue needs no VmBo that is released before it is a job's turn", async () => {
  const { arena, vm, queue } = world();
  for (let object = 1; object < 50; object++) vm.obtainBo(object);
  const { inFences, open } = gate();
  const ops = Array.from({ length: 49 }, (_, i) => map(2 * i, 1, 1 + i));
  const job = queue.submit(ops, { inFences });
  for (let object = 1; object < 50; object++) vm.releaseBo(object);
  using failing = failAfter(arena, 0);
  open();
  await job.ended;
  assertEquals([job.state, failing.failed, vm.count], ["done", false, 49]);
});

Deno.test("BindQueue.cancel(), a dead fence and a timeout give all memory back without a trim", async () => {
  for (const how of ["cancel", "dead fence", "fence dies", "timeout"]) {
    for (const strategy of ["submit", "run"] as const) {
      const { arena, vm } = world();
      const queue = new BindQueue(vm, { strategy });
      vm.insert(pages(0, 9, 1));
      const before = usage(arena);
      const fence = new Timeline(), other = new Timeline();
      if (how === "dead fence") fence.cancel(new Error("dead"));
      const job = queue.submit(
        Array.from({ length: 500 }, (_, i) => ({
          op: "unmap",
          ...pages(20 + i, 1),
        })),
        {
          inFences: [{ timeline: fence, value: 1 }, {
            timeline: other,
            value: 1,
          }],
          timeoutMillis: how === "timeout" ? 1 : undefined,
        },
      );
      if (how === "cancel") assertEquals(queue.cancel(job), true);
      if (how === "fence dies") fence.cancel(new Error("died"));
      await job.ended.catch(() => {});
      assertEquals(job.state, "canceled");
      assertEquals(queue.cancel(job), false);
      assertEquals(usage(arena), before, `${how}, ${strategy}`);
    }
  }
});

Deno.test("BindQueue with strategy submit has nothing set aside for jobs that have changed the tree", () => {
  const { arena, vm } = world(2 ** 24);
  const queue = new BindQueue(vm);
  const { inFences } = gate();
  for (let i = 0; i < 20_000; i++) queue.submit([map(2 * i, 1)], { inFences });
  assertEquals([vm.count, queue.pending], [20_000, 20_000]);
  queue.trim();
  assertEquals(objectsInUse(arena).va_mapping, 20_000);
});

Deno.test("BindQueue puts leaves and the nodes above them into slabs of their own, and fills these", () => {
  const { arena, vm } = world(2 ** 24);
  const random = rng(1);
  const queue = new BindQueue(vm);
  const [leaves, inner] = ["range_node", "range_inner"].map((name) =>
    cacheOf(arena, name)
  );
  for (let i = 0; i < 3000; i++) {
    const ops = Array.from(
      { length: 1 + random.int(8) },
      () => map(3 * random.int(30_000), 1 + random.int(4)),
    );
    queue.submit(ops, { sync: true });
    if (random.int(3) === 0) queue.trim();
  }
  vm.tree.validate();
  assert(vm.tree.height > 2);
  for (const node of nodesOf(arena, vm.tree)) {
    const isInner = heightOf(arena.words, node) > 0;
    assertEquals([leaves.owns(node), inner.owns(node)], [!isInner, isInner]);
  }
  queue.trim();
  arena.rcu.barrier();
  inner.shrink();
  const { objects, slabs } = inner.stats();
  assert(slabs * inner.capacity < 2 * objects, `${objects} in ${slabs}`);
});

Deno.test("VaManager.destroy() ends the jobs of its queues and frees what was set aside for them", async () => {
  for (const mutex of [false, true]) {
    for (const strategy of ["submit", "run"] as const) {
      const arena = Arena.create({ byteLength: 2 ** 23 });
      VaManager.create(arena, { range: 1 }).destroy();
      const before = usage(arena);
      const vm = VaManager.create(arena, {
        range: 2 ** 47,
        outerLock: mutex ? "manager" : "driver",
      });
      const done = new Timeline();
      const queues = [1, 2].map(() => new BindQueue(vm, { strategy, mutex }));
      queues[0].submit([map(50, 1)], { sync: true });
      const jobs = queues.flatMap((queue, at) =>
        [1, 2].map((i) =>
          queue.submit([map(10 * at, i, 3)], {
            inFences: gate().inFences,
            outFences: [{ timeline: done, value: 2 * at + i }],
            timeoutMillis: 2 ** 30,
          })
        )
      );
      queues[1].cancel(jobs[3]);
      vm.destroy();
      const ends = await Promise.allSettled(jobs.map((job) => job.ended));
      assert(ends.every((end) => end.status === "rejected"));
      assertEquals(jobs.map((job) => job.state), Array(4).fill("canceled"));
      assertEquals([queues[0].pending, done.value], [0, 4]);
      for (const queue of queues) {
        queue.trim();
        assertThrows(() => queue.submit([map(0, 1)]), Error, "destroyed");
      }
      assertEquals(usage(arena), before);
    }
  }
});

Deno.test("BindQueue gives up the jobs of a manager that another thread destroyed, and frees what was set aside", async () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const vm = VaManager.create(arena, { range: 2 ** 47, outerLock: "manager" });
  const queue = new BindQueue(vm, { strategy: "run", mutex: true });
  const { inFences, open } = gate();
  const job = queue.submit([map(0, 8)], { inFences });
  const other = Arena.attach(arena.buffer);
  VaManager.attach(other, vm.ref).destroy();
  other.leave();
  open();
  const [end] = await Promise.allSettled([job.ended]);
  assertEquals([end.status, job.state], ["rejected", "canceled"]);
  queue.trim();
  const { va_mapping, va_bo, range_node, range_inner } = objectsInUse(arena);
  assertEquals([va_mapping, va_bo, range_node + range_inner], [0, 0, 0]);
});

Deno.test("VaManager gives back what was set aside for its jobs as soon as it is found that another object has destroyed it", () => {
  const uses: Record<string, (vm: VaManager, queue: BindQueue) => unknown> = {
    lookup: (vm) => vm.lookup(0),
    translate: (vm) => vm.translate(0),
    lookupMany: (vm) => vm.lookupMany([0]),
    mappings: (vm) => [...vm.mappings()],
    bind: (vm) => vm.bind(pages(0, 1)),
    lock: (vm) => vm.lock(),
    submit: (_vm, queue) => queue.submit([map(0, 1)]),
    flush: (_vm, queue) => queue.flush(),
    trim: (_vm, queue) => queue.trim(),
  };
  for (const [name, use] of Object.entries(uses)) {
    for (const strategy of ["submit", "run"] as const) {
      const arena = Arena.create({ byteLength: 2 ** 23 });
      VaManager.create(arena, { range: 1 }).destroy();
      const before = usage(arena);
      const vm = VaManager.create(arena, { range: 2 ** 47 });
      const queue = new BindQueue(vm, { strategy });
      const { inFences, open } = gate();
      queue.submit([map(0, 8, 1), map(20, 1, 2)], { sync: true });
      queue.submit([map(10, 8)], { inFences });
      VaManager.attach(arena, vm.ref).destroy();
      open();
      try {
        use(vm, queue);
      } catch (error) {
        assert(error instanceof VaError);
        assertEquals(error.code, "ENOENT");
      }
      assertEquals(usage(arena), before, `${name}, ${strategy}`);
    }
  }
});

Deno.test("BindQueue.submit() gives back what was set aside for managers that another object has destroyed, and nobody uses any more", () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const round = () => {
    const vm = VaManager.create(arena, { range: 2 ** 47 });
    const queue = new BindQueue(vm, { strategy: "run" });
    queue.submit(Array.from({ length: 200 }, (_, i) => map(2 * i, 1, 1 + i)));
    VaManager.attach(arena, vm.ref).destroy();
    return usage(arena);
  };
  round();
  const first = round();
  for (let i = 0; i < 9; i++) assertEquals(round(), first);
});

Deno.test("BindQueue tops a promise up when another thread has made the trees larger", async () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const vm = VaManager.create(arena, { range: 2 ** 47, outerLock: "manager" });
  const queue = new BindQueue(vm, { strategy: "run", mutex: true });
  const { inFences, open } = gate();
  const job = queue.submit([map(0, 8, 1), map(2, 1, 2)], { inFences });
  const other = Arena.attach(arena.buffer);
  const seen = VaManager.attach(other, vm.ref);
  {
    using _guard = seen.lock();
    for (let i = 0; i < 3000; i++) seen.bind(pages(100 + 2 * i, 1, 3));
  }
  open();
  await job.ended;
  assertEquals([job.state, vm.count], ["done", 3003]);
  vm.tree.validate();
  other.leave();
});

Deno.test("VaManager.commit() of operations that change nothing needs no memory", () => {
  const { arena, vm } = world(2 ** 23);
  for (let i = 0; i < 3000; i++) vm.insert(pages(2 * i, 1, 1));
  const list = vm.prefetchOps(pages(0, 6000));
  list.add({ kind: "driver", data: "flush" });
  using failing = failAfter(arena, 0);
  vm.commit(list);
  assertEquals([list.length, failing.failed], [3001, false]);
});

Deno.test("VaManager.commit() unmaps an object of 20000 mappings in an arena that they half fill, holes between or other objects", () => {
  for (const apart of [2, 1]) {
    const { arena, vm } = world(2 ** 23);
    vm.insert(pages(60_000, 2, 3));
    for (let i = 0; i < 20_000; i++) {
      vm.insert(pages(apart * i, 1, apart === 2 ? 1 : 1 + i % 2));
    }
    vm.commit(vm.unmapObjectOps(1));
    vm.tree.validate();
    assertEquals([vm.count, vm.bo(1)?.count], [apart === 2 ? 1 : 10_001, 0]);
    assertEquals(objectsInUse(arena).va_mapping, vm.count);
  }
});

{
  const name = "VaManager.commit() unmaps an object wherever it lies";
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, () => {
      const random = rng(seed);
      for (let round = 0; round < 60; round++) {
        const { arena, vm } = world(2 ** 22);
        const density = 1 + random.int(3);
        for (let page = 0; page < 300; page++) {
          if (random.int(density) > 0) continue;
          vm.insert(pages(page, 1, random.int(4), 0));
        }
        const object = 1 + random.int(3);
        const kept = [...vm.mappings()].filter((each) =>
          each.object !== object
        );
        const list = vm.unmapObjectOps(object);
        const before = [[...vm.mappings()], vm.bo(object)?.mappings()];
        for (let allowed = 0;; allowed++) {
          using failing = failAfter(arena, allowed);
          try {
            vm.commit(list);
          } catch (error) {
            assert(error instanceof OutOfMemoryError);
            assertEquals([...vm.mappings()], before[0]);
            assertEquals(vm.bo(object)?.mappings(), before[1]);
            continue;
          }
          assertEquals(failing.failed, false);
          break;
        }
        vm.tree.validate();
        assertEquals([...vm.mappings()], kept);
        assertEquals(objectsInUse(arena).va_mapping, kept.length);
      }
    });
  }
}

Deno.test("VaManager.commit() needs no memory to unmap an object that lies between others everywhere", () => {
  const { arena, vm } = world(2 ** 23);
  for (let i = 0; i < 3001; i++) vm.insert(pages(i, 1, 1 + (i + 1) % 2));
  const list = vm.unmapObjectOps(1);
  using failing = failAfter(arena, 0);
  vm.commit(list);
  assertEquals([list.length, vm.count, failing.failed], [1500, 1501, false]);
});
