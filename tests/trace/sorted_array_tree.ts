import type { Entry, MapTree } from "../../src/trace/mod.ts";

/** Ranges in a sorted array, slow and plain: what an address space does is tested without a range tree. */
export class SortedArrayTree implements MapTree<SortedArrayTree> {
  destroyed = false;
  #entries: Entry[] = [];

  load(index: number): number {
    return this.find(index, index)?.value ?? 0;
  }

  storeRange(first: number, last: number, value: number): void {
    this.eraseRange(first, last);
    this.#entries.push({ first, last, value });
    this.#entries.sort((a, b) => a.first - b.first);
  }

  eraseRange(first: number, last: number): void {
    if (this.destroyed) {
      throw new Error("Cannot write to tree: it was destroyed");
    }
    this.#entries = this.#entries.flatMap((entry) => {
      if (entry.last < first || entry.first > last) return [entry];
      const left = { ...entry, last: first - 1 };
      const right = { ...entry, first: last + 1 };
      return [left, right].filter((piece) => piece.first <= piece.last);
    });
  }

  find(index: number, max = Number.MAX_SAFE_INTEGER): Entry | undefined {
    return this.#entries.find(({ first, last }) =>
      last >= index && first <= max
    );
  }

  entries(from = 0, to = Number.MAX_SAFE_INTEGER): Entry[] {
    return this.#entries.filter(({ first, last }) =>
      last >= from && first <= to
    );
  }

  clone(): SortedArrayTree {
    const copy = new SortedArrayTree();
    copy.#entries = [...this.#entries];
    return copy;
  }

  destroy(): void {
    if (this.destroyed) {
      throw new Error("Cannot destroy tree: it was destroyed");
    }
    this.destroyed = true;
  }
}
