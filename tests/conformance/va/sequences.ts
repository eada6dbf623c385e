import type { RecordedSequence } from "./cases.ts";
import type { World } from "./world.ts";
export function replaySequence(
  _w: World,
  _s: RecordedSequence,
  _a: string,
): void {
  throw new Error("todo");
}
