/**
 * Beginning and ending an operation that does all of its work in one call: the tree's own lock, where operations take that, is taken
 * and released without waiting, as by `../tree_lock.ts`, which says why the flags are looked at before and after. Where the caller
 * keeps other writers out, only whether the tree lives is asked.
 */
import {
  addressOf,
  HEADER_FLAGS,
  HEADER_LOCK,
  hasOwnLock,
  identityOf,
} from "./node";
import { owner } from "./thread";

/** The lock was not taken, because another thread holds it or the tree is no more … */
export const NOT_ENTERED: i32 = -4;
/** … or it was taken, and the tree is no more: the caller releases it. */
const LOST: i32 = -5;
/** Added to the answer of what was done where somebody sleeps on the lock: the caller releases it and wakes them. */
const IS_HELD: f64 = 4294967296;

/** Begins to work on the tree of that identity: 0 if it did, else what is returned instead. */
export function enterTree(header: u32, identity: i32): i32 {
  const tree = addressOf(header);
  if (identityOf(atomic.load<i32>(tree, HEADER_FLAGS)) != identity) return NOT_ENTERED;
  if (!hasOwnLock(identity)) return 0;
  // Pairs with the compare-exchange or store of whoever released it.
  if (atomic.cmpxchg<i32>(tree, 0, owner, HEADER_LOCK) != 0) return NOT_ENTERED;
  return identityOf(load<i32>(tree, HEADER_FLAGS)) == identity ? 0 : LOST;
}

/**
 * Ends it, if there is an answer; returns that. What is below 0 says that something is left to be done: then nothing is released.
 */
export function leaveTree(header: u32, identity: i32, answer: f64): f64 {
  if (answer < 0 || !hasOwnLock(identity)) return answer;
  // Pairs with the compare-exchange of whoever takes it next.
  const was = atomic.cmpxchg<i32>(addressOf(header), owner, 0, HEADER_LOCK);
  return was == owner ? answer : answer + IS_HELD;
}
