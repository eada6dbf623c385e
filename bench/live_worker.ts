/**
 * A reader, a writer, or a thread that ends grace periods, beside which something is measured. It works without turning its
 * event loop until a shared word says that it is over.
 *
 * @module
 */
import {
  Arena,
  OutOfMemoryError,
  RangeTree,
  type SharedMemory,
} from "../mod.ts";
import { Random } from "../src/experiment/random.ts";
import { load } from "../src/sync/atomics.ts";
import { GAPPED, SPAN } from "./keys.ts";
import { workerPort } from "./worker.ts";

/** Operations between two looks at the signal. */
const BATCH = 64;

/** What the worker is to do. */
export interface LiveCommand {
  readonly role: "reader" | "writer" | "synchronizer";
  readonly memory: SharedMemory;
  /** The tree's ref. */
  readonly tree: number;
  readonly ranges: number;
  /** Word 0: whether it is over. */
  readonly signals: Int32Array<SharedArrayBuffer>;
}

/** What it did. */
export interface LiveAnswer {
  readonly operations: number;
}

workerPort.addEventListener("message", ({ data }) => {
  const command = data as LiveCommand;
  const arena = Arena.attach(command.memory);
  const operate = operationOf(arena, command);
  let operations = 0;
  do {
    for (let i = 0; i < BATCH; i++) operate();
    if (operations === 0) workerPort.postMessage("working");
    operations += BATCH;
  } while (load(command.signals, 0) === 0);
  arena.leave();
  workerPort.postMessage({ operations } satisfies LiveAnswer);
});

function operationOf(
  arena: Arena,
  { role, tree: ref, ranges }: LiveCommand,
): () => void {
  const tree = RangeTree.attach(arena, ref);
  const random = new Random(role.length);
  switch (role) {
    case "reader":
      return () => void tree.load(random.below(ranges * SPAN));
    case "writer":
      return () => replace(arena, tree, random.below(ranges));
    case "synchronizer":
      return () => arena.rcu.synchronize();
  }
}

/** Erases a range and stores it again: in the end the tree holds what it did. */
function replace(arena: Arena, tree: RangeTree, range: number): void {
  const first = range * SPAN;
  retrying(arena, () => tree.erase(first));
  retrying(arena, () => tree.storeRange(first, first + GAPPED - 1, range + 1));
}

/** Where all memory waits for a reader that was interrupted inside a section, it waits as well. */
function retrying(arena: Arena, change: () => void): void {
  for (;;) {
    try {
      return change();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      arena.rcu.barrier();
    }
  }
}
