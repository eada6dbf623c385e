/**
 * Workload: what the lock inside the tree costs, and what looking for locking mistakes costs.
 *
 * @module
 */
import { type LockMode, RangeTree, SpinLock } from "../mod.ts";
import { emptyHash, fold, GAPPED, randomIndices, storeOrder } from "./keys.ts";
import { hashOfTree, onlyArenaFor, storeAll } from "./trees.ts";
import {
  nanosEach,
  type Outcome,
  runVariant,
  type Variant,
} from "./variant.ts";

const LOCK_WORDS = 16;

function store(lock: LockMode, lockdep: boolean): Variant {
  return (ranges, largest) => {
    const arena = onlyArenaFor(largest, { lockdep });
    const tree = RangeTree.create(arena, { rcu: true, lock });
    const order = storeOrder(ranges);
    const start = performance.now();
    storeAll(tree, order, GAPPED);
    const nanos = nanosEach(start, ranges);
    const hash = hashOfTree(tree);
    tree.destroy();
    return { hash, figures: { nanos } };
  };
}

/** The lock alone: as often as a build takes it, and the build behind it so that the results can be compared. */
async function pair(
  ranges: number,
  largest: number,
  run: number,
): Promise<Outcome> {
  const words = new Int32Array(new SharedArrayBuffer(LOCK_WORDS * 4));
  const lock = new SpinLock(words, 0, 1);
  const start = performance.now();
  for (let i = 0; i < ranges; i++) {
    lock.lock();
    lock.unlock();
  }
  const nanos = nanosEach(start, ranges);
  const { hash } = await store("internal", false)(ranges, largest, run);
  return { hash, figures: { nanos } };
}

function load(rcu: boolean, lockdep: boolean): Variant {
  return (ranges, largest) => {
    const arena = onlyArenaFor(largest, { lockdep });
    const tree = RangeTree.create(arena, { rcu });
    storeAll(tree, storeOrder(ranges), GAPPED);
    const indices = randomIndices(ranges);
    const start = performance.now();
    let hash = emptyHash();
    for (let i = 0; i < indices.length; i++) {
      hash = fold(hash, tree.load(indices[i]));
    }
    const nanos = nanosEach(start, ranges);
    tree.destroy();
    return { hash, figures: { nanos } };
  };
}

if (import.meta.main) {
  await runVariant({
    "store none": store("none", false),
    "store internal": store("internal", false),
    "store lockdep": store("internal", true),
    "pair": pair,
    "load rcu": load(true, false),
    "load rcu lockdep": load(true, true),
    "load locked": load(false, false),
    "load locked lockdep": load(false, true),
  });
}
