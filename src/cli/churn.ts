import {
  type ChurnOptions,
  type ChurnStatus,
  runChurn,
} from "../experiment/mod.ts";
import {
  churnJson,
  churnReport,
  type ChurnReportInput,
  churnStatusLine,
} from "../report/mod.ts";
import { POLICY_HELP, POLICY_VALUES, policyOption } from "./policy.ts";
import { SEED, SEED_BOUNDS } from "./replay.ts";
import {
  assertNoFile,
  type Command,
  integerOption,
  readArguments,
  shareOption,
  UsageError,
} from "./usage.ts";
import { StartedWorker } from "./worker.ts";

const SECONDS = 3;
const SECONDS_BOUNDS = { min: 1, max: 3600 } as const;
const READERS = 1;
const READERS_BOUNDS = { min: 1, max: 16 } as const;
const RANGES = 200_000;
const RANGES_BOUNDS = { min: 1000, max: 20_000_000 } as const;
const LIVE_SHARE = 0.3;
const HOT_SHARE = 0.2;
const DUTY = 0.05;

const VALUES = [
  "seconds",
  "readers",
  "ranges",
  "live-share",
  "hot-share",
  "duty",
  "seed",
  ...POLICY_VALUES,
];
const FLAGS = ["no-compact", "json"];

const HELP = `Run readers, a writer and a compactor at once on a live tree.

Usage: pollard churn [options]

Fills a tree while another one grows beside it and goes again, which leaves its
slabs half empty; then a writer keeps storing and erasing at random in one part
of it while readers look up without a lock: first without a compactor, then with
one, each in a thread of its own. Prints how fast everybody was and what memory
the tree took. On Linux, what is free in the end of a half is handed back to the
operating system before the resident size is read, with a permission that
"deno task" does not give:
  deno run --allow-read --allow-ffi src/cli/main.ts churn …

Options:
  --seconds N       how long each half is measured (default ${SECONDS})
  --readers N       how many readers (default ${READERS})
  --ranges N        how many ranges can be stored (default ${RANGES})
  --live-share S    the share of them that is stored at a time (default ${LIVE_SHARE})
  --hot-share S     the share of them that the writer changes (default ${HOT_SHARE})
  --duty S          the share of the time that the compactor may work (default ${DUTY})
${POLICY_HELP}
  --no-compact      only the half without the compactor
  --seed N          what the choices follow from, 0 to 2^32 - 1 (default ${SEED})
  --json            print one JSON object
  --help            print this

Exit codes: 0 all is well, 1 a wrong answer was given, 2 wrong usage.
`;

/** `pollard churn`: readers, a writer and a compactor at once. */
export const churnCommand: Command = {
  name: "churn",
  summary: "run readers, a writer and a compactor at once",
  help: HELP,
  async run(args) {
    const parsed = readArguments(args, { values: VALUES, flags: FLAGS });
    assertNoFile(parsed, "churn");
    const duty = shareOption(parsed, "duty", DUTY);
    if (duty === 0) {
      throw new UsageError("Cannot use --duty 0: that is --no-compact");
    }
    const seed = integerOption(parsed, "seed", SEED_BOUNDS, SEED);
    const options: ChurnOptions = {
      seconds: integerOption(parsed, "seconds", SECONDS_BOUNDS, SECONDS),
      readers: integerOption(parsed, "readers", READERS_BOUNDS, READERS),
      ranges: integerOption(parsed, "ranges", RANGES_BOUNDS, RANGES),
      liveShare: shareOption(parsed, "live-share", LIVE_SHARE),
      hotShare: shareOption(parsed, "hot-share", HOT_SHARE),
      compacts: !parsed.flags.has("no-compact"),
      duty,
      policy: policyOption(parsed, seed),
      seed,
    };
    return await churn(options, parsed.flags.has("json"));
  },
};

async function churn(options: ChurnOptions, json: boolean): Promise<number> {
  const line = new StatusLine();
  const halves = await runChurn(options, {
    startWorker: () => new StartedWorker(),
    onStatus: (status) => line.show(status),
    residentBytes: () => Deno.memoryUsage().rss,
  });
  line.clear();
  const input: ChurnReportInput = { options, ...halves };
  console.log(
    json
      ? JSON.stringify(churnJson(input), undefined, 2)
      : churnReport(input).trimEnd(),
  );
  return halves.off.wrong + (halves.on?.wrong ?? 0) === 0 ? 0 : 1;
}

/** A line that is rewritten, where standard error is a terminal. */
class StatusLine {
  readonly #shows = Deno.stderr.isTerminal();

  show(status: ChurnStatus): void {
    if (this.#shows) this.#write(churnStatusLine(status));
  }

  clear(): void {
    if (this.#shows) this.#write("");
  }

  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
