/**
 * Reads what `strace` writes.
 *
 * The forms it takes: with or without `-f` (`12345 call`, `[pid 12345] call`, `call`), to a file or to the terminal, any of the
 * time stamps (`-t`, `-tt`, `-ttt`, `-r`), `-T`, `-y`, `-n`, `-i`; calls in one line or in two (`<unfinished ...>`, `<... x resumed>`),
 * and lines into which strace itself put a remark.
 *
 * ## When a call took effect
 *
 * A call that stands in two lines took effect somewhere between them. It is placed at its second line, where its result is
 * known, unless something in between proves that it had happened by then:
 *
 * - a new task's own events come after the `clone` that made it;
 * - where the kernel placed a new mapping, whatever was unmapped or moved away from there had already gone.
 *
 * No other order can matter to a program: a thread learns of what another's call did only after that call returned, and strace
 * writes the second line before it lets the thread go on.
 *
 * @module
 */

import type {
  MemoryCall,
  ProcessCall,
  RemapCall,
  Trace,
  TraceEvent,
  UnmapCall,
  UnreadableLine,
} from "./events.ts";
import {
  LENGTH_UNKNOWN,
  READERS,
  readNumber,
  Unreadable,
} from "./strace_calls.ts";

/** `[pid 7] ` or `7 `, time stamps, `-i` and `-n` brackets. A bare number of more than seven digits is a time, not a task. */
const PREFIX =
  /^(?:\[pid +(\d+)\] |(\d{1,7}) +)? *(?:\d\d:\d\d:\d\d(?:\.\d+)? |\d+(?:\.\d+)? )?(?:\(\+ *\d+\.\d+\) )?(?:\[[ 0-9a-f?]+\] )*/;
