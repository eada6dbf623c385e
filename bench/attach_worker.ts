/**
 * A worker that says that it runs, attaches to the arena that it is sent, and says what it finds there.
 *
 * @module
 */
import { Arena, RangeTree } from "../mod.ts";
import { joinArena } from "../src/worker/mod.ts";
import { workerPort } from "./worker.ts";

/** What the worker found. */
export interface AttachAnswer {
  /** What attaching took, from the message that brought the arena to the tree. */
  readonly attachMillis: number;
  /** The first entry. */
  readonly value: number;
}

/** What the worker says when it has left the arena, attached to it once more, and left again. */
export interface AgainAnswer {
  /** What attaching took this time. */
  readonly attachMillis: number;
}

let messageAt = 0;
// Before the listener of `joinArena`, so called before it.
workerPort.addEventListener("message", () => {
  messageAt = performance.now();
});
const joining = joinArena<string>();
workerPort.postMessage("running");

const { arena, data } = await joining;
const tree = RangeTree.attach(arena, data);
const attachMillis = performance.now() - messageAt;
workerPort.postMessage(
  { attachMillis, value: tree.load(0) } satisfies AttachAnswer,
);
arena.leave();

const start = performance.now();
const again = Arena.attach(arena.shared);
RangeTree.attach(again, data);
const againMillis = performance.now() - start;
again.leave();
workerPort.postMessage({ attachMillis: againMillis } satisfies AgainAnswer);
