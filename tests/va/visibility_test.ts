import { assert, assertEquals } from "@std/assert";
import { Arena, BindQueue, Compactor, VaManager } from "../../mod.ts";
import { rng } from "../seed.ts";
import { PAGE } from "./mirror.ts";
import { ROUND } from "./reader_worker.ts";

const PAGES = 2000;

for (
  const [way, by] of [
    ["bind", "shared"],
    // What is handed on as a buffer runs nothing compiled.
    ["bind", "buffer"],
    ["commit", "shared"],
    ["queue", "shared"],
  ] as const
) {
  Deno.test(`VaManager readers in another thread never find a hole while ranges are mapped over and nodes move, ${way}, ${by}`, async () => {
    const arena = Arena.create({ byteLength: 2 ** 24 });
    const vm = VaManager.create(arena, { name: "vm", range: 2 ** 47 });
    const queue = new BindQueue(vm);
    const compactor = new Compactor(arena);
    vm.insert({ start: 0, range: PAGES * PAGE, object: 1 });
    const signals = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(new URL("./reader_worker.ts", import.meta.url), {
      type: "module",
    });
    const answer = () =>
      new Promise<{ wrong: number; reads: number }>((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
      });
    try {
      const ready = answer();
      worker.postMessage({ memory: arena[by], signals, end: PAGES * PAGE });
      await ready;
      const random = rng(1);
      let steps = 0;
      // At least so many reads beside at least so many steps.
      while (steps < 5000 || Atomics.load(signals, 1) < 5000) {
        const first = random.int(PAGES);
        const count = 1 + random.int(Math.min(40, PAGES - first));
        const request = {
          start: first * PAGE,
          range: count * PAGE,
          object: 1 + random.int(5),
          offset: first * PAGE + random.int(9) * ROUND,
        };
        if (way === "bind") vm.bind(request);
        else if (way === "commit") vm.commit(vm.mapOps(request));
        else queue.submit([{ op: "map", ...request }], { sync: true });
        if (++steps % 500 === 0) compactor.run();
      }
      const ended = answer();
      Atomics.store(signals, 0, 1);
      const { wrong, reads } = await ended;
      assertEquals(wrong, 0);
      assert(reads >= 5000);
      vm.tree.validate();
    } finally {
      worker.terminate();
    }
  });
}
