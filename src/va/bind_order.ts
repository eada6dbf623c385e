/**
 * The order in which the jobs of several queues write page tables.
 *
 * A job of strategy `"submit"` changes the tree long before it writes the page table; until then another queue's job may
 * change the tree at the same addresses, and be executed first. So a job waits for those that have changed the tree before
 * it and have not yet ended, if they are about some of the same addresses. Those that are about others are no concern of its.
 *
 * Waiting can't go round: a job waits for such as have changed the tree earlier, and in its own queue for such as were
 * submitted earlier; one that changes the tree when it is executed (strategy `"run"`) is waited for by its own queue only.
 *
 * @module
 */
import type { VaSpan } from "./operations.ts";

/** The addresses that a job is about: disjoint spans in ascending order. */
export class Footprint {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** The addresses of some spans. */
  constructor(spans: readonly VaSpan[]) {
    const sorted = spans.toSorted((a, b) => a.start - b.start);
    for (const { start, range } of sorted) {
      const at = this.#ends.length - 1;
      if (at >= 0 && start <= this.#ends[at]) {
        this.#ends[at] = Math.max(this.#ends[at], start + range);
      } else {
        this.#starts.push(start);
        this.#ends.push(start + range);
      }
    }
  }

  /** Whether there is an address in both. */
  overlaps(other: Footprint): boolean {
    const starts = this.#starts, ends = this.#ends;
    const otherStarts = other.#starts, otherEnds = other.#ends;
    if (
      starts.length === 0 || otherStarts.length === 0 ||
      starts[0] >= otherEnds[otherEnds.length - 1] ||
      otherStarts[0] >= ends[ends.length - 1]
    ) return false;
    for (let i = 0, j = 0; i < starts.length && j < otherStarts.length;) {
      if (ends[i] <= otherStarts[j]) i++;
      else if (otherEnds[j] <= starts[i]) j++;
      else return true;
    }
    return false;
  }
}

/** A job as the order knows it. */
export interface Ordered {
  /** The addresses that it is about. */
  readonly footprint: Footprint;
  /** What is called when it has ended. */
  readonly whenEnded: (() => void)[];
}

/**
 * The jobs on one manager that have changed its tree and have not yet written their page tables.
 *
 * Thread contract: an object belongs to one thread. Jobs of other threads are not in it.
 */
export class BindOrder {
  /** In the order in which they have changed the tree. */
  readonly #applied: Set<Ordered> = new Set();

  /** Notes a job that has changed the tree just now. */
  add(job: Ordered): void {
    this.#applied.add(job);
  }

  /** Notes that a job has ended. */
  remove(job: Ordered): void {
    this.#applied.delete(job);
  }

  /** Whether no job has to end before one that would change the tree now. */
  isClear(footprint: () => Footprint): boolean {
    return this.#applied.size === 0 ||
      this.blocker({ footprint: footprint(), whenEnded: [] }) === undefined;
  }

  /** A job that another has to wait for, if there is one. */
  blocker(job: Ordered): Ordered | undefined {
    for (const other of this.#applied) {
      if (other === job) return undefined;
      if (other.footprint.overlaps(job.footprint)) return other;
    }
    return undefined;
  }
}
