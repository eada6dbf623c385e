/**
 * Bind queues: VM_BIND on a VA manager. A queue takes jobs, each a list of operations that is all or nothing, and executes them
 * in the order of their submission, each once the fences that it waits for are reached.
 *
 * A job's phases are those of real drivers, and each says what it may do:
 *
 * | phase | may fail | may allocate | what it does |
 * |---|---|---|---|
 * | submit | yes | yes | checks all operations, sets all memory aside; strategy `"submit"`: changes the tree |
 * | arm | no | no | takes its place in the queue: from here on its out-fences will be signalled |
 * | run | no* | no: lockdep sees to it | strategy `"run"`: changes the tree; writes the page table |
 * | free | no | no | gives back what was set aside and not used, signals the out-fences |
 *
 * (*) With strategy `"run"` the rules about the VM's state can only be checked when the state is there. A job that breaks one
 * then changes nothing, ends with that error, and signals its fences all the same.
 *
 * Why nothing of a refused job is left: all of it is checked before the first change, in a picture of the state that the
 * job's own operations are drawn into (`bind_rules.ts`); then all memory is set aside (`reserve.ts`); what changes the tree
 * comes after both and can't fail. So nothing is ever undone.
 *
 * Why the page table says what the tree says, for every address that no job which has not ended is about: a list of operations is
 * written to it in the order in which the lists changed the tree. In one queue that is the order of submission, and a job
 * that is given up keeps its place in it: with strategy `"submit"` the tree has changed already, and what it means is
 * written when it is its turn, only that it waits for its fences no more. Between queues see `bind_order.ts`.
 *
 * Serialising, in the two ways of the 2023 thread: with `mutex: false` the one scheduler, which runs one job after the
 * other, is enough, as long as all that changes the VM goes through it; with `mutex: true` every set of operations is under
 * the manager's own outer lock, and other threads may bind at the same time.
 *
 * @module
 */
import { VaError } from "./errors.ts";
import type { OperationList, VaSpan } from "./operations.ts";
import {
  type BindJob,
  type BindOptions,
  type CheckedOptions,
  checkedOptions,
  PendingJob,
} from "./bind_job.ts";
import {
  type BindOp,
  type BindWorld,
  type CheckedOp,
  checkedOps,
  checkState,
} from "./bind_rules.ts";
import { Footprint } from "./bind_order.ts";
import type { Binder } from "./binder.ts";
import type { FencePoint } from "./timeline.ts";
import { binderOf, type VaManager } from "./va_manager.ts";

/** What writes page tables. */
export interface BindBackend {
  /** Bytes of the smallest page that it can map; by default it does not mind. */
  readonly pageSize?: number;
  /**
   * Does what the operations say. Must not fail, since the tree has changed already; what it throws nevertheless ends the job as
   * failed. Must not allocate memory of the arena.
   */
  execute(lists: readonly OperationList[]): void;
  /** Makes a range sparse, or no longer. */
  setSparse(span: VaSpan, on: boolean): void;
}

/** How a queue works. */
export interface BindQueueOptions {
  /** The size of an object; undefined if there is none of that id. By default there is every object, and it has no end. */
  objectSize?: (object: number) => number | undefined;
  /** What writes page tables; by default nothing does. */
  backend?: BindBackend;
  /**
   * Bytes of a page: a multiple of those that the backend can map.
   *
   * @default {4096}
   */
  pageSize?: number;
  /**
   * When the tree is changed.
   *
   * @default {"submit"}
   */
  strategy?: "submit" | "run";
  /**
   * Whether every set of operations is under the manager's own outer lock, or under one of the driver's. By default the queue takes
   * none: if the lock is the manager's own, jobs are then synchronous, and their submitter holds it.
   *
   * @default {false}
   */
  mutex?: boolean | { guard(): Disposable };
}

/**
 * A queue of bind jobs on one manager.
 *
 * Thread contract: an object belongs to one thread. Several queues may be on one `VaManager` object; with `mutex: true` also on
 * others, in several threads, which then see to it by fences that their jobs don't overtake each other.
 *
 * - A job is all or nothing, and jobs of one queue are executed in the order of their submission.
 * - What is refused, for whatever reason, leaves the VM as it was.
 * - Executing allocates nothing, and no job that was accepted fails for want of memory.
 * - The page table says what the tree says at every address that no job which has not ended is about.
 *
 * @example Bind asynchronously
 * ```ts
 * import { Arena } from "@pollard/pollard";
 * import { BindQueue, Timeline, VaManager } from "@pollard/pollard/va";
 * import { assertEquals } from "@std/assert";
 *
 * const vm = VaManager.create(Arena.create({ byteLength: 2 ** 21 }), { range: 2 ** 47 });
 * const queue = new BindQueue(vm, { strategy: "run" });
 * const ready = new Timeline();
 * const job = queue.submit([{ op: "map", start: 0x10000, range: 0x10000, object: 1 }], {
 *   inFences: [{ timeline: ready, value: 1 }],
 * });
 * assertEquals(vm.count, 0);
 * ready.signal(1);
 * await job.ended;
 * assertEquals(vm.lookup(0x12345)?.object, 1);
 * ```
 */
