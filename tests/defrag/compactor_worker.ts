/**
 * Compacts an arena's trees over and over, while other threads build, copy and destroy whole trees.
 *
 * @module
 */
import { Compactor } from "../../src/defrag/mod.ts";
import { Arena } from "../../src/memory/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { workerPort } from "../sync/workers.ts";

/** What the worker is to compact. */
export interface CompactorCommand {
  buffer: SharedArrayBuffer;
  /** Word 0: whether to stop. Word 1: how many runs were made that moved something. */
  signals: Int32Array<SharedArrayBuffer>;
}

workerPort.onmessage = ({ data }: MessageEvent<CompactorCommand>) => {
  const { buffer, signals } = data;
  const arena = Arena.attach(buffer);
  const compactor = new Compactor(arena);
  workerPort.postMessage("compacting");
  while (Atomics.load(signals, 0) === 0) {
    if (compactor.run().moves > 0) Atomics.add(signals, 1, 1);
  }
  // In a debug arena, what this thread keeps in quarantine would stay there.
  arena.rcu.barrier();
  for (const cache of Slabs.of(arena).all()) cache.shrink();
  arena.leave();
  workerPort.postMessage("stopped");
};
