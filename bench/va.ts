/**
 * Workload: a VA manager beside the bare tree. Every mapping is a page; each is mapped over once, with another object, in random
 * order; then each is looked up, by the same thread or another one.
 *
 * @module
 */
import { Arena, type BindOp, BindQueue, RangeTree, VaManager } from "../mod.ts";
import { changeOrder, emptyHash, fold, storeOrder } from "./keys.ts";
import type { LookupAnswer, LookupCommand } from "./va_worker.ts";
import {
  nanosEach,
  type Outcome,
  runVariant,
  type Variant,
} from "./variant.ts";
import { BenchWorker } from "./worker.ts";

const PAGE = 4096;
/** The most operations that a job has. */
const JOB = 4096;
/** Operations on one object come together. */
const OBJECT_RUN = 64;
const OBJECTS = 1024;
/** What a mapping takes with its share of nodes, twice; and what jobs set aside. */
const MAPPING_BYTES = 512;
const SPARE_BYTES = 2 ** 26;

interface Subject {
  map(page: number, object: number): void;
  objectAt(page: number): number;
  /** Where an address of the page leads. */
  translate(page: number): number;
  /** Leaves nothing of it behind. */
  destroy(): void;
}

let arena: Arena | undefined;

/** One for all that the process does: see `onlyArenaFor`. */
function arenaOf(ranges: number): Arena {
  const bytes = ranges * MAPPING_BYTES + SPARE_BYTES;
  return arena ??= Arena.create({
    byteLength: Math.ceil(bytes / PAGE) * PAGE,
  });
}

function bareTree(ranges: number): Subject {
  const tree = RangeTree.create(arenaOf(ranges), { rcu: true });
  return {
    map: (page, object) => {
      const first = page * PAGE;
      tree.storeRange(first, first + PAGE - 1, object);
    },
    objectAt: (page) => tree.load(page * PAGE),
    translate: (page) => tree.load(page * PAGE + 1) === 0 ? -1 : 1,
    destroy: () => tree.destroy(),
  };
}

function manager(ranges: number): VaManager {
  return VaManager.create(arenaOf(ranges), { range: 2 ** 47 });
}

/** By operations that are made first, and perhaps looked at by the driver before they are committed. */
function withOps(ranges: number, areRead: boolean): Subject {
  const vm = manager(ranges);
  let addresses = 0;
  return {
    map: (page, object) => {
      const ops = vm
        .mapOps({ start: page * PAGE, range: PAGE, object, offset: 0 });
      if (areRead) {
        for (const op of ops) {
          if (op.kind === "map") addresses += op.mapping.range;
          else if (op.kind === "unmap") addresses -= op.mapping.range;
        }
      }
      vm.commit(ops);
    },
    objectAt: (page) => vm.lookup(page * PAGE)!.object,
    translate: (page) => vm.translate(page * PAGE + 1),
    destroy: () => {
      // Each page was mapped twice, and unmapped once.
      if (areRead && addresses !== vm.count * PAGE) {
        throw new Error("The operations say something else than the manager");
      }
      vm.destroy();
    },
  };
}

function atOnce(ranges: number): Subject {
  const vm = manager(ranges);
  return {
    map: (page, object) => {
      vm.bind({ start: page * PAGE, range: PAGE, object, offset: 0 });
    },
    objectAt: (page) => vm.lookup(page * PAGE)!.object,
    translate: (page) => vm.translate(page * PAGE + 1),
    destroy: () => vm.destroy(),
  };
}

function objectOf(at: number): number {
  return 1 + Math.floor(at / OBJECT_RUN) % OBJECTS;
}

function measured(create: (ranges: number) => Subject): Variant {
  return (ranges, largest) => {
    const subject = create(largest);
    const order = storeOrder(ranges);
    let start = performance.now();
    for (let i = 0; i < ranges; i++) subject.map(order[i], objectOf(i));
    const fill = nanosEach(start, ranges);
    const changes = changeOrder(ranges, 0);
    start = performance.now();
    for (let i = 0; i < ranges; i++) subject.map(changes[i], objectOf(i + 7));
    const over = nanosEach(start, ranges);
    const looked = storeOrder(ranges, 1);
    let hash = emptyHash();
    start = performance.now();
    for (let i = 0; i < ranges; i++) {
      hash = fold(hash, subject.objectAt(looked[i]));
    }
    const lookup = nanosEach(start, ranges);
    start = performance.now();
    for (let i = 0; i < ranges; i++) {
      hash = fold(hash, subject.translate(looked[i]));
    }
    const translate = nanosEach(start, ranges);
    subject.destroy();
    return { hash, figures: { fill, over, lookup, translate } };
  };
}

/** The same by jobs of a bind queue. */
function jobs(ranges: number, largest: number): ReturnType<Variant> {
  const vm = manager(largest);
  const queue = new BindQueue(vm);
  const submit = (order: Int32Array, shift: number) => {
    let fastest = Infinity;
    for (let from = 0; from < ranges; from += JOB) {
      const ops = Array.from(
        order.subarray(from, from + JOB),
        (page, i): BindOp => ({
          op: "map",
          start: page * PAGE,
          range: PAGE,
          object: objectOf(from + i + shift),
        }),
      );
      const start = performance.now();
      queue.submit(ops, { sync: true });
      fastest = Math.min(fastest, nanosEach(start, ops.length));
    }
    return fastest;
  };
  submit(storeOrder(ranges), 0);
  const start = performance.now();
  const fastest = submit(changeOrder(ranges, 0), 7);
  const over = nanosEach(start, ranges);
  const looked = storeOrder(ranges, 1);
  let hash = emptyHash();
  for (let i = 0; i < ranges; i++) {
    hash = fold(hash, vm.lookup(looked[i] * PAGE)!.object);
  }
  for (let i = 0; i < ranges; i++) {
    hash = fold(hash, vm.translate(looked[i] * PAGE + 1));
  }
  vm.destroy();
  return { hash, figures: { over, fastest } };
}

/** Lookups by another thread, of pages that were mapped as those of the other variants. */
async function fromWorker(ranges: number, largest: number): Promise<Outcome> {
  const arena = arenaOf(largest);
  const vm = VaManager.create(arena, { range: 2 ** 47 });
  const map = (order: Int32Array, shift: number) => {
    for (let i = 0; i < ranges; i++) {
      const start = order[i] * PAGE, object = objectOf(i + shift);
      vm.bind({ start, range: PAGE, object, offset: 0 });
    }
  };
  map(storeOrder(ranges), 0);
  map(changeOrder(ranges, 0), 7);
  using worker = new BenchWorker("va_worker.ts");
  worker.port.postMessage(
    {
      memory: arena.shared,
      ref: vm.ref,
      ranges,
      page: PAGE,
    } satisfies LookupCommand,
  );
  const { objects, places, figures } = await worker.answer<LookupAnswer>();
  let hash = emptyHash();
  for (const object of objects) hash = fold(hash, object);
  for (const place of places) hash = fold(hash, place);
  vm.destroy();
  return { hash, figures };
}

if (import.meta.main) {
  await runVariant({
    "bare tree": measured(bareTree),
    "operations": measured((ranges) => withOps(ranges, false)),
    "operations, looked at": measured((ranges) => withOps(ranges, true)),
    "at once": measured(atOnce),
    jobs,
    "another worker": fromWorker,
  });
}
