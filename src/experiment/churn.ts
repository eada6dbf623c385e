/**
 * A tree under steady churn: readers look up, a writer stores and erases, and a compactor empties slabs under both, each in a
 * thread of its own. What is measured is what the others notice of the compactor, and what it wins.
 *
 * The same is run without the compactor and with it, each time in a new arena. This module starts no worker: it is given the
 * means to.
 *
 * @module
 */
import type { BackgroundTotals } from "../defrag/mod.ts";
import {
  Arena,
  releaseFreePages,
  type ReleaseResult,
  type SharedMemory,
} from "../memory/mod.ts";
import { RangeTree } from "../range_tree/mod.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import type { NodeCaches } from "../range_tree/node_caches.ts";
import { load, notify, store, type Words } from "../sync/atomics.ts";
import { Histogram } from "./histogram.ts";
import type { PolicyChoice } from "./policy_choice.ts";
import { Random } from "./random.ts";

/** What one worker does. */
export type ChurnRole = ChurnCommand["role"];

/** How churn is run. */
export interface ChurnOptions {
  /** How long each half is measured, in seconds. */
  readonly seconds: number;
  /** How many readers. */
  readonly readers: number;
  /** How many ranges can be stored. */
  readonly ranges: number;
  /** The share of them that is stored at a time. */
  readonly liveShare: number;
  /** The share of them that the writer changes: nodes of the others stay where they are. */
  readonly hotShare: number;
  /** Whether the second half, with the compactor, is run. */
  readonly compacts: boolean;
  /** The share of the time that the compactor may work. */
  readonly duty: number;
  /** Which slabs it empties. */
  readonly policy: PolicyChoice;
  /** What the random choices follow from. */
  readonly seed: number;
}

/** What a worker is sent. */
export type ChurnCommand = OperateCommand | CompactCommand;

/** Look up, or store and erase. */
export interface OperateCommand {
  /** What it is to do. */
  readonly role: "reader" | "writer";
  /** The arena's memory. */
  readonly memory: SharedMemory;
  /** What the workers are told through: see `SIGNAL`. */
  readonly signals: Words;
  /** Which word of the signals counts its operations. */
  readonly counter: number;
  /** How churn is run. */
  readonly options: ChurnOptions;
  /** What its own choices follow from. */
  readonly seed: number;
}

/** Compact. */
export interface CompactCommand {
  /** What it is to do. */
  readonly role: "compactor";
  /** The arena's memory. */
  readonly memory: SharedMemory;
  /** What the workers are told through: see `SIGNAL`. */
  readonly signals: Words;
  /** The share of the time that it may work. */
  readonly duty: number;
  /** Which slabs it empties. */
  readonly policy: PolicyChoice;
}

/** What a worker answers: first that it is ready, then what it did. */
export type ChurnAnswer =
  | { readonly ready: true }
  | {
    readonly ready: false;
    readonly operations: number;
    readonly wrong: number;
    readonly times: Float64Array;
    readonly compactor?: BackgroundTotals;
  };

/** A worker that runs `churn_worker.ts`. */
export interface ChurnWorker {
  /** Sends a command. */
  postMessage(command: ChurnCommand): void;
  /** Its next answer. */
  answer(): Promise<ChurnAnswer>;
  /** Ends it. */
  terminate(): void;
}

/** Words of the signals. */
export const SIGNAL = { phase: 0, longestHold: 1, counters: 2 } as const;
/** What the phase word says. */
export const PHASE = { warmUp: 0, measure: 1, stop: 2 } as const;

/** How fast somebody was. */
export interface ChurnSpeed {
  /** Operations a second, of all threads of the role together. */
  readonly perSecond: number;
  /** Half of the operations took no longer, in nanoseconds. */
  readonly p50: number;
  /** 99 of 100 took no longer. */
  readonly p99: number;
  /** 999 of 1000 took no longer. */
  readonly p999: number;
}

/** What half of the experiment gave. */
export interface ChurnHalf {
  /** How fast the readers were. */
  readonly readers: ChurnSpeed;
  /** How fast the writer was. */
  readonly writer: ChurnSpeed;
  /** Answers that were not what was stored: none, or something is broken. */
  readonly wrong: number;
  /** Ranges stored in the end. */
  readonly live: number;
  /** Slabs of nodes in the end. */
  readonly slabs: number;
  /** The fewest slabs that the nodes would fit in. */
  readonly slabsAtBest: number;
  /** Free pages in the end. */
  readonly freePages: number;
  /**
   * By how much the process's resident size has grown from before the half to its end, in bytes, its threads included; 0 where it
   * can't be read. What was free in the end has been handed back before, if it could be.
   */
  readonly residentBytes: number;
  /** What was handed back to the operating system in the end. */
  readonly released: ReleaseResult;
  /** Grace periods while it was measured. */
  readonly gracePeriods: number;
  /** What the compactor did. */
  readonly compactor?: BackgroundTotals;
}

