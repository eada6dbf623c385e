/**
 * A worker that records what it does with a tree of a few cells, or moves the nodes of all trees meanwhile.
 *
 * @module
 */
import { Arena, Compactor, ExternalLock, RangeTree } from "../../mod.ts";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { TreeMemory } from "../../src/range_tree/tree_memory.ts";
import { add, load, notify, wait } from "../../src/sync/atomics.ts";
import { type Rng, rng } from "../seed.ts";
import { workerPort } from "../sync/workers.ts";
import type { Operation } from "./linearizability.ts";
import {
  CELLS,
  CLOCK,
  type CompactorAnswer,
  firstOf,
  lastOf,
  LENGTH,
  pad,
  READY,
  type RoundAnswer,
  type RoundCommand,
  STOP,
} from "./linearizability_world.ts";
import { EXTERNAL_LOCK, TREES } from "./world.ts";

/** Entries name the thread above these bits, and count within them: no two operations store the same. */
const ENTRY_BITS = 20;
/** So many moved nodes may wait for a reader that was interrupted inside a section, before the moving waits too. */
const MOST_PENDING = 2000;
/** Passes over all nodes between two ordinary compactions. */
const PASSES = 20;

workerPort.onmessage = ({ data }: MessageEvent<RoundCommand>) => {
  const arena = Arena.attach(data.memory);
  let answer: RoundAnswer | CompactorAnswer;
  if (data.role === "compactor") {
    workerPort.postMessage("ready");
    answer = { moves: moveAll(arena, data.signals) };
  } else {
    answer = { history: new Recorder(arena, data).run() };
  }
  arena.leave();
  workerPort.postMessage(answer);
};

/** Moves every node that there is, over and over. */
function moveAll(arena: Arena, signals: RoundCommand["signals"]): number {
  const caches = TreeMemory.of(arena).movableNodes.all;
  const compactor = new Compactor(arena);
  let moves = 0;
  for (let pass = 1; load(signals, STOP) === 0; pass++) {
    for (const nodes of caches) {
      const mover = NodeMover.of(arena, nodes);
      for (const { pfn } of nodes.slabs()) {
        for (const node of nodes.objectsOf(pfn)) {
          if (mover.relocate(node) === "moved") moves++;
        }
      }
      mover.finish();
    }
    do arena.rcu.flush(); while (arena.rcu.pending > MOST_PENDING);
    if (pass % PASSES === 0) moves += compactor.run().moves;
  }
  return moves;
}

class Recorder {
  readonly #command: RoundCommand;
  readonly #tree: RangeTree;
  readonly #externalLock: ExternalLock | undefined;
  readonly #random: Rng;
  readonly #history: Operation[] = [];
  #stored = 0;

  constructor(arena: Arena, command: RoundCommand) {
    const { name, lock } = TREES[command.tree];
    this.#command = command;
    this.#tree = RangeTree.attach(arena, name);
    this.#externalLock = lock === "external"
      ? ExternalLock.attach(arena, EXTERNAL_LOCK)
      : undefined;
    this.#random = rng(command.seed);
  }

  run(): readonly Operation[] {
    this.#awaitOthers();
    const { role, operations } = this.#command;
    const step = role === "reader" ? () => this.#read() : () => this.#write();
    while (this.#history.length < operations) step();
    return this.#history;
  }

  #awaitOthers(): void {
    const { signals, threads } = this.#command;
    add(signals, READY, 1);
    notify(signals, READY);
    for (;;) {
      const ready = load(signals, READY);
      if (ready === threads) return;
      wait(signals, READY, ready);
    }
  }

  #read(): void {
    const snapshots = this.#command.spans ? 1 : 0;
    if (this.#random.int(10) < snapshots) this.#snapshot();
    else this.#load();
  }

  #write(): void {
    const cell = this.#random.int(CELLS);
    const choice = this.#random.int(10);
    if (choice === 0) this.#load();
    else if (choice < 3) this.#insert(cell);
    else if (this.#command.spans && choice < 8) this.#storeSpan(cell);
    else if (choice < 6) this.#store(cell, cell, this.#newEntry());
    // A range that spans cells would be erased in all of them.
    else if (this.#command.spans) this.#store(cell, cell, 0);
    else this.#erase(cell);
  }

  #load(): void {
    const cell = this.#random.int(CELLS);
    const index = firstOf(cell) + this.#random.int(LENGTH);
    this.#record("load", cell, cell, undefined, () => [this.#tree.load(index)]);
  }

  /** What the cells of a span hold at one moment: under the lock. */
  #snapshot(): void {
    const first = this.#random.int(CELLS);
    const last = first + this.#random.int(CELLS - first);
    this.#record("snapshot", first, last, undefined, () => {
      using _guard = this.#tree.lock();
      const found: number[] = [];
      const cursor = this.#tree.cursor();
      for (let cell = first; cell <= last; cell++) {
        cursor.setRange(firstOf(cell) + this.#random.int(LENGTH));
        found.push(cursor.walk());
      }
      return found;
    });
  }

  /** Stores over several cells, or empties them, by one change. */
  #storeSpan(first: number): void {
    const last = first + this.#random.int(CELLS - first);
    this.#store(first, last, this.#random.int(3) === 0 ? 0 : this.#newEntry());
    if (!this.#command.padded || first === last) return;
    using _guard = this.#externalLock?.guard();
    pad(this.#tree, first + this.#random.int(last - first));
  }

  #store(first: number, last: number, entry: number): void {
    this.#record("store", first, last, entry, () => {
      using _guard = this.#externalLock?.guard();
      this.#tree.storeRange(firstOf(first), lastOf(last), entry);
      return [];
    });
  }

  #insert(cell: number): void {
    const entry = this.#newEntry();
    this.#record("insert", cell, cell, entry, () => {
      using _guard = this.#externalLock?.guard();
      const isStored = this.#tree.insertRange(
        firstOf(cell),
        lastOf(cell),
        entry,
      );
      return [isStored ? 1 : 0];
    });
  }

  #erase(cell: number): void {
    const index = firstOf(cell) + this.#random.int(LENGTH);
    this.#record("erase", cell, cell, undefined, () => {
      using _guard = this.#externalLock?.guard();
      return [this.#tree.erase(index)];
    });
  }

  #newEntry(): number {
    return (this.#command.thread + 1) * 2 ** ENTRY_BITS + ++this.#stored;
  }

  #record(
    name: Operation["name"],
    first: number,
    last: number,
    value: number | undefined,
    operate: () => number[],
  ): void {
    const { signals, thread } = this.#command;
    const invoked = add(signals, CLOCK, 1);
    const found = operate();
    const responded = add(signals, CLOCK, 1);
    this.#history.push({
      thread,
      invoked,
      responded,
      name,
      first,
      last,
      value,
      found,
    });
  }
}
