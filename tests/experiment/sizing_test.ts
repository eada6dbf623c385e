import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena } from "../../mod.ts";
import {
  arenaBytesFor,
  ReplayScenario,
  ScenarioSizeError,
  surveyTrace,
} from "../../src/experiment/mod.ts";
import { seeds } from "../seed.ts";
import { mapsOf, shipped } from "./recordings.ts";

Deno.test("surveyTrace counts what lives at once up to a place, and the processes of the whole trace", () => {
  const { trace } = mapsOf(40);
  assertEquals(surveyTrace(trace, 0), {
    leavesMax: 0,
    innerMax: 0,
    treesMax: 0,
    processes: 1,
  });
  assertEquals(surveyTrace(trace, 1).leavesMax, 1);
  assert(surveyTrace(trace, 40).leavesMax > 3);
  const compile = shipped("gcc-compile").trace;
  assertEquals(surveyTrace(compile, compile.events.length).processes, 5);
  assert(surveyTrace(compile, compile.events.length).treesMax > 1);
});

Deno.test("arenaBytesFor gives pages for all nodes and headers, and few more", () => {
  const cases = [[0, 0, 0], [1, 0, 1], [160, 40, 32], [5000, 300, 9]];
  for (const [leavesMax, innerMax, treesMax] of cases) {
    for (const copies of [1, 7, 1000]) {
      const byteLength = arenaBytesFor(
        [{ leavesMax, innerMax, treesMax, processes: 1 }],
        copies,
      );
      const needed = Math.ceil(copies * leavesMax / 16) +
        Math.ceil(copies * innerMax / 16) +
        Math.ceil(copies * treesMax / 32);
      const { count } = Arena.create({ byteLength }).pages;
      assert(count >= needed, `${count} pages for ${needed}`);
      assert(count <= needed * 1.01 + 32, `${count} pages for ${needed}`);
    }
  }
});

Deno.test("arenaBytesFor refuses what no arena holds", () => {
  const survey = { leavesMax: 1e6, innerMax: 0, treesMax: 1, processes: 1 };
  assertThrows(
    () => arenaBytesFor([survey], 1000),
    ScenarioSizeError,
    "Cannot replay 1000 copies: they need ",
  );
});

Deno.test("a scenario fits its arena, however many copies there are and to the end too", () => {
  const recordings = [shipped("gcc-compile"), shipped("python-imports")];
  for (const seed of seeds("a scenario fits its arena")) {
    for (const copies of [1, 2, 9]) {
      for (const exitShare of [0, 0.5, 1]) {
        for (const toTheEnd of [false, true]) {
          const scenario = new ReplayScenario(recordings, {
            copies,
            exitShare,
            seed,
            lock: "internal",
            toTheEnd,
          });
          scenario.run();
          if (toTheEnd) scenario.finish();
        }
      }
    }
  }
});
