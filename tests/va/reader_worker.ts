/**
 * A reader of a fully mapped manager, in a worker: every address must lead somewhere at every moment, and to the place that
 * belongs to it.
 *
 * @module
 */
import { Arena, VaManager } from "../../mod.ts";

/** Offsets are an address and a multiple of this. */
export const ROUND = 2 ** 30;

interface Scope {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
}

// Imported for its constant, it is no worker.
if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as Scope;
  scope.onmessage = ({ data }) => {
    const { end } = data;
    const signals: Int32Array<SharedArrayBuffer> = data.signals;
    const arena = Arena.attach(data.memory);
    const vm = VaManager.attach(arena, "vm");
    let wrong = 0, reads = 0;
    scope.postMessage("ready");
    for (let address = 0; Atomics.load(signals, 0) === 0; reads++) {
      address = (address + 40_503 * 4096 + 7) % end;
      const offset = vm.translate(address);
      const mapping = vm.lookup(address);
      if (
        offset < 0 || offset % ROUND !== address || mapping === undefined ||
        mapping.start > address || mapping.start + mapping.range <= address
      ) wrong++;
      if (reads % 1000 === 999) {
        let pages = 0;
        for (const each of vm.mappings()) pages = each.start + each.range;
        if (pages !== end) wrong++;
        Atomics.store(signals, 1, reads);
      }
    }
    arena.leave();
    scope.postMessage({ wrong, reads });
  };
}