/** What is going on, for a line that is rewritten. */
export interface ChurnStatus {
  /** Whether the half is the one with the compactor. */
  readonly compacts: boolean;
  /** What part of it. */
  readonly phase: "warming up" | "measuring";
  /** Slabs of nodes. */
  readonly slabs: number;
  /** The share of their objects that is in use. */
  readonly occupancy: number;
  /** Slabs fewer than at the start of the half. */
  readonly freedSlabs: number;
  /** Lookups a second since the last status. */
  readonly lookupsPerSecond: number;
  /** The longest time so far that a move has held the tree's lock, in nanoseconds: of every 32nd. */
  readonly longestHoldNanos: number;
}

/** What the experiment needs of its surroundings. */
export interface ChurnMeans {
  /** Starts a worker that runs `churn_worker.ts`. */
  startWorker(): ChurnWorker;
  /** Is told what is going on, several times a second. */
  onStatus(status: ChurnStatus): void;
  /** The process's resident size in bytes, 0 where it can't be read. */
  residentBytes(): number;
}

/** The entry of a range, and where it lies: ten indices, of which seven are stored, so that there are gaps. */
export const RANGE_STRIDE = 10;
export const RANGE_LENGTH = 7;

/** So much of a half is not measured: code is compiled, and the fragmentation becomes what it stays. */
const WARM_UP_SHARE = 0.3;
const STATUS_MILLIS = 200;

/** Runs both halves; the second one is absent if there is to be no compactor. */
export async function runChurn(
  options: ChurnOptions,
  means: ChurnMeans,
): Promise<{ off: ChurnHalf; on?: ChurnHalf }> {
  const first = new Half(options, false, means);
  const off = await first.run();
  if (!options.compacts) return { off };
  const on = await new Half(options, true, means).run();
  // Up to here, so that the first one's memory stays resident while the second one's is measured.
  first.end();
  return { off, on };
}

class Half {
  readonly #options: ChurnOptions;
  readonly #means: ChurnMeans;
  readonly #compacts: boolean;
  readonly #arena: Arena;
  readonly #tree: RangeTree;
  readonly #signals: Words;
  readonly #slabsAtStart: number;
  readonly #residentBefore: number;
  #lookups = 0;
  #lookedAt = performance.now();

  constructor(options: ChurnOptions, compacts: boolean, means: ChurnMeans) {
    this.#options = options;
    this.#compacts = compacts;
    this.#means = means;
    // Loads what it takes to call the kernel, which takes memory itself.
    releaseFreePages(Arena.create({ byteLength: 2 ** 20 }));
    this.#residentBefore = means.residentBytes();
    this.#arena = Arena.create({ byteLength: bytesFor(options.ranges) });
    this.#tree = RangeTree.create(this.#arena, { name: "churn", rcu: true });
    this.#fill();
    this.#slabsAtStart = this.#nodes.usage().slabs;
    const words = SIGNAL.counters + options.readers + 2;
    this.#signals = new Int32Array(new SharedArrayBuffer(4 * words));
  }

  /** Lets the arena go. */
  end(): void {
    this.#arena.leave();
  }

