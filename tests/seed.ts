/**
 * Seeds for random tests. Every random test runs once a seed, and says which; `deno test … -- --seed=N` runs it with that
 * seed alone.
 *
 * @module
 */

/** The seeds of an ordinary run. */
const DEFAULT_SEEDS = [1, 2, 3];

/** Numbers that look random and depend on a seed alone. */
export interface Rng {
  /** The next number, in 0 … 2^32 - 1. */
  u32(): number;
  /** The next number, in 0 … n - 1. */
  int(n: number): number;
  /** One of the items. */
  pick<T>(items: readonly T[]): T;
}

/** A generator with that seed: sfc32. */
export function rng(seed: number): Rng {
  let a = seed | 0,
    b = Math.floor(seed / 2 ** 32) | 0,
    c = 0x9e3779b9 | 0,
    counter = 1;
  const u32 = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  // Like seeds begin alike; a dozen turns part them.
  for (let turn = 0; turn < 12; turn++) u32();
  const int = (n: number) => Math.floor((u32() / 2 ** 32) * n);
  return { u32, int, pick: (items) => items[int(items.length)] };
}

/**
 * The seeds to run the random test of that name with: the one that the command line gives, or a fixed few. Prints them.
 */
export function seeds(name: string): number[] {
  const given = Deno.args.find((arg) => arg.startsWith("--seed="))?.slice(
    "--seed=".length,
  );
  const chosen = given === undefined ? DEFAULT_SEEDS : [Number(given)];
  if (!chosen.every(Number.isSafeInteger)) {
    throw new RangeError(`Cannot use seed "${given}"`);
  }
  console.log(`${name}: seed ${chosen.join(", ")}`);
  return chosen;
}
