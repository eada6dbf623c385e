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
import { Arena, type SharedMemory } from "../memory/arena.ts";
import {
  BackgroundCompactor,
  type BackgroundOptions,
  type BackgroundTotals,
} from "../defrag/background.ts";

/** What tells this module's messages from the program's own, whose listeners hear both. */
const MARK = "pollard";

/** What a message says. */
type Kind = "arena" | "stop" | "joined" | "left" | "failed";

/** A message to a worker, or from it. */
interface Message {
  readonly [MARK]: Kind;
  readonly shared?: SharedMemory;
  readonly data?: unknown;
}

/** What a worker that was sent an arena answers, each heard from then on, however late somebody asks. */
interface Answers {
  /** That it has joined, or could not. */
  readonly joined: Promise<Message>;
  /** That it is done, or has failed. */
  readonly ended: Promise<Message>;
}

const answersOf = new WeakMap<Port, Answers>();

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
  answersOf.set(worker, listenTo(worker));
  post(worker, { [MARK]: "arena", shared: arena.shared, data });
}

/**
 * The thread id of a worker that was sent an arena, once it has joined. If the worker dies, `arena.reap` takes this id.
 *
 * @throws {Error} If it could not join.
 */
export async function joinedThread(worker: Port): Promise<number> {
  return (await answered(worker, "joined")).data as number;
}

/** Asks a worker to end: the signal that {@linkcode joinArena} gave it aborts. */
export function stopWorker(worker: Port): void {
  post(worker, { [MARK]: "stop" });
}

/**
 * In a worker: waits for the arena that {@linkcode sendArena} sends, joins it, and answers its thread id or why it could not,
 * for {@linkcode joinedThread} on the other side.
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
  const { shared, data } = await heard(port, ["arena"]);
  try {
    const arena = Arena.attach(shared!);
    post(port, { [MARK]: "joined", data: arena.thread });
    return { arena, data: data as T, signal: stopping.signal, port };
  } catch (error) {
    post(port, { [MARK]: "failed", data: String(error) });
    throw error;
  }
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
    const totals = await compactAndLeave(arena, signal, data);
    post(port, { [MARK]: "left", data: totals });
  } catch (error) {
    post(port, { [MARK]: "failed", data: String(error) });
    throw error;
  }
}

async function compactAndLeave(
  arena: Arena,
  signal: AbortSignal,
  options?: BackgroundOptions,
): Promise<BackgroundTotals> {
  let totals: BackgroundTotals;
  try {
    totals = await new BackgroundCompactor(arena, options).run(signal);
  } catch (error) {
    try {
      arena.leave();
    } catch {
      // The first error says more; and the other side knows which thread to reap.
    }
    throw error;
  }
  arena.leave();
  return totals;
}

/**
 * Asks a worker that runs {@linkcode runCompactorWorker} to end, and waits for what it did.
 *
 * @throws {Error} If it failed.
 */
export async function compactorTotals(worker: Port): Promise<BackgroundTotals> {
  const answer = answered(worker, "ended");
  stopWorker(worker);
  return (await answer).data as BackgroundTotals;
}

/** What a worker answers, or has answered since it was sent an arena; fails if that is its failure. */
async function answered(worker: Port, what: keyof Answers): Promise<Message> {
  let answers = answersOf.get(worker);
  if (answers === undefined) {
    answersOf.set(worker, answers = listenTo(worker));
  }
  const answer = await answers[what];
  if (answer[MARK] !== "failed") return answer;
  throw new Error(`The worker failed: ${answer.data}`);
}

function listenTo(worker: Port): Answers {
  return {
    joined: heard(worker, ["joined", "failed"]),
    ended: heard(worker, ["left", "failed"]),
  };
}

function post(port: Port, message: Message): void {
  port.postMessage(message);
}

function isMessage(data: unknown): data is Message {
  return typeof data === "object" && data !== null && MARK in data;
}

/** The next message of one of these kinds. */
function heard(port: Port, kinds: readonly Kind[]): Promise<Message> {
  return new Promise((resolve) => {
    const listener = ({ data }: MessageEvent) => {
      if (!isMessage(data) || !kinds.includes(data[MARK])) return;
      port.removeEventListener("message", listener);
      resolve(data);
    };
    port.addEventListener("message", listener);
  });
}
