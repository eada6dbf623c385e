/**
 * A writer that fills its tree until there is no memory, waits, and goes on.
 *
 * @module
 */
import {
  Arena,
  OutOfMemoryError,
  RangeTree,
  type SharedMemory,
} from "../../mod.ts";
import { workerPort } from "../sync/workers.ts";

/** What the worker is sent. */
export interface ExhaustionCommand {
  readonly memory: SharedMemory;
  /** The name of its tree. */
  readonly tree: string;
  /** Word 0 counts those that have no memory; word 1 says that there is some again. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** How many workers there are. */
  readonly of: number;
  /** How many entries it stores once there is memory again. */
  readonly more: number;
}

workerPort.onmessage = ({ data }: MessageEvent<ExhaustionCommand>) => {
  const { memory, tree: name, signals, of, more } = data;
  const arena = Arena.attach(memory);
  const tree = RangeTree.attach(arena, name);
  let stored = 0;
  const store = () => {
    tree.store(2 * stored, stored + 1);
    stored++;
  };
  const storeUntilExhausted = () => {
    try {
      for (;;) store();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
    }
  };
  storeUntilExhausted();
  Atomics.add(signals, 0, 1);
  // What one has given up another may still take: until none gets anything and all know it.
  while (Atomics.load(signals, 0) < of) storeUntilExhausted();
  storeUntilExhausted();
  workerPort.postMessage({ exhaustedAt: stored });
  Atomics.wait(signals, 1, 0);
  for (let i = 0; i < more; i++) store();
  arena.leave();
  workerPort.postMessage({ stored });
};
