/** Small random numbers from a seed, the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1);
    bits ^= bits + Math.imul(bits ^ bits >>> 7, bits | 61);
    return ((bits ^ bits >>> 14) >>> 0) % limit;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** The seed after `--seed=`, else a new one; printed, so that a failure can be run again. */
export function takeSeed(): number {
  const given = Deno.args.find((argument) => argument.startsWith("--seed="));
  const seed = given === undefined
    ? Math.floor(Math.random() * 2 ** 32)
    : Number(given.slice("--seed=".length));
  console.log(`seed ${seed}, to run it again: -- --seed=${seed}`);
  return seed;
}
