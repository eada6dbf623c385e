import { type BindExperimentOptions, runBind } from "../experiment/mod.ts";
import { bindJson, bindReport, isBindSame } from "../report/mod.ts";
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

const JOBS = 300;
const OPS = 512;
const TILES = 65_536;
const DUTY = 0.05;
const JOBS_BOUNDS = { min: 1, max: 100_000 } as const;
const OPS_BOUNDS = { min: 1, max: 4096 } as const;
const TILES_BOUNDS = { min: 64, max: 2 ** 20 } as const;

const HELP = `Bind on a GPU's virtual addresses while the compactor runs.

Usage: pollard bind [options]

Fills a VA manager beside another one, which then goes, so that the slabs of its
nodes are half empty. Then a bind queue executes jobs on it, first without a
compactor, then with one in a thread of its own; the same for each way of
guarding the VA tree: by its own lock, by the driver's lock which the compactor
knows or does not know, by none. Prints how fast it bound and what memory was
won.

Options:
  --jobs N    how many jobs are measured (default ${JOBS})
  --ops N     operations a job, up to 4096 (default ${OPS})
  --tiles N   tiles of the sparse texture, and of the buffers (default ${TILES})
  --duty S    the share of the time that the compactor may work (default ${DUTY})
  --seed N    what the choices follow from, 0 to 2^32 - 1 (default ${SEED})
  --json      print one JSON object
  --help      print this

Exit codes: 0 all is well, 1 the runs ended with different mappings, 2 wrong
usage.
`;

/** `pollard bind`: a bind queue while the compactor runs. */
export const bindCommand: Command = {
  name: "bind",
  summary: "bind on a GPU's virtual addresses while the compactor runs",
  help: HELP,
  async run(args) {
    const parsed = readArguments(args, {
      values: ["jobs", "ops", "tiles", "duty", "seed"],
      flags: ["json"],
    });
    assertNoFile(parsed, "bind");
    const duty = shareOption(parsed, "duty", DUTY);
    if (duty === 0) {
      throw new UsageError("Cannot use --duty 0: the compactor could not work");
    }
    const options: BindExperimentOptions = {
      jobs: integerOption(parsed, "jobs", JOBS_BOUNDS, JOBS),
      ops: integerOption(parsed, "ops", OPS_BOUNDS, OPS),
      tiles: integerOption(parsed, "tiles", TILES_BOUNDS, TILES),
      duty,
      seed: integerOption(parsed, "seed", SEED_BOUNDS, SEED),
    };
    const runs = await runBind(options, {
      startWorker: () => new StartedWorker(),
    });
    const input = { options, runs };
    console.log(
      parsed.flags.has("json")
        ? JSON.stringify(bindJson(input), undefined, 2)
        : bindReport(input).trimEnd(),
    );
    return isBindSame(input) ? 0 : 1;
  },
};
