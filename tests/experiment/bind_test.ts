import { assertEquals, assertRejects } from "@std/assert";
import { type ChurnWorker, runBind } from "../../src/experiment/mod.ts";

const SMALL = { jobs: 1, ops: 16, tiles: 64, duty: 0.5, seed: 1 };

Deno.test("runBind() ends its worker when it fails", async () => {
  const ends: string[] = [];
  const failing: ChurnWorker = {
    postMessage: ({ role }) => void ends.push(role),
    answer: () => Promise.reject(new Error("A worker failed")),
    terminate: () => void ends.push("terminated"),
  };
  await assertRejects(
    () => runBind(SMALL, { startWorker: () => failing }),
    Error,
    "A worker failed",
  );
  assertEquals(ends, ["compactor", "terminated"]);
});
