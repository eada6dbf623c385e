import { SpinLock } from "../../src/sync/mod.ts";
import { workerPort } from "./workers.ts";

/** What the worker is to do with the lock at word 0, as the owner of that id. */
export type SpinLockCommand =
  /** Say so, wait until word 8 is not 0, then add 1 to the plain word 16 that many times, each time under the lock. */
  | { what: "count"; buffer: SharedArrayBuffer; owner: number; turns: number }
  /** Take the lock, say so, release it once word 8 is not 0. */
  | { what: "take"; buffer: SharedArrayBuffer; owner: number }
  /** Take the lock, say so, release it once somebody waits for it. */
  | { what: "hold until contended"; buffer: SharedArrayBuffer; owner: number };

workerPort.onmessage = ({ data: command }: MessageEvent<SpinLockCommand>) => {
  const words = new Int32Array(command.buffer);
  const lock = new SpinLock(words, 0, command.owner);
  if (command.what === "count") {
    workerPort.postMessage("waits");
    Atomics.wait(words, 8, 0);
    for (let turn = 0; turn < command.turns; turn++) {
      lock.lock();
      const seen = words[16];
      // Now and then long enough for another thread to come between, were there no lock.
      for (let i = turn & 15; i > 0; i--) words[32 + command.owner] += i;
      words[16] = seen + 1;
      lock.unlock();
    }
    workerPort.postMessage("counted");
    return;
  }
  workerPort.postMessage("begins");
  lock.lock();
  workerPort.postMessage("holds");
  if (command.what === "hold until contended") {
    while (Atomics.load(words, 0) === command.owner);
  }
  if (command.what === "take") Atomics.wait(words, 8, 0);
  lock.unlock();
  workerPort.postMessage("released");
};
