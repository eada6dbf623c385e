/**
 * Workload: how long a worker that is running takes to attach to an arena and a tree in it: with code that it has never run,
 * and once more.
 *
 * @module
 */
import { type Arena, RangeTree } from "../mod.ts";
import { sendArena } from "../src/worker/mod.ts";
import type { AgainAnswer, AttachAnswer } from "./attach_worker.ts";
import { emptyHash, fold, GAPPED, storeOrder } from "./keys.ts";
import { arenaFor, storeAll } from "./trees.ts";
import { medianOf, type Outcome, runVariant } from "./variant.ts";
import { BenchWorker } from "./worker.ts";

const WORKERS = 8;
const NAME = "attached";

async function attach(ranges: number): Promise<Outcome> {
  const arena = arenaFor(ranges);
  const tree = RangeTree.create(arena, { name: NAME, rcu: true });
  storeAll(tree, storeOrder(ranges), GAPPED);
  const attached: number[] = [], joined: number[] = [], again: number[] = [];
  let hash = emptyHash();
  for (let i = 0; i < WORKERS; i++) {
    const { answer, millis, againMillis } = await startAndAttach(arena);
    attached.push(answer.attachMillis);
    joined.push(millis);
    again.push(againMillis);
    hash = fold(hash, answer.value);
  }
  return {
    hash,
    figures: {
      attachMillis: medianOf(attached),
      attachMillisMax: Math.max(...attached),
      againMillis: medianOf(again),
      joinMillis: medianOf(joined),
      joinMillisMax: Math.max(...joined),
    },
  };
}

/** Starts a worker, and when it runs, sends it the arena; how long that takes until it answers with what it has loaded. */
async function startAndAttach(
  arena: Arena,
): Promise<{ answer: AttachAnswer; millis: number; againMillis: number }> {
  using worker = new BenchWorker("attach_worker.ts");
  await worker.answer();
  const start = performance.now();
  sendArena(worker.port, arena, NAME);
  const answer = await worker.answer<AttachAnswer>();
  const millis = performance.now() - start;
  const { attachMillis } = await worker.answer<AgainAnswer>();
  return { answer, millis, againMillis: attachMillis };
}

if (import.meta.main) await runVariant({ attach });
