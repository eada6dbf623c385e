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
 * Serialising, in the two ways of the 2023 thread: with `mutex: false` the one scheduler, which runs one job after the
 * other, is enough, as long as all that changes the VM goes through it; with `mutex: true` every set of operations is under
 * the manager's own outer lock, and other threads may bind at the same time.
 *
 * @module
 */
import { VaError } from "./errors.ts";
import { MappingFlag } from "./mapping.ts";
import type { OperationList, VaSpan } from "./operations.ts";
import {
  type BindOp,
  type BindWorld,
  checkOps,
  checkState,
} from "./bind_rules.ts";
import type { Promised } from "./reserve.ts";
import type { FencePoint } from "./timeline.ts";
import type { Binder } from "./binder.ts";
import { binderOf, type VaManager } from "./va_manager.ts";

/** What writes page tables. */
export interface BindBackend {
  /** Does what the operations say. Must not allocate memory of the arena. */
  execute(lists: readonly OperationList[]): void;
  /** Removes whatever is there, for a job that was given up after the tree was changed. */
  clear(span: VaSpan): void;
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
   * Bytes of a page.
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
   * Whether every set of operations is under the manager's own outer lock, or under one of the driver's.
   *
   * @default {false}
   */
  mutex?: boolean | { guard(): Disposable };
}

/** How a job is submitted. */
export interface BindOptions {
  /**
   * Whether it is to be executed before `submit` returns.
   *
   * @default {false}
   */
  sync?: boolean;
  /** What it waits for. */
  inFences?: readonly FencePoint[];
  /** What it signals when it has ended. */
  outFences?: readonly FencePoint[];
  /** How long it may wait, in milliseconds; by default as long as it takes. */
  timeoutMillis?: number;
}

/** Where a job is. */
export type BindState =
  /** It waits for a fence, or for the jobs before it. */
  | "armed"
  /** It was executed. */
  | "done"
  /** It broke a rule when it was to be executed; nothing was changed. */
  | "failed"
  /** It was given up. */
  | "canceled";

/** A job that was accepted. */
export class BindJob {
  /** Its operations. */
  readonly ops: readonly BindOp[];
  /** Settles when it has ended; rejects with {@linkcode BindJob.error}. */
  readonly ended: Promise<void>;
  /** Where it is. */
  state: BindState = "armed";
  /** Why it did not do what it was to do. */
  error: Error | undefined;
  /** Called when it has ended, after its fences were signalled. */
  settle: () => void = () => {};

  /** A job; use {@linkcode BindQueue.submit}. */
  constructor(ops: readonly BindOp[]) {
    this.ops = ops;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever does not ask is not to be bothered.
    promise.catch(() => {});
    this.ended = promise;
    this.settle = () =>
      this.error === undefined ? resolve() : reject(this.error);
  }
}

/** What the queue knows of a job besides. */
interface Pending {
  readonly job: BindJob;
  readonly options: BindOptions;
  readonly promised: Promised;
  /** What the page table has still to be told. */
  lists: OperationList[];
  waitsFor: number;
  takeBack: (() => void)[];
}

