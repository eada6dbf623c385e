/**
 * A reader of trees whose content never changes, while their nodes are moved: every answer must be the known one.
 *
 * @module
 */
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { rng } from "../seed.ts";
import { workerPort } from "../sync/workers.ts";

/** What the worker is to read. */
export interface ReadersCommand {
  buffer: SharedArrayBuffer;
  /** Word 0: whether to stop. Word `reader`: how many passes the reader made. */
  signals: Int32Array<SharedArrayBuffer>;
  reader: number;
  /** How many trees there are: `tree 0` and so on. */
  trees: number;
  /** How many entries each has: two indices of four, and the two between may be written to. */
  entries: number;
}

workerPort.onmessage = ({ data }: MessageEvent<ReadersCommand>) => {
  const { buffer, signals, reader } = data;
  const arena = Arena.attach(buffer);
  const trees = Array.from(
    { length: data.trees },
    (_, i) => RangeTree.attach(arena, `tree ${i}`),
  );
  const random = rng(reader);
  const check = (found: unknown, expected: unknown, where: string) => {
    if (found !== expected) {
      throw new Error(`Found ${found}, not ${expected}, ${where}`);
    }
  };
  const pass = () => {
    for (const [i, tree] of trees.entries()) {
      for (let lookup = 0; lookup < 60; lookup++) {
        const entry = random.int(data.entries);
        const value = 1000 * i + entry + 1;
        check(
          tree.load(entry * 4 + lookup % 2),
          value,
          `at entry ${entry} of tree ${i}`,
        );
        const found = tree.find(entry * 4, entry * 4);
        check(
          found?.first,
          entry * 4,
          `as the first index of entry ${entry} of tree ${i}`,
        );
        check(
          found?.value,
          value,
          `as the value of entry ${entry} of tree ${i}`,
        );
      }
      let entry = random.int(data.entries);
      for (const { first, value } of tree.entries(entry * 4, entry * 4 + 200)) {
        // What lies between comes and goes.
        if (first % 4 !== 0) continue;
        check(first, entry * 4, `while iterating over tree ${i}`);
        check(
          value,
          1000 * i + entry + 1,
          `at ${first} while iterating over tree ${i}`,
        );
        entry++;
      }
    }
  };
  pass();
  workerPort.postMessage("reading");
  let passes = 1;
  for (; Atomics.load(signals, 0) === 0; passes++) {
    pass();
    Atomics.add(signals, reader, 1);
    Atomics.notify(signals, reader);
  }
  pass();
  arena.leave();
  workerPort.postMessage(passes);
};
