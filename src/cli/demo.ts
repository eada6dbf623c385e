import { type Recording, ReplayScenario } from "../experiment/mod.ts";
import { demoReport, type ReplayReportInput } from "../report/mod.ts";
import type { LockMode } from "../range_tree/mod.ts";
import { readRecording } from "./recordings.ts";
import {
  COPIES,
  COPIES_BOUNDS,
  EXIT_SHARE,
  SEED,
  SEED_BOUNDS,
} from "./replay.ts";
import {
  assertNoFile,
  type Command,
  integerOption,
  quote,
  readArguments,
  UsageError,
} from "./usage.ts";

const TRACES = new URL("../../tests/traces/", import.meta.url);
const SUFFIX = ".strace";

const HELP = `Show what the lock that is always in the tree buys.

Usage: pollard demo [options]

Replays the traces that come with the project as "pollard replay" does, once with
the lock mode internal and once with none, and shows both results side by side.

Options:
  --copies N        how often each trace is replayed (default ${COPIES})
  --seed N          what order and choice follow from, 0 to 2^32 - 1 (default ${SEED})
  --help            print this

Exit codes: 0 all is well, 1 the result is wrong or there is none, 2 wrong usage.
`;

/** `pollard demo`: show what the lock that is always in the tree buys. */
export const demoCommand: Command = {
  name: "demo",
  summary: "show what the lock that is always in the tree buys",
  help: HELP,
  run(args) {
    const parsed = readArguments(args, {
      values: ["copies", "seed"],
      flags: [],
    });
    const copies = integerOption(parsed, "copies", COPIES_BOUNDS, COPIES);
    const seed = integerOption(parsed, "seed", SEED_BOUNDS, SEED);
    assertNoFile(parsed, "demo");
    const recordings = shippedRecordings();
    const run = (lock: LockMode): ReplayReportInput => {
      const options = { copies, exitShare: EXIT_SHARE, seed, lock };
      const result = new ReplayScenario(recordings, options).run();
      return { recordings, options, result };
    };
    const [locked, unlocked] = [run("internal"), run("none")];
    console.log(demoReport(locked, unlocked).trimEnd());
    const unchanged = [locked, unlocked].every(({ result: { digest } }) =>
      digest.before === digest.after
    );
    return unchanged ? 0 : 1;
  },
};

/** The traces that come with the project, in the order of their names. */
function shippedRecordings(): Recording[] {
  return shippedFiles().map((file) =>
    readRecording(new URL(file, TRACES), file.slice(0, -SUFFIX.length))
  );
}

function shippedFiles(): string[] {
  try {
    return [...Deno.readDirSync(TRACES)].map(({ name }) => name)
      .filter((name) => name.endsWith(SUFFIX)).sort();
  } catch {
    throw new UsageError(
      `Cannot read the demo's traces: they are not in ${quote(TRACES.href)}`,
    );
  }
}
