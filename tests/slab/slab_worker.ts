import { Arena } from "../../src/memory/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { rng } from "../seed.ts";
import { workerPort } from "../sync/workers.ts";

/** What the worker is to do: allocate, check and free objects of some caches, with a share deferred. */
export interface SlabWorkerCommand {
  /** The arena. */
  buffer: SharedArrayBuffer;
  /** Bytes of the objects of each cache. */
  sizes: number[];
  /** The worker begins when the first word of this is not 0. */
  gate: SharedArrayBuffer;
  /** The seed of its choices. */
  seed: number;
  /** How many choices it makes. */
  steps: number;
}

workerPort.onmessage = ({ data: command }: MessageEvent<SlabWorkerCommand>) => {
  const arena = Arena.attach(command.buffer);
  const slabs = Slabs.of(arena);
  const caches = command.sizes.map((objectBytes) =>
    slabs.cache({ name: `objects of ${objectBytes}`, objectBytes, link: 0 })
  );
  const random = rng(command.seed);
  const live: { ref: number; cache: number; tag: number }[] = [];
  const release = (at: number) => {
    const [{ ref, cache, tag }] = live.splice(at, 1);
    const words = arena.words.subarray(
      ref * 16,
      ref * 16 + command.sizes[cache] / 4,
    );
    if (!words.every((word) => word === tag)) {
      throw new Error(`object ${ref} was overwritten`);
    }
    if (random.int(2) === 0) caches[cache].free(ref);
    else caches[cache].defer(ref);
    arena.rcu.poll();
  };
  workerPort.postMessage("waits");
  Atomics.wait(new Int32Array(command.gate), 0, 0);
  for (let step = 0; step < command.steps; step++) {
    if (random.int(200) < 100 && live.length < 300) {
      const cache = random.int(caches.length);
      const ref = caches[cache].allocate();
      const tag = (arena.thread << 24) | step;
      arena.words.fill(tag, ref * 16, ref * 16 + command.sizes[cache] / 4);
      live.push({ ref, cache, tag });
    } else if (live.length > 0) {
      release(random.int(live.length));
    }
    if (random.int(500) === 0) arena.rcu.barrier();
    if (random.int(100) === 0) caches[random.int(caches.length)].shrink();
  }
  while (live.length > 0) release(0);
  arena.leave();
  workerPort.postMessage("left");
};
