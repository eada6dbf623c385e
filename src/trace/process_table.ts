import type { AddressSpace, MapTree } from "./address_space.ts";
import type { CloneCall } from "./events.ts";

/** A process: the threads that end together. */
export interface Process<Tree extends MapTree<Tree>> {
  /** Its number, that of its first thread. */
  readonly pid: number;
  /** Its place in the order in which processes came to be, from 0. */
  readonly serial: number;
  /** The memory that its threads run in, which another process may share. */
  readonly space: AddressSpace<Tree>;
}

interface MutableProcess<Tree extends MapTree<Tree>> extends Process<Tree> {
  pid: number;
  space: AddressSpace<Tree>;
  /** The numbers of its live threads; never empty. */
  readonly threads: Set<number>;
}

/** What a {@link ProcessTable} needs. */
export interface ProcessTableOptions<Tree extends MapTree<Tree>> {
  /** Makes an address space without mappings. */
  readonly createSpace: () => AddressSpace<Tree>;
  /** Called for a process that ends, while it still has its address space. */
  readonly onEnd?: (process: Process<Tree>) => void;
}

/**
 * The processes of one recording and who shares whose memory.
 *
 * ## Guarantees
 *
 * - An address space counts exactly the live processes that run in it, and is destroyed with the last of them.
 * - A task that ended is remembered until its number is given to a new one, so that what the recording says of it later is not
 *   taken for a task that nobody knows.
 */
export class ProcessTable<Tree extends MapTree<Tree>> {
  readonly #options: ProcessTableOptions<Tree>;
  readonly #byTask = new Map<number, MutableProcess<Tree>>();
  readonly #live = new Set<MutableProcess<Tree>>();
  readonly #gone = new Set<number>();
  #created = 0;

  /** Makes an empty table. */
  constructor(options: ProcessTableOptions<Tree>) {
    this.#options = options;
  }

  /** How many processes there have been. */
  get created(): number {
    return this.#created;
  }

  /** The live processes, oldest first. */
  live(): Process<Tree>[] {
    return [...this.#live];
  }

  /** The process that the task belongs to. */
  get(task: number): Process<Tree> | undefined {
    return this.#byTask.get(task);
  }

  /** Whether the task has ended, or would have been made by one that had. */
  isGone(task: number): boolean {
    return this.#gone.has(task);
  }

  /** Takes in a task that the recording does not tell the beginning of: a process of its own, its memory unknown. */
  adopt(task: number): void {
    this.#add(task, this.#options.createSpace());
  }

  /** Makes a thread, or a process in the same address space or in a copy. The child is another task than the parent. */
  clone(task: number, { child, sharesMemory, thread }: CloneCall): void {
    const parent = this.#require(task);
    this.#leave(child);
    this.#gone.delete(child);
    if (thread) {
      parent.threads.add(child);
      this.#byTask.set(child, parent);
    } else {
      this.#add(
        child,
        sharesMemory ? parent.space.share() : parent.space.copy(),
      );
    }
  }

  /** Marks a task that was never made, because the one that would have made it had ended. */
  skip(task: number): void {
    if (!this.#byTask.has(task)) this.#gone.add(task);
  }

  /** Gives the task's process a new address space, ends its other threads, and calls what is left `leader`. */
  exec(task: number, leader: number): void {
    const process = this.#require(task);
    if (leader !== task) this.#leave(leader);
    for (const thread of process.threads) this.#forget(thread);
    process.threads.clear();
    process.threads.add(leader);
    process.pid = leader;
    this.#byTask.set(leader, process);
    this.#gone.delete(leader);
    process.space.release();
    process.space = this.#options.createSpace();
  }

  /** Ends one thread, and its process if it was the last. */
  exitThread(task: number): void {
    this.#require(task);
    this.#leave(task);
  }

  /** Ends the task's process. */
  exitProcess(task: number): void {
    this.#end(this.#require(task));
  }

  /** Ends the process of this number, which its first thread may have left. */
  end(pid: number): void {
    for (const process of this.#live) {
      if (process.pid === pid) return this.#end(process);
    }
    throw new Error(`Cannot end process: no process ${pid} is alive`);
  }

  #add(pid: number, space: AddressSpace<Tree>): void {
    const process = {
      pid,
      serial: this.#created++,
      space,
      threads: new Set([pid]),
    };
    this.#byTask.set(pid, process);
    this.#live.add(process);
  }

  #end(process: MutableProcess<Tree>): void {
    for (const thread of [...process.threads]) this.#leave(thread);
  }

  #leave(task: number): void {
    const process = this.#byTask.get(task);
    if (process === undefined) return;
    this.#forget(task);
    process.threads.delete(task);
    if (process.threads.size > 0) return;
    this.#live.delete(process);
    this.#options.onEnd?.(process);
    process.space.release();
  }

  #forget(task: number): void {
    this.#byTask.delete(task);
    this.#gone.add(task);
  }

  #require(task: number): MutableProcess<Tree> {
    const process = this.#byTask.get(task);
    if (process === undefined) {
      throw new Error(`Cannot find process: no task ${task} is alive`);
    }
    return process;
  }
}
