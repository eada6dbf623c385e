/**
 * What makes a store visible, one store of a word, and what follows it: what was replaced is marked dead, the children of a new node name
 * it, the nodes above know the largest free run below, and the tree that it has changed. Under the tree's lock.
 *
 * Slots, the root, and the parent words of nodes are stored atomically, because others read them without the lock, and read plainly,
 * where only the holder of the lock writes them. Gaps are its alone.
 */
import { gapOffset, heldSlot, largestGap, largestRun } from "./build";
import {
  addressOf,
  HEADER_GENERATION,
  HEADER_ROOT,
  NODE_PARENT,
  NODE_SLOTS,
} from "./node";
import { firstOfNode, leafMax, pathNode, pathSlot, top, tree } from "./path";

const HEADER_COUNT: usize = 18 << 2;

/** Stores the one word that leads to what takes the place of the path's node at a height. */
export function publish(height: i32, ref: u32): void {
  // Pairs with the loads of readers.
  if (height == top) atomic.store<u32>(tree, ref, HEADER_ROOT);
  else {
    const node = addressOf(pathNode(height + 1));
    const at = <usize>pathSlot(height + 1);
    atomic.store<u32>(node + (at << 2), ref, NODE_SLOTS);
  }
}

/** What the parent word of the path's node at a height holds. */
export function parentOfHeight(height: i32): u32 {
  return height == top ? <u32>(tree >> 6) + 1 : pathNode(height + 1);
}

/** Points all children of a node at it: as `adoptChildren` of `../node.ts`, which says why they are read before. */
export function adoptChildren(node: usize, ref: u32, count: i32): void {
  let fetched: u32 = 0;
  for (let at: i32 = 0; at < count; at++) {
    fetched |= load<u32>(addressOf(heldSlot(node, at)), NODE_PARENT);
  }
  if (fetched == 0xffff_ffff) return; // never
  for (let at: i32 = 0; at < count; at++) {
    atomic.store<u32>(addressOf(heldSlot(node, at)), ref, NODE_PARENT);
  }
}

/** Marks a node that was unlinked dead. */
export function retire(ref: u32): void {
  // Pairs with the load of a mover.
  atomic.store<u32>(addressOf(ref), ref, NODE_PARENT);
}

/** Notes that the tree has changed, and by how many entries. Last: see `../entries.ts`. */
export function noteChange(delta: i32): void {
  // Pairs with the loads of who iterates, and of who made operations.
  atomic.add<i32>(tree, 1, HEADER_GENERATION);
  if (delta != 0) atomic.add<i32>(tree, delta, HEADER_COUNT);
}

/** Notes the largest free run of the leaf in the path's place in the nodes above. */
export function updateGaps(node: usize): void {
  if (top > 0) updateGapsAbove(0, largestRun(node, firstOfNode(0), leafMax));
}

/** Notes the gap of what is in the path's place at a height in the nodes above, as far as it changes theirs. */
export function updateGapsAbove(height: i32, gap: f64): void {
  for (let at = height + 1; at <= top; at++) {
    const above = addressOf(pathNode(at));
    const place = above + gapOffset(pathSlot(at));
    if (load<f64>(place) == gap) return;
    store<f64>(place, gap);
    gap = largestGap(above);
  }
}
