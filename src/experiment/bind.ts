/**
 * A bind queue under load while a compactor empties slabs beneath it, for each way of guarding the VA tree. What is measured is
 * how fast it binds, what a job notices of the compactor, and what the compactor wins.
 *
 * The load is what GPU drivers see: tiles of 64 KiB of a sparse texture that come and go, pieces cut out of big buffers, and
 * buffers mapped over what is left of them. It is about a part of the addresses; the rest is mapped and stays. (Where every node
 * is replaced again and again the slabs run dry by themselves, since new nodes go into the fullest.) It follows from the seed alone, so in the end every run must hold the same.
 *
 * This module starts no worker: it is given the means to.
 *
 * @module
 */
import { Arena } from "../memory/mod.ts";
import { ExternalLock } from "../range_tree/mod.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import { notify, store } from "../sync/atomics.ts";
import { type BindOp, BindQueue, VaManager } from "../va/mod.ts";
import { type ChurnWorker, PHASE, SIGNAL } from "./churn.ts";
import { Histogram } from "./histogram.ts";
import type { PolicyChoice } from "./policy_choice.ts";
import { Random } from "./random.ts";

/** Who guards the VA tree. */
export type BindLock =
  /** The tree's own lock, inside the driver's. */
  | "internal"
  /** The driver's lock, which the mover knows. */
  | "registered"
  /** The driver's lock, which the mover does not know. */
  | "external"
  /** Nobody: there is one writer. */
  | "none";

/** All ways, in the order in which they are run. */
export const BIND_LOCKS: readonly BindLock[] = [
  "internal",
  "registered",
  "external",
  "none",
];

/** How the experiment is run. */
export interface BindExperimentOptions {
  /** How many jobs are measured. */
  readonly jobs: number;
  /** Operations a job. */
  readonly ops: number;
  /** Tiles of the sparse texture, and as many of big buffers. */
  readonly tiles: number;
  /** The share of them that jobs are about. The others stay as they are, and with them the slabs that their nodes lie in. */
  readonly hotShare: number;
  /** The share of the time that the compactor may work. */
  readonly duty: number;
  /** What the random choices follow from. */
  readonly seed: number;
}

/** What one run gave. */
export interface BindRun {
  /** Who guarded the tree. */
  readonly lock: BindLock;
  /** Whether a compactor was at work. */
  readonly compacts: boolean;
  /** Operations a second of the time that jobs took. */
  readonly opsPerSecond: number;
  /** The median of the time of a job, in nanoseconds. */
  readonly p50: number;
  /** The 99th percentile of it. */
  readonly p99: number;
  /** Mappings in the end. */
  readonly mappings: number;
  /** A hash of all of them: the same in every run. */
  readonly digest: number;
  /** Slabs of nodes before the first job. */
  readonly slabsBefore: number;
  /** Slabs of nodes in the end. */
  readonly slabs: number;
  /** The fewest slabs that the nodes would fit in. */
  readonly slabsAtBest: number;
  /** Slabs that the compactor gave back. */
  readonly freedSlabs: number;
  /** Nodes that it moved. */
  readonly moves: number;
  /** Nodes that somebody was working on each time. */
  readonly busy: number;
  /** Nodes that nothing can be locked for, each time that they were met. */
  readonly pinned: number;
}

/** What the experiment needs of its surroundings. */
export interface BindMeans {
  /** Starts a worker that runs `churn_worker.ts`. */
  startWorker(): ChurnWorker;
}

const TILE = 2 ** 16;
const BUFFER_TILES = 32;
/** Where the big buffers begin. */
const BUFFERS = 2 ** 40;
/** A share of the jobs that is not measured: code is compiled. */
const WARM_UP_SHARE = 0.2;

/** Runs the load for every way of guarding the tree, without a compactor and with one. */
export async function runBind(
  options: BindExperimentOptions,
  means: BindMeans,
): Promise<BindRun[]> {
  const runs: BindRun[] = [];
  // Compiles the code, so that the first run is not slower than the others.
  await runOne("internal", false, options, means);
  for (const lock of BIND_LOCKS) {
    for (const compacts of [false, true]) {
      runs.push(await runOne(lock, compacts, options, means));
    }
  }
  return runs;
}

async function runOne(
  lock: BindLock,
  compacts: boolean,
  options: BindExperimentOptions,
  means: BindMeans,
): Promise<BindRun> {
  const worker = compacts ? means.startWorker() : undefined;
  try {
    return await measured(lock, worker, options);
  } finally {
    worker?.terminate();
  }
}

