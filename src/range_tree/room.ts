/**
 * Storing where there is room: the search for free indices and the store that fills them, under one hold of the lock.
 *
 * @module
 */
import {
  checkEntry,
  checkIndex,
  checkOptions,
  checkRange,
  checkRoom,
} from "./checks.ts";
import { assertTracksGaps, GapSearch } from "./gaps.ts";
import { MAX_INDEX } from "./node.ts";
import type {
  AllocationWindow,
  CyclicAllocation,
  CyclicWindow,
} from "./options.ts";
import type { TreeParts } from "./parts.ts";
import { Writer } from "./writer.ts";

/** Finds room in one tree and stores there. */
export class Room {
  readonly #parts: TreeParts;
  readonly #search: GapSearch;
  readonly #writer: Writer;

  /** The room in that tree. */
  constructor(parts: TreeParts) {
    this.#parts = parts;
    this.#search = GapSearch.of(parts.arena);
    this.#writer = Writer.of(parts.arena);
  }

  /** Stores over `size` free indices of a window, the lowest or the highest; returns the first, nothing if there are none. */
  allocRange(
    site: string,
    size: number,
    value: number,
    window: AllocationWindow,
    highest: boolean,
  ): number | undefined {
    checkOptions(window);
    const { min = 0, max = MAX_INDEX } = window;
    checkRoom(size, min, max);
    checkEntry(value);
    const { header, lock } = this.#enter(site);
    try {
      const first = highest
        ? this.#search.highest(header, size, min, max)
        : this.#search.lowest(header, size, min, max);
      if (first < 0) return undefined;
      this.#store(first, size, value);
      return first;
    } finally {
      lock.exitWriterAndPoll();
    }
  }

  /** Stores at the lowest free index of a window from `next` on, else at the lowest of all of it. */
  allocCyclic(
    site: string,
    value: number,
    window: CyclicWindow,
  ): CyclicAllocation | undefined {
    checkOptions(window);
    const { min = 0, max = MAX_INDEX, next = 0 } = window;
    checkRange(min, max);
    // Behind the last index begins who was given that one.
    if (next !== MAX_INDEX + 1) checkIndex(next);
    checkEntry(value);
    const { header, lock } = this.#enter(site);
    try {
      const from = next > min ? next : min;
      const search = this.#search;
      let index = from > max ? -1 : search.lowest(header, 1, from, max);
      const wrapped = index < 0 && from > min;
      if (wrapped) index = search.lowest(header, 1, min, max);
      if (index < 0) return undefined;
      this.#store(index, 1, value);
      return { index, wrapped, next: index + 1 };
    } finally {
      lock.exitWriterAndPoll();
    }
  }

  #enter(site: string): TreeParts {
    const parts = this.#parts;
    // A tree that was destroyed is none that does not track gaps.
    parts.lock.flags(site);
    assertTracksGaps(parts.gaps, site);
    parts.lock.enterWriter(site);
    return parts;
  }

  #store(first: number, size: number, value: number): void {
    const { header, nodes } = this.#parts;
    this.#writer.storeRange(header, nodes, first, first + size - 1, value);
  }
}
