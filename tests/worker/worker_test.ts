import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Arena, RangeTree } from "../../mod.ts";
import {
  compactorTotals,
  joinArena,
  joinedThread,
  type Port,
  sendArena,
  stopWorker,
} from "../../src/worker/mod.ts";
import { digest, points } from "../range_tree/worlds.ts";

/** A channel that stands for a worker and its own scope. */
function channel(): Disposable & { worker: MessagePort; scope: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  port1.start();
  port2.start();
  return {
    worker: port1,
    scope: port2,
    [Symbol.dispose]() {
      port1.close();
      port2.close();
    },
  };
}

Deno.test("joinArena() joins the arena that was sent, with what was sent along, and hears when to end", async () => {
  using ports = channel();
  const arena = Arena.create({ byteLength: 2 ** 20 });
  RangeTree.create(arena, { name: "vm" }).store(5, 7);
  sendArena(ports.worker, arena, { tree: "vm" });
  const joined = await joinArena<{ tree: string }>(ports.scope);
  assertEquals(joined.arena.thread, 2);
  assertEquals(await joinedThread(ports.worker), 2);
  assertEquals(arena.threads, [1, 2]);
  assertEquals(RangeTree.attach(joined.arena, joined.data.tree).load(5), 7);
  assertEquals(joined.signal.aborted, false);
  const aborted = new Promise((resolve) =>
    joined.signal.addEventListener("abort", resolve)
  );
  stopWorker(ports.worker);
  await aborted;
  joined.arena.leave();
  assertEquals(arena.threads, [1]);
});

/** A promise that is to be settled: fails where it is not for too long. */
async function soon<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("it was too long")), 10_000);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Counts what listens to a port. */
function counted(port: MessagePort): { port: Port; listeners: () => number } {
  let listeners = 0;
  return {
    port: {
      postMessage: (message) => port.postMessage(message),
      addEventListener(type: string, listener: (event: never) => void) {
        listeners++;
        port.addEventListener(type, listener as EventListener);
      },
      removeEventListener(type, listener) {
        listeners--;
        port.removeEventListener(type, listener);
      },
    },
    listeners: () => listeners,
  };
}

Deno.test("joinArena() gets what was sent, and that it is to end, before anybody listened", async () => {
  using ports = channel();
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const came = Promise.withResolvers<void>();
  ports.scope.addEventListener("message", ({ data }) => {
    if (data === "last") came.resolve();
  });
  sendArena(ports.worker, arena, 7);
  stopWorker(ports.worker);
  ports.worker.postMessage("last");
  await came.promise;
  const joined = await soon(joinArena(ports.scope));
  assertEquals(joined.data, 7);
  assertEquals(await soon(joinedThread(ports.worker)), 2);
  const { signal } = joined;
  await soon(
    new Promise((resolve) => {
      if (signal.aborted) resolve(undefined);
      else signal.addEventListener("abort", resolve);
    }),
  );
  joined.arena.leave();
  assertEquals(arena.threads, [1]);
});

Deno.test("joinArena() takes what is sent once, however often it was sent again", async () => {
  using ports = channel();
  const one = Arena.create({ byteLength: 2 ** 20 });
  const two = Arena.create({ byteLength: 2 ** 21 });
  // Each is on its way while it is asked for.
  const first = joinArena(ports.scope);
  sendArena(ports.worker, one, "one");
  assertEquals((await soon(first)).data, "one");
  await soon(joinedThread(ports.worker));
  const second = joinArena(ports.scope);
  sendArena(ports.worker, two, "two");
  assertEquals((await soon(second)).data, "two");
  assertEquals(await soon(joinedThread(ports.worker)), 2);
  assertEquals([one.threads, two.threads], [[1, 2], [1, 2]]);
});

Deno.test("sendArena() of what can't be cloned throws, and the next one is what the worker gets", async () => {
  using ports = channel();
  const arena = Arena.create({ byteLength: 2 ** 20 });
  assertThrows(() => sendArena(ports.worker, arena, () => {}));
  const joined = joinArena(ports.scope);
  sendArena(ports.worker, arena, "next");
  assertEquals((await soon(joined)).data, "next");
  assertEquals(await soon(joinedThread(ports.worker)), 2);
});

Deno.test("sendArena() listens once a worker, and joinArena() that failed no more", async () => {
  using ports = channel();
  const worker = counted(ports.worker), scope = counted(ports.scope);
  for (let again = 0; again < 3; again++) {
    const arena = Arena.create({ byteLength: 2 ** 20, maxThreads: 1 });
    sendArena(worker.port, arena);
    await assertRejects(() => soon(joinArena(scope.port)));
    await assertRejects(() => soon(joinedThread(worker.port)));
    assertEquals([worker.listeners(), scope.listeners()], [3, 0]);
  }
});

