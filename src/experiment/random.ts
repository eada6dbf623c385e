/**
 * Seeded pseudo-random numbers: equal seeds give equal scenarios on every machine.
 *
 * A Weyl sequence (steps of the odd number nearest to 2^32 / golden ratio, so all 2^32 states come up once) whose states
 * are mixed by two rounds of xor-shift and multiplication. Enough for shuffling a scenario, nothing more.
 */
export class Random {
  #state: number;

  /** Begins the sequence of a seed, of which the low 32 bits count. */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** The next integer in 0 … 2^32 − 1. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** The next integer in 0 … `bound` − 1. The bias is below `bound` / 2^32. */
  below(bound: number): number {
    return Math.floor(this.next() / 2 ** 32 * bound);
  }

  /** Puts the items in random order, in place. */
  shuffle<Item>(
    items: { [index: number]: Item; readonly length: number },
  ): void {
    for (let left = items.length; left > 1; left--) {
      const chosen = this.below(left);
      const item = items[left - 1];
      items[left - 1] = items[chosen];
      items[chosen] = item;
    }
  }
}
