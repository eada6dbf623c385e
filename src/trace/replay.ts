import { AddressSpace, type MapTree } from "./address_space.ts";
import type { Trace, TraceEvent } from "./events.ts";
import { MappingTable } from "./mapping_table.ts";
import { type Process, ProcessTable } from "./process_table.ts";

/** How a {@link Replayer} works. */
export interface ReplayOptions<Tree extends MapTree<Tree>> {
  /** Makes an empty tree for a new address space. */
  readonly createTree: () => Tree;
  /**
   * The table that the trees' values are numbers of; replayers may share one.
   *
   * @default {a table of its own}
   */
  readonly mappings?: MappingTable;
  /**
   * Whether the last map of a process that ended stays available to {@linkcode Replayer.maps}.
   *
   * @default {false}
   */
  readonly keepEnded?: boolean;
}

/** What a replay did so far. */
export interface ReplayCounts {
  /** Events taken from the trace. */
  readonly events: number;
  /** Of these, events of processes that had ended, which did nothing. */
  readonly skipped: number;
  /** Of these, events that the kernel would not have done to this address space, such as a move of what is not mapped. */
  readonly inconsistent: number;
  /** Of these, changes of protection that reach beyond what the trace mapped: the program's own file, the loader, the stack. */
  readonly outside: number;
  /** Processes that there have been. */
  readonly processes: number;
}

/**
 * Replays a trace into range trees, one an address space, event by event.
 *
 * The trace is only read: any number of replayers can work on it, in turns.
 *
 * @example Replay a trace
 * ```ts
 * import { Arena, RangeTree } from "@pollard/pollard";
 * import { readTrace, Replayer } from "@pollard/pollard/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const trace = readTrace(
 *   "7 mmap(NULL, 5000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000",
 * );
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * const createTree = () => RangeTree.create(arena);
 * const replayer = new Replayer(trace, { createTree });
 * replayer.run();
 * assertEquals(replayer.maps(), "process 7\n00010000-00012000 r--p\n");
 * ```
 */
export class Replayer<Tree extends MapTree<Tree>> {
  /** What is replayed. */
  readonly trace: Trace;
  /** What the trees' values are numbers of. */
  readonly mappings: MappingTable;
  readonly #processes: ProcessTable<Tree>;
  readonly #ended: { readonly serial: number; readonly text: string }[] = [];
  #position = 0;
  #skipped = 0;
  #inconsistent = 0;
  #outside = 0;

  /** Stands before the first event. */
  constructor(trace: Trace, options: ReplayOptions<Tree>) {
    const { createTree, mappings = new MappingTable(), keepEnded = false } =
      options;
    this.trace = trace;
    this.mappings = mappings;
    this.#processes = new ProcessTable({
      createSpace: () => new AddressSpace(createTree(), mappings),
      onEnd: keepEnded ? (process) => this.#keep(process) : undefined,
    });
  }

  /** How many events have been replayed. */
  get position(): number {
    return this.#position;
  }

  /** Whether no event is left. */
  get done(): boolean {
    return this.#position === this.trace.events.length;
  }

  /** What the replay did so far. */
  get counts(): ReplayCounts {
    return {
      events: this.#position,
      skipped: this.#skipped,
      inconsistent: this.#inconsistent,
      outside: this.#outside,
      processes: this.#processes.created,
    };
  }

  /**
   * Replays the next event. False if there is none.
   *
   * What a tree throws, such as for want of memory, passes through and leaves the event half done.
   */
  step(): boolean {
    if (this.done) return false;
    this.#apply(this.trace.events[this.#position++]);
    return true;
  }

  /** Replays until so many events of the trace have been. */
  run(until: number = this.trace.events.length): void {
    while (this.#position < until && this.step());
  }

  /** The live processes, oldest first. */
  processes(): Process<Tree>[] {
    return this.#processes.live();
  }

  /** The live address spaces, each once, in the order of their oldest processes. */
  spaces(): AddressSpace<Tree>[] {
    return [...new Set(this.processes().map(({ space }) => space))];
  }

  /** The live address spaces' trees. */
  trees(): Tree[] {
    return this.spaces().map(({ tree }) => tree);
  }

  /** Ends a process before its time. What the trace tells of it later, and of its children, is skipped. */
  end(pid: number): void {
    this.#processes.end(pid);
  }

  /** Ends all processes that are left, which destroys their trees. */
  endAll(): void {
    for (const { pid } of this.processes()) this.end(pid);
  }

  /** The map of every address space in the form of `/proc/PID/maps`, under a line `process N`, oldest process first. */
  maps(): string {
    const sections = [...this.#ended];
    const seen = new Set<AddressSpace<Tree>>();
    for (const process of this.processes()) {
      if (!seen.has(process.space)) sections.push(sectionOf(process));
      seen.add(process.space);
    }
    return sections.sort((a, b) => a.serial - b.serial).map(({ text }) => text)
      .join("");
  }

  #keep(process: Process<Tree>): void {
    if (process.space.users === 1) this.#ended.push(sectionOf(process));
  }

  #apply({ pid, call }: TraceEvent): void {
    const processes = this.#processes;
    if (processes.get(pid) === undefined) {
      if (processes.isGone(pid)) {
        this.#skip(call);
        return;
      }
      processes.adopt(pid);
    }
    switch (call.kind) {
      case "clone":
        if (call.child === pid) this.#inconsistent++;
        else processes.clone(pid, call);
        break;
      case "exec":
        processes.exec(pid, call.leader);
        break;
      case "exit":
        if (call.group) processes.exitProcess(pid);
        else processes.exitThread(pid);
        break;
      default: {
        const expected = processes.get(pid)!.space.apply(call);
        if (expected) break;
        if (call.kind === "protect") this.#outside++;
        else this.#inconsistent++;
      }
    }
  }

  #skip(call: TraceEvent["call"]): void {
    // That a task is gone is said twice, by its own call and by strace.
    if (call.kind !== "exit") this.#skipped++;
    if (call.kind === "clone") this.#processes.skip(call.child);
  }
}

function sectionOf<Tree extends MapTree<Tree>>(
  { pid, serial, space }: Process<Tree>,
): { serial: number; text: string } {
  return { serial, text: `process ${pid}\n${space.maps()}` };
}
