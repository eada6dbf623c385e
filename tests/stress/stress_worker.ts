/**
 * A worker of the stress tests. It never turns its event loop: a shared word says when to stop.
 *
 * @module
 */
import {
  Arena,
  BackgroundCompactor,
  Compactor,
  ExternalLock,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import { type Rng, rng } from "../seed.ts";
import { dyingAfter, sleepingAfter } from "./dying.ts";
import { workerPort } from "../sync/workers.ts";
import {
  BAND,
  CELLS,
  entryOf,
  EXTERNAL_LOCK,
  firstOf,
  LENGTH,
  type StressAnswer,
  type StressCommand,
  STRIDE,
  TREES,
  wrongWith,
} from "./world.ts";

/** Operations between two looks at the signal. */
const BATCH = 200;

workerPort.onmessage = ({ data }: MessageEvent<StressCommand>) => {
  const arena = Arena.attach(data.buffer);
  const worker = new StressWorker(arena, data);
  workerPort.postMessage({ thread: arena.thread });
  if (data.diesAfter !== undefined) {
    using dying = data.diesAsleep
      ? sleepingAfter(data.diesAfter, data.signals, 1)
      : dyingAfter(data.diesAfter);
    try {
      worker.run();
    } catch (error) {
      if (!dying.died) throw error;
      workerPort.postMessage("dead");
      return;
    }
  }
  const answer = worker.run();
  arena.leave();
  workerPort.postMessage(answer);
};

class StressWorker {
  readonly #command: StressCommand;
  readonly #arena: Arena;
  readonly #trees: RangeTree[];
  readonly #externalLock: ExternalLock;
  readonly #random: Rng;
  #operations = 0;
  #exhausted = 0;
  #wrong: string | undefined;

  constructor(arena: Arena, command: StressCommand) {
    this.#command = command;
    this.#arena = arena;
    this.#trees = TREES.map(({ name }) => RangeTree.attach(arena, name));
    this.#externalLock = ExternalLock.attach(arena, EXTERNAL_LOCK);
    this.#random = rng(command.seed);
  }

  run(): StressAnswer {
    const { role } = this.#command;
    if (role === "compactor") this.#compact();
    else {
      const step = role === "reader" ? () => this.#read() : () => this.#write();
      while (!this.#isOver()) for (let i = 0; i < BATCH; i++) step();
    }
    return {
      role,
      operations: this.#operations,
      exhausted: this.#exhausted,
      wrong: this.#wrong,
    };
  }

  #isOver(): boolean {
    return this.#wrong !== undefined ||
      Atomics.load(this.#command.signals, 0) !== 0;
  }

  #noted(tree: number, cell: number): number {
    return Atomics.load(this.#command.generations, tree * CELLS + cell);
  }

  #read(): void {
    const tree = this.#random.int(TREES.length);
    const cell = this.#random.int(CELLS);
    const choice = this.#random.int(20);
    if (choice === 0) this.#iterate(tree, cell);
    else if (choice < 4) this.#find(tree, cell);
    else this.#look(tree, cell);
  }

  #look(tree: number, cell: number): void {
    const offset = this.#random.int(STRIDE);
    const before = this.#noted(tree, cell);
    const found = this.#trees[tree].load(firstOf(cell) + offset);
    const after = this.#noted(tree, cell);
    this.#operations++;
    if (offset < LENGTH) this.#check(tree, cell, found, before, after);
    else if (found !== 0) this.#fail(tree, cell, found, "nothing lies there");
  }

  #find(tree: number, cell: number): void {
    const first = firstOf(cell);
    const before = this.#noted(tree, cell);
    const entry = this.#trees[tree].find(first, first + STRIDE - 1);
    const after = this.#noted(tree, cell);
    this.#operations++;
    this.#check(tree, cell, entry?.value ?? 0, before, after);
    const isWhole = entry === undefined ||
      (entry.first === first && entry.last === first + LENGTH - 1);
    if (!isWhole) this.#fail(tree, cell, entry.value, "its range is another");
  }

  /** Cells that the iteration gives are in order, each possible since it began. */
  #iterate(tree: number, from: number): void {
    const to = Math.min(CELLS - 1, from + 20);
    const before: number[] = [];
    for (let cell = from; cell <= to; cell++) {
      before.push(this.#noted(tree, cell));
    }
    let at = from;
    const last = firstOf(to) + STRIDE - 1;
    for (const entry of this.#trees[tree].entries(firstOf(from), last)) {
      const cell = entry.first / STRIDE;
      const after = this.#noted(tree, cell);
      this.#operations++;
      if (cell < at) this.#fail(tree, cell, entry.value, "out of order");
      this.#check(tree, cell, entry.value, before[cell - from], after);
      at = cell + 1;
    }
  }

  #check(
    tree: number,
    cell: number,
    found: number,
    before: number,
    after: number,
  ): void {
    const wrong = wrongWith(cell, found, before, after);
    if (wrong !== undefined) this.#fail(tree, cell, found, wrong);
  }

  #fail(tree: number, cell: number, found: number, why: string): void {
    this.#wrong ??= `tree "${
      TREES[tree].name
    }", cell ${cell}: found ${found}: ${why}`;
  }

  #write(): void {
    const tree = this.#random.int(TREES.length);
    const bands = Math.floor(CELLS / BAND / this.#command.of);
    const band = this.#random.int(bands) * this.#command.of +
      this.#command.number;
    const cell = band * BAND + this.#random.int(BAND);
    try {
      using _guard = TREES[tree].lock === "external"
        ? this.#externalLock.guard()
        : undefined;
      if (this.#random.int(200) === 0) this.#eraseBand(tree, band);
      else this.#change(tree, cell);
      this.#operations++;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.#exhausted++;
    }
  }

  /** Brings one cell to its next generation. */
  #change(tree: number, cell: number): void {
    const generation = this.#noted(tree, cell) + 1;
    const first = firstOf(cell);
    if (generation % 2 === 1) {
      const value = entryOf(cell, generation);
      this.#trees[tree].storeRange(first, first + LENGTH - 1, value);
    } else {
      const value = this.#trees[tree].erase(first);
      if (value !== entryOf(cell, generation - 1)) {
        this.#fail(tree, cell, value, "it was to be erased");
      }
    }
    this.#note(tree, cell, generation);
  }

  /** Empties many cells by one change. */
  #eraseBand(tree: number, band: number): void {
    const first = firstOf(band * BAND);
    this.#trees[tree].eraseRange(first, first + BAND * STRIDE - 1);
    for (let cell = band * BAND; cell < (band + 1) * BAND; cell++) {
      const generation = this.#noted(tree, cell);
      if (generation % 2 === 1) this.#note(tree, cell, generation + 1);
    }
  }

  #note(tree: number, cell: number, generation: number): void {
    Atomics.store(
      this.#command.generations,
      tree * CELLS + cell,
      generation,
    );
  }

  /** By turns in the background's small slices, and all at once. */
  #compact(): void {
    const background = new BackgroundCompactor(this.#arena, {
      startBelow: 1,
      stopAbove: 1,
    });
    const direct = new Compactor(this.#arena);
    while (!this.#isOver()) {
      for (let slice = 0; slice < 50 && !this.#isOver(); slice++) {
        background.slice();
      }
      this.#operations += direct.run().moves;
    }
    background.stop();
    this.#operations += background.totals().moves;
  }
}