async function measured(
  lock: BindLock,
  worker: ChurnWorker | undefined,
  options: BindExperimentOptions,
): Promise<BindRun> {
  const { jobs, seed } = options;
  const arena = Arena.create({ byteLength: bytesFor(options) });
  const { vm, queue, guard } = fragmented(arena, lock, options);
  const slabsBefore = settled(arena).slabs;
  const random = new Random(seed);
  const run = (count: number, times: Histogram) =>
    execute(
      queue,
      count,
      () => jobOf(random, options, options.hotShare),
      times,
    );
  const signals = new Int32Array(new SharedArrayBuffer(64));
  const { shared: memory } = arena;
  const { duty } = options;
  const policy: PolicyChoice = { name: "greedy", order: 0, seed };
  worker?.postMessage({ role: "compactor", memory, signals, duty, policy });
  await worker?.answer();
  run(Math.ceil(jobs * WARM_UP_SHARE), new Histogram());
  store(signals, SIGNAL.phase, PHASE.measure);
  notify(signals, SIGNAL.phase);
  const times = new Histogram();
  const seconds = run(jobs, times);
  store(signals, SIGNAL.phase, PHASE.stop);
  notify(signals, SIGNAL.phase);
  const answer = await worker?.answer();
  const totals = answer?.ready === false ? answer.compactor : undefined;
  queue.trim();
  guard.lock();
  vm.tree.validate();
  guard.unlock();
  const { slabs, slabsAtBest } = settled(arena);
  return {
    lock,
    compacts: worker !== undefined,
    opsPerSecond: jobs * options.ops / seconds,
    p50: times.percentile(0.5),
    p99: times.percentile(0.99),
    mappings: vm.count,
    digest: digestOf(vm),
    slabsBefore,
    slabs,
    slabsAtBest,
    freedSlabs: totals?.freedSlabs ?? 0,
    moves: totals?.moves ?? 0,
    busy: totals?.busy ?? 0,
    pinned: totals?.pinned ?? 0,
  };
}

/** Executes so many jobs; returns how long that took, in seconds, without making them up. */
function execute(
  queue: BindQueue,
  count: number,
  makeUp: () => BindOp[],
  times: Histogram,
): number {
  let nanos = 0;
  for (let i = 0; i < count; i++) {
    const ops = makeUp();
    const start = performance.now();
    queue.submit(ops, { sync: true });
    const taken = (performance.now() - start) * 1e6;
    times.add(taken);
    nanos += taken;
  }
  return nanos / 1e9;
}

/**
 * A manager full of mappings whose nodes' slabs are half empty: another one grew beside it, and went. The driver's lock is
 * taken around every set of operations, as a driver would.
 */
function fragmented(
  arena: Arena,
  lock: BindLock,
  options: BindExperimentOptions,
): { vm: VaManager; queue: BindQueue; guard: ExternalLock } {
  const guard = ExternalLock.create(arena);
  const create = () => {
    const vm = VaManager.create(arena, {
      range: 2 ** 47,
      lock: lock === "registered" ? "external" : lock,
      externalLock: lock === "registered" ? guard : undefined,
    });
    return { vm, queue: new BindQueue(vm, { mutex: guard }) };
  };
  const [kept, other] = [create(), create()];
  const random = new Random(options.seed + 1);
  const sparse: BindOp = {
    op: "sparseMap",
    start: 0,
    range: options.tiles * TILE,
  };
  for (const { queue } of [kept, other]) queue.submit([sparse], { sync: true });
  const tiles = 2 * options.tiles;
  for (let done = 0; done < tiles; done += options.ops) {
    const ops = jobOf(random, options, 1);
    for (const { queue } of [kept, other]) queue.submit(ops, { sync: true });
  }
  other.queue.trim();
  guard.lock();
  other.vm.destroy();
  guard.unlock();
  kept.queue.trim();
  return { ...kept, guard };
}

/** The operations of a job, about the first tiles: that share of all. */
function jobOf(
  random: Random,
  options: BindExperimentOptions,
  share: number,
): BindOp[] {
  const tiles = Math.max(1, Math.round(options.tiles * share));
  const buffers = Math.max(1, Math.floor(tiles / BUFFER_TILES));
  return Array.from({ length: options.ops }, (): BindOp => {
    const kind = random.below(100);
    const tile = random.below(tiles);
    const object = 1 + random.below(64);
    if (kind < 55) {
      const offset = random.below(1024) * TILE;
      return { op: "map", start: tile * TILE, range: TILE, object, offset };
    }
    if (kind < 75) return { op: "unmap", start: tile * TILE, range: TILE };
    if (kind < 97) {
      // Now and then more than a tile, across a buffer's end.
      const range = (1 + random.below(8) * random.below(2)) * TILE;
      return { op: "unmap", start: BUFFERS + tile * TILE, range };
    }
    const start = BUFFERS + random.below(buffers) * BUFFER_TILES * TILE;
    return { op: "map", start, range: BUFFER_TILES * TILE, object, offset: 0 };
  });
}

/**
 * The slabs of nodes, and the fewest that would do, once all that is deferred was freed, and empty slabs have gone back: what is
 * left is fragmentation.
 */
function settled(arena: Arena): { slabs: number; slabsAtBest: number } {
  const { movableNodes, pinnedNodes } = TreeMemory.of(arena);
  arena.rcu.barrier();
  for (const nodes of [movableNodes, pinnedNodes]) nodes.shrink();
  arena.rcu.barrier();
  const movable = movableNodes.usage(), pinned = pinnedNodes.usage();
  return {
    slabs: movable.slabs + pinned.slabs,
    slabsAtBest: movable.slabsAtBest + pinned.slabsAtBest,
  };
}

/** FNV-1a over all that every mapping says. */
function digestOf(vm: VaManager): number {
  let hash = 0x811c9dc5 | 0;
  for (const { start, range, object, offset } of vm.mappings()) {
    for (const word of [start / TILE, range / TILE, object, offset / TILE]) {
      hash = Math.imul(hash ^ word, 0x01000193);
    }
  }
  return hash >>> 0;
}

/** Room for two managers, and for what a job sets aside. */
function bytesFor({ tiles, ops }: BindExperimentOptions): number {
  const bytes = 2 ** 24 + tiles * 2 * 512 + ops * 16_384;
  return Math.ceil(bytes / 2 ** 20) * 2 ** 20;
}
