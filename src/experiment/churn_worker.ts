/**
 * The file of a worker of the churn experiment. It works without turning its event loop: what it is to do next stands in a
 * shared word.
 *
 * @module
 */
import { BackgroundCompactor } from "../defrag/mod.ts";
import { Arena, OutOfMemoryError } from "../memory/mod.ts";
import { RangeTree } from "../range_tree/mod.ts";
import { load, store, wait } from "../sync/atomics.ts";
import {
  type ChurnAnswer,
  type ChurnCommand,
  type CompactCommand,
  type OperateCommand,
  PHASE,
  RANGE_LENGTH,
  RANGE_STRIDE,
  SIGNAL,
  storeRange,
} from "./churn.ts";
import { Histogram } from "./histogram.ts";
import { policyOf } from "./policy_choice.ts";
import { Random } from "./random.ts";

/** Operations between two looks at the phase. */
const BATCH = 256;
/** One operation of so many is timed: reading the clock costs about as much as a lookup. */
const TIMED = 16;
/**
 * The compactor's thresholds: to be within 3 % of the fewest slabs it must go on well above 97 %, since what waits for a grace
 * period or is kept at hand counts as in use and leaves holes when it goes.
 */
const START_BELOW = 0.985;
const STOP_ABOVE = 0.995;
/** Between two looks: in the 20 ms that are the default, the writer replaces nearly every range that lives. */
const IDLE_MILLIS = 5;

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ChurnCommand>) => void;
  postMessage(answer: ChurnAnswer): void;
};

scope.onmessage = ({ data }) => {
  const arena = Arena.attach(data.memory);
  if (data.role === "compactor") compact(arena, data);
  else work(arena, data);
};

/** Reads or writes until it is told to stop. */
function work(arena: Arena, command: OperateCommand): void {
  const { role, signals, counter, options, seed } = command;
  const tree = RangeTree.attach(arena, "churn");
  const random = new Random(seed * 7919 + 1);
  const times = new Histogram();
  const hot = Math.max(1, Math.round(options.ranges * options.hotShare));
  let wrong = 0;
  const operate = role === "reader"
    ? () => {
      const i = random.below(options.ranges);
      const offset = random.below(RANGE_LENGTH);
      const value = tree.load(i * RANGE_STRIDE + offset);
      // Whatever the writer is doing, there is this entry or none.
      if (value !== 0 && value !== i + 1) wrong++;
    }
    : () => {
      const i = random.below(hot);
      try {
        if (random.next() < options.liveShare * 2 ** 32) storeRange(tree, i);
        else {
          const value = tree.erase(i * RANGE_STRIDE);
          if (value !== 0 && value !== i + 1) wrong++;
        }
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        // A reader has not been scheduled for so long that all memory waits for it: so does the writer.
        arena.rcu.barrier();
      }
    };
  scope.postMessage({ ready: true });
  let operations = 0;
  let phase = load(signals, SIGNAL.phase);
  while (phase !== PHASE.stop) {
    for (let i = 0; i < BATCH; i++) {
      if (i % TIMED !== 0) operate();
      else {
        const start = performance.now();
        operate();
        times.add((performance.now() - start) * 1e6);
      }
    }
    operations += BATCH;
    store(signals, counter, operations | 0);
    const now = load(signals, SIGNAL.phase);
    if (now === PHASE.measure && phase === PHASE.warmUp) {
      operations = 0;
      times.clear();
    }
    phase = now;
  }
  arena.leave();
  scope.postMessage({ ready: false, operations, wrong, times: times.counts });
}

/** Compacts until it is told to stop. */
function compact(arena: Arena, command: CompactCommand): void {
  const { signals, duty, policy } = command;
  const compactor = new BackgroundCompactor(arena, {
    startBelow: START_BELOW,
    stopAbove: STOP_ABOVE,
    idleMillis: IDLE_MILLIS,
    duty,
    policy: policyOf(policy),
  });
  scope.postMessage({ ready: true });
  for (;;) {
    const phase = load(signals, SIGNAL.phase);
    if (phase === PHASE.stop) break;
    compactor.slice();
    store(signals, SIGNAL.longestHold, compactor.longestHoldNanos);
    wait(signals, SIGNAL.phase, phase, compactor.pauseMillis);
  }
  compactor.stop();
  arena.leave();
  scope.postMessage({
    ready: false,
    operations: 0,
    wrong: 0,
    times: new Histogram().counts,
    compactor: compactor.totals(),
  });
}
