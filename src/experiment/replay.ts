/**
 * The scenario *replay*: many copies of recorded programs run at once, some end, and what they leave behind is compacted.
 *
 * 1. Each trace is replayed N times, each time as a family of processes of its own; all families share one arena, and their
 *    events interleave in a seeded random order, each order being as likely as any other.
 * 2. Each family stops half-way through its trace.
 * 3. A seeded share of the processes that are alive then ends. Their trees go, and since the nodes of different trees lie side
 *    by side in every slab, nearly every slab stays, partly empty.
 * 4. The arena is measured, compacted, and measured again; a digest of all trees is taken before and after.
 * 5. On demand, the processes that are left go on to the end of their traces, in trees whose nodes were moved.
 *
 * @module
 */
import {
  type CompactionPolicy,
  type CompactionResult,
  Compactor,
} from "../defrag/mod.ts";
import { Arena } from "../memory/mod.ts";
import { type LockMode, RangeTree } from "../range_tree/mod.ts";
import { Replayer, type Trace } from "../trace/mod.ts";
import { digestTrees } from "./digest.ts";
import { measure, type MemoryPicture } from "./measure.ts";
import { Random } from "./random.ts";
import { arenaBytesFor, ScenarioSizeError, surveyTrace } from "./sizing.ts";

/** The order of the events of all families is an array of so many at most, 1 GiB. */
const EVENTS_MAX = 2 ** 28;

/** A trace and what to call it. */
export interface Recording {
  /** What it is called in reports. */
  readonly name: string;
  /** The trace. */
  readonly trace: Trace;
}

/** How a {@linkcode ReplayScenario} goes. */
export interface ReplayScenarioOptions {
  /** How many families of processes replay each trace. */
  readonly copies: number;
  /** The share of the processes alive half-way that ends there, 0 to 1. */
  readonly exitShare: number;
  /** What the order of the events and the choice of the processes follow from. */
  readonly seed: number;
  /** Who guards the writers of the trees. */
  readonly lock: LockMode;
  /**
   * Which slabs are emptied.
   *
   * @default {policies.greedy}
   */
  readonly policy?: CompactionPolicy;
  /**
   * Whether {@linkcode ReplayScenario.finish} will be called: then there is room for it, and the last maps of processes that
   * ended are kept.
   *
   * @default {false}
   */
  readonly toTheEnd?: boolean;
}

/** What happened. */
export interface ReplayScenarioResult {
  /** Pages that the arena has for slabs. */
  readonly pages: number;
  /** Processes that the traces tell of, each trace taken once. */
  readonly processes: number;
  /** Events replayed, in all families. */
  readonly events: number;
  /** Processes that were alive half-way, in all families. */
  readonly alive: number;
  /** Of these, how many were ended. */
  readonly ended: number;
  /** Range trees that were left. */
  readonly trees: number;
  /** Mappings in them. */
  readonly mappings: number;
  /** The memory before the compaction. */
  readonly before: MemoryPicture;
  /** What the compaction did. */
  readonly compaction: CompactionResult;
  /** The memory after it. */
  readonly after: MemoryPicture;
  /** The digests of all trees: equal if the compaction changed nothing for readers. */
  readonly digest: { readonly before: string; readonly after: string };
}

/**
 * One run of the scenario that stands at the top of this file.
 *
 * - Equal recordings and options give equal results, but for the times.
 * - The arena is as large as the families need at their peaks together, and hardly larger.
 *
 * @example Two copies of a trace, one of which ends
 * ```ts
 * import { ReplayScenario } from "./replay.ts";
 * import { readTrace } from "../trace/mod.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const line = "mmap(NULL, 5000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000";
 * const scenario = new ReplayScenario(
 *   [{ name: "one map", trace: readTrace(line) }],
 *   { copies: 2, exitShare: 0.5, seed: 1, lock: "internal" },
 * );
 * const { alive, ended, digest } = scenario.run();
 * assertEquals([alive, ended], [2, 1]);
 * assertEquals(digest.before, digest.after);
 * ```
 */
