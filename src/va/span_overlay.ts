/**
 * What a job's operations will have done to an address space before they are done: a sorted list of disjoint spans over what is
 * really there. It takes no memory of the arena.
 *
 * @module
 */
import type { VaSpan } from "./operations.ts";

/** Spans with a value each, none overlapping another, in order. */
export class SpanOverlay<V> {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #values: V[] = [];

  /** How many spans there are. */
  get size(): number {
    return this.#starts.length;
  }

  /** Gives a span a value; what it covers goes, what it cuts is cut. */
  set(span: VaSpan, value: V): void {
    this.#replace(span, [value]);
  }

  /** Makes a span as if nothing had been set in it. */
  clear(span: VaSpan): void {
    this.#replace(span, []);
  }

  #replace({ start, range }: VaSpan, by: readonly V[]): void {
    const end = start + range;
    const from = this.#firstEndingAfter(start);
    let to = from;
    while (to < this.#starts.length && this.#starts[to] < end) to++;
    const starts: number[] = [], ends: number[] = [], values: V[] = [];
    const push = (start: number, end: number, value: V) => {
      starts.push(start);
      ends.push(end);
      values.push(value);
    };
    if (from < to && this.#starts[from] < start) {
      push(this.#starts[from], start, this.#values[from]);
    }
    for (const value of by) push(start, end, value);
    if (from < to && this.#ends[to - 1] > end) {
      push(end, this.#ends[to - 1], this.#values[to - 1]);
    }
    this.#starts.splice(from, to - from, ...starts);
    this.#ends.splice(from, to - from, ...ends);
    this.#values.splice(from, to - from, ...values);
  }

  /** The first span that overlaps a range. */
  first({ start, range }: VaSpan): VaSpan & { value: V } | undefined {
    const at = this.#firstEndingAfter(start);
    if (at === this.#starts.length || this.#starts[at] >= start + range) {
      return undefined;
    }
    const first = this.#starts[at];
    return {
      start: first,
      range: this.#ends[at] - first,
      value: this.#values[at],
    };
  }

  /** Whether a test holds for all of a range: of the value where a span is, of the part itself where none is. */
  every(
    { start, range }: VaSpan,
    ofValue: (value: V) => boolean,
    ofRest: (start: number, range: number) => boolean,
  ): boolean {
    const end = start + range;
    let done = start;
    for (let at = this.#firstEndingAfter(start); done < end; at++) {
      const next = Math.min(this.#starts[at] ?? end, end);
      if (next > done && !ofRest(done, next - done)) return false;
      if (next === end) return true;
      if (!ofValue(this.#values[at])) return false;
      done = this.#ends[at];
    }
    return true;
  }

  #firstEndingAfter(start: number): number {
    let low = 0, high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ends[middle] > start) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