const SHAPE = /^(?:\w+\(|<\.\.\. \w+ resumed>|\+\+\+ )/;
const ATTACHED = /^(.*)strace: Process (\d+) attached(?: with \d+ threads)?$/;
const REMARK = /^(?:strace: |\[ Process PID=\d+ runs in |--- .* ---$)/;
const GONE =
  /^\+\+\+ (?:exited with \d+|killed by \S+(?: \(core dumped\))?) \+\+\+$/;
const SUPERSEDED = /^\+\+\+ superseded by execve in pid (\d+) \+\+\+$/;
const BEGUN = /^(\w+)\((.*?) ?<(?:unfinished|pid changed to \d+) \.\.\.>$/s;
const RESUMED = /^<\.\.\. (\w+) resumed>(.*)$/s;
const CALL = /^(\w+)\((.*)\)\s*=\s+(-?\d+|0x[0-9a-f]+|\?)(?:[\s</].*)?$/s;

const CLONES: ReadonlySet<string> = new Set([
  "clone",
  "clone2",
  "clone3",
  "fork",
  "vfork",
]);

/** A call whose second line is awaited. */
interface Pending {
  /** The task that made it, whatever number it has by now. */
  readonly pid: number;
  readonly name: string;
  readonly text: string;
  /** How many events there were when it began. */
  since: number;
}

/**
 * Reads the whole of a recording.
 *
 * @example Read two lines, one of which is not strace's
 * ```ts
 * import { readTrace } from "@pollard/pollard/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const trace = readTrace("7 munmap(0x7fe9ccd7b000, 8192) = 0\n7 hello\n");
 * assertEquals(trace.events.length, 1);
 * assertEquals(trace.unreadable, [
 *   { line: 2, text: "7 hello", reason: "not a line of strace" },
 * ]);
 * ```
 */
export function readTrace(text: string): Trace {
  const reader = new StraceReader();
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (const line of lines) {
    reader.readLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
  return reader.finish();
}

class StraceReader {
  readonly #events: TraceEvent[] = [];
  readonly #unreadable: UnreadableLine[] = [];
  readonly #pending = new Map<number, Pending>();
  readonly #tasks = new TaskNames();
  #lines = 0;
  #ignored = 0;
  #failed = 0;
  #begun = 0;
  /** The first part of a line that strace broke off to announce a new task. */
  #brokenOff = "";

  readLine(line: string): void {
    this.#lines++;
    const text = this.#brokenOff + line;
    this.#brokenOff = "";
    try {
      this.#read(text);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      this.#unreadable.push({ line: this.#lines, text, reason: error.message });
    }
  }

  finish(): Trace {
    return {
      events: this.#tasks.first === 0
        ? this.#events
        : this.#events.map((event) => nameTask(event, this.#tasks.first)),
      lines: this.#lines,
      ignored: this.#ignored,
      failed: this.#failed,
      begun: this.#begun,
      unreadable: this.#unreadable,
    };
  }

  #read(text: string): void {
    const attached = ATTACHED.exec(text);
    if (attached !== null) {
      this.#tasks.attached(Number(attached[2]));
      this.#brokenOff = attached[1];
      if (attached[1] === "") this.#ignored++;
      else this.#begun++;
      return;
    }
    const prefix = PREFIX.exec(text)!;
    const body = text.slice(prefix[0].length);
    if (body === "" && text.trim() === "" || REMARK.test(body)) {
      this.#ignored++;
      return;
    }
    if (!SHAPE.test(body)) throw new Unreadable("not a line of strace");
    const name = prefix[1] ?? prefix[2];
    const pid = name === undefined
      ? this.#tasks.unnamed()
      : this.#tasks.named(Number(name), this.#mayBeNew(body));
    if (body.startsWith("+++")) this.#readEnd(pid, body);
    else if (body.startsWith("<... ")) this.#readResumed(pid, body);
    else if (body.endsWith(" ...>")) this.#readBegun(pid, body);
    else this.#readCall(pid, body, this.#events.length);
  }

  #readEnd(pid: number, body: string): void {
    const superseded = SUPERSEDED.exec(body);
    if (superseded !== null) {
      this.#readSuperseded(pid, Number(superseded[1]));
      return;
    }
    if (!GONE.test(body)) {
      throw new Unreadable("the end of a task in an unknown form");
    }
    this.#pending.delete(pid);
    this.#tasks.gone(pid);
    this.#events.push({
      line: this.#lines,
      pid,
      call: { kind: "exit", group: false },
    });
  }

  /** A thread's `execve` ends the others, and the thread takes its process's number, under which the call is resumed. */
  #readSuperseded(leader: number, thread: number): void {
    const call = this.#pending.get(thread);
    if (call === undefined) {
      throw new Unreadable(`task ${thread} was not in a call`);
    }
    this.#pending.delete(thread);
    this.#pending.set(leader, call);
    this.#tasks.gone(thread);
    this.#ignored++;
  }

  #readBegun(pid: number, body: string): void {
    const begun = BEGUN.exec(body);
    if (begun === null) throw new Unreadable("not a line of strace");
    if (this.#pending.has(pid)) {
      throw new Unreadable("the task was in another call");
    }
    const [, name, rest] = begun;
    const text = `${name}(${rest}`;
    this.#pending.set(pid, { pid, name, text, since: this.#events.length });
    this.#begun++;
  }

  #readResumed(leader: number, body: string): void {
    const [, name, rest] = RESUMED.exec(body)!;
    const pending = this.#pending.get(leader);
    if (pending?.name !== name) {
      if (READERS.has(name)) {
        throw new Unreadable(`the beginning of this ${name} is missing`);
      }
      // As for whatever was under way when strace began to look at a running program.
      this.#ignored++;
      return;
    }
    this.#pending.delete(leader);
    this.#readCall(pending.pid, pending.text + rest, pending.since, leader);
  }

  #readCall(pid: number, text: string, since: number, leader = pid): void {
    const parts = CALL.exec(text);
    if (parts === null) throw new Unreadable("not a line of strace");
    const [, name, rest, result] = parts;
    if (LENGTH_UNKNOWN.has(name) && result !== "?" && result !== "-1") {
      throw new Unreadable(`${name} does not say how long the mapping is`);
    }
    const read = READERS.get(name);
    if (read === undefined) {
      this.#ignored++;
      return;
    }
    if (result === "-1" || result === "?" && !name.startsWith("exit")) {
      this.#failed++;
      return;
    }
    // Inside a comment stands what strace makes of a number, after it.
    const input = rest.replaceAll(/ ?\/\*.*?\*\//g, "");
    const site = {
      line: this.#lines,
      pid: leader,
      result: result === "?" ? 0 : readNumber(result),
    };
    const call = read(input, site);
    if (call.kind === "clone") this.#tasks.isChild(call.child);
    this.#place({ line: this.#lines, pid, call }, since);
  }

  /** Whether the line may be the first of a task whose parent's call has not returned. */
  #mayBeNew(body: string): boolean {
    return !body.startsWith("<... ") &&
      [...this.#pending.values()].some(({ name }) => CLONES.has(name));
  }

  /** Puts the event at the end, or before the first one since its beginning that proves it had happened. */
  #place(event: TraceEvent, since: number): void {
    const events = this.#events;
    let at = since;
    while (at < events.length && !comesAfter(events[at], event.call)) at++;
    if (at === events.length) {
      events.push(event);
      return;
    }
    events.splice(at, 0, event);
    for (const pending of this.#pending.values()) {
      if (pending.since > at) pending.since++;
    }
  }
}

