/**
 * Parts of workloads: subjects, and rows of figures and of what comes of dividing them.
 *
 * @module
 */
import type { Goal, Round, Row, Subject, WarmUp } from "./workload.ts";

/** Enough for loops of loads and stores to be compiled. */
export const LOOP_WARM_UP = { ranges: 20_000, times: 1 };
/**
 * V8 optimizes a function fully once it was called 3000 times (`--invocation-count-for-turbofan`), and calls into the compiled loops
 * are inlined only then. What a compaction calls once for 8 slabs it calls 229 times for so many ranges: that takes 14 trees.
 * (Measured, in millions of nodes a second, medians of 3 or 4 runs by turns on a machine that others used: 5 trees 1.5 to 2.0, 8
 * 2.1, 10 2.3, 15 2.4, 20 2.5, 30 2.3. With 700 calls for the limit, 5 trees are a tenth faster than with 3000.)
 */
export const COMPACTION_WARM_UP = { ranges: 200_000, times: 20 };

/** A warm-up on no more ranges than what is measured has. */
export function scaled(warmUp: WarmUp, ranges: number): WarmUp {
  return { ...warmUp, ranges: Math.min(ranges, warmUp.ranges) };
}

/** Variants of one size. */
export function subjects(
  ranges: number,
  variants: readonly string[],
): Subject[] {
  return variants.map((variant) => ({ variant, ranges }));
}

/** What a subject took. */
export function nanos(label: string, subject: number): Row {
  return figureOf(label, subject, "nanos");
}

/** A figure of the first subject. */
export function figure(label: string, name: string, goal?: Goal): Row {
  return figureOf(label, 0, name, goal);
}

/** A figure of a subject. */
export function figureOf(
  label: string,
  subject: number,
  name: string,
  goal?: Goal,
): Row {
  return { label, value: (round) => round[subject][name], goal };
}

/** How the times of two subjects compare. */
export function ratio(
  label: string,
  over: number,
  under: number,
  goal: Goal,
): Row {
  const value = (round: Round) => round[over].nanos / round[under].nanos;
  return { label, value, goal };
}

/** A figure of the largest subject, in those of the smallest. */
export function growth(label: string, name: string, largest: number): Row {
  return { label, value: (round) => round[largest][name] / round[0][name] };
}