Deno.test("joinedThread() and compactorTotals() fail if the worker's file can't be loaded", async () => {
  const worker = new Worker(new URL("./no_such_file.ts", import.meta.url), {
    type: "module",
  });
  worker.addEventListener("error", (event) => event.preventDefault());
  sendArena(worker, Arena.create({ byteLength: 2 ** 20 }));
  for (const ask of [joinedThread, compactorTotals]) {
    await assertRejects(
      () => soon<unknown>(ask(worker)),
      Error,
      "The worker failed: ",
    );
  }
  worker.terminate();
});

Deno.test("joinArena() says clearly that all thread slots are taken", async () => {
  using ports = channel();
  const arena = Arena.create({ byteLength: 2 ** 20, maxThreads: 1 });
  sendArena(ports.worker, arena);
  await assertRejects(
    () => joinArena(ports.scope),
    Error,
    "Cannot join the arena: all 1 thread slots are taken",
  );
  await assertRejects(
    () => joinedThread(ports.worker),
    Error,
    "The worker failed: Error: Cannot join the arena",
  );
});

Deno.test("The compactor's worker compacts until it is told to end, and answers what it did", async () => {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const trees = Array.from(
    { length: 300 },
    () => RangeTree.create(arena, { rcu: true }),
  );
  for (const tree of trees) tree.bulkLoad(points(60, 2));
  const kept = trees.filter((tree, i) => {
    if (i % 4 === 0) return true;
    tree.destroy();
    return false;
  });
  arena.rcu.barrier();
  const before = kept.map(digest);
  const free = arena.pages.freePages;
  const worker = new Worker(
    new URL("../../src/worker/compactor.ts", import.meta.url),
    { type: "module" },
  );
  sendArena(worker, arena, { duty: 1, idleMillis: 1 });
  // It works on its own until enough is won: this thread only reads.
  const deadline = performance.now() + 60_000;
  while (arena.pages.freePages < free + 30 && performance.now() < deadline) {
    assertEquals(kept[0].load(2), 2);
    await new Promise((resolve) => setTimeout(resolve));
  }
  const totals = await compactorTotals(worker);
  worker.terminate();
  assert(totals.freedSlabs >= 30, JSON.stringify(totals));
  assert(totals.moves > 0);
  assertEquals(kept.map(digest), before);
  for (const tree of kept) tree.validate();
});

Deno.test("The compactor's worker answers with its failure", async () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const worker = compactorWorker();
  const failure = assertRejects(
    () => compactorTotals(worker),
    Error,
    "duty 7 is outside (0, 1]",
  );
  sendArena(worker, arena, { duty: 7 });
  await failure;
  worker.terminate();
});

/** A worker that compacts, of which an error is no failure of the test. */
function compactorWorker(): Worker {
  const worker = new Worker(
    new URL("../../src/worker/compactor.ts", import.meta.url),
    { type: "module" },
  );
  worker.addEventListener("error", (event) => event.preventDefault());
  return worker;
}

Deno.test("compactorTotals() answers with the failure of a worker that could not even join", async () => {
  const arena = Arena.create({ byteLength: 2 ** 20, maxThreads: 1 });
  const worker = compactorWorker();
  sendArena(worker, arena);
  await assertRejects(
    () => compactorTotals(worker),
    Error,
    "all 1 thread slots are taken",
  );
  worker.terminate();
});

Deno.test("compactorTotals() answers with a failure that came before the question; the worker has left", async () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const worker = compactorWorker();
  const failed = new Promise((resolve) =>
    worker.addEventListener("error", resolve)
  );
  sendArena(worker, arena, { duty: 7 });
  assertEquals(await joinedThread(worker), 2);
  await failed;
  for (let again = 0; again < 2; again++) {
    await assertRejects(
      () => compactorTotals(worker),
      Error,
      "duty 7 is outside (0, 1]",
    );
  }
  assertEquals(arena.threads, [1]);
  worker.terminate();
});

Deno.test("joinedThread() names the thread of a worker whose error overtakes its answer that it has joined", async () => {
  using ports = channel();
  const { worker } = ports;
  const errors: ((event: Event) => void)[] = [];
  // Hears errors when the test says so, and answers never.
  const deaf: Port = {
    postMessage: (message) => worker.postMessage(message),
    addEventListener(type: string, listener: (event: MessageEvent) => void) {
      if (type === "error") errors.push(listener as (event: Event) => void);
    },
    removeEventListener() {},
  };
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const joining = joinArena(ports.scope);
  sendArena(deaf, arena);
  const joined = await joining;
  for (const hear of errors) hear(new ErrorEvent("error", { message: "late" }));
  assertEquals(await joinedThread(deaf), joined.arena.thread);
  await assertRejects(() => compactorTotals(deaf), Error, "late");
});

Deno.test("Arena.threads names a thread that never left, until it is reaped by what joinedThread() says", async () => {
  using ports = channel();
  const arena = Arena.create({ byteLength: 2 ** 20 });
  RangeTree.create(arena);
  sendArena(ports.worker, arena);
  await joinArena(ports.scope);
  const thread = await joinedThread(ports.worker);
  assertEquals(arena.threads, [1, thread]);
  arena.reap(thread);
  assertEquals(arena.threads, [1]);
});
