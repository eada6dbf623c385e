/**
 * A second writer: it changes a tree at the moment when another thread, which stores there, has dropped the lock to wait for
 * memory. It has put some nodes aside, so that it needs none of what the other waits for.
 *
 * @module
 */
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { workerPort } from "../sync/workers.ts";
import { points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** Words that both threads wait at. */
export const Signal = {
  /** The lock is dropped. */
  dropped: 0,
  /** The tree is changed. */
  changed: 1,
} as const;

/** What the worker is to do. */
export interface SecondWriterCommand {
  buffer: SharedArrayBuffer;
  signals: Int32Array<SharedArrayBuffer>;
  /** Whether it is inside a read section till it is done: then the other waits for it. */
  inside: boolean;
  /** What it stores. */
  changes: [first: number, last: number, value: number][];
  /** What the other stores. */
  other: { index: number; value: number };
}

const HOARD = 100;

workerPort.onmessage = ({ data }: MessageEvent<SecondWriterCommand>) => {
  const { buffer, signals, inside, changes, other } = data;
  const arena = Arena.attach(buffer);
  Slabs.of(arena);
  const tree = RangeTree.attach(arena, "tree");
  const nodes = bothOf(arena);
  const filler = RangeTree.create(arena);
  filler.bulkLoad(points(40));
  const hoard = Array.from({ length: HOARD }, () => nodes.allocate());
  if (inside) {
    arena.rcu.readLock();
    // Something must be deferred, or the other has nothing to wait for.
    filler.destroy();
  }
  workerPort.postMessage("ready");

  Atomics.wait(signals, Signal.dropped, 0);
  const guard = tree.tryLock();
  guard?.[Symbol.dispose]();
  for (const node of hoard) nodes.free(node);
  for (const [first, last, value] of changes) {
    tree.storeRange(first, last, value);
  }
  const wasAlone = tree.load(other.index) !== other.value;
  Atomics.store(signals, Signal.changed, 1);
  Atomics.notify(signals, Signal.changed);
  if (inside) arena.rcu.readUnlock();
  arena.leave();
  workerPort.postMessage({ wasFree: guard !== undefined, wasAlone });
};
