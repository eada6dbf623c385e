/**
 * Lets a worker die at random moments beside others that go on, reaps it, and looks whether all that it had acknowledged
 * is there and nothing is lost. `deno task kills [--kills N] [--seed N] [--terminate]`.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { Arena, ExternalLock, RangeTree, Slabs } from "../../mod.ts";
import { type Rng, rng } from "../seed.ts";
import { type Lost, lostIn, NOTHING_LOST, settle } from "./lost.ts";
import { BINDING_WORDS, Bindings, createManagers } from "./managers.ts";
import { ManagersCheck } from "./managers_check.ts";
import { TestWorker } from "../sync/workers.ts";
import {
  BAND,
  CELLS,
  entryOf,
  EXTERNAL_LOCK,
  firstOf,
  GENERATION_WORDS,
  type StressAnswer,
  type StressCommand,
  TREES,
} from "./world.ts";

/** Deaths after which the others stop, it is counted what is lost, and the arena is made anew. */
const ROUNDS_AN_ARENA = 100;
const ROLES = [
  "writer",
  "writer",
  "binder",
  "binder",
  "binder",
  "compactor",
  "reader",
] as const;
/** Who lives on beside whoever dies. */
const LASTING = ["reader", "viewer", "compactor"] as const;

/** What the kills came to. */
export interface Totals {
  kills: number;
  /** What is in use and belongs to nothing. */
  lost: Lost;
  wrong: string[];
}

class World {
  readonly arena = Arena.create({ byteLength: 2 ** 25 });
  readonly trees: RangeTree[];
  readonly generations = new Int32Array(
    new SharedArrayBuffer(4 * GENERATION_WORDS),
  );
  readonly bindings = new Int32Array(new SharedArrayBuffer(4 * BINDING_WORDS));
  readonly signals = new Int32Array(new SharedArrayBuffer(64));
  readonly managers: ManagersCheck;
  readonly #externalLock: ExternalLock;

  constructor() {
    this.#externalLock = ExternalLock.create(this.arena, {
      name: EXTERNAL_LOCK,
    });
    this.trees = TREES.map((kind) =>
      RangeTree.create(this.arena, {
        ...kind,
        externalLock: kind.lock === "external" ? this.#externalLock : undefined,
      })
    );
    this.managers = new ManagersCheck(
      this.arena,
      createManagers(this.arena, this.#externalLock),
      this.#externalLock,
      new Bindings(this.bindings),
    );
  }

  /** Reaps a thread; what is wrong then. Takes over what it had done last. */
  reap(thread: number, random: Rng): string[] {
    const seen = this.managers.seen();
    this.arena.reap(thread);
    return [...this.managers.check(seen, random), ...this.#check()];
  }

  #check(): string[] {
    using _guard = this.#externalLock.guard();
    const wrong: string[] = [];
    this.trees.forEach((tree, i) => {
      try {
        tree.validate();
      } catch (error) {
        wrong.push(String(error));
      }
      wrong.push(...this.#compare(tree, i));
    });
    for (const cache of Slabs.of(this.arena).all()) cache.validate();
    this.arena.pages.validate();
    return wrong;
  }

  /** Each cell is as it was acknowledged, but for one change: one cell a generation further, or one band empty. */
  #compare(tree: RangeTree, number: number): string[] {
    const found = new Map(
      [...tree].map(({ first, value }) => [first, value]),
    );
    const ahead: number[] = [], gone: number[] = [];
    for (let cell = 0; cell < CELLS; cell++) {
      const at = number * CELLS + cell;
      const noted = this.generations[at];
      const value = found.get(firstOf(cell)) ?? 0;
      if (value === (noted % 2 === 0 ? 0 : entryOf(cell, noted))) continue;
      if (value === 0) gone.push(cell);
      else if (value === entryOf(cell, noted + 1)) ahead.push(cell);
      else return [`cell ${cell} holds ${value}, noted was ${noted}`];
      this.generations[at] = noted + 1;
    }
    const bands = new Set(gone.map((cell) => Math.floor(cell / BAND)));
    const isOne = ahead.length + Math.min(1, gone.length) <= 1 &&
      bands.size <= 1;
    return isOne
      ? []
      : [`${ahead.length} cells are ahead, ${gone.length} are gone`];
  }

  /** What is lost, when nobody else is at work any more. */
  lost(): Lost {
    settle(this.arena);
    using _guard = this.#externalLock.guard();
    return lostIn(this.arena);
  }
}

