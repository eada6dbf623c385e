/**
 * Where the nodes of a compiled store come from, and where what it replaces goes: what its thread has at hand (`../../slab/stock.ts`),
 * and its list of deferred frees (`../../sync/rcu.ts`). Neither is waited for, and no lock is taken.
 *
 * The thread may die anywhere. So what is taken bears the note of this thread's hands from then on, as `SlabCache.allocate` leaves
 * it; what is about to be unlinked is claimed before the store that does it; and what is deferred is noted before it is queued,
 * as `Rcu.deferChain` does.
 */
import { addressOf, NODE_LINK } from "./node";
import { scratch } from "./thread";

// Behind all that anybody leaves in the scratch words, since this outlives the call: how many nodes were taken for a store that lacks
// others, and the nodes.
const LEFT_COUNT: usize = 2496;
const TAKEN: usize = 2500;

/** What a store returns where nothing was changed, because another must do it, … */
export const NOT_MINE: i32 = -1;
/** … or because the thread has too few leaves at hand, … */
export const NO_LEAVES: i32 = -2;
/** … or too few nodes above leaves. */
export const NO_INNER: i32 = -3;

// What this thread notes in the link word of what it has in its hands.
let hands: i32 = 0;
// From the head of a stock to the word that counts it.
let stockSize: usize = 0;
// The words of this thread's list of deferred frees.
let nextHead: usize = 0;
let nextSeen: usize = 0;
let waitSeen: usize = 0;
let nextCount: usize = 0;
let handing: usize = 0;
let handingLast: usize = 0;

/** Binds the supply to the thread's own words, by their indices. */
export function bindSupply(
  handsNote: i32,
  sizeOffset: i32,
  nextHeadIndex: i32,
  nextSeenIndex: i32,
  waitSeenIndex: i32,
  nextCountIndex: i32,
  handingIndex: i32,
  handingLastIndex: i32,
): void {
  hands = handsNote;
  stockSize = <usize>sizeOffset << 2;
  nextHead = <usize>nextHeadIndex << 2;
  nextSeen = <usize>nextSeenIndex << 2;
  waitSeen = <usize>waitSeenIndex << 2;
  nextCount = <usize>nextCountIndex << 2;
  handing = <usize>handingIndex << 2;
  handingLast = <usize>handingLastIndex << 2;
  store<i32>(scratch, 0, LEFT_COUNT);
}

/** Notes that a node is in this thread's hands, before it is unlinked. */
export function claim(ref: u32): void {
  store<i32>(addressOf(ref), hands, NODE_LINK);
}

/** Takes an object of the thread's stock, as `Stock.take` and `SlabCache.allocate` do; 0 if there is none. */
export function take(stock: u32): u32 {
  const head = <usize>stock << 2;
  const ref = atomic.load<u32>(head);
  if (ref == 0) return 0;
  const node = addressOf(ref);
  const rest = load<u32>(node, NODE_LINK);
  // Pairs with the exchange of whoever takes the chain. V8 terminates a thread only at a call or where a loop turns round: so not
  // between this and the note below.
  if (atomic.cmpxchg<u32>(head, ref, rest) != ref) return 0;
  store<i32>(node, hands, NODE_LINK);
  store<i32>(head + stockSize, load<i32>(head + stockSize) - 1);
  return ref;
}

/**
 * Takes an inner node and that many leaves behind it: 0 if it did, else what there was too little of. If another thread has taken a
 * chain meanwhile, those that were taken before are left for the caller to free.
 */
export function takeNodes(count: i32, leaves: u32, inner: u32): i32 {
  if (load<i32>((<usize>leaves << 2) + stockSize) < count) return NO_LEAVES;
  const above = take(inner);
  if (above == 0) return NO_INNER;
  store<u32>(scratch, above, TAKEN);
  for (let i: i32 = 1; i <= count; i++) {
    const ref = take(leaves);
    if (ref == 0) {
      store<i32>(scratch, i, LEFT_COUNT);
      return NO_LEAVES;
    }
    store<u32>(scratch + (<usize>i << 2), ref, TAKEN);
  }
  return 0;
}

/** The node that `takeNodes` took as that number. */
export function taken(at: i32): u32 {
  return load<u32>(scratch + (<usize>at << 2), TAKEN);
}

/** Whether a list began with this object when the thread looked last: then its mark is to be cleared before it is deferred. */
export function isSeen(ref: u32): bool {
  return ref == load<u32>(nextSeen) || ref == load<u32>(waitSeen);
}

/** Defers the freeing of a node: as `Rcu.deferChain` of one that is not seen. */
export function defer(ref: u32): void {
  const link = addressOf(ref) + NODE_LINK;
  store<u32>(handingLast, <u32>(link >> 2));
  store<u32>(handing, ref);
  let seen = load<i32>(nextSeen);
  for (;;) {
    store<i32>(link, seen < 0 ? 0 : seen);
    // Pairs with the access that takes the list.
    const was = atomic.cmpxchg<i32>(nextHead, seen, <i32>ref);
    if (was == seen) break;
    seen = was;
  }
  store<u32>(nextSeen, ref);
  store<i32>(nextCount, load<i32>(nextCount) + 1);
}
