/**
 * What a recorded trace says: one {@link TraceEvent} a call that changed an address space or the set of processes.
 *
 * The addresses, lengths and offsets are in bytes, as the calls give them: rounding to pages is the address space's work.
 *
 * @module
 */

/** What a mapping allows, in the bits of `PROT_READ`, `PROT_WRITE` and `PROT_EXEC`. */
export const Protection = { READ: 1, WRITE: 2, EXEC: 4 } as const;

/**
 * The flags of `mmap` that stay with a mapping and keep it apart from a neighbour that lacks them, in the kernel's bits.
 *
 * `MAP_STACK` is among them because it rules out huge pages (since Linux 6.7).
 */
export const Attribute = {
  DROPPABLE: 0x8,
  GROWS_DOWN: 0x100,
  LOCKED: 0x2000,
  NO_RESERVE: 0x4000,
  STACK: 0x20000,
  HUGE_PAGES: 0x40000,
} as const;

/** A successful `mmap`. */
export interface MapCall {
  /** Tells this call from the others. */
  readonly kind: "map";
  /** Where the mapping begins: what the call returned. */
  readonly start: number;
  /** How long it is. */
  readonly length: number;
  /** Bits of {@link Protection}. */
  readonly protection: number;
  /** Whether writes reach the file or the other processes. */
  readonly shared: boolean;
  /** Whether the mapping replaces what it covers. */
  readonly fixed: boolean;
  /** What is mapped: empty for private anonymous memory, else a name that no other object has in this address space. */
  readonly source: string;
  /** Where in {@linkcode MapCall.source} the mapping begins. */
  readonly offset: number;
  /** Bits of {@link Attribute}. */
  readonly attributes: number;
}

/** A successful `munmap`. */
export interface UnmapCall {
  /** Tells this call from the others. */
  readonly kind: "unmap";
  /** Where the emptied window begins. */
  readonly start: number;
  /** How long it is. */
  readonly length: number;
}

/** A successful `mprotect` or `pkey_mprotect`. */
export interface ProtectCall {
  /** Tells this call from the others. */
  readonly kind: "protect";
  /** Where the window begins. */
  readonly start: number;
  /** How long it is. */
  readonly length: number;
  /** Bits of {@link Protection}. */
  readonly protection: number;
  /** The protection key, -1 to leave it as it is. */
  readonly key: number;
}

/** A successful `mremap`. */
export interface RemapCall {
  /** Tells this call from the others. */
  readonly kind: "remap";
  /** Where the old window begins. */
  readonly start: number;
  /** How long it is; 0 asks for a second view of a shared mapping. */
  readonly oldLength: number;
  /** How long it becomes. */
  readonly newLength: number;
  /** Where it is now: what the call returned. */
  readonly target: number;
  /** Whether the caller chose the target, which then replaces what it covers. */
  readonly fixed: boolean;
  /** Whether the old window stays mapped, empty (`MREMAP_DONTUNMAP`). */
  readonly keepOld: boolean;
}

/** A `brk`, whether it moved the break or only asked for it. */
export interface BreakCall {
  /** Tells this call from the others. */
  readonly kind: "break";
  /** Where the heap ends now: what the call returned. */
  readonly address: number;
}

/** A successful `clone`, `clone3`, `fork` or `vfork`. */
export interface CloneCall {
  /** Tells this call from the others. */
  readonly kind: "clone";
  /** The new task. */
  readonly child: number;
  /** Whether the child runs in its parent's address space (`CLONE_VM`) rather than in a copy. */
  readonly sharesMemory: boolean;
  /** Whether the child is a thread of its parent's process (`CLONE_THREAD`). */
  readonly thread: boolean;
}

/** A successful `execve` or `execveat`. */
export interface ExecCall {
  /** Tells this call from the others. */
  readonly kind: "exec";
  /** The number that the task goes by from now on: its process's, also when another thread than the first made the call. */
  readonly leader: number;
}

/** The end of a task: `exit`, `exit_group`, or strace's word that it is gone. */
export interface ExitCall {
  /** Tells this call from the others. */
  readonly kind: "exit";
  /** Whether the whole process ends, not only this thread. */
  readonly group: boolean;
}

/** A call that changes one address space. */
export type MemoryCall =
  | MapCall
  | UnmapCall
  | ProtectCall
  | RemapCall
  | BreakCall;

/** A call that changes the set of processes. */
export type ProcessCall = CloneCall | ExecCall | ExitCall;

/** One call that took effect, and who made it. */
export interface TraceEvent {
  /** The line of the recording that told the result, from 1. */
  readonly line: number;
  /** The task that made the call; 0 where the recording never names it. */
  readonly pid: number;
  /** What was done. */
  readonly call: MemoryCall | ProcessCall;
}

/** A line that could not be read. */
export interface UnreadableLine {
  /** The line, from 1. */
  readonly line: number;
  /** The line, with the part of it that strace had written earlier. */
  readonly text: string;
  /** Why it could not be read. */
  readonly reason: string;
}

/**
 * A recording, read.
 *
 * ## Guarantees
 *
 * - No line is lost: `lines === events.length + ignored + failed + begun + unreadable.length`.
 * - The events stand in the order in which they took effect, as far as the recording tells.
 */
export interface Trace {
  /** What changed an address space or the set of processes. */
  readonly events: readonly TraceEvent[];
  /** How many lines the recording has. */
  readonly lines: number;
  /** Lines that concern neither: other calls, signals, strace's own remarks, empty lines. */
  readonly ignored: number;
  /** Calls that would have, but failed, or never returned. */
  readonly failed: number;
  /** Lines that begin a call which a later line ends, or none. */
  readonly begun: number;
  /** Lines that could not be read. */
  readonly unreadable: readonly UnreadableLine[];
}
