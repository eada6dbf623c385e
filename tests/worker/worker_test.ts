import { assert, assertEquals, assertRejects } from "@std/assert";
import { Arena, RangeTree } from "../../mod.ts";
import {
  compactorTotals,
  joinArena,
  joinedThread,
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
