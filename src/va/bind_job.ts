/**
 * Bind jobs: what their submitter sees of them, and what their queue knows besides.
 *
 * @module
 */
import { Footprint, type Ordered } from "./bind_order.ts";
import type { CheckedOp } from "./bind_rules.ts";
import type { OperationList } from "./operations.ts";
import type { Promised } from "./reserve.ts";
import type { FencePoint } from "./timeline.ts";

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
  /** How long it may wait, in milliseconds, before it is given up; by default as long as it takes. */
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
  /** It was given up; it ends when the jobs before it have ended. */
  | "canceled";

/** A job that was accepted. */
export class BindJob {
  /** A copy of its operations. */
  readonly ops: readonly CheckedOp[];
  /** Settles when it has ended; rejects with {@linkcode BindJob.error}. */
  readonly ended: Promise<void>;
  /** Where it is. */
  state: BindState = "armed";
  /** Why it did not do what it was to do. */
  error: Error | undefined;
  /** Called by its queue when it has ended. */
  readonly settle: () => void;

  /** A job; use {@linkcode BindQueue.submit}. */
  constructor(ops: readonly CheckedOp[]) {
    this.ops = ops;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever does not ask is not to be bothered.
    promise.catch(() => {});
    this.ended = promise;
    this.settle = () =>
      this.error === undefined ? resolve() : reject(this.error);
  }
}

/** What a queue knows of a job besides. */
export class PendingJob implements Ordered {
  /** What the submitter sees. */
  readonly job: BindJob;
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
  constructor(job: BindJob, { outFences = [] }: BindOptions) {
    this.job = job;
    this.outFences = [...outFences];
  }

  get footprint(): Footprint {
    return this.#footprint ??= new Footprint(this.job.ops);
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
    this.job.state = "canceled";
    this.job.error = reason;
    this.stopWaiting();
  }
}
