import { assert, assertEquals } from "@std/assert";
import { seeds } from "../seed.ts";
import { runKills } from "./kills.ts";

const NAME =
  "Arena.reap() recovers from workers that die at random moments beside others, and nothing acknowledged is lost";
Deno.test(NAME, async () => {
  const [seed] = seeds(NAME);
  const { kills, wrong, lostNodes } = await runKills(60, seed);
  assertEquals(wrong, []);
  assertEquals(kills, 60);
  // What a dead thread had in its hands: a few nodes, or a batch that waited for its grace period.
  assert(lostNodes < kills * 300, `${lostNodes} nodes are lost`);
});