/** Sends a worker what it is to do. */
function command(
  world: World,
  rest: Pick<StressCommand, "role" | "seed" | "diesAfter" | "diesAsleep">,
): StressCommand {
  const { arena, generations, bindings, signals } = world;
  return {
    number: 0,
    of: 1,
    memory: arena.shared,
    signals,
    generations,
    bindings,
    ...rest,
  };
}

/**
 * Lets a worker die so often: as a writer, a binder, a compactor or a reader, while readers and a compactor live on.
 *
 * @param isTerminated Whether each is a worker of its own that is terminated, asleep in the middle of its work. Else it is one
 * that gives up its work by an error, which takes a hundredth of the time.
 */
export async function runKills(
  kills: number,
  seed: number,
  isTerminated = false,
): Promise<Totals> {
  const random = rng(seed);
  const lost: Lost = { ...NOTHING_LOST };
  const totals: Totals = { kills: 0, lost, wrong: [] };
  const file = new URL("./stress_worker.ts", import.meta.url);
  using lasting = new TestWorker(file);
  while (totals.kills < kills && totals.wrong.length === 0) {
    const world = new World();
    using stack = new DisposableStack();
    const others = LASTING.map(() => stack.use(new TestWorker(file)));
    for (const [i, worker] of others.entries()) {
      worker.send(command(world, { role: LASTING[i], seed: random.u32() }));
      await worker.answer();
    }
    const end = Math.min(kills, totals.kills + ROUNDS_AN_ARENA);
    for (; totals.kills < end && totals.wrong.length === 0; totals.kills++) {
      const role = random.pick(ROLES);
      // Mostly in the middle of the work, now and then just after joining.
      const diesAfter = random.int(random.pick([300, 20_000]));
      const order = command(world, {
        role,
        seed: random.u32(),
        diesAfter,
        diesAsleep: isTerminated,
      });
      const thread = isTerminated
        ? await terminateOne(file, order)
        : await killOne(lasting, order);
      totals.wrong.push(...world.reap(thread, random));
    }
    Atomics.store(world.signals, 0, 1);
    for (const worker of others) {
      const { wrong } = await worker.answer<StressAnswer>();
      if (wrong !== undefined) totals.wrong.push(wrong);
    }
    const more = world.lost();
    for (const what of Object.keys(lost) as (keyof Lost)[]) {
      lost[what] += more[what];
    }
  }
  return totals;
}

/** Lets a worker die by an error; returns which thread it was. */
async function killOne(
  victim: TestWorker,
  order: StressCommand,
): Promise<number> {
  victim.send(order);
  const { thread } = await victim.answer<{ thread: number }>();
  await victim.answer();
  return thread;
}

/** Terminates a worker when it is certain that it does nothing more; returns which thread it was. */
async function terminateOne(file: URL, order: StressCommand): Promise<number> {
  const { signals } = order;
  Atomics.store(signals, 1, 0);
  using victim = new TestWorker(file);
  victim.send(order);
  const { thread } = await victim.answer<{ thread: number }>();
  await Atomics.waitAsync(signals, 1, 0).value;
  return thread;
}

if (import.meta.main) {
  const { kills, seed, terminate } = parseArgs(Deno.args, {
    default: { kills: 2000, seed: 1 },
    boolean: ["terminate"],
  });
  const totals = await runKills(Number(kills), Number(seed), terminate);
  console.log(JSON.stringify(totals));
  // Not by itself: workers that were terminated asleep may sleep on.
  Deno.exit(totals.wrong.length === 0 ? 0 : 1);
}
