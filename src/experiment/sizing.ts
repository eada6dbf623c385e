/**
 * How large an arena a scenario needs, found by a dry run, so that the arena is as good as full when the scenario is at its
 * peak: then what the page allocator has free afterwards is what was won, and its tables say something.
 *
 * The rule. A cache gets a new slab only when all that it has are full, so it never has more slabs than the most objects that
 * ever lived at once need. Copies of a trace need at most the sum of what each needs at its own peak; and what is deferred
 * lives on for a while, but only until a batch of it has gathered.
 *
 * @module
 */
import { Arena, PAGE_BYTES } from "../memory/mod.ts";
import { HEADER_BYTES } from "../range_tree/header.ts";
import { RangeTree } from "../range_tree/mod.ts";
import { NODE_BYTES } from "../range_tree/node.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import { Replayer, type Trace } from "../trace/mod.ts";

/** What one family of processes may need at most in the dry run; pages that it does not touch cost nothing. */
const SURVEY_BYTES = 2 ** 28;
/** Objects that may be deferred on top of a peak: twice what Rcu gathers before it frees, and a tree that goes at once. */
const DEFERRED_OBJECTS = 128;
/** Pages that an arena spends on itself, and how many pages one page of frame records serves at least. */
const ARENA_PAGES = 26;
const PAGES_PER_RECORD_PAGE = 120;
/** A large arena, of so many pages or more, begins its pages at a multiple of so many. */
const LARGE_PAGES = 2 ** 14 - 512;
const LARGE_ALIGNMENT = 512;
const MAX_PAGES = 2 ** 33 / PAGE_BYTES;

/** A scenario that is too large. */
export class ScenarioSizeError extends Error {
  /** The name of this class of errors. */
  override name = "ScenarioSizeError";
}

/** What a dry run of one trace found. */
export interface TraceSurvey {
  /** Leaves that lived at once, at most. */
  readonly leavesMax: number;
  /** Nodes above leaves that did. */
  readonly innerMax: number;
  /** Range trees that lived at once, at most. */
  readonly treesMax: number;
  /** Processes that the whole trace tells of. */
  readonly processes: number;
}

/** Replays a trace once, and counts what lives at most until so many of its events have been. */
export function surveyTrace(trace: Trace, until: number): TraceSurvey {
  const arena = Arena.create({ byteLength: SURVEY_BYTES, lockdep: false });
  const { movableNodes, headers } = TreeMemory.of(arena);
  const replayer = new Replayer(trace, {
    createTree: () => RangeTree.create(arena),
  });
  let leavesMax = 0, innerMax = 0, treesMax = 0;
  while (replayer.position < until && replayer.step()) {
    arena.rcu.barrier();
    leavesMax = Math.max(leavesMax, movableNodes.leaves.stats().objects);
    innerMax = Math.max(innerMax, movableNodes.inner.stats().objects);
    treesMax = Math.max(treesMax, headers.stats().objects);
  }
  replayer.run();
  const { processes } = replayer.counts;
  return { leavesMax, innerMax, treesMax, processes };
}

/**
 * How many bytes an arena needs for so many copies of each of the surveyed traces at once.
 *
 * @throws {ScenarioSizeError} If no arena is that large.
 */
export function arenaBytesFor(
  surveys: readonly TraceSurvey[],
  copies: number,
): number {
  const most = (of: (survey: TraceSurvey) => number) =>
    surveys.reduce((sum, survey) => sum + copies * of(survey), 0);
  const pages = slabsFor(most((survey) => survey.leavesMax), NODE_BYTES) +
    slabsFor(most((survey) => survey.innerMax), NODE_BYTES) +
    slabsFor(most((survey) => survey.treesMax), HEADER_BYTES);
  const total = pages + ARENA_PAGES +
    Math.ceil(pages / PAGES_PER_RECORD_PAGE) +
    (pages < LARGE_PAGES ? 0 : LARGE_ALIGNMENT);
  if (total > MAX_PAGES) {
    throw new ScenarioSizeError(
      `Cannot replay ${copies} copies: they need ${total} pages, an arena has at most ${MAX_PAGES}`,
    );
  }
  return total * PAGE_BYTES;
}

function slabsFor(objects: number, objectBytes: number): number {
  return Math.ceil((objects + DEFERRED_OBJECTS) * objectBytes / PAGE_BYTES);
}
