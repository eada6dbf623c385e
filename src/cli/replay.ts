import {
  policyOf,
  type Recording,
  ReplayScenario,
  type ReplayScenarioOptions,
} from "../experiment/mod.ts";
import { Arena, releaseFreePages } from "../memory/mod.ts";
import {
  type Release,
  replayJson,
  replayReport,
  verdict,
} from "../report/mod.ts";
import { POLICY_HELP, POLICY_VALUES, policyOption } from "./policy.ts";
import { readRecording } from "./recordings.ts";
import {
  choiceOption,
  type Command,
  type CommandArguments,
  integerOption,
  quote,
  readArguments,
  shareOption,
  UsageError,
} from "./usage.ts";

/** How many copies of each trace are replayed unless told otherwise: enough that every slab holds nodes of several. */
export const COPIES = 64;
/** The bounds of `--copies`. */
export const COPIES_BOUNDS = { min: 1, max: 10_000 } as const;
/** The share of the processes that ends half-way unless told otherwise. */
export const EXIT_SHARE = 0.6;
/** The seed unless told otherwise. */
export const SEED = 1;
/** The bounds of `--seed`. */
export const SEED_BOUNDS = { min: 0, max: 0xffff_ffff } as const;

const LOCKS = ["internal", "external", "none"] as const;
const VALUES = ["copies", "exit-share", "seed", "lock", ...POLICY_VALUES];
const FLAGS = ["json", "maps", "release"];

const STRACE = "strace -f -e trace=memory,process -o FILE PROGRAM";

const HELP = `Replay traces, fragment the slabs, compact them.

Usage: pollard replay FILE... [options]

Replays each FILE, the output of
  ${STRACE}
a number of times, each time as a family of processes of its own, all in one
arena and interleaved event by event; ends a share of the processes half-way
through; then compacts, and says what that won.

Options:
  --copies N        how often each FILE is replayed (default ${COPIES})
  --exit-share S    the share of the processes that ends, 0 to 1 (default ${EXIT_SHARE})
  --seed N          what order and choice follow from, 0 to 2^32 - 1 (default ${SEED})
  --lock MODE       internal, external or none (default internal): who guards the
                    trees' writers; only with internal can their nodes be moved
${POLICY_HELP}
  --release         hand the memory that is free in the end back to the operating
                    system, on Linux; it needs a permission that "deno task" does
                    not give:
                    deno run --allow-read --allow-ffi src/cli/main.ts replay …
  --json            print one JSON object
  --maps            go on to the end after the compaction, and print the last map
                    of every address space instead, one mapping a line, under a
                    line "process N" (here --copies is 1 and --exit-share 0 by
                    default)
  --help            print this

Lines of a FILE that can't be read are counted, and the first ones reported on
standard error.

Exit codes: 0 all is well, 1 the result is wrong or there is none, 2 wrong usage.
`;

/** `pollard replay`: replay traces, fragment the slabs, compact them. */
export const replayCommand: Command = {
  name: "replay",
  summary: "replay traces, fragment the slabs, compact them",
  help: HELP,
  run(args) {
    const parsed = readArguments(args, { values: VALUES, flags: FLAGS });
    const options = scenarioOptions(parsed);
    if (parsed.operands.length === 0) {
      throw new UsageError("Cannot replay: no FILE is given");
    }
    const recordings = parsed.operands.map((file) => readRecording(file, file));
    if (recordings.every(({ trace }) => trace.events.length === 0)) {
      const files = parsed.operands.map(quote).join(" or ");
      console.error(
        `pollard: Cannot replay: no line of ${files} is strace output that tells of memory or processes, as "${STRACE}" writes it`,
      );
      return 1;
    }
    return replay(recordings, options, parsed.flags);
  },
};

function scenarioOptions(parsed: CommandArguments): ReplayScenarioOptions {
  const toTheEnd = parsed.flags.has("maps");
  const seed = integerOption(parsed, "seed", SEED_BOUNDS, SEED);
  if (toTheEnd && parsed.flags.has("json")) {
    throw new UsageError("Cannot use --json with --maps: maps are text");
  }
  return {
    copies: integerOption(
      parsed,
      "copies",
      COPIES_BOUNDS,
      toTheEnd ? 1 : COPIES,
    ),
    exitShare: shareOption(parsed, "exit-share", toTheEnd ? 0 : EXIT_SHARE),
    seed,
    lock: choiceOption(parsed, "lock", LOCKS, "internal"),
    policy: policyOf(policyOption(parsed, seed)),
    toTheEnd,
  };
}

function replay(
  recordings: readonly Recording[],
  options: ReplayScenarioOptions,
  flags: ReadonlySet<string>,
): number {
  const scenario = new ReplayScenario(recordings, options);
  const result = scenario.run();
  const release = flags.has("release") ? released(scenario.arena) : undefined;
  const input = { recordings, options, result, release };
  const unchanged = result.digest.before === result.digest.after;
  if (options.toTheEnd) {
    scenario.finish();
    const maps = scenario.maps().trimEnd();
    if (maps !== "") console.log(maps);
    if (!unchanged) console.error(verdict(result));
  } else if (flags.has("json")) {
    console.log(JSON.stringify(replayJson(input), undefined, 2));
  } else {
    console.log(replayReport(input).trimEnd());
  }
  return unchanged ? 0 : 1;
}

/** Hands free memory back, and says what the kernel makes of it. */
function released(arena: Arena): Release {
  const residentBytes = () => Deno.memoryUsage().rss;
  // Loads what it takes to call the kernel, which takes memory itself.
  releaseFreePages(Arena.create({ byteLength: 2 ** 20 }));
  const before = residentBytes();
  const { bytes, reason } = releaseFreePages(arena);
  const residentBefore = before, residentAfter = residentBytes();
  return { bytes, reason, residentBefore, residentAfter };
}
