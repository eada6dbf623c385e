import { POLICY_NAMES, type PolicyChoice } from "../experiment/mod.ts";
import { choiceOption, type CommandArguments, integerOption } from "./usage.ts";

const ORDER = 4;
const ORDER_BOUNDS = { min: 0, max: 10 } as const;

/** The options that {@linkcode policyOption} reads. */
export const POLICY_VALUES: readonly string[] = ["policy", "order"];

/** What a help text says of them. */
export const POLICY_HELP =
  `  --policy NAME     which slabs are emptied: greedy (the emptiest, the default),
                    windows (whole aligned blocks of pages), cost-benefit,
                    address or random
  --order N         the order of these blocks, 0 to 10 (default ${ORDER}: 64 KiB)`;

/** The policy that the options say. */
export function policyOption(
  args: CommandArguments,
  seed: number,
): PolicyChoice {
  return {
    name: choiceOption(args, "policy", POLICY_NAMES, "greedy"),
    order: integerOption(args, "order", ORDER_BOUNDS, ORDER),
    seed,
  };
}
