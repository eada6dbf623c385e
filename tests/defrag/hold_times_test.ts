import { assertEquals } from "@std/assert";
import { HoldTimes } from "../../src/defrag/hold_times.ts";
import { rng, seeds } from "../seed.ts";

const NAME =
  "HoldTimes times every 32nd hold, however many of the others are skipped";
for (const seed of seeds(NAME)) {
  Deno.test(`${NAME} (seed ${seed})`, () => {
    const random = rng(seed);
    const times = new HoldTimes();
    let holds = 0;
    while (holds < 5000) {
      const untimed = (32 - holds % 32) % 32;
      assertEquals(times.untilNext, untimed);
      const skipped = random.int(untimed + 1);
      times.skip(skipped);
      times.start();
      times.stop();
      holds += skipped + 1;
      assertEquals(times.samples().length, Math.ceil(holds / 32));
    }
  });
}
