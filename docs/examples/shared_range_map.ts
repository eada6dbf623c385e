/**
 * A range map that two workers read without a lock while this thread writes it and a third worker compacts the memory under
 * it. Run it: `deno run --allow-read docs/examples/shared_range_map.ts`. Its workers run this same file.
 *
 * @module
 */
import { Arena, RangeTree } from "@pollard/pollard";
import {
  compactorTotals,
  joinArena,
  runCompactorWorker,
  sendArena,
  stopWorker,
} from "@pollard/pollard/worker";

const RANGES = 20_000;

/** Range `i` lies at `i * 10`, and whatever is stored there is `i + 1` or nothing. */
async function reader(): Promise<void> {
  const { arena, signal, port } = await joinArena();
  const tree = RangeTree.attach(arena, "vm");
  let lookups = 0, wrong = 0;
  while (!signal.aborted) {
    for (let i = 0; i < 1000; i++, lookups++) {
      const index = Math.floor(Math.random() * RANGES);
      const value = tree.load(index * 10 + 3);
      if (value !== 0 && value !== index + 1) wrong++;
    }
    await new Promise((resolve) => setTimeout(resolve)); // lets the request to stop in
  }
  arena.leave();
  port.postMessage({ lookups, wrong });
}

async function main(): Promise<void> {
  const arena = Arena.create({ byteLength: 64 * 2 ** 20 });
  const tree = RangeTree.create(arena, { name: "vm", rcu: true });
  const start = (role: string) =>
    new Worker(import.meta.url, { type: "module", name: role });
  const readers = [start("reader"), start("reader")];
  const compactor = start("compactor");
  for (const worker of [...readers, compactor]) sendArena(worker, arena);

  const end = performance.now() + 1000;
  while (performance.now() < end) {
    for (let i = 0; i < RANGES; i++) tree.storeRange(i * 10, i * 10 + 6, i + 1);
    for (let i = 0; i < RANGES; i++) if (i % 20 !== 0) tree.erase(i * 10);
    await new Promise((resolve) => setTimeout(resolve));
  }
  const { freedSlabs, moves } = await compactorTotals(compactor);
  console.log(`compactor: freed ${freedSlabs} slabs with ${moves} moves`);
  for (const worker of readers) {
    const answer = new Promise<MessageEvent>((resolve) =>
      worker.onmessage = resolve
    );
    stopWorker(worker);
    const { lookups, wrong } = (await answer).data;
    console.log(`reader: ${lookups} lookups, ${wrong} wrong`);
  }
  for (const worker of [...readers, compactor]) worker.terminate();
  tree.validate();
}

if (self.name === "reader") await reader();
else if (self.name === "compactor") await runCompactorWorker();
else await main();
