/**
 * What the tests of releasing run in a process of their own, with the permission: two readers look trees up while this thread
 * fragments the slabs, compacts them and hands free pages back, over and over.
 *
 * @module
 */
import { Arena, Compactor, RangeTree, releaseFreePages } from "../../mod.ts";
import { digest, points } from "../range_tree/worlds.ts";
import { TestWorker } from "../sync/workers.ts";

/** What the program prints. */
export interface BesideFigures {
  readonly turns: number;
  /** What was handed back in all turns. */
  readonly bytes: number;
  readonly blocks: number;
  readonly moves: number;
  /** How often the slower reader has read all trees: at least once a turn. */
  readonly passes: number;
  /** Whether the trees are what they were. */
  readonly same: boolean;
}

const TURNS = 30;
const ENTRIES = 300;

if (import.meta.main) {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const signals = new Int32Array(new SharedArrayBuffer(64));
  const read = Array.from({ length: 8 }, (_, i) => {
    const tree = RangeTree.create(arena, { name: `tree ${i}`, rcu: true });
    for (let entry = 0; entry < ENTRIES; entry++) {
      const value = 1000 * i + entry + 1;
      tree.storeRange(entry * 4, entry * 4 + 1, value);
    }
    return tree;
  });
  const before = read.map(digest).join();
  const workers = [1, 2].map((reader) => {
    const worker = new TestWorker(
      new URL("../defrag/reader_worker.ts", import.meta.url),
    );
    const { buffer } = arena;
    const trees = read.length, entries = ENTRIES;
    worker.send({ buffer, signals, reader, trees, entries });
    return worker;
  });
  for (const worker of workers) await worker.answer();
  const compactor = new Compactor(arena);
  let bytes = 0, blocks = 0, moves = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    const others = Array.from({ length: 60 }, () => RangeTree.create(arena));
    others.forEach((tree, i) => {
      tree.bulkLoad(points(60, 2));
      // The trees that are read change between their entries, so their nodes move in between those of the others.
      const entry = (turn * 60 + i) % ENTRIES;
      const changed = read[i % read.length];
      changed.store(entry * 4 + 2, 9);
      changed.erase(entry * 4 + 2);
    });
    for (const tree of others) tree.destroy();
    moves += compactor.run().moves;
    const released = releaseFreePages(arena);
    bytes += released.bytes;
    blocks += released.blocks;
    for (const reader of [1, 2]) {
      const passes = Atomics.load(signals, reader);
      if (Atomics.wait(signals, reader, passes, 30_000) === "timed-out") {
        throw new Error(`Reader ${reader} stands still`);
      }
    }
  }
  Atomics.store(signals, 0, 1);
  const passes: number[] = [];
  for (const worker of workers) passes.push(await worker.answer<number>());
  const figures: BesideFigures = {
    turns: TURNS,
    bytes,
    blocks,
    moves,
    passes: Math.min(...passes),
    same: read.map(digest).join() === before,
  };
  console.log(JSON.stringify(figures));
  Deno.exit(0);
}
