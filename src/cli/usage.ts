import { parseArgs } from "@std/cli/parse-args";

/** The command line can't be carried out as it was given; the message says why, in one line. */
export class UsageError extends Error {
  /** The name of this class of errors. */
  override name = "UsageError";
}

/** A subcommand. */
export interface Command {
  /** What it is called by. */
  readonly name: string;
  /** What it does, for the list of commands. */
  readonly summary: string;
  /** How it is used. */
  readonly help: string;
  /**
   * Carries it out.
   *
   * @returns The exit code: 0 all is well, 1 the result is wrong or there is none.
   * @throws {UsageError} If it was not given as its help says.
   */
  run(args: readonly string[]): number | Promise<number>;
}

/** A command's arguments, taken apart. */
export interface CommandArguments {
  /** Options with a value, as they were given. */
  readonly values: Readonly<Record<string, string | undefined>>;
  /** Options without a value that were given. */
  readonly flags: ReadonlySet<string>;
  /** What belongs to no option. */
  readonly operands: readonly string[];
}

/** The options that a command takes. */
export interface OptionNames {
  /** Those with a value. */
  readonly values: readonly string[];
  /** Those without one. */
  readonly flags: readonly string[];
}

/**
 * Takes a command's arguments apart.
 *
 * @throws {UsageError} If there is an option that is not named here, one lacks its value, or has one and takes none.
 */
export function readArguments(
  args: readonly string[],
  options: OptionNames,
): CommandArguments {
  const parsed = parseArgs(prepared(args, options), {
    string: [...options.values, "_"],
    boolean: options.flags,
    unknown: (argument, key) => {
      if (key === undefined) return true;
      throw new UsageError(
        `Cannot use ${quote(argument)}: there is no such option`,
      );
    },
  }) as Record<string, unknown> & { _: string[] };
  const values: Record<string, string | undefined> = {};
  for (const name of options.values) {
    if (parsed[name] === "") {
      throw new UsageError(`Cannot use --${name}: it has no value`);
    }
    values[name] = parsed[name] as string | undefined;
  }
  return {
    values,
    flags: new Set(options.flags.filter((name) => parsed[name] === true)),
    operands: parsed._,
  };
}

/** The arguments, where a number below 0 belongs to the option before it: it is no option itself. */
function prepared(
  args: readonly string[],
  options: OptionNames,
): string[] {
  const end = args.indexOf("--");
  const rest = end < 0 ? [] : args.slice(end);
  const done: string[] = [];
  for (const argument of end < 0 ? args : args.slice(0, end)) {
    const [, name] = argument.match(/^--([^=]+)=/) ?? [];
    if (options.flags.includes(name)) {
      throw new UsageError(
        `Cannot use ${quote(argument)}: --${name} takes no value`,
      );
    }
    const before = done.at(-1) ?? "";
    const takesIt = /^-[\d.]/.test(argument) &&
      options.values.some((value) => before === `--${value}`);
    if (takesIt) done[done.length - 1] = `${before}=${argument}`;
    else done.push(argument);
  }
  return [...done, ...rest];
}

/** Whether a command's arguments ask for its help: behind `--` all are files. */
export function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes("--help") || options.includes("-h");
}

/**
 * Checks that a command that takes no file was given none.
 *
 * @throws {UsageError} If it was.
 */
export function assertNoFile(args: CommandArguments, command: string): void {
  const [file] = args.operands;
  if (file === undefined) return;
  throw new UsageError(
    `Cannot run ${command}: it takes no file, found ${quote(file)}`,
  );
}

/**
 * The integer that an option says, or its default.
 *
 * @throws {UsageError} If it says something else, or an integer out of bounds.
 */
export function integerOption(
  args: CommandArguments,
  name: string,
  bounds: { readonly min: number; readonly max: number },
  byDefault: number,
): number {
  const text = args.values[name];
  if (text === undefined) return byDefault;
  const value = Number(text);
  const { min, max } = bounds;
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new UsageError(
      `Cannot use --${name} ${
        quote(text)
      }: it is no integer in [${min}, ${max}]`,
    );
  }
  return value;
}

/**
 * The share that an option says, or its default.
 *
 * @throws {UsageError} If it says something else than a number from 0 to 1.
 */
export function shareOption(
  args: CommandArguments,
  name: string,
  byDefault: number,
): number {
  const text = args.values[name];
  if (text === undefined) return byDefault;
  if (!/^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) || Number(text) > 1) {
    throw new UsageError(
      `Cannot use --${name} ${quote(text)}: it is no number in [0, 1]`,
    );
  }
  return Number(text);
}

/**
 * The word that an option says, or its default.
 *
 * @throws {UsageError} If it says none of the words.
 */
export function choiceOption<Word extends string>(
  args: CommandArguments,
  name: string,
  words: readonly Word[],
  byDefault: Word,
): Word {
  const text = args.values[name];
  if (text === undefined) return byDefault;
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) {
    throw new UsageError(
      `Cannot use --${name} ${quote(text)}: it is none of ${words.join(", ")}`,
    );
  }
  return word;
}

/** Text from outside in quotes and on one line, whatever is in it. */
export function quote(text: string): string {
  return JSON.stringify(text);
}
