/**
 * One variant of a workload, in a process of its own: so that no variant runs on code that was compiled for another.
 *
 * @module
 */

/** Named measurements. */
export type Figures = Readonly<Record<string, number>>;

/** What a variant hands back. */
export interface Outcome {
  /** The hash of all results: equal for all variants of equal size, or they did not do the same work. */
  readonly hash: number;
  /** What was measured. */
  readonly figures: Figures;
}

/**
 * Does a workload once at that size; `largest` is the size at which it will be measured. `run` is 0 then, and another number each time
 * that it is done before: so that small trees need not be warmed up with the keys that they are measured with.
 */
export type Variant = (
  ranges: number,
  largest: number,
  run: number,
) => Outcome | Promise<Outcome>;

/**
 * Runs the variant that the command line names, at the size that it names, and prints the outcome as JSON. The workload is
 * done on a smaller size first, from the arena up and so many times, so that what is measured is compiled code.
 */
export async function runVariant(
  variants: Readonly<Record<string, Variant>>,
): Promise<void> {
  const [name, ...numbers] = Deno.args;
  const [ranges, warmUpRanges, warmUpTimes] = numbers.map(Number);
  const variant = variants[name];
  for (let run = warmUpTimes; run > 0; run--) {
    await variant(warmUpRanges, ranges, run);
  }
  console.log(JSON.stringify(await variant(ranges, ranges, 0)));
}

/** Nanoseconds an operation, of `operations` that began at `start` and end now. */
export function nanosEach(start: number, operations: number): number {
  return (performance.now() - start) * 1e6 / operations;
}

/** The middle one of some measurements; of two middle ones the larger. */
export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
