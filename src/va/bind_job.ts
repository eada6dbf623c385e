/**
 * Bind jobs: what their submitter sees of them, and what their queue knows besides.
 *
 * @module
 */
import { Footprint, type Ordered } from "./bind_order.ts";
import type { CheckedOp } from "./bind_rules.ts";
import { VaError } from "./errors.ts";
import type { OperationList } from "./operations.ts";
import type { Promised } from "./reserve.ts";
import { type FencePoint, Timeline } from "./timeline.ts";

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
  /** What it signals when it has ended, however it did. */
  outFences?: readonly FencePoint[];
  /**
   * How long it may wait, in milliseconds, before it is given up.
   *
   * @default {Infinity}
   */
  timeoutMillis?: number;
}

/** How a job is submitted, with all fields: a copy, which nobody else can change. */
export type CheckedOptions = Readonly<Required<BindOptions>>;

/**
 * Checks how a job is to be submitted.
 *
 * @throws {RangeError} If it can't wait for so long.
 * @throws {VaError} If a fence is no point on a timeline.
 */
export function checkedOptions(options: BindOptions): CheckedOptions {
  const { sync = false, inFences = [], outFences = [] } = options;
  const { timeoutMillis = Infinity } = options;
  if (!(timeoutMillis >= 0)) {
    throw new RangeError(
      `Cannot bind: a job can't wait for ${timeoutMillis} ms`,
    );
  }
  return {
    sync,
    inFences: inFences.map(checkedFence),
    outFences: outFences.map(checkedFence),
    timeoutMillis,
  };
}

function checkedFence(fence: FencePoint): FencePoint {
  const timeline = fence?.timeline, value = fence?.value;
  if (
    timeline instanceof Timeline && Number.isSafeInteger(value) && value >= 0
  ) return { timeline, value };
  throw new VaError(
    "EINVAL",
    `Cannot bind: ${value} is no point on a timeline`,
  );
}

/** Where a job is. */
export type BindState =
  /** It waits for a fence, or for the jobs before it. */
  | "armed"
  /** It was executed. */
  | "done"
  /**
   * It broke a rule when it was to be executed, and nothing was changed; or the backend failed, which it must not: then the tree has
   * changed, and the page table has not, or not all of it. The error says what it was.
   */
  | "failed"
  /** It was given up; it ends when the jobs before it have ended. */
  | "canceled";

/** A job that was accepted, as its submitter sees it. */
export class BindJob {
  readonly #source: Pick<BindJob, "ops" | "ended" | "state" | "error">;
  #ops: readonly CheckedOp[] | undefined;

  /** A job; use {@linkcode BindQueue.submit}. */
  constructor(source: Pick<BindJob, "ops" | "ended" | "state" | "error">) {
    this.#source = source;
  }

  /** A copy of its operations, made when it is asked for. */
  get ops(): readonly CheckedOp[] {
    return this.#ops ??= this.#source.ops.map((op) => ({ ...op }));
  }

  /** Settles when it has ended; rejects with {@linkcode BindJob.error}. */
  get ended(): Promise<void> {
    return this.#source.ended;
  }

  /** Where it is. */
  get state(): BindState {
    return this.#source.state;
  }

  /** Why it did not do what it was to do. */
  get error(): Error | undefined {
    return this.#source.error;
  }
}

/** A job as its queue knows it. */
export class PendingJob implements Ordered {
  /** What the submitter sees. */
  readonly job: BindJob;
  /** The operations that are executed. */
  readonly ops: readonly CheckedOp[];
  /** Settles when it has ended; rejects with its error. */
  readonly ended: Promise<void>;
  /** To be called when it has ended. */
  readonly settle: () => void;
  /** Where it is. */
  state: BindState = "armed";
  /** Why it did not do what it was to do. */
  error: Error | undefined;
  /** What it signals. */
  readonly outFences: readonly FencePoint[];
  /** How many fences it waits for. */
  waitsFor = 0;
  /** What was set aside for it, as long as it may need it. */
  promised: Promised | undefined;
  /** What the page table has still to be told. */
  lists: readonly OperationList[] = [];
  /** The job of another queue that it waits for. */
  blockedBy: Ordered | undefined;
  readonly whenEnded: (() => void)[] = [];
  readonly #takeBack: (() => void)[] = [];
  #footprint: Footprint | undefined;

  /** A job that waits for nothing yet. */
  constructor(ops: readonly CheckedOp[], { outFences }: CheckedOptions) {
    this.job = new BindJob(this);
    this.ops = ops;
    this.outFences = outFences;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever does not ask is not to be bothered.
    promise.catch(() => {});
    this.ended = promise;
    this.settle = () =>
      this.error === undefined ? resolve() : reject(this.error);
  }

  get footprint(): Footprint {
    return this.#footprint ??= new Footprint(this.ops);
  }

  /** Notes how a wait is taken back. */
  waits(takeBack: () => void): void {
    this.#takeBack.push(takeBack);
  }

  /** Takes all waits back: for fences, and for the time to be over. */
  stopWaiting(): void {
    this.waitsFor = 0;
    for (const takeBack of this.#takeBack.splice(0)) takeBack();
  }

  /** Notes that it is given up. */
  giveUp(reason: Error): void {
    this.state = "canceled";
    this.error = reason;
    this.stopWaiting();
  }
}
