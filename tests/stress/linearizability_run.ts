/**
 * Records histories of workers on small trees, round by round, and checks each.
 *
 * @module
 */
import { Arena, ExternalLock, RangeTree } from "../../mod.ts";
import { store } from "../../src/sync/atomics.ts";
import { rng } from "../seed.ts";
import { TestWorker } from "../sync/workers.ts";
import { contradiction, type Operation } from "./linearizability.ts";
import {
  CELLS,
  CLOCK,
  type CompactorAnswer,
  firstOf,
  pad,
  READY,
  type RoundAnswer,
  type RoundCommand,
  STOP,
} from "./linearizability_world.ts";
import { EXTERNAL_LOCK, TREES } from "./world.ts";

const WORKER = new URL("./linearizability_worker.ts", import.meta.url);
const ROLES = ["reader", "reader", "writer", "writer"] as const;
/** Operations that a thread records in a round: enough for the system to let several threads run by turns. */
const OPERATIONS = 3000;

/** What a run came to. */
export interface LinearizabilityResult {
  readonly rounds: number;
  readonly operations: number;
  /** Operations that were invoked before one of another thread had responded. */
  readonly overlapping: number;
  readonly moves: number;
  /** Histories that no order explains. */
  readonly wrong: readonly string[];
}

/** Runs rounds, each on the next kind of tree, until the time is up and every kind has had its turn, or something is wrong. */
export async function runLinearizability(
  options: { seed: number; millis: number },
): Promise<LinearizabilityResult> {
  const end = performance.now() + options.millis;
  const random = rng(options.seed);
  const world = new World(random.int(2) === 0);
  using workers = new DisposableStack();
  const start = () => workers.use(new TestWorker(WORKER));
  const recorders = ROLES.map(start);
  const compactor = start();
  compactor.send(world.command("compactor", 0, 0));
  await compactor.answer();
  let rounds = 0, operations = 0, overlapping = 0;
  const wrong: string[] = [];
  const ways = TREES.flatMap((_, tree) =>
    [0, 1, 2, 3].map((way) => ({
      tree,
      spans: way % 2 === 0,
      padded: way < 2,
    }))
  );
  for (; wrong.length === 0; rounds++) {
    if (rounds >= ways.length && performance.now() >= end) break;
    const way = ways[rounds % ways.length];
    world.prepare(way.tree, way.padded);
    recorders.forEach((worker, thread) => {
      worker.send({
        ...world.command(ROLES[thread], thread, random.u32()),
        ...way,
      });
    });
    const history: Operation[] = [];
    for (const worker of recorders) {
      history.push(...(await worker.answer<RoundAnswer>()).history);
    }
    operations += history.length;
    overlapping += countOverlapping(history);
    const found = contradiction(history, new Array(CELLS).fill(0));
    if (found !== undefined) wrong.push(`${JSON.stringify(way)}: ${found}`);
  }
  store(world.signals, STOP, 1);
  const { moves } = await compactor.answer<CompactorAnswer>();
  world.validate();
  return { rounds, operations, overlapping, moves, wrong };
}

class World {
  readonly signals = new Int32Array(new SharedArrayBuffer(64));
  readonly trees: readonly RangeTree[];
  readonly #arena: Arena;
  readonly #externalLock: ExternalLock;

  constructor(debug: boolean) {
    this.#arena = Arena.create({ byteLength: 2 ** 25, debug });
    this.#externalLock = ExternalLock.create(this.#arena, {
      name: EXTERNAL_LOCK,
    });
    this.trees = TREES.map((kind) =>
      RangeTree.create(this.#arena, {
        ...kind,
        externalLock: kind.lock === "external" ? this.#externalLock : undefined,
      })
    );
  }

  command(
    role: RoundCommand["role"],
    thread: number,
    seed: number,
  ): RoundCommand {
    return {
      role,
      memory: this.#arena.shared,
      signals: this.signals,
      thread,
      threads: ROLES.length,
      tree: 0,
      spans: false,
      padded: false,
      operations: OPERATIONS,
      seed,
    };
  }

  validate(): void {
    using _guard = this.#externalLock.guard();
    for (const tree of this.trees) tree.validate();
  }

  /** Empties all cells of a tree. */
  prepare(number: number, padded: boolean): void {
    const tree = this.trees[number];
    using _guard = tree.lockMode === "external"
      ? this.#externalLock.guard()
      : undefined;
    tree.eraseRange(0, firstOf(CELLS));
    for (let cell = 0; padded && cell < CELLS; cell++) pad(tree, cell);
    store(this.signals, CLOCK, 0);
    store(this.signals, READY, 0);
  }
}

function countOverlapping(history: readonly Operation[]): number {
  let overlapping = 0, latest = -1;
  for (
    const { invoked, responded } of history.toSorted((a, b) =>
      a.invoked - b.invoked
    )
  ) {
    if (invoked < latest) overlapping++;
    latest = Math.max(latest, responded);
  }
  return overlapping;
}