  async run(): Promise<ChurnHalf> {
    const { readers, seconds } = this.#options;
    const roles: ChurnRole[] = [
      ...new Array(readers).fill("reader"),
      "writer",
      ...(this.#compacts ? ["compactor" as const] : []),
    ];
    const workers = roles.map((role, i) => this.#start(role, i));
    try {
      for (const worker of workers) await worker.answer();
      await this.#watch("warming up", seconds * 1000 * WARM_UP_SHARE);
      const epoch = this.#arena.rcu.gracePeriods;
      store(this.#signals, SIGNAL.phase, PHASE.measure);
      const start = performance.now();
      await this.#watch("measuring", seconds * 1000);
      const gracePeriods = this.#arena.rcu.gracePeriods - epoch;
      store(this.#signals, SIGNAL.phase, PHASE.stop);
      notify(this.#signals, SIGNAL.phase);
      const measured = (performance.now() - start) / 1000;
      const answers: ChurnAnswer[] = [];
      for (const worker of workers) answers.push(await worker.answer());
      return this.#result(roles, answers, measured, gracePeriods);
    } finally {
      for (const worker of workers) worker.terminate();
    }
  }

  #start(role: ChurnRole, number: number): ChurnWorker {
    const worker = this.#means.startWorker();
    const shared = { memory: this.#arena.shared, signals: this.#signals };
    const options = this.#options;
    const { duty, policy } = options;
    worker.postMessage(
      role === "compactor" ? { ...shared, role, duty, policy } : {
        ...shared,
        role,
        counter: SIGNAL.counters + number,
        options,
        seed: options.seed + number,
      },
    );
    return worker;
  }

  /**
   * Stores the share that is to be live, in random order, while another tree grows beside it; then that one goes. Its nodes lay
   * between those of the first, whose slabs are half empty now.
   */
  #fill(): void {
    const { ranges, liveShare, seed } = this.#options;
    const order = Uint32Array.from({ length: ranges }, (_, i) => i);
    new Random(seed).shuffle(order);
    const other = RangeTree.create(this.#arena, { rcu: true });
    for (const i of order.subarray(0, Math.round(ranges * liveShare))) {
      storeRange(this.#tree, i);
      storeRange(other, i);
    }
    other.destroy();
    this.#arena.rcu.barrier();
  }

  async #watch(
    phase: ChurnStatus["phase"],
    millis: number,
  ): Promise<void> {
    const end = performance.now() + millis;
    for (let left = millis; left > 0; left = end - performance.now()) {
      await new Promise((resolve) =>
        setTimeout(resolve, Math.min(left, STATUS_MILLIS))
      );
      this.#means.onStatus(this.#status(phase));
    }
  }

  #status(phase: ChurnStatus["phase"]): ChurnStatus {
    const { slabs, objects } = this.#nodes.usage();
    const now = performance.now();
    let lookups = 0;
    for (let reader = 0; reader < this.#options.readers; reader++) {
      lookups += load(this.#signals, SIGNAL.counters + reader) >>> 0;
    }
    const rate = (lookups - this.#lookups) / (now - this.#lookedAt) * 1000;
    this.#lookups = lookups;
    this.#lookedAt = now;
    return {
      compacts: this.#compacts,
      phase,
      slabs,
      occupancy: objects / (slabs * this.#nodes.leaves.capacity),
      freedSlabs: this.#slabsAtStart - slabs,
      // The readers count anew when the measuring begins.
      lookupsPerSecond: Math.max(0, rate),
      longestHoldNanos: load(this.#signals, SIGNAL.longestHold),
    };
  }

  #result(
    roles: readonly ChurnRole[],
    answers: readonly ChurnAnswer[],
    seconds: number,
    gracePeriods: number,
  ): ChurnHalf {
    const of = (role: ChurnRole) =>
      answers.flatMap((answer, i) =>
        roles[i] === role && !answer.ready ? [answer] : []
      );
    const speed = (role: ChurnRole): ChurnSpeed => {
      const times = new Histogram();
      let operations = 0;
      for (const answer of of(role)) {
        times.addAll(new Histogram(answer.times));
        operations += answer.operations;
      }
      return {
        perSecond: operations / seconds,
        p50: times.percentile(0.5),
        p99: times.percentile(0.99),
        p999: times.percentile(0.999),
      };
    };
    const wrong = [...of("reader"), ...of("writer")]
      .reduce((sum, answer) => sum + answer.wrong, 0);
    // What was deferred in the last moment is no fragmentation.
    this.#arena.rcu.barrier();
    this.#nodes.shrink();
    this.#arena.rcu.barrier();
    this.#tree.validate();
    const { slabs, slabsAtBest } = this.#nodes.usage();
    const released = releaseFreePages(this.#arena);
    const residentBytes = this.#means.residentBytes() - this.#residentBefore;
    return {
      readers: speed("reader"),
      writer: speed("writer"),
      wrong,
      live: this.#tree.count,
      slabs,
      slabsAtBest,
      gracePeriods,
      freePages: this.#arena.pages.freePages,
      residentBytes,
      released,
      compactor: of("compactor")[0]?.compactor,
    };
  }

  get #nodes(): NodeCaches {
    return TreeMemory.of(this.#arena).movableNodes;
  }
}

/** Stores the range of that number. */
export function storeRange(tree: RangeTree, i: number): void {
  const first = i * RANGE_STRIDE;
  tree.storeRange(first, first + RANGE_LENGTH - 1, i + 1);
}

/** Room for all ranges twice, in nodes as full as random stores leave them, and a lot for what waits to be freed: a reader
 * that is not scheduled inside a section holds it all up. */
function bytesFor(ranges: number): number {
  return Math.ceil((ranges * 160 + 2 ** 26) / 4096) * 4096;
}
