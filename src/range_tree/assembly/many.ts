/**
 * Looking up several indices at once. A lookup waits for a node that lies in no cache, and can't ask for the next one before it has
 * come; but the nodes of different lookups need not wait for each other. So this goes down level by level, for all of the indices
 * at a time: of the leaves first a read of each line, none of which is waited for, then the scan of each. (*Group prefetching*: Chen,
 * Ailamaki, Gibbons, Mowry, "Improving hash join performance through prefetching", 2004.)
 *
 * All nodes of a height are scanned alike, and all leaves have the height 0, so no lookup ends before the others. Stores of many ranges
 * begin like that, too (`writer.ts`).
 */
import {
  addressOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_ROOT,
  heightOf,
  isRcu,
  linesOf,
  slotAddress,
  slotFor,
  slotOf,
} from "./node";
import { enter, leave, scratch } from "./thread";

// In the thread's scratch words: up to 16 indices, as doubles; behind them what is found at each, a word each.
export const FOUND: usize = 16 * 8;
const TOUCHED: usize = FOUND + 16 * 4;

/**
 * Finds the entries at so many indices, in a read section of its own; says whether it did: not if the tree's flags are not these,
 * or say that readers need the lock. Where the caller protects the tree it gives 0, which no tree's flags are.
 */
export function lookUpMany(header: u32, count: i32, flags: i32): bool {
  const entered = enter();
  const now = atomic.load<i32>(addressOf(header), HEADER_FLAGS);
  const isSafe = flags == 0 || (isRcu(flags) && now == flags);
  if (isSafe) findMany(header, count, hasNarrowNodes(now));
  leave(entered);
  return isSafe;
}

/** Leaves the entries at so many indices in the scratch words. Inside a read section, or under the lock. */
export function findMany(header: u32, count: i32, areNarrow: bool): void {
  goDown(header, count, areNarrow);
  const found = scratch + FOUND, end = found + (<usize>count << 2);
  for (let at = found; at < end; at += 4) {
    const slot = <usize>load<u32>(at);
    // Pairs with the publishing store of the writer.
    if (slot != 0) store<u32>(at, atomic.load<u32>(slot));
  }
}

/**
 * Leaves the addresses of the slots that cover so many indices in the scratch words, 0 where the tree holds nothing. Inside a read
 * section, or under the lock.
 */
export function goDown(header: u32, count: i32, areNarrow: bool): void {
  const found = scratch + FOUND, end = found + (<usize>count << 2);
  const root = atomic.load<u32>(addressOf(header), HEADER_ROOT);
  for (let at = found; at < end; at += 4) store<u32>(at, root);
  if (root == 0) return;
  for (let height = heightOf(addressOf(root)); height >= 0; height--) {
    if (height == 0) touchLeaves(found, end);
    const isNarrow = areNarrow && height > 0;
    let index = scratch;
    for (let at = found; at < end; at += 4) {
      const node = addressOf(load<u32>(at));
      const slot = slotFor(node, f64x2.splat(load<f64>(index)), isNarrow);
      store<u32>(at, height > 0 ? slotOf(node, slot) : <u32>slotAddress(node, slot));
      index += 8;
    }
  }
}

/** Reads a word of each line of the leaves; what is read is kept, so that the reads are not left out. */
function touchLeaves(found: usize, end: usize): void {
  let touched: u32 = 0;
  for (let at = found; at < end; at += 4) {
    touched ^= linesOf(addressOf(load<u32>(at)));
  }
  store<u32>(scratch, touched, TOUCHED);
}
