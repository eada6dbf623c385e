/**
 * A worker that looks addresses of a VA manager up: by `load` of the manager's tree, by `translate` and by `lookup`, one by one and many
 * at once, by turns, each in an order of its own, so that none finds in the processor's cache what another one left there.
 *
 * @module
 */
import { Arena, VaManager } from "../mod.ts";
import { storeOrder } from "./keys.ts";
import type { Figures } from "./variant.ts";
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
  /** What each way took, in nanoseconds an address. */
  readonly figures: Figures;
  /** The objects of all pages, in the order in which they were looked up. */
  readonly objects: Float64Array;
  /** Where the second byte of each page leads, in some order. */
  readonly places: Float64Array;
}

/** One way of looking up: what it finds at some addresses. */
type LookUp = (addresses: Float64Array, found: Float64Array) => void;

/** Lookups of one kind between two of another. */
const TURN = 1024;
/** The code is compiled by the first of so many passes; the last one counts. */
const PASSES = 2;

workerPort.addEventListener("message", (event) => {
  const command = (event as MessageEvent<LookupCommand>).data;
  const arena = Arena.attach(command.memory);
  const vm = VaManager.attach(arena, command.ref);
  const ways = waysOf(vm);
  let answer: LookupAnswer | undefined;
  for (let pass = 0; pass < PASSES; pass++) answer = lookAllUp(ways, command);
  arena.leave();
  workerPort.postMessage(answer);
});

function waysOf(vm: VaManager): Record<string, LookUp> {
  const { tree } = vm;
  return {
    lookup: (at, found) => {
      for (let i = 0; i < at.length; i++) found[i] = vm.lookup(at[i])!.object;
    },
    load: (at, found) => {
      for (let i = 0; i < at.length; i++) found[i] = tree.load(at[i]);
    },
    translate: (at, found) => {
      for (let i = 0; i < at.length; i++) found[i] = vm.translate(at[i]);
    },
    loadMany: (at, found) => found.set(tree.loadMany(at)),
    translateMany: (at, found) => found.set(vm.translateMany(at)),
    lookupMany: (at, found) => {
      const mappings = vm.lookupMany(at);
      for (let i = 0; i < at.length; i++) found[i] = mappings[i]!.object;
    },
  };
}

function lookAllUp(
  ways: Record<string, LookUp>,
  { ranges, page }: LookupCommand,
): LookupAnswer {
  const entries = Object.entries(ways);
  // The second byte of each page.
  const addresses = entries.map((_, at) =>
    Float64Array.from(storeOrder(ranges, 1 + at), (number) => number * page + 1)
  );
  const found = entries.map(() => new Float64Array(ranges));
  const spent = entries.map(() => 0);
  for (let from = 0; from < ranges; from += TURN) {
    entries.forEach(([, lookUp], at) => {
      const some = addresses[at].subarray(from, from + TURN);
      const start = performance.now();
      lookUp(some, found[at].subarray(from, from + TURN));
      spent[at] += performance.now() - start;
    });
  }
  const of = Object.fromEntries(entries.map(([name], at) => [name, found[at]]));
  mustAgree(of.load, of.loadMany);
  mustAgree(of.translate, of.translateMany);
  mustAgree(of.lookup, of.lookupMany);
  return {
    figures: Object.fromEntries(
      entries.map(([name], at) => [name, spent[at] * 1e6 / ranges]),
    ),
    objects: of.lookup,
    places: of.translate,
  };
}

/** The same pages were looked up in another order. */
function mustAgree(one: Float64Array, other: Float64Array): void {
  const sum = (found: Float64Array) => found.reduce((sum, each) => sum + each);
  if (sum(one) === sum(other)) return;
  throw new Error("Cannot go on: two ways to look up do not agree");
}
