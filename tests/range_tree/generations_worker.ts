/**
 * A reader of a range that is overwritten as a whole, again and again, by entries that go up. If a store is visible all at
 * once, then nobody who has seen an entry anywhere in the range sees an older one later, wherever it looks.
 *
 * @module
 */
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { rng } from "../seed.ts";
import { workerPort } from "../sync/workers.ts";

/** What the worker is to read. */
export interface GenerationsCommand {
  buffer: SharedArrayBuffer;
  /** Word 0: whether to stop. Word `reader`: how many passes the reader made. */
  signals: Int32Array<SharedArrayBuffer>;
  reader: number;
  /** The range that is overwritten. */
  first: number;
  last: number;
}

const LOOKUPS = 200;

workerPort.onmessage = ({ data }: MessageEvent<GenerationsCommand>) => {
  const { buffer, signals, reader, first, last } = data;
  const arena = Arena.attach(buffer);
  const tree = RangeTree.attach(arena, "generations");
  const random = rng(reader);
  let newest = 0, generations = 0;
  const see = (value: number, where: string) => {
    if (value < newest) {
      throw new Error(`Saw ${value} ${where} after ${newest}`);
    }
    if (value > newest) generations++;
    newest = value;
  };
  const pass = () => {
    for (let lookup = 0; lookup < LOOKUPS; lookup++) {
      const index = first + random.int(last - first + 1);
      see(tree.load(index), `at ${index}`);
    }
    // The ends, where what is stored first and last lies.
    see(tree.load(first), "at the first index");
    see(tree.load(last), "at the last index");
    see(tree.load(first), "at the first index");
    if (
      tree.load(first - 1) !== 0xffff_fffe ||
      tree.load(last + 1) !== 0xffff_fffe
    ) {
      throw new Error("Saw a change beside the range");
    }
    const from = first + random.int(last - first + 1);
    const entry = tree.find(from)!;
    if (entry.first > from || entry.last < from) {
      throw new Error(`Saw a gap at ${from}`);
    }
  };
  pass();
  workerPort.postMessage("reading");
  while (Atomics.load(signals, 0) === 0) {
    pass();
    Atomics.add(signals, reader, 1);
    Atomics.notify(signals, reader);
  }
  pass();
  arena.leave();
  workerPort.postMessage({ newest, generations });
};
