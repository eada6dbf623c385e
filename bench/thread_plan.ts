/**
 * What is measured of threads.
 *
 * @module
 */
import { formatCount } from "../src/report/numbers.ts";
import { figure, figureOf, LOOP_WARM_UP, scaled, subjects } from "./rows.ts";
import type { Goal, Workload } from "./workload.ts";

const SECTION_GOAL: Goal = { below: 50 };
const ATTACH_GOAL: Goal = { below: 5 };

/** What a read section costs. */
export function sectionsWorkload(ranges: number): Workload {
  return {
    name: "sections",
    title: `RCU read sections, and loads in ${formatCount(ranges)} ranges, ns`,
    file: "sections.ts",
    warmUp: scaled(LOOP_WARM_UP, ranges),
    subjects: subjects(ranges, ["alone", "observed"]),
    rows: [
      figureOf("a section", 0, "section", SECTION_GOAL),
      figureOf("a section inside another", 0, "nested", SECTION_GOAL),
      figureOf("a load with its section", 0, "load"),
      figureOf("a section, grace periods beside it", 1, "section"),
      figureOf("a load, grace periods beside it", 1, "load"),
    ],
    note:
      "Beside it another thread waits for one grace period after the other, and so reads the word that each section writes.",
  };
}

/** What it takes a worker to attach. */
export function attachWorkload(ranges: number): Workload {
  return {
    name: "attach",
    title: `a worker that runs attaches to ${formatCount(ranges)} ranges, ms`,
    file: "attach.ts",
    warmUp: { ...scaled(LOOP_WARM_UP, ranges), times: 0 },
    subjects: subjects(ranges, ["attach"]),
    rows: [
      figure("Arena and RangeTree attached", "attachMillis", ATTACH_GOAL),
      figure("  the slowest of 8 workers", "attachMillisMax"),
      figure("  once more in the same worker", "againMillis"),
      figure("sendArena() to the first answer", "joinMillis", ATTACH_GOAL),
      figure("  the slowest of 8 workers", "joinMillisMax"),
    ],
  };
}