export class BindQueue {
  readonly #vm: VaManager;
  readonly #binder: Binder;
  readonly #world: BindWorld;
  readonly #backend: BindBackend | undefined;
  readonly #atSubmit: boolean;
  readonly #mutex: boolean | { guard(): Disposable };
  readonly #pending: PendingJob[] = [];
  #isExecuting = false;
  /** What the manager calls when it is destroyed. */
  readonly #abandoned = (reason: Error): void => this.#abandon(reason);

  /**
   * A queue without jobs.
   *
   * @throws {VaError} If the page is no multiple of those that the backend can map, or the strategy is none.
   */
  constructor(vm: VaManager, options: BindQueueOptions = {}) {
    const { objectSize = () => Infinity, pageSize = 4096, backend } = options;
    const smallest = backend?.pageSize ?? 1;
    if (
      !Number.isSafeInteger(pageSize) || pageSize <= 0 ||
      pageSize % smallest !== 0
    ) {
      throw new VaError(
        "EINVAL",
        `Cannot create a bind queue: a page of ${pageSize} bytes is no multiple of ${smallest}`,
      );
    }
    const { strategy = "submit" } = options;
    if (strategy !== "submit" && strategy !== "run") {
      throw new VaError(
        "EINVAL",
        `Cannot create a bind queue: strategy "${strategy}" is unknown`,
      );
    }
    const binder = binderOf(vm);
    this.#vm = vm;
    this.#binder = binder;
    this.#backend = backend;
    this.#atSubmit = strategy === "submit";
    this.#mutex = options.mutex ?? false;
    this.#world = binder.world(pageSize, objectSize);
  }

