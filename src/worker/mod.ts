/**
 * How an arena gets into a worker, from both sides. Nothing here starts a worker: the program does, with a file of its own
 * that imports this module.
 *
 * @example Both sides
 * ```ts
 * import { Arena, RangeTree } from "@pollard/pollard";
 * import { joinArena, sendArena, stopWorker } from "@pollard/pollard/worker";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * RangeTree.create(arena, { name: "vm", rcu: true }).storeRange(0, 9, 7);
 * const { port1, port2 } = new MessageChannel(); // a Worker, and that worker's own scope
 * port1.start();
 * port2.start();
 * sendArena(port1, arena, { tree: "vm" });
 *
 * const joined = await joinArena<{ tree: string }>(port2); // in the worker: without an argument
 * assertEquals(RangeTree.attach(joined.arena, joined.data.tree).load(5), 7);
 *
 * stopWorker(port1);
 * await new Promise((resolve) => joined.signal.addEventListener("abort", resolve));
 * joined.arena.leave();
 * port1.close();
 * ```
 *
 * @module
 */
import { Arena } from "../memory/arena.ts";
import {
  BackgroundCompactor,
  type BackgroundOptions,
  type BackgroundTotals,
} from "../defrag/background.ts";

/** What tells this module's messages from the program's own. */
const MARK = "pollard";

/** A message to a worker, or from it. */
interface Message {
  readonly [MARK]: "arena" | "stop" | "left" | "failed";
  readonly buffer?: SharedArrayBuffer;
  readonly data?: unknown;
}

/** What a worker gets. */
export interface Joined<T> {
  /** The arena, which this thread has joined. */
  readonly arena: Arena;
  /** What was sent along. */
  readonly data: T;
  /** Says when the other side wants the worker to end. */
  readonly signal: AbortSignal;
  /** What the worker answers through. */
  readonly port: Port;
}

/** What can be posted to, and heard: a `Worker` on one side, the worker's own scope on the other. */
export interface Port {
  /** Sends a message. */
  postMessage(message: unknown): void;
  /** Listens to messages. */
  addEventListener(
    type: "message",
    listener: (event: MessageEvent) => void,
  ): void;
  /** Stops listening. */
  removeEventListener(
    type: "message",
    listener: (event: MessageEvent) => void,
  ): void;
}

/** Hands an arena to a worker that calls {@linkcode joinArena}, with anything that can be cloned along. */
export function sendArena(worker: Port, arena: Arena, data?: unknown): void {
  post(worker, { [MARK]: "arena", buffer: arena.buffer, data });
}

/** Asks a worker to end: the signal that {@linkcode joinArena} gave it aborts. */
export function stopWorker(worker: Port): void {
  post(worker, { [MARK]: "stop" });
}

/**
 * In a worker: waits for the arena that {@linkcode sendArena} sends, and joins it.
 *
 * @throws {TypeError} If what was sent is no arena of this version.
 * @throws {Error} If all thread slots of the arena are taken.
 */
export async function joinArena<T = unknown>(
  port: Port = globalThis as unknown as Port,
): Promise<Joined<T>> {
  const stopping = new AbortController();
  port.addEventListener("message", ({ data }) => {
    if (isMessage(data) && data[MARK] === "stop") stopping.abort();
  });
  const { buffer, data } = await heard(port, "arena");
  const arena = Arena.attach(buffer!);
  return { arena, data: data as T, signal: stopping.signal, port };
}

/**
 * All of a worker that compacts an arena in the background until it is asked to end. Its file needs no other line than the
 * call. The {@linkcode BackgroundOptions} are what {@linkcode sendArena} sends along; what it did is answered at the end, to
 * {@linkcode compactorTotals}.
 */
export async function runCompactorWorker(
  port: Port = globalThis as unknown as Port,
): Promise<void> {
  const { arena, data, signal } = await joinArena<
    BackgroundOptions | undefined
  >(port);
  try {
    const totals = await new BackgroundCompactor(arena, data).run(signal);
    arena.leave();
    post(port, { [MARK]: "left", data: totals });
  } catch (error) {
    post(port, { [MARK]: "failed", data: String(error) });
    throw error;
  }
}

/**
 * Asks a worker that runs {@linkcode runCompactorWorker} to end, and waits for what it did.
 *
 * @throws {Error} If it failed.
 */
export async function compactorTotals(worker: Port): Promise<BackgroundTotals> {
  const answer = heard(worker, "left");
  stopWorker(worker);
  return (await answer).data as BackgroundTotals;
}

function post(port: Port, message: Message): void {
  port.postMessage(message);
}

function isMessage(data: unknown): data is Message {
  return typeof data === "object" && data !== null && MARK in data;
}

/** The next message of a kind; fails with the one that says that the other side has failed. */
function heard(port: Port, kind: Message[typeof MARK]): Promise<Message> {
  return new Promise((resolve, reject) => {
    const listener = ({ data }: MessageEvent) => {
      if (!isMessage(data)) return;
      if (data[MARK] !== kind && data[MARK] !== "failed") return;
      port.removeEventListener("message", listener);
      if (data[MARK] === kind) resolve(data);
      else reject(new Error(`The worker failed: ${data.data}`));
    };
    port.addEventListener("message", listener);
  });
}