/**
 * A queue of bind jobs on one manager.
 *
 * Thread contract: an object belongs to one thread. Several queues may be on one manager; with `mutex: true` also in several
 * threads.
 *
 * - A job is all or nothing, and jobs of one queue are executed in the order of their submission.
 * - What is refused, for whatever reason, leaves the VM as it was.
 * - Executing allocates nothing.
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
  readonly #pending: Pending[] = [];
  #pumping = false;

  /** A queue without jobs. */
  constructor(vm: VaManager, options: BindQueueOptions = {}) {
    const { objectSize = () => Infinity, pageSize = 4096 } = options;
    const binder = binderOf(vm);
    this.#vm = vm;
    this.#binder = binder;
    this.#backend = options.backend;
    this.#atSubmit = (options.strategy ?? "submit") === "submit";
    this.#mutex = options.mutex ?? false;
    this.#world = {
      pageSize,
      objectSize,
      assertRange: (span, what) => binder.assertRange(span, what),
      isEmpty: (start, range) => vm.intervalEmpty(start, range),
      findRegion: (start, range) => vm.findRegion(start, range),
    };
  }

  /** How many jobs have not ended. */
  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Submits a job. An asynchronous one is executed once its fences are reached and the jobs before it have ended, at the
   * earliest when the caller is done.
   *
   * @throws {VaError} If an operation breaks a rule; the VM is as it was.
   * @throws {VaError} If it is to be executed at once but has to wait (`ETIME`); the VM is as it was.
   * @throws {OutOfMemoryError} If there is no room; the VM is as it was.
   */
  submit(ops: readonly BindOp[], options: BindOptions = {}): BindJob {
    checkOps(ops, this.#world);
    const { sync = false } = options;
    if (sync) this.#assertNothingAhead(options);
    const pending = this.#locked(() => this.#prepare(ops, options));
    this.#arm(pending);
    if (sync) this.flush();
    else if (pending.waitsFor === 0) queueMicrotask(() => this.flush());
    return pending.job;
  }

  /** Executes the jobs at the head of the queue that need not wait any more. Returns how many. */
  flush(): number {
    if (this.#pumping) return 0;
    this.#pumping = true;
    let count = 0;
    try {
      for (
        let head = this.#pending.at(0);
        head !== undefined && head.waitsFor === 0;
        head = this.#pending.at(0)
      ) {
        this.#pending.shift();
        this.#run(head);
        count++;
      }
    } finally {
      this.#pumping = false;
    }
    return count;
  }

  /**
   * Gives a job up that has not been executed: what was set aside for it is freed, and its out-fences are signalled. With
   * strategy `"submit"` the tree was changed already; then the page table is emptied where the job was to write, and the
   * mappings there are marked as invalidated. Returns whether the job was there.
   */
  cancel(job: BindJob, reason: Error = canceledBy(job)): boolean {
    const at = this.#pending.findIndex((pending) => pending.job === job);
    if (at < 0) return false;
    const [pending] = this.#pending.splice(at, 1);
    if (this.#atSubmit) this.#locked(() => this.#invalidate(job));
    job.state = "canceled";
    job.error = reason;
    this.#free(pending);
    this.flush();
    return true;
  }

  /** Frees the memory that the manager keeps for further jobs of all its queues on this thread. */
  trim(): void {
    this.#locked(() => this.#binder.reserve.trim());
  }

  /** Phase submit: all that can fail, all that allocates. */
  #prepare(ops: readonly BindOp[], options: BindOptions): Pending {
    if (this.#atSubmit) checkState(ops, this.#world);
    const promised = this.#binder.promise(ops);
    const lists = this.#atSubmit ? this.#apply(ops) : [];
    const job = new BindJob(ops);
    return { job, options, promised, lists, waitsFor: 0, takeBack: [] };
  }

  /** Phase arm: can't fail. */
  #arm(pending: Pending): void {
    this.#pending.push(pending);
    const { inFences = [], timeoutMillis } = pending.options;
    for (const { timeline, value } of inFences) {
      if (value <= timeline.value) continue;
      pending.waitsFor++;
      pending.takeBack.push(timeline.whenSettled(value, () => {
        pending.waitsFor--;
        if (value > timeline.value) {
          this.cancel(pending.job, timeline.canceled);
        } else if (pending.waitsFor === 0) queueMicrotask(() => this.flush());
      }));
    }
    if (timeoutMillis === undefined) return;
    const timer = setTimeout(() => {
      const reason = new VaError(
        "ETIME",
        `Cannot execute a bind job: it has waited for ${timeoutMillis} ms`,
      );
      this.cancel(pending.job, reason);
    }, timeoutMillis);
    pending.takeBack.push(() => clearTimeout(timer));
  }

  /** Phase run: must not allocate. */
  #run(pending: Pending): void {
    const { job } = pending;
    const { lockdep } = this.#binder;
    try {
      this.#locked(() => {
        lockdep.forbidAllocation("the run phase of a bind job");
        try {
          this.#execute(pending);
        } finally {
          lockdep.allowAllocation();
        }
      });
      job.state = "done";
    } catch (error) {
      job.state = "failed";
      job.error = error as Error;
    }
    this.#free(pending);
    // A mistake of the program is not a job that failed.
    if (job.error !== undefined && !(job.error instanceof VaError)) {
      throw job.error;
    }
  }

  #execute(pending: Pending): void {
    const { ops } = pending.job;
    if (!this.#atSubmit) {
      this.#binder.assertPromised(pending.promised);
      checkState(ops, this.#world);
      pending.lists = this.#apply(ops);
    }
    if (this.#backend === undefined) return;
    for (const op of ops) {
      if (op.op === "sparseMap") this.#backend.setSparse(op, true);
    }
    this.#backend.execute(pending.lists);
    for (const op of ops) {
      if (op.op === "sparseUnmap") this.#backend.setSparse(op, false);
    }
  }

  /** Phase free: gives back, signals. */
  #free(pending: Pending): void {
    for (const takeBack of pending.takeBack) takeBack();
    this.#locked(() => this.#binder.reserve.release(pending.promised));
    pending.lists = [];
    for (const { timeline, value } of pending.options.outFences ?? []) {
      if (value > timeline.value) timeline.signal(value);
    }
    pending.job.settle();
  }

  #apply(ops: readonly BindOp[]): OperationList[] {
    return this.#binder.apply(ops, this.#backend !== undefined);
  }

  #invalidate(job: BindJob): void {
    for (const op of job.ops) {
      this.#backend?.clear(op);
      for (const mapping of this.#vm.mappings(op)) {
        this.#vm.setFlags(mapping, mapping.flags | MappingFlag.INVALIDATED);
      }
    }
  }

  #assertNothingAhead({ inFences = [] }: BindOptions): void {
    this.flush();
    const late = inFences.find(({ timeline, value }) => value > timeline.value);
    if (late === undefined && this.#pending.length === 0) return;
    throw new VaError(
      "ETIME",
      `Cannot bind synchronously: ${
        late === undefined
          ? `${this.#pending.length} jobs are ahead in the queue`
          : `a fence is at ${late.timeline.value}, not ${late.value}`
      }`,
    );
  }

  #locked<T>(section: () => T): T {
    const mutex = this.#mutex;
    if (mutex === false) return section();
    using _guard = mutex === true ? this.#vm.lock() : mutex.guard();
    return section();
  }
}

function canceledBy(job: BindJob): Error {
  return new VaError(
    "ECANCELED",
    `Cannot execute a bind job of ${job.ops.length} operations: it was canceled`,
  );
}
