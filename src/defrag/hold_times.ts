/**
 * How long locks were held: percentiles of a sample.
 *
 * Reading the clock twice costs about a quarter of a move (100 of 440 ns), so only every 32nd hold is timed. The longest of all is
 * missed more often than not; if long ones are frequent enough to matter, some are in the sample.
 *
 * @module
 */

/** One hold of so many is timed. */
const EVERY = 32;
/** So many samples are kept: the latest ones, and the longest. */
const MAX_SAMPLES = 8192;

/** Percentiles of the times that a lock was held, in nanoseconds. */
export interface HoldNanos {
  /** Half of the holds were no longer. */
  readonly p50: number;
  /** 99 of 100 were no longer. */
  readonly p99: number;
  /** The longest of those that were timed. */
  readonly max: number;
}

/** Times every 32nd hold of a lock. */
export class HoldTimes {
  #holds = 0;
  #started = 0;
  #samples: number[] = [];
  #longest = 0;

  /** The lock was just taken. */
  start(): void {
    if (this.#holds % EVERY === 0) this.#started = performance.now();
  }

  /** The lock is about to be released. */
  stop(): void {
    if (this.#holds++ % EVERY !== 0) return;
    const millis = performance.now() - this.#started;
    this.#longest = Math.max(this.#longest, millis);
    const at = (this.#holds - 1) / EVERY;
    if (at < MAX_SAMPLES) this.#samples.push(millis);
    else this.#samples[at % MAX_SAMPLES] = millis;
  }

  /** How many holds there are before the next one that is timed. */
  get untilNext(): number {
    return (EVERY - this.#holds % EVERY) % EVERY;
  }

  /** There were so many holds, none of which was to be timed. */
  skip(holds: number): void {
    this.#holds += holds;
  }

  /** The longest of the sampled times, in nanoseconds. */
  get longestNanos(): number {
    return Math.round(this.#longest * 1e6);
  }

  /** The sampled times, in milliseconds. */
  samples(): number[] {
    return this.#holds > EVERY * MAX_SAMPLES
      ? [...this.#samples, this.#longest]
      : [...this.#samples];
  }
}

/** The percentiles of times in milliseconds, in nanoseconds; zeros where there are none. */
export function holdNanos(millis: readonly number[]): HoldNanos {
  const sorted = Float64Array.from(millis).sort();
  const at = (share: number) =>
    sorted.length === 0 ? 0 : Math.round(
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] *
        1e6,
    );
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
