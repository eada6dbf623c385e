/**
 * One run of the stress test: workers read, write and compact the same trees at once, until it is enough.
 *
 * `deno task stress [--seed N] [--lookups N]` runs it until the readers have made so many lookups, 100 million by default, and
 * checks histories of small trees (`linearizability.ts`) between two runs.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import {
  Arena,
  type Entry,
  ExternalLock,
  RangeTree,
  Slabs,
} from "../../mod.ts";
import { TestWorker } from "../sync/workers.ts";
import { runLinearizability } from "./linearizability_run.ts";
import {
  BAND,
  entryOf,
  EXTERNAL_LOCK,
  firstOf,
  GENERATION_WORDS,
  Generations,
  isEmptyAt,
  LENGTH,
  type StressAnswer,
  type StressCommand,
  TREES,
  WIDE_LENGTH,
  wideBehind,
  WIDES,
} from "./world.ts";

/** Bytes of an arena in which the trees hardly find room. */
export const SHORT_OF_MEMORY = 884_736;

/** What a run consists of. */
export interface StressOptions {
  readonly seed: number;
  readonly millis: number;
  readonly readers: number;
  readonly writers: number;
  /** Whether freed memory is poisoned. */
  readonly debug: boolean;
  readonly byteLength: number;
}

/** What a run came to. */
export interface StressResult {
  readonly lookups: number;
  readonly changes: number;
  /** Changes of wide places, which span many leaves. */
  readonly wideChanges: number;
  readonly moves: number;
  readonly exhausted: number;
  /** What was wrong, in answers or in the end. */
  readonly wrong: readonly string[];
}

/** Runs the workers for a while, then looks at what they left. */
export async function runStress(options: StressOptions): Promise<StressResult> {
  const { seed, millis, readers, writers, debug, byteLength } = options;
  const arena = Arena.create({ byteLength, debug });
  const externalLock = ExternalLock.create(arena, { name: EXTERNAL_LOCK });
  const trees = TREES.map((kind) =>
    RangeTree.create(arena, {
      ...kind,
      externalLock: kind.lock === "external" ? externalLock : undefined,
    })
  );
  const signals = new Int32Array(new SharedArrayBuffer(64));
  const generations = new Int32Array(
    new SharedArrayBuffer(4 * GENERATION_WORDS),
  );
  const roles: Pick<StressCommand, "role" | "number" | "of">[] = [
    ...numbered("reader", readers),
    ...numbered("writer", writers),
    ...numbered("widener", 1),
    ...numbered("compactor", 1),
  ];
  using workers = new DisposableStack();
  const started = roles.map((role, i) => {
    const worker = workers.use(
      new TestWorker(new URL("./stress_worker.ts", import.meta.url)),
    );
    const command: StressCommand = {
      ...role,
      memory: arena.shared,
      signals,
      generations,
      seed: seed * 100 + i,
    };
    worker.send(command);
    return worker;
  });
  for (const worker of started) await worker.answer();
  await new Promise((resolve) => setTimeout(resolve, millis));
  Atomics.store(signals, 0, 1);
  const answers: StressAnswer[] = [];
  for (const worker of started) answers.push(await worker.answer());
  using _guard = externalLock.guard();
  const sum = (role: StressCommand["role"]) =>
    answers.reduce((n, one) => n + (one.role === role ? one.operations : 0), 0);
  return {
    lookups: sum("reader"),
    changes: sum("writer"),
    wideChanges: sum("widener"),
    moves: sum("compactor"),
    exhausted: answers.reduce((n, answer) => n + answer.exhausted, 0),
    wrong: [
      ...answers.flatMap(({ wrong }) => wrong === undefined ? [] : [wrong]),
      ...trees.flatMap((tree, i) =>
        differences(tree, i, new Generations(generations))
      ),
      ...leftBehind(arena),
    ],
  };
}

function numbered(
  role: StressCommand["role"],
  count: number,
): Pick<StressCommand, "role" | "number" | "of">[] {
  return Array.from({ length: count }, (_, number) => {
    return { role, number, of: count };
  });
}

/** Where a tree is not what its places' generations say. */
function differences(
  tree: RangeTree,
  number: number,
  generations: Generations,
): string[] {
  const wrong: string[] = [];
  try {
    tree.validate();
  } catch (error) {
    wrong.push(String(error));
  }
  const expected: string[] = [];
  const expect = (place: number, length: number) => {
    const generation = generations.done(number, place);
    const first = firstOf(place);
    if (isEmptyAt(place, generation)) return;
    expected.push(
      `${first}-${first + length - 1}:${entryOf(place, generation)}`,
    );
  };
  for (let band = 0; band < WIDES; band++) {
    for (let i = 0; i < BAND; i++) expect(band * BAND + i, LENGTH);
    expect(wideBehind(band), WIDE_LENGTH);
  }
  if (contentOf(tree).join() !== expected.join()) {
    wrong.push(`tree "${TREES[number].name}" holds another content`);
  }
  return wrong;
}

/** What a tree holds; pieces of a wide place are one range. */
function contentOf(tree: RangeTree): string[] {
  const ranges: Entry[] = [];
  for (const entry of tree) {
    const before = ranges.at(-1);
    const adjoins = before?.value === entry.value &&
      before.last + 1 === entry.first;
    if (adjoins) ranges[ranges.length - 1] = { ...before, last: entry.last };
    else ranges.push(entry);
  }
  return ranges.map(({ first, last, value }) => `${first}-${last}:${value}`);
}

/** What the caches and the page allocator find wrong with themselves. */
function leftBehind(arena: Arena): string[] {
  const wrong: string[] = [];
  const checks = [
    ...Slabs.of(arena).all().map((cache) => () => cache.validate()),
    () => arena.pages.validate(),
  ];
  for (const check of checks) {
    try {
      check();
    } catch (error) {
      wrong.push(String(error));
    }
  }
  return wrong;
}

if (import.meta.main) {
  const { lookups: wanted, seed } = parseArgs(Deno.args, {
    default: { lookups: 1e8, seed: 1 },
  });
  let lookups = 0, failed = 0;
  for (let run = 0; lookups < Number(wanted); run++) {
    const result = await runStress({
      seed: Number(seed) + run,
      millis: 10_000,
      readers: 2,
      writers: 1 + run % 2,
      debug: run % 4 === 3,
      byteLength: run % 3 === 2 ? SHORT_OF_MEMORY : 2 ** 24,
    });
    const recorded = await runLinearizability({
      seed: Number(seed) + run,
      millis: 3000,
    });
    lookups += result.lookups;
    failed += result.wrong.length + recorded.wrong.length;
    console.log(
      `seed ${Number(seed) + run}: ${
        JSON.stringify(result)
      }; ${lookups} lookups so far; histories: ${JSON.stringify(recorded)}`,
    );
  }
  console.log(failed === 0 ? "nothing wrong" : `${failed} mistakes`);
  Deno.exitCode = failed === 0 ? 0 : 1;
}
