import { assertEquals, assertThrows } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { digest, points, toText } from "../range_tree/worlds.ts";
import { rng, seeds } from "../seed.ts";
import { TestWorker } from "../sync/workers.ts";
import type { CompactorCommand } from "./compactor_worker.ts";
import { bothOf } from "../range_tree/both_caches.ts";

/** So many runs that moved something are waited for: some hundredths of a second. */
const RUNS = 15;
/** Where the compactor hardly comes to run beside the writer, it is not waited for any longer. */
const MAX_ROUNDS = 2000;

const NAME =
  "RangeTree.bulkLoad(), clone(), clear() and destroy() stay right while another thread compacts";
for (const debug of [false, true]) {
  for (const gaps of [false, true]) {
    Deno.test(`${NAME}, debug ${debug}, gaps ${gaps}`, async () => {
      for (const seed of seeds(NAME)) await race(seed, debug, gaps);
    });
  }
}

async function race(
  seed: number,
  debug: boolean,
  gaps: boolean,
): Promise<void> {
  const arena = Arena.create({ byteLength: 2 ** 23, debug });
  const kept = RangeTree.create(arena, { rcu: true, gaps });
  kept.bulkLoad(points(1000, 5));
  const before = digest(kept);
  using worker = new TestWorker(
    new URL("./compactor_worker.ts", import.meta.url),
  );
  const signals = new Int32Array(new SharedArrayBuffer(8));
  const command: CompactorCommand = { buffer: arena.buffer, signals };
  worker.send(command);
  assertEquals(await worker.answer(), "compacting");
  const random = rng(seed);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (Atomics.load(signals, 1) >= RUNS) break;
    // A compactor that does not come to run inside a read section holds up what is deferred here.
    if (arena.pages.freePages < arena.pages.count / 2) arena.rcu.barrier();
    const entries = points(1 + random.int(1000), 3);
    const tree = RangeTree.create(arena, { rcu: true, gaps });
    tree.bulkLoad(entries);
    const copy = tree.clone();
    // Leaves holes, and nodes to be moved.
    for (const { first } of entries) {
      if (first % 2 === 0) tree.erase(first);
    }
    assertThrows(() => copy.bulkLoad(entries), Error, "the tree is not empty");
    copy.validate();
    assertEquals(digest(copy), toText(entries));
    copy.clear();
    copy.bulkLoad(entries);
    tree.destroy();
    copy.validate();
    assertEquals(digest(copy), toText(entries));
    copy.destroy();
  }
  Atomics.store(signals, 0, 1);
  assertEquals(await worker.answer(), "stopped");
  kept.validate();
  assertEquals(digest(kept), before);
  arena.rcu.barrier();
  const nodes = bothOf(arena);
  nodes.shrink();
  nodes.validate();
  assertEquals(nodes.stats().objects, kept.stats().nodes);
}
