/**
 * A worker of the stress tests. It never turns its event loop: a shared word says when to stop.
 *
 * @module
 */
import { Arena, BackgroundCompactor, Compactor } from "../../mod.ts";
import { load } from "../../src/sync/atomics.ts";
import { rng } from "../seed.ts";
import { workerPort } from "../sync/workers.ts";
import { dyingAfter, sleepingAfter } from "./dying.ts";
import { Bindings } from "./managers.ts";
import { StressBinder } from "./stress_binder.ts";
import { StressReader } from "./stress_reader.ts";
import { StressViewer } from "./stress_viewer.ts";
import { CellWriter, WideWriter } from "./stress_writer.ts";
import { Generations, type StressAnswer, type StressCommand } from "./world.ts";

/** Operations between two looks at the signal. */
const BATCH = 200;
/** Slices of the background's between two direct runs. */
const SLICES = 50;

/** What a worker does over and over. */
interface Work {
  readonly operations: number;
  readonly exhausted?: number;
  readonly wrong?: string;
  step(): void;
  /** Puts back what it has in its hands. */
  stop?(): void;
}

workerPort.onmessage = ({ data }: MessageEvent<StressCommand>) => {
  // By its buffer where it is to die: of an access by `Atomics`, which nobody makes in a WebAssembly memory.
  const arena = Arena.attach(
    data.diesAfter === undefined || data.memory instanceof SharedArrayBuffer
      ? data.memory
      : data.memory.buffer as unknown as SharedArrayBuffer,
  );
  const work = workOf(arena, data);
  workerPort.postMessage({ thread: arena.thread });
  if (data.diesAfter !== undefined) {
    using dying = data.diesAsleep
      ? sleepingAfter(data.diesAfter, data.signals, 1)
      : dyingAfter(data.diesAfter);
    try {
      run(work, data);
    } catch (error) {
      if (!dying.died) throw error;
      workerPort.postMessage("dead");
      return;
    }
  }
  const answer = run(work, data);
  arena.leave();
  workerPort.postMessage(answer);
};

function workOf(arena: Arena, command: StressCommand): Work {
  const random = rng(command.seed);
  const generations = new Generations(command.generations);
  switch (command.role) {
    case "reader":
      return new StressReader(arena, generations, random);
    case "writer":
      return new CellWriter(arena, generations, random, command);
    case "widener":
      return new WideWriter(arena, generations, random, command);
    case "compactor":
      return new StressCompactor(arena);
    case "binder":
      return new StressBinder(arena, new Bindings(command.bindings!), random);
    case "viewer":
      return new StressViewer(arena, new Bindings(command.bindings!), random);
  }
}

function run(work: Work, { role, signals }: StressCommand): StressAnswer {
  const isOver = () => work.wrong !== undefined || load(signals, 0) !== 0;
  // A step of the compactor's is long.
  const batch = role === "compactor" ? 1 : BATCH;
  while (!isOver()) for (let i = 0; i < batch; i++) work.step();
  work.stop?.();
  const { operations, exhausted = 0, wrong } = work;
  return { role, operations, exhausted, wrong };
}

/** Compacts by turns in the background's small slices, and all at once. */
class StressCompactor implements Work {
  readonly #background: BackgroundCompactor;
  readonly #direct: Compactor;
  #slices = 0;
  #moves = 0;

  constructor(arena: Arena) {
    this.#background = new BackgroundCompactor(arena, {
      startBelow: 1,
      stopAbove: 1,
    });
    this.#direct = new Compactor(arena);
  }

  get operations(): number {
    return this.#moves + this.#background.totals().moves;
  }

  step(): void {
    if (++this.#slices % SLICES !== 0) this.#background.slice();
    else this.#moves += this.#direct.run().moves;
  }

  stop(): void {
    this.#background.stop();
  }
}
