/**
 * A range map that is obviously right and hopelessly slow: a sorted array of entries, each operation a scan of all of it.
 * No answer is derived from that of another search, so that a mistake in what a search means can't be made twice.
 *
 * @module
 */
import {
  type CyclicAllocation,
  type Entry,
  MAX_INDEX,
  RESERVED,
} from "../../src/range_tree/mod.ts";

/** What a range tree must agree with. */
export class Mirror {
  /** The stored ranges, in order, reserved ones among them. */
  entries: Entry[] = [];

  /** The stored ranges that are not reserved. */
  get visible(): Entry[] {
    return this.entries.filter((entry) => entry.value !== RESERVED);
  }

  /** The entry at an index, 0 where nothing is stored. */
  load(index: number): number {
    return visibleValue(this.#at(index));
  }

  /** Stores over a range whatever is there; 0 empties it. */
  storeRange(first: number, last: number, value: number): void {
    const pieces: Entry[] = [];
    for (const entry of this.entries) {
      if (entry.last < first || entry.first > last) {
        pieces.push(entry);
        continue;
      }
      if (entry.first < first) pieces.push({ ...entry, last: first - 1 });
      if (entry.last > last) pieces.push({ ...entry, first: last + 1 });
    }
    if (value !== 0) pieces.push({ first, last, value });
    this.entries = pieces.sort((a, b) => a.first - b.first);
  }

  /** Stores over a range if all of it is empty. */
  insertRange(first: number, last: number, value: number): boolean {
    const occupied = this.entries.some((entry) =>
      entry.last >= first && entry.first <= last
    );
    if (occupied) return false;
    this.storeRange(first, last, value);
    return true;
  }

  /** Removes the range that contains an index; returns its entry. */
  erase(index: number): number {
    const entry = this.#at(index);
    this.entries = this.entries.filter((other) => other !== entry);
    return visibleValue(entry);
  }

  /** The first entry that contains or follows an index and begins at or before `max`; none where `max` is below the index. */
  find(index: number, max = MAX_INDEX): Entry | undefined {
    return this.visible.find((entry) =>
      entry.last >= index && entry.first <= max && index <= max
    );
  }

  /** The first entry that ends after an index and begins at or before `max`; none where `max` is not above the index. */
  findAfter(index: number, max = MAX_INDEX): Entry | undefined {
    return this.visible.find((entry) =>
      entry.last > index && entry.first <= max && index < max
    );
  }

  /** The first entry that begins after an index and at or before `max`. */
  next(index: number, max = MAX_INDEX): Entry | undefined {
    return this.visible.find((entry) =>
      entry.first > index && entry.first <= max
    );
  }

  /** The last entry that ends before an index and at or after `min`. */
  prev(index: number, min = 0): Entry | undefined {
    return this.visible.findLast((entry) =>
      entry.last < index && entry.last >= min
    );
  }

  /** Every entry that overlaps a window, whole. */
  overlapping(from: number, to: number): Entry[] {
    return this.visible.filter((entry) =>
      entry.last >= from && entry.first <= to
    );
  }

  /** The ranges where nothing is stored, in order. */
  freeRuns(): [first: number, last: number][] {
    const runs: [number, number][] = [];
    let from = 0;
    for (const { first, last } of this.entries) {
      if (first > from) runs.push([from, first - 1]);
      from = last + 1;
    }
    if (from <= MAX_INDEX) runs.push([from, MAX_INDEX]);
    return runs;
  }

  /** The first index of each free run of that size inside a window, cut to it; each run's lowest or highest place. */
  places(
    size: number,
    min: number,
    max: number,
    highest = false,
  ): number[] {
    return this.freeRuns()
      .map(([first, last]) => [Math.max(first, min), Math.min(last, max)])
      .filter(([first, last]) => last - first >= size - 1)
      .map(([first, last]) => highest ? last - size + 1 : first);
  }

  /** The lowest or highest place for that many indices inside a window; -1 if there is none. */
  room(size: number, min: number, max: number, highest: boolean): number {
    const places = this.places(size, min, max, highest);
    return (highest ? places.at(-1) : places[0]) ?? -1;
  }

  /** The lowest free index of a window from `next` on, else the lowest of all of the window; nothing if none is free. */
  cyclic(
    min: number,
    max: number,
    next: number,
  ): CyclicAllocation | undefined {
    const firsts = this.places(1, min, max);
    const ahead = next > max
      ? -1
      : this.room(1, Math.max(min, next), max, false);
    if (ahead >= 0) return { index: ahead, wrapped: false, next: ahead + 1 };
    if (firsts.length === 0) return undefined;
    return { index: firsts[0], wrapped: true, next: firsts[0] + 1 };
  }

  #at(index: number): Entry | undefined {
    return this.entries.find((entry) =>
      entry.first <= index && index <= entry.last
    );
  }
}

function visibleValue(entry: Entry | undefined): number {
  return entry === undefined || entry.value === RESERVED ? 0 : entry.value;
}
