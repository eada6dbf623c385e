/**
 * How an arena gets into a worker, from both sides. Nothing here starts a worker: the program does, with a file of its own
 * that imports this module.
 *
 * A message that reaches a worker while nobody listens is lost, and a worker may be at anything before it calls
 * {@linkcode joinArena}. So what is sent is sent again when the worker asks for it, which `joinArena` does as it begins to
 * listen. A sending has a number, by which the worker tells one that it has had already.
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
import { load, store } from "../sync/atomics.ts";

/** What tells this module's messages from the program's own, whose listeners hear both. */
const MARK = "pollard";

/** What a message says. */
type Kind = "arena" | "stop" | "asks" | "joined" | "left" | "failed";

/** A message to a worker, or from it. */
interface Message {
  readonly [MARK]: Kind;
  readonly shared?: SharedMemory;
  readonly data?: unknown;
  /** Of an arena: which sending it is. */
  readonly sending?: number;
  /** Of an arena: a word in which the worker leaves its thread id once it has joined. */
  readonly thread?: Int32Array<SharedArrayBuffer>;
}

/** What is between this side and a worker, from when it is sent an arena, or asked about it, until it is sent the next. */
interface Line {
  /** The arena that it was sent. */
  arena?: Message;
  /** Whether it was asked to end. */
  isStopped: boolean;
  /** That it has joined, or could not; kept, however late somebody asks. */
  readonly joined: PromiseWithResolvers<Message>;
  /** That it is done, or has failed. */
  readonly ended: PromiseWithResolvers<Message>;
}

const lineOf = new WeakMap<Port, Line>();
let sendings = 0;
/** In a worker: the last sending that was taken. */
const takenOf = new WeakMap<Port, number>();

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
  /** Listens to what may come of a `Worker` instead of an answer. */
  addEventListener(
    type: "messageerror" | "error",
    listener: (event: Event) => void,
  ): void;
  /** Stops listening. */
  removeEventListener(
    type: "message",
    listener: (event: MessageEvent) => void,
  ): void;
}

/**
 * Hands an arena to a worker that calls {@linkcode joinArena}, however late, with anything that can be cloned along. One at a
 * time: before the worker is sent another one, it must have joined this one ({@linkcode joinedThread}).
 */
export function sendArena(worker: Port, arena: Arena, data?: unknown): void {
  if (!(arena instanceof Arena)) {
    throw new TypeError("Cannot send an arena: what was given is none");
  }
  const { shared } = arena;
  const message = {
    [MARK]: "arena",
    shared,
    data,
    sending: ++sendings,
    thread: new Int32Array(new SharedArrayBuffer(4)),
  } as const;
  // First: what can't be cloned is not sent, and so not sent again either.
  post(worker, message);
  let line = listenTo(worker);
  if (line.arena !== undefined) lineOf.set(worker, line = newLine());
  line.arena = message;
}

/**
 * The thread id of a worker that was sent an arena, once it has joined. If the worker dies, `arena.reap` takes this id.
 *
 * It waits for as long as the worker might still join: for good, if that is terminated before, or never calls
 * {@linkcode joinArena}. An error of the worker that comes before {@linkcode sendArena} is not heard: send at once.
 *
 * @throws {Error} If it could not join, or failed before: if its file can't be loaded, or it throws. As with any worker, Deno ends
 * the program too, unless it listens to the worker's `error` and calls `preventDefault`.
 */
export async function joinedThread(worker: Port): Promise<number> {
  return (await answered(worker, "joined")).data as number;
}

/** Asks a worker to end: the signal that {@linkcode joinArena} gave it aborts. */
export function stopWorker(worker: Port): void {
  listenTo(worker).isStopped = true;
  post(worker, { [MARK]: "stop" });
}

/**
 * In a worker: waits for the arena that {@linkcode sendArena} sends, or has sent, joins it, and answers its thread id or why it
 * could not, for {@linkcode joinedThread} on the other side.
 *
 * @throws {TypeError} If what was sent is no arena of this version.
 * @throws {Error} If all thread slots of the arena are taken.
 */
export async function joinArena<T = unknown>(
  port: Port = globalThis as unknown as Port,
): Promise<Joined<T>> {
  const stopping = new AbortController();
  const stop = ({ data }: MessageEvent) => {
    if (isMessage(data) && data[MARK] === "stop") stopping.abort();
  };
  port.addEventListener("message", stop);
  const { shared, data, thread } = await heardArena(port);
  try {
    const arena = Arena.attach(shared!);
    // Pairs with the load of whoever hears of an error.
    store(thread!, 0, arena.thread);
    post(port, { [MARK]: "joined", data: arena.thread });
    return { arena, data: data as T, signal: stopping.signal, port };
  } catch (error) {
    port.removeEventListener("message", stop);
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
async function answered(
  worker: Port,
  what: "joined" | "ended",
): Promise<Message> {
  const answer = await listenTo(worker)[what].promise;
  if (answer[MARK] !== "failed") return answer;
  throw new Error(`The worker failed: ${answer.data}`);
}

function newLine(): Line {
  const joined = Promise.withResolvers<Message>();
  const ended = Promise.withResolvers<Message>();
  return { isStopped: false, joined, ended };
}

/** The line to a worker. Whatever becomes of the lines, the worker is listened to once, for as long as there is one. */
function listenTo(worker: Port): Line {
  const known = lineOf.get(worker);
  if (known !== undefined) return known;
  const line = newLine();
  lineOf.set(worker, line);
  const fail = (data: string) => hear(worker, { [MARK]: "failed", data });
  worker.addEventListener("message", ({ data }) => {
    if (isMessage(data)) hear(worker, data);
  });
  worker.addEventListener(
    "messageerror",
    () => fail("what it answered can't be read"),
  );
  worker.addEventListener("error", (event) => {
    // An error may overtake what the worker has answered before it: that it has joined, it has said in the word, too.
    const thread = lineOf.get(worker)!.arena?.thread;
    const joined = thread === undefined ? 0 : load(thread, 0);
    if (joined !== 0) hear(worker, { [MARK]: "joined", data: joined });
    fail((event as ErrorEvent).message);
  });
  return line;
}

/** Does what an answer of a worker asks for. Of several of a kind the first one holds. */
function hear(worker: Port, answer: Message): void {
  const { arena, isStopped, joined, ended } = lineOf.get(worker)!;
  switch (answer[MARK]) {
    case "asks":
      if (arena !== undefined) post(worker, arena);
      if (isStopped) post(worker, { [MARK]: "stop" });
      break;
    case "joined":
      joined.resolve(answer);
      break;
    case "left":
      ended.resolve(answer);
      break;
    case "failed":
      joined.resolve(answer);
      ended.resolve(answer);
  }
}

function post(port: Port, message: Message): void {
  port.postMessage(message);
}

function isMessage(data: unknown): data is Message {
  return typeof data === "object" && data !== null && MARK in data;
}

/** The next arena that is sent to this worker, or the last one that was. */
function heardArena(port: Port): Promise<Message> {
  return new Promise((resolve) => {
    const listener = ({ data }: MessageEvent) => {
      if (!isMessage(data) || data[MARK] !== "arena") return;
      // Else it was sent again though it had been heard.
      if (data.sending! <= (takenOf.get(port) ?? 0)) return;
      takenOf.set(port, data.sending!);
      port.removeEventListener("message", listener);
      resolve(data);
    };
    port.addEventListener("message", listener);
    post(port, { [MARK]: "asks" });
  });
}
