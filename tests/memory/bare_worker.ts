/**
 * A worker that knows of arenas only, and reaps.
 *
 * @module
 */
import { Arena } from "../../src/memory/mod.ts";
import { workerPort } from "../sync/workers.ts";

workerPort.onmessage = ({ data }: MessageEvent) => {
  const arena = Arena.attach(data.buffer);
  let answer = "reaped";
  try {
    arena.reap(data.gone);
  } catch (error) {
    answer = (error as Error).message;
  }
  arena.leave();
  workerPort.postMessage(answer);
};