export class ReplayScenario {
  /** Where the trees live. */
  readonly arena: Arena;
  readonly #options: ReplayScenarioOptions;
  readonly #random: Random;
  readonly #families: Replayer<RangeTree>[];
  readonly #processes: number;

  /**
   * Finds out by a dry run how much memory is needed, and makes the arena and the families.
   *
   * @throws {ScenarioSizeError} If there are more events, or more memory is needed, than can be had.
   * @throws {OutOfMemoryError} If a single family needs more than a dry run has.
   */
  constructor(
    recordings: readonly Recording[],
    options: ReplayScenarioOptions,
  ) {
    const { copies, seed, lock, toTheEnd = false } = options;
    const events = recordings.reduce(
      (sum, { trace }) => sum + copies * trace.events.length,
      0,
    );
    if (events > EVENTS_MAX) {
      throw new ScenarioSizeError(
        `Cannot replay ${copies} copies: they have ${events} events, at most ${EVENTS_MAX} can be interleaved`,
      );
    }
    const surveys = recordings.map(({ trace }) =>
      surveyTrace(trace, toTheEnd ? trace.events.length : halfOf(trace))
    );
    const arena = this.arena = Arena.create({
      byteLength: arenaBytesFor(surveys, copies),
    });
    this.#options = options;
    this.#random = new Random(seed);
    this.#processes = surveys.reduce(
      (sum, { processes }) => sum + processes,
      0,
    );
    this.#families = recordings.flatMap(({ trace }) =>
      Array.from({ length: copies }, () =>
        new Replayer(trace, {
          createTree: () => RangeTree.create(arena, { rcu: true, lock }),
          keepEnded: toTheEnd,
        }))
    );
  }

  /**
   * Runs the scenario up to the compaction and measures. Once.
   *
   * @throws {OutOfMemoryError} If the arena turns out too small.
   */
  run(): ReplayScenarioResult {
    const events = this.#replay(({ trace }) => halfOf(trace));
    const { alive, ended } = this.#endShare();
    const trees = this.#trees();
    const compactor = new Compactor(this.arena, {
      policy: this.#options.policy,
    });
    // Frees what is deferred, so that only fragmentation is measured.
    compactor.plan();
    const before = measure(this.arena);
    const digestBefore = digestTrees(trees);
    const compaction = compactor.run();
    return {
      pages: this.arena.pages.count,
      processes: this.#processes,
      events,
      alive,
      ended,
      trees: trees.length,
      mappings: trees.reduce((sum, tree) => sum + tree.count, 0),
      before,
      compaction,
      after: measure(this.arena),
      digest: { before: digestBefore, after: digestTrees(trees) },
    };
  }

  /** Replays what is left of the traces. The last maps of all processes can then be had. */
  finish(): void {
    this.#replay(({ trace }) => trace.events.length);
  }

  /** The maps of all address spaces, family by family, in the form that `Replayer.maps` gives them. */
  maps(): string {
    return this.#families.map((family) => family.maps()).join("");
  }

  #trees(): RangeTree[] {
    return this.#families.flatMap((family) => family.trees());
  }

  /** Replays each family up to a place in its trace, in random order; returns how many events that were. */
  #replay(until: (family: Replayer<RangeTree>) => number): number {
    const left = this.#families.map((family) =>
      until(family) - family.position
    );
    const events = left.reduce((sum, count) => sum + count, 0);
    const turns = new Uint32Array(events);
    let at = 0;
    left.forEach((count, family) => turns.fill(family, at, at += count));
    this.#random.shuffle(turns);
    for (const family of turns) this.#families[family].step();
    return events;
  }

  /** Ends a share of the processes that are alive. */
  #endShare(): { alive: number; ended: number } {
    const alive = this.#families.flatMap((family) =>
      family.processes().map(({ pid }) => ({ family, pid }))
    );
    this.#random.shuffle(alive);
    const ended = alive.slice(
      0,
      Math.round(alive.length * this.#options.exitShare),
    );
    for (const { family, pid } of ended) family.end(pid);
    return { alive: alive.length, ended: ended.length };
  }
}

function halfOf(trace: Trace): number {
  return Math.ceil(trace.events.length / 2);
}
