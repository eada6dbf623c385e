import { Arena } from "../../src/memory/mod.ts";
import { workerPort } from "./workers.ts";

/** What the reader is given: an arena, an object in it to watch, and a word to sleep on. */
export interface RcuWorkerCommand {
  /** The arena. */
  buffer: SharedArrayBuffer;
  /** The first word of the object. */
  object: number;
  /** The reader leaves its section when the first word of this is 1. */
  gate: SharedArrayBuffer;
}

/** What the object held when the reader had entered its section, and before it left. */
export interface RcuWorkerAnswer {
  /** The reader's thread id. */
  thread: number;
  /** The object's word on both occasions. */
  seen: [atEntry: number, atExit: number];
}

workerPort.onmessage = ({ data: command }: MessageEvent<RcuWorkerCommand>) => {
  const arena = Arena.attach(command.buffer);
  const gate = new Int32Array(command.gate);
  arena.rcu.readLock();
  const atEntry = Atomics.load(arena.words, command.object);
  workerPort.postMessage("inside");
  Atomics.wait(gate, 0, 0);
  const seen = [atEntry, Atomics.load(arena.words, command.object)];
  arena.rcu.readUnlock();
  workerPort.postMessage({ thread: arena.thread, seen });
};
