/**
 * The command line: `deno run --allow-read src/cli/main.ts COMMAND`.
 *
 * It needs the permission to read, for the traces, and no other. Results go to standard output, all else to standard error.
 *
 * | exit code | meaning |
 * |---|---|
 * | 0 | all is well |
 * | 1 | the result is wrong (the trees differ after the compaction), or there is none (out of memory, no trace) |
 * | 2 | wrong usage, or a file that can't be read: one line on standard error |
 *
 * @module
 */
import { setColorEnabled } from "@std/fmt/colors";
import { ScenarioSizeError } from "../experiment/mod.ts";
import { OutOfMemoryError } from "../memory/mod.ts";
import { bindCommand } from "./bind.ts";
import { churnCommand } from "./churn.ts";
import { demoCommand } from "./demo.ts";
import { replayCommand } from "./replay.ts";
import { asksForHelp, type Command, quote, UsageError } from "./usage.ts";

const COMMANDS: readonly Command[] = [
  demoCommand,
  replayCommand,
  churnCommand,
  bindCommand,
];

const HELP = `Compact the memory of live range trees.

Usage: pollard COMMAND [options]

Commands:
${
  COMMANDS.map(({ name, summary }) => `  ${name.padEnd(8)}  ${summary}`).join(
    "\n",
  )
}

"pollard COMMAND --help" says more.
`;

/**
 * Carries out a command line.
 *
 * @param args What follows the program's name.
 * @returns The exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    if (
      !(error instanceof UsageError || error instanceof ScenarioSizeError ||
        error instanceof OutOfMemoryError)
    ) throw error;
    console.error(`pollard: ${error.message}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function run(
  [name, ...args]: readonly string[],
): number | Promise<number> {
  if (name === "--help" || name === "-h") return printHelp(HELP);
  if (name === undefined) {
    throw new UsageError('Cannot run: no command is given, see "--help"');
  }
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command === undefined) {
    throw new UsageError(
      `Cannot run ${quote(name)}: there is no such command, see "--help"`,
    );
  }
  return asksForHelp(args) ? printHelp(command.help) : command.run(args);
}

function printHelp(help: string): number {
  console.log(help.trimEnd());
  return 0;
}

if (import.meta.main) {
  setColorEnabled(Deno.stdout.isTerminal() && !Deno.noColor);
  Deno.exitCode = await main(Deno.args);
}
