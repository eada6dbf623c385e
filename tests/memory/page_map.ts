import { MAX_ORDER } from "../../src/memory/mod.ts";

/** The buddy allocator's mirror: a map that says page by page which block it is in, and knows nothing of lists. */
export class PageMap {
  /** The first page and the order of every used block. */
  readonly blocks = new Map<number, number>();
  readonly #used: boolean[];

  /** All of so many pages are free. */
  constructor(count: number) {
    this.#used = new Array(count).fill(false);
  }

  /** How many pages are free. */
  get freePages(): number {
    return this.#used.filter((used) => !used).length;
  }

  /** Whether a block of that order begins at the page, all of it free. */
  isFree(pfn: number, order: number): boolean {
    if (pfn % 2 ** order !== 0 || pfn + 2 ** order > this.#used.length) {
      return false;
    }
    for (let page = pfn; page < pfn + 2 ** order; page++) {
      if (this.#used[page]) return false;
    }
    return true;
  }

  /** Whether there is such a block anywhere. */
  hasFree(order: number): boolean {
    return this.#used.some((_, pfn) => this.isFree(pfn, order));
  }

  /** Notes a block as used. */
  allocate(pfn: number, order: number): void {
    this.blocks.set(pfn, order);
    this.#used.fill(true, pfn, pfn + 2 ** order);
  }

  /** Notes a block as free. */
  free(pfn: number): void {
    const order = this.blocks.get(pfn)!;
    this.blocks.delete(pfn);
    this.#used.fill(false, pfn, pfn + 2 ** order);
  }

  /** How many blocks of each order there are if free memory is cut into the largest aligned blocks. */
  freeBlocksByOrder(): number[] {
    const counts = new Array(MAX_ORDER + 1).fill(0);
    for (let pfn = 0; pfn < this.#used.length;) {
      let order = MAX_ORDER;
      while (order >= 0 && !this.isFree(pfn, order)) order--;
      if (order >= 0) counts[order]++;
      pfn += order >= 0 ? 2 ** order : 1;
    }
    return counts;
  }
}
