import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { LockMode } from "../../mod.ts";
import {
  ReplayScenario,
  type ReplayScenarioOptions,
  type ReplayScenarioResult,
} from "../../src/experiment/mod.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { Replayer } from "../../src/trace/mod.ts";
import { seeds } from "../seed.ts";
import { SortedArrayTree } from "../trace/sorted_array_tree.ts";
import { mapsOf, shipped } from "./recordings.ts";
import { bothOf } from "../range_tree/both_caches.ts";

const RECORDINGS = ["gcc-compile", "node-npm-view", "python-imports"].map(
  shipped,
);

function run(
  options: Partial<ReplayScenarioOptions> = {},
  recordings = RECORDINGS,
): { scenario: ReplayScenario; result: ReplayScenarioResult } {
  const scenario = new ReplayScenario(recordings, {
    copies: 12,
    exitShare: 0.6,
    seed: 1,
    lock: "internal",
    ...options,
  });
  return { scenario, result: scenario.run() };
}

/** The result without what the clock says. */
function timeless({ compaction, ...rest }: ReplayScenarioResult): unknown {
  const { seconds: _, nodesPerSecond: __, lockHoldNanos: ___, ...counts } =
    compaction;
  return { ...rest, compaction: counts };
}

Deno.test("ReplayScenario with the internal lock frees all slabs that can be freed, with the fewest moves, unseen by readers", () => {
  for (const seed of seeds("internal lock")) {
    const { scenario, result } = run({ seed });
    const { before, after, compaction, digest } = result;
    assert(compaction.plan.freeableSlabs > 10);
    assertEquals(compaction.yield, 1);
    assert(compaction.moveEfficiency >= 0.99);
    assertEquals([compaction.pinned, compaction.busy], [0, 0]);
    assertEquals(compaction.plan.slabs, before.figures.slabs);
    assertEquals(
      after.figures.slabs,
      before.figures.slabs - compaction.freedSlabs,
    );
    assertEquals(after.figures.objects, before.figures.objects);
    assertEquals(
      after.figures.freePages,
      before.figures.freePages + compaction.freedSlabs,
    );
    const { slabsAtBest } = bothOf(scenario.arena).usage();
    assertEquals(after.figures.slabs, slabsAtBest);
    assertEquals(digest.before, digest.after);
    scenario.arena.pages.validate();
    for (const cache of Slabs.of(scenario.arena).all()) cache.validate();
  }
});

Deno.test("ReplayScenario without a lock that can be taken frees nothing, touches nothing, and says what is pinned", () => {
  const locked = run().result;
  for (const lock of ["external", "none"] satisfies LockMode[]) {
    const { before, after, compaction, digest } = run({ lock }).result;
    assertEquals([compaction.freedSlabs, compaction.moves], [0, 0]);
    assertEquals(compaction.yield, 0);
    assertEquals(compaction.plan, locked.compaction.plan);
    assertEquals(compaction.pinned, compaction.plan.fewestMoves);
    assertEquals(after, before);
    assertEquals(digest, locked.digest);
  }
});

Deno.test("ReplayScenario is the same for the same seed, and another for another", () => {
  const result = timeless(run({ seed: 3 }).result);
  assertEquals(timeless(run({ seed: 3 }).result), result);
  assertNotEquals(timeless(run({ seed: 4 }).result), result);
});

Deno.test("ReplayScenario stops half-way and ends the share of the processes that it is told", () => {
  const halves = RECORDINGS.map(({ trace }) =>
    Math.ceil(trace.events.length / 2)
  );
  const events = 12 * halves.reduce((sum, half) => sum + half, 0);
  for (const exitShare of [0, 0.25, 1]) {
    const { result } = run({ exitShare });
    assertEquals(result.events, events);
    assertEquals(result.processes, 12);
    assertEquals(result.ended, Math.round(result.alive * exitShare));
    if (exitShare === 1) assertEquals([result.trees, result.mappings], [0, 0]);
  }
  const { result } = run({ exitShare: 0.5, copies: 10 }, [mapsOf(40)]);
  assertEquals([result.alive, result.ended, result.trees], [10, 5, 5]);
  assertEquals(result.mappings, 5 * 20);
});

Deno.test("ReplayScenario's trees after the compaction go on to the maps that an undisturbed plain replay ends in", () => {
  const expected = RECORDINGS.map(({ trace }) => {
    const replayer = new Replayer(trace, {
      createTree: () => new SortedArrayTree(),
      keepEnded: true,
    });
    replayer.run();
    return replayer.maps();
  });
  for (const seed of seeds("to the end")) {
    const { scenario } = run({
      seed,
      copies: 3,
      exitShare: 0,
      toTheEnd: true,
    });
    scenario.finish();
    assertEquals(
      scenario.maps(),
      expected.map((maps) => maps.repeat(3)).join(""),
    );
  }
});

Deno.test("ReplayScenario takes a trace without events", () => {
  const { result } = run({}, [mapsOf(0)]);
  assertEquals([result.events, result.alive, result.trees], [0, 0, 0]);
  assertEquals(result.compaction.plan.slabs, 0);
});