/** Which task a line without a number belongs to, and which number the first task has. */
class TaskNames {
  /** The number of the task whose lines began without one, which is 0 to the reader; 0 as long as it is not known. */
  first = 0;
  #beganUnnamed = false;
  /** In the order in which they appeared. */
  readonly #live = new Set<number>();
  readonly #children = new Set<number>();

  isChild(pid: number): void {
    this.#children.add(pid);
  }

  /** strace says so of new tasks, and first of all of one that it was told to look at. */
  attached(pid: number): void {
    if (this.#live.size > 0) this.isChild(pid);
  }

  gone(pid: number): void {
    this.#live.delete(pid);
  }

  /** strace leaves the number out where one task is left. */
  unnamed(): number {
    for (const task of this.#live) return task;
    this.#beganUnnamed = true;
    this.#live.add(0);
    return 0;
  }

  /** The task of this number. The first one that no new task can have must be the first task's. */
  named(pid: number, mayBeNew: boolean): number {
    if (this.#beganUnnamed && this.first === 0 && !mayBeNew) {
      if (!this.#children.has(pid)) this.first = pid;
    }
    const task = pid === this.first ? 0 : pid;
    this.#live.add(task);
    return task;
  }
}

/** The event with the number of the task whose lines had none. */
function nameTask(event: TraceEvent, name: number): TraceEvent {
  const { pid, call } = event;
  if (pid !== 0) return event;
  return {
    ...event,
    pid: name,
    call: call.kind === "exec" ? { ...call, leader: name } : call,
  };
}

/** Whether `later` could happen only after `call` had. */
function comesAfter(
  later: TraceEvent,
  call: MemoryCall | ProcessCall,
): boolean {
  if (call.kind === "clone") return later.pid === call.child;
  if (call.kind !== "unmap" && call.kind !== "remap") return false;
  const placed = later.call;
  const isPlacement = placed.kind === "map" && !placed.fixed ||
    placed.kind === "remap" && !placed.fixed && placed.target !== placed.start;
  if (!isPlacement) return false;
  const [start, end] = freedBy(call);
  const from = placed.kind === "map" ? placed.start : placed.target;
  const length = placed.kind === "map" ? placed.length : placed.newLength;
  return from < end && start < from + length;
}

function freedBy(call: UnmapCall | RemapCall): [start: number, end: number] {
  if (call.kind === "unmap") return [call.start, call.start + call.length];
  if (call.keepOld) return [call.start, call.start];
  const kept = call.target === call.start ? call.newLength : 0;
  return [call.start + kept, call.start + call.oldLength];
}