  /** How many jobs have not ended. */
  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Submits a job. An asynchronous one is executed once its fences are reached, the jobs before it have ended, and those of
   * other queues that have changed the tree before it at the same addresses; at the earliest when the caller is done, who
   * may hold the lock that executing takes.
   *
   * @throws {VaError} If an operation breaks a rule, or a fence is no point on a timeline; the VM is as it was.
   * @throws {RangeError} If the job can't wait for so long; the VM is as it was.
   * @throws {VaError} If it is to be executed at once but has to wait (`ETIME`); the VM is as it was.
   * @throws {VaError} If it is asynchronous, and only its submitter can hold the outer lock (`EINVAL`): that is the manager's own, and
   * the queue has no `mutex`. The VM is as it was.
   * @throws {OutOfMemoryError} If there is no room; the VM is as it was.
   */
  submit(ops: readonly BindOp[], options: BindOptions = {}): BindJob {
    const how = checkedOptions(options);
    if (!how.sync) this.#assertLocks();
    const checked = checkedOps(ops, this.#world);
    if (how.sync) return this.#submitNow(checked, how);
    const pending = this.#prepareLocking(checked, how);
    this.#arm(pending, how);
    if (pending.waitsFor === 0) this.#flushSoon();
    return pending.job;
  }

  /** Prepares a job and executes it at once, so that what is refused is neither in the tree nor in the queue. */
  #submitNow(ops: readonly CheckedOp[], how: CheckedOptions): BindJob {
    this.#assertNothingAhead(ops, how);
    const pending = this.#run(
      "BindQueue.submit",
      () => this.#prepare(ops, how),
    );
    // With strategy "run" a rule can be broken only now.
    if (pending.error !== undefined) throw pending.error;
    return pending.job;
  }

  /**
   * Executes the jobs at the head of the queue that need not wait any more. Returns how many. What is thrown by who takes the lock
   * for it, of {@linkcode BindQueueOptions.mutex}, is thrown; the job then stays where it is until the next time.
   */
  flush(): number {
    if (this.#isExecuting) return 0;
    let count = 0;
    while (this.#isReady()) if (this.#runFirst()) count++;
    return count;
  }

  /**
   * Gives a job up that has not been executed: it waits for its fences no more, and the memory that was set aside for it is freed
   * at once, with what was kept for further jobs. It keeps its place in the queue: its out-fences are signalled, and
   * `ended` settles, when the jobs before it have ended, and the caller is done or calls {@linkcode BindQueue.flush}. With
   * strategy `"submit"` the tree was changed already; then the page table is written all the same. Returns whether the job
   * was there, and not yet given up.
   */
  cancel(job: BindJob, reason?: Error): boolean {
    const pending = this.#pending.find((each) => each.job === job);
    if (pending === undefined || pending.state !== "armed") return false;
    pending.giveUp(reason ?? canceled(pending));
    this.#release(pending);
    this.trim();
    this.#flushSoon();
    return true;
  }

  /** Frees the memory that the manager keeps for further jobs of all its queues on this thread. Needs no lock. */
  trim(): void {
    this.#binder.trim();
  }

  #prepareLocking(
    ops: readonly CheckedOp[],
    how: CheckedOptions,
  ): PendingJob {
    using _lock = this.#lock();
    return this.#prepare(ops, how);
  }

  /** Phase submit: all that can fail, all that allocates. */
  #prepare(ops: readonly CheckedOp[], how: CheckedOptions): PendingJob {
    const binder = this.#binder;
    const pending = new PendingJob(ops, how);
    if (!this.#atSubmit) {
      pending.promised = binder.promise(ops, true);
      return pending;
    }
    binder.assertWriter("BindQueue.submit");
    checkState(ops, this.#world);
    pending.promised = binder.promise(ops, false);
    try {
      pending.lists = this.#apply(ops);
    } finally {
      this.#release(pending);
    }
    binder.order.add(pending);
    return pending;
  }

  /** Phase arm: can't fail. */
  #arm(pending: PendingJob, how: CheckedOptions): void {
    this.#pending.push(pending);
    this.#binder.whenDestroyed.add(this.#abandoned);
    const { job } = pending;
    const late = lateFences(how);
    const dead = late.find(({ timeline }) => timeline.canceled !== undefined);
    if (dead !== undefined) {
      this.cancel(job, dead.timeline.canceled);
      return;
    }
    pending.waitsFor = late.length;
    for (const { timeline, value } of late) {
      pending.waits(timeline.whenSettled(value, () => {
        pending.waitsFor--;
        if (value > timeline.value) this.cancel(job, timeline.canceled);
        else if (pending.waitsFor === 0) this.#flushSoon();
      }));
    }
    const { timeoutMillis } = how;
    if (timeoutMillis === Infinity) return;
    pending.waits(after(timeoutMillis, () => {
      const reason = new VaError(
        "ETIME",
        `Cannot execute a bind job: it has waited for ${timeoutMillis} ms`,
      );
      this.cancel(job, reason);
    }));
  }

  /** Whether there is a first job, and it need not wait any more. */
  #isReady(): boolean {
    const head = this.#pending.at(0);
    if (head === undefined || head.waitsFor > 0) return false;
    const blocker = this.#binder.order.blocker(head);
    if (blocker === undefined) return true;
    if (head.blockedBy !== blocker) {
      head.blockedBy = blocker;
      blocker.whenEnded.push(() => this.#flushSoon());
    }
    return false;
  }

  /** Executes the first job; says whether there was anything left to run it on. */
  #runFirst(): boolean {
    const binder = this.#binder, first = this.#pending[0];
    try {
      // Not taken before: without the lock nothing is begun, and the job stays where it is.
      this.#run("BindQueue", () => this.#pending.shift()!);
      return true;
    } catch (error) {
      if (binder.isLive || this.#pending[0] !== first) throw error;
      binder.destroyed();
      return false;
    }
  }

  /**
   * Phase run, of the job that is begun under the lock: must not allocate. What is thrown before there is one is thrown.
   */
  #run(site: string, begin: () => PendingJob): PendingJob {
    let pending: PendingJob | undefined, failure: Error | undefined;
    this.#isExecuting = true;
    try {
      using _lock = this.#lock();
      this.#binder.assertOuterLock(site);
      pending = begin();
      this.#execute(pending);
    } catch (error) {
      if (pending === undefined) throw error;
      failure = error as Error;
    } finally {
      this.#isExecuting = false;
    }
    if (pending.state === "armed") {
      pending.state = failure === undefined ? "done" : "failed";
      pending.error = failure;
    }
    this.#free(pending);
    // A mistake of the program is not a job that failed.
    if (failure !== undefined && !(failure instanceof VaError)) throw failure;
    return pending;
  }

  #execute(pending: PendingJob): void {
    const binder = this.#binder;
    const { ops } = pending;
    if (!this.#atSubmit && pending.state === "canceled") return;
    if (!this.#atSubmit) binder.keepPromises();
    binder.lockdep.forbidAllocation("the run phase of a bind job");
    try {
      if (!this.#atSubmit) {
        checkState(ops, this.#world);
        pending.lists = this.#apply(ops);
      }
      this.#writePageTable(ops, pending.lists);
    } finally {
      binder.lockdep.allowAllocation();
    }
  }

  #writePageTable(
    ops: readonly CheckedOp[],
    lists: readonly OperationList[],
  ): void {
    if (this.#backend === undefined) return;
    for (const op of ops) {
      if (op.op === "sparseMap") this.#backend.setSparse(op, true);
    }
    this.#backend.execute(lists);
    for (const op of ops) {
      if (op.op === "sparseUnmap") this.#backend.setSparse(op, false);
    }
  }

  /** Phase free: gives back, signals. What a fence calls may submit to this queue, and execute at once. */
  #free(pending: PendingJob): void {
    const { order, whenDestroyed } = this.#binder;
    pending.stopWaiting();
    this.#release(pending);
    order.remove(pending);
    if (this.#pending.length === 0) whenDestroyed.delete(this.#abandoned);
    pending.lists = [];
    pending.settle();
    for (const call of pending.whenEnded) call();
    for (const { timeline, value } of pending.outFences) {
      if (value > timeline.value) timeline.signal(value);
    }
  }

  /** Ends all jobs of a manager that was destroyed: there is nothing left to write. */
  #abandon(reason: Error): void {
    for (const pending of this.#pending.splice(0)) {
      if (pending.state === "armed") pending.giveUp(reason);
      this.#free(pending);
    }
  }

  #release(pending: PendingJob): void {
    if (pending.promised === undefined) return;
    this.#binder.release(pending.promised);
    pending.promised = undefined;
  }

  #apply(ops: readonly CheckedOp[]): OperationList[] {
    return this.#binder.apply(ops, this.#backend !== undefined);
  }

  /** Checks that the lock can be held when the submitter is done. */
  #assertLocks(): void {
    if (this.#mutex !== false || !this.#binder.ownsOuterLock) return;
    throw new VaError(
      "EINVAL",
      "Cannot bind asynchronously: the job would be executed without the manager's own lock, as the queue has no mutex",
    );
  }

  #assertNothingAhead(ops: readonly CheckedOp[], how: CheckedOptions): void {
    this.flush();
    const reason = this.#whyNotNow(ops, how);
    if (reason === undefined) return;
    throw new VaError("ETIME", `Cannot bind synchronously: ${reason}`);
  }

  #whyNotNow(
    ops: readonly CheckedOp[],
    how: CheckedOptions,
  ): string | undefined {
    if (this.#isExecuting) return "a job of the queue is being executed";
    const late = lateFences(how).at(0);
    if (late !== undefined) {
      return `a fence is at ${late.timeline.value}, not ${late.value}`;
    }
    const { length } = this.#pending;
    if (length > 0) return `${length} jobs are ahead in the queue`;
    return this.#binder.order.isClear(() => new Footprint(ops))
      ? undefined
      : "a job of another queue is ahead at the same addresses";
  }

  /** Executes what is ready once the caller is done, who may hold the lock that this takes. */
  #flushSoon(): void {
    queueMicrotask(() => this.flush());
  }

  #lock(): Disposable | undefined {
    const mutex = this.#mutex;
    if (mutex === false) return undefined;
    return mutex === true ? this.#vm.lock() : mutex.guard();
  }
}

function lateFences({ inFences }: CheckedOptions): FencePoint[] {
  return inFences.filter(({ timeline, value }) => value > timeline.value);
}

/** The longest time that one timer can wait: a longer one would end at once. */
const LONGEST_MILLIS = 2 ** 31 - 1;

/** Calls back once, after some time; returns what takes that back. */
function after(millis: number, call: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = (left: number) => {
    const rest = left - LONGEST_MILLIS;
    timer = rest > 0
      ? setTimeout(() => wait(rest), LONGEST_MILLIS)
      : setTimeout(call, left);
  };
  wait(millis);
  return () => clearTimeout(timer);
}

function canceled({ ops }: PendingJob): Error {
  return new VaError(
    "ECANCELED",
    `Cannot execute a bind job of ${ops.length} operations: it was canceled`,
  );
}
