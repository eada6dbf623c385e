/**
 * Timelines: numbers that only go up, and points on them that others wait for.
 *
 * Analogous to Linux timeline sync objects; differs: it belongs to one thread, and waiting is by callback or promise.
 *
 * @module
 */

/** A point on a timeline: reached once the timeline's value is at least that. */
export interface FencePoint {
  /** The timeline. */
  readonly timeline: Timeline;
  /** The value. */
  readonly value: number;
}

/**
 * A number that only goes up.
 *
 * Thread contract: an object belongs to one thread.
 *
 * @example Wait for a point
 * ```ts
 * import { Timeline } from "@pollard/pollard/va";
 * import { assertEquals } from "@std/assert";
 *
 * const timeline = new Timeline();
 * const reached = timeline.reach(2).then(() => timeline.value);
 * timeline.signal(1);
 * timeline.signal(3);
 * assertEquals(await reached, 3);
 * ```
 */
export class Timeline {
  #value = 0;
  #canceled: Error | undefined;
  readonly #waiters: Set<{ value: number; call: () => void }> = new Set();

  /** The value that was reached. */
  get value(): number {
    return this.#value;
  }

  /** Why no further point will be reached; undefined as long as one may be. */
  get canceled(): Error | undefined {
    return this.#canceled;
  }

  /**
   * Goes up to a value, and calls who waits for it or less. What one of them throws is reported as an uncaught error; the others
   * are called all the same. Once the timeline is canceled it does nothing: who has waited was told that the point is never reached.
   *
   * @throws {RangeError} If the value is below the one that was reached.
   */
  signal(value: number): void {
    if (!(value >= this.#value)) {
      throw new RangeError(
        `Cannot signal ${value}: the timeline is at ${this.#value}`,
      );
    }
    if (this.#canceled !== undefined) return;
    this.#value = value;
    this.#wake();
  }

  /** Says that no further point will be reached, so that none is, and calls who waits for one. */
  cancel(reason: Error): void {
    this.#canceled ??= reason;
    this.#wake();
  }

  /** Calls back once, when a point is reached or never will be; returns what takes that back. */
  whenSettled(value: number, call: () => void): () => void {
    if (value <= this.#value || this.#canceled !== undefined) {
      call();
      return () => {};
    }
    const waiter = { value, call };
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }

  /** Settles when a point is reached; rejects if it never will be. */
  reach(value: number): Promise<void> {
    return new Promise((resolve, reject) =>
      this.whenSettled(value, () => {
        if (value <= this.#value) resolve();
        else reject(this.#canceled);
      })
    );
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.value > this.#value && this.#canceled === undefined) continue;
      // One that was called before may have taken it back.
      if (!this.#waiters.delete(waiter)) continue;
      try {
        waiter.call();
      } catch (error) {
        // Neither the other waiters nor who signals can do anything about it.
        reportError(error);
      }
    }
  }
}
