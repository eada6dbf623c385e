import { assertEquals } from "@std/assert";
import { seeds } from "../seed.ts";
import { runKills } from "./kills.ts";
import { NOTHING_LOST } from "./lost.ts";

const NAME =
  "Arena.reap() recovers from workers that die at random moments beside others, and nothing is lost";
Deno.test(NAME, async () => {
  const [seed] = seeds(NAME);
  const { kills, wrong, lost } = await runKills(60, seed);
  assertEquals(wrong, []);
  assertEquals(kills, 60);
  assertEquals(lost, NOTHING_LOST);
});

const TERMINATED =
  "Arena.reap() recovers from workers that are terminated at random moments of their work, and nothing is lost";
Deno.test(TERMINATED, async () => {
  const [seed] = seeds(TERMINATED);
  const { kills, wrong, lost } = await runKills(16, seed, true);
  assertEquals(wrong, []);
  assertEquals(kills, 16);
  assertEquals(lost, NOTHING_LOST);
});
