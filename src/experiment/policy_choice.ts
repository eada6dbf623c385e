/**
 * The compaction policies by their names: what a command line says, and what can be sent to a worker.
 *
 * @module
 */
import { type CompactionPolicy, policies } from "../defrag/mod.ts";

/** The names of the policies. */
export const POLICY_NAMES = [
  "greedy",
  "windows",
  "cost-benefit",
  "address",
  "random",
] as const;

/** A policy, by its name. */
export interface PolicyChoice {
  /** Which one. */
  readonly name: typeof POLICY_NAMES[number];
  /** The order of the blocks that `windows` is to make. */
  readonly order: number;
  /** What `random` follows from. */
  readonly seed: number;
}

/** The policy that was chosen. */
export function policyOf(
  { name, order, seed }: PolicyChoice,
): CompactionPolicy {
  switch (name) {
    case "greedy":
      return policies.greedy;
    case "windows":
      return policies.alignedWindows(order);
    case "cost-benefit":
      return policies.costBenefit;
    case "address":
      return policies.addressOrder;
    case "random":
      return policies.random(seed);
  }
}
