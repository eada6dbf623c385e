import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  OutOfMemoryError,
  RangeTree,
  RcuStallError,
  Slabs,
} from "../../mod.ts";
import { TestWorker } from "../sync/workers.ts";
import type { ExhaustionCommand } from "./exhaustion_worker.ts";
import { lostIn, NOTHING_LOST, settle } from "./lost.ts";

const WRITERS = 3;
/** Entries that each stores when there is memory again. */
const MORE = 1000;

Deno.test("All threads run out of memory at once, and go on when there is room again", async () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const ballast = RangeTree.create(arena);
  for (let i = 0; i < 4 * WRITERS * MORE; i++) ballast.store(2 * i, 1);
  const signals = new Int32Array(new SharedArrayBuffer(64));
  const trees = Array.from(
    { length: WRITERS },
    (_, i) =>
      RangeTree.create(arena, {
        name: `tree ${i}`,
        rcu: i > 0,
        gaps: i === 2,
      }),
  );
  const file = new URL("./exhaustion_worker.ts", import.meta.url);
  const workers = trees.map(() => new TestWorker(file));
  using _workers = {
    [Symbol.dispose]: () => {
      for (const worker of workers) worker[Symbol.dispose]();
    },
  };
  workers.forEach((worker, i) => {
    const command: ExhaustionCommand = {
      memory: arena.shared,
      tree: `tree ${i}`,
      signals,
      of: WRITERS,
      more: MORE,
    };
    worker.send(command);
  });
  const full: number[] = [];
  for (const worker of workers) {
    const { exhaustedAt } = await worker.answer<{ exhaustedAt: number }>();
    full.push(exhaustedAt);
  }
  assertEquals(arena.pages.freePages, 0);
  trees.forEach((tree, i) => assertHolds(tree, full[i]));
  ballast.destroy();
  arena.rcu.barrier();
  Atomics.store(signals, 1, 1);
  Atomics.notify(signals, 1);
  for (const [i, worker] of workers.entries()) {
    const { stored } = await worker.answer<{ stored: number }>();
    assertEquals(stored, full[i] + MORE);
    assertHolds(trees[i], stored);
  }
  settle(arena);
  assertEquals(lostIn(arena), NOTHING_LOST);
  for (const cache of Slabs.of(arena).all()) cache.validate();
  arena.pages.validate();
});

/** The tree holds what was stored, and nothing of the store that failed. */
function assertHolds(tree: RangeTree, stored: number): void {
  tree.validate();
  assertEquals(tree.count, stored);
  let next = 0;
  for (const { first, last, value } of tree) {
    if (first !== 2 * next || last !== first || value !== next + 1) {
      assertEquals([first, last, value], [2 * next, 2 * next, next + 1]);
    }
    next++;
  }
}

Deno.test("A reader that never leaves its section: writers get an OutOfMemoryError, the stall report names it, and nothing is damaged", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { name: "tree", rcu: true });
  for (let i = 0; i < 500; i++) tree.store(2 * i, 1);
  arena.rcu.barrier();
  const reader = Arena.attach(arena.buffer);
  const theirs = RangeTree.attach(reader, "tree");
  reader.rcu.readLock();
  const seen = theirs.load(0);
  // Each store replaces a leaf, and none of those is freed: it ends when all memory is held up.
  const stores = 16 * arena.pages.count;
  let stored = 0;
  const error = assertThrows(() => {
    for (; stored < stores; stored++) {
      const first = 2 * (stored % 500);
      tree.storeRange(first, first + (stored & 1), stored + 1);
      tree.eraseRange(first + 1, first + 1);
    }
  }, OutOfMemoryError);
  assert(stored > 0 && error.message.includes("0 pages are free"));
  tree.validate();
  const stall = assertThrows(() => arena.rcu.barrier(20), RcuStallError);
  assertEquals(stall.stalls.map(({ thread }) => thread), [reader.thread]);
  assert(stall.message.includes(`thread ${reader.thread}`));
  assert(seen > 0 && theirs.load(0) > 0);
  // No longer than until it leaves.
  reader.rcu.readUnlock();
  for (let i = 0; i < 500; i++) tree.store(2 * i, 7);
  tree.validate();
  assertEquals([...tree].filter(({ value }) => value === 7).length, 500);
  reader.leave();
  settle(arena);
  assertEquals(lostIn(arena), NOTHING_LOST);
});
