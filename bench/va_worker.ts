/**
 * A worker that looks addresses of a VA manager up: by `load` of the manager's tree, by `translate` and by `lookup`, by turns, each
 * in an order of its own, so that none finds in the processor's cache what another one left there.
 *
 * @module
 */
import { Arena, VaManager } from "../mod.ts";
import { storeOrder } from "./keys.ts";
import { workerPort } from "./worker.ts";

/** What the worker is to do. */
export interface LookupCommand {
  /** The memory of the arena. */
  readonly memory: Arena["shared"];
  /** The ref of the manager. */
  readonly ref: number;
  /** How many pages are mapped. */
  readonly ranges: number;
  /** Bytes of a page. */
  readonly page: number;
}

/** What it found. */
export interface LookupAnswer {
  /** What each way took, in nanoseconds. */
  readonly load: number;
  readonly translate: number;
  readonly lookup: number;
  /** The objects of all pages, in the order in which they were looked up. */
  readonly objects: Uint32Array;
  /** Where the second byte of each page leads. */
  readonly places: Float64Array;
}

/** Lookups of one kind between two of another. */
const TURN = 1024;
/** The code is compiled by the first of so many passes; the last one counts. */
const PASSES = 2;

workerPort.addEventListener("message", (event) => {
  const command = (event as MessageEvent<LookupCommand>).data;
  const arena = Arena.attach(command.memory);
  const vm = VaManager.attach(arena, command.ref);
  let answer: LookupAnswer | undefined;
  for (let pass = 0; pass < PASSES; pass++) answer = lookAllUp(vm, command);
  arena.leave();
  workerPort.postMessage(answer);
});

function lookAllUp(
  vm: VaManager,
  { ranges, page }: LookupCommand,
): LookupAnswer {
  const { tree } = vm;
  const orders = [2, 3, 1].map((repetition) => storeOrder(ranges, repetition));
  const refs = new Uint32Array(ranges);
  const places = new Float64Array(ranges);
  const objects = new Uint32Array(ranges);
  const spent = [0, 0, 0];
  for (let from = 0; from < ranges; from += TURN) {
    const to = Math.min(from + TURN, ranges);
    let start = performance.now();
    for (let i = from; i < to; i++) refs[i] = tree.load(orders[0][i] * page);
    spent[0] += performance.now() - start;
    start = performance.now();
    for (let i = from; i < to; i++) {
      places[i] = vm.translate(orders[1][i] * page + 1);
    }
    spent[1] += performance.now() - start;
    start = performance.now();
    for (let i = from; i < to; i++) {
      objects[i] = vm.lookup(orders[2][i] * page)!.object;
    }
    spent[2] += performance.now() - start;
  }
  if (refs.includes(0)) throw new Error("Cannot find a page that is mapped");
  const [load, translate, lookup] = spent.map((millis) =>
    millis * 1e6 / ranges
  );
  return { load, translate, lookup, objects, places };
}
