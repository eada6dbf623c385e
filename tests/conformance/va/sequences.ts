/**
 * Replays recorded sequences of bind jobs, by both strategies of a bind queue.
 *
 * @module
 */
import { BindQueue, VaError } from "../../../mod.ts";
import type { BindOp } from "../../../src/va/mod.ts";
import {
  Objects,
  type RecordedOp,
  type RecordedSequence,
  recordedText,
  toAddress,
} from "./cases.ts";
import { expectSame, spanText, stateText } from "./compare.ts";
import type { World } from "./world.ts";

const KINDS: Readonly<Record<string, string>> = {
  map_sparse: "sparseMap",
  unmap_sparse: "sparseUnmap",
};

/** Replays a sequence; throws where it departs from the record. */
export function replaySequence(
  world: World,
  recorded: RecordedSequence,
  strategy: "submit" | "run",
): void {
  const vm = world.manager(recorded.vm);
  const objects = new Objects();
  const sizes = new Map<number, number>();
  for (const [name, size] of Object.entries(recorded.bos)) {
    sizes.set(objects.id(name), Number(size));
  }
  const queue = new BindQueue(vm, {
    objectSize: (object) => sizes.get(object),
    strategy,
  });
  try {
    for (const [i, step] of recorded.steps.entries()) {
      const ops = step.ops.map((op) => bindOp(op, objects));
      let error: string | null = null;
      try {
        const job = queue.submit(ops, { sync: true });
        if (job.error !== undefined) throw job.error;
      } catch (thrown) {
        if (!(thrown instanceof VaError)) throw thrown;
        error = thrown.code;
      }
      world.step();
      expectSame(`error of step ${i}`, step.expected_error, error);
      const { vas, regions } = step.expected_state;
      expectSame(
        `state after step ${i}`,
        vas.map((va) => recordedText(va, objects)).join("; "),
        stateText(vm),
      );
      expectSame(
        `regions after step ${i}`,
        regions.map((region) =>
          spanText({
            start: toAddress(region.start),
            range: toAddress(region.end) - toAddress(region.start),
          })
        ).join("; "),
        [...vm.regions()].map(spanText).join("; "),
      );
      vm.tree.validate();
    }
  } finally {
    queue.trim();
    vm.destroy();
  }
}

function bindOp(recorded: RecordedOp, objects: Objects): BindOp {
  const { op, start = "0x0", end = "0x0", obj, offset = "0x0" } = recorded;
  const span = {
    op: KINDS[op] ?? op,
    start: toAddress(start),
    range: toAddress(end) - toAddress(start),
  };
  return (op === "map"
    ? { ...span, object: objects.id(obj), offset: toAddress(offset) }
    : span) as BindOp;
}
