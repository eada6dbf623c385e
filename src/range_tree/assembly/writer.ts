/**
 * Stores that change one leaf, or one or two under one parent: `../writer.ts` says what a store is, and `../rebuild.ts` what becomes of
 * leaves that get too full or too empty. What is done here is exactly what these would do: the same nodes are built, and published
 * by one store. Under the tree's lock, which those take themselves whose names begin with `enter`.
 *
 * A store that can't be done here returns before anything was changed (*not mine*), and is done there: one over more leaves, one
 * that fills or empties a parent, or changes the tree's height. So does one for which the thread has too few nodes at hand
 * (`supply.ts`), since what allocates more takes locks. Everything that can fail stands before the publishing store.
 *
 * The thread may die anywhere. `supply.ts` says how what it takes and defers is found then. The replaced nodes are marked dead, all
 * of them, before the first is deferred. New leaves name their new parent before that is published: whoever follows it meets a node
 * that is in no tree, and in the same hands.
 *
 * In a tree that is not and never was in RCU mode, a leaf is changed in place, unless it loses more than two slots (the twin always
 * makes a copy). Who looks at the pivots, the count and the slots of a leaf there holds the lock, readers too. Without it, movers
 * and who reaps a thread look at parent words, at slots of inner nodes, and at the height of a leaf, which stays; and movers fetch
 * lines, and use nothing of what they read. What the thread leaves half done nobody could mend, so it must not die meanwhile: V8
 * terminates a thread only at a call or where a loop turns round, and `spliceInPlace` has neither. What follows, `../recover.ts`
 * makes anew.
 *
 * `path.ts` walks to where a store goes, `rebuild.ts` does those that change a parent, `publish.ts` says what others see of all of them,
 * and when. In the thread's scratch words the path, the items and the pool are of no use once a store has returned; the nodes that were
 * taken for it are, if it lacks others.
 */
import { heldSlot, setItem, splice, spliceInPlace } from "./build";
import { enterTree, leaveTree } from "./lock";
import { FOUND, goDown } from "./many";
import {
  addressOf,
  countOf,
  HEADER_HAD_RCU,
  MAX_SLOTS,
  MIN_SLOTS,
  NODE_BYTES,
  NODE_PARENT,
  NODE_PIVOTS,
  NODE_SLOTS,
  PIVOT_COUNT,
  pivotBefore,
  pivotOf,
  slotFor,
} from "./node";
import {
  aim,
  begin,
  beginAt,
  findEnd,
  firstOfSlot,
  isTracking,
  leaf,
  leafMax,
  rightLeaf,
  rightMax,
  slot,
  top,
  tree,
  walkWhole,
  widenedFirst,
  widenedLast,
} from "./path";
import {
  noteChange,
  parentOfHeight,
  publish,
  retire,
  updateGaps,
} from "./publish";
import { replaceLeaves } from "./rebuild";
import { claim, defer, isSeen, NO_LEAVES, NOT_MINE, take } from "./supply";
import { enter, leave, scratch } from "./thread";

// In the thread's scratch words: behind the first indices of up to 16 ranges, and where they are found (`many.ts`), what else the
// caller of `enterStoreMany` leaves, and how many were stored.
const MANY_LASTS: usize = 256;
const MANY_VALUES: usize = 384;
const MANY_STORED: usize = 448;
// Behind the answers of readers.
const ERASED_FIRST: usize = 512;
const ERASED_LAST: usize = 520;

/** Stores over a range; returns what was at its beginning, or what is below 0 if it did not. */
export function storeRange(
  header: u32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  if (!begin(header, first)) return NOT_MINE;
  const before = heldSlot(addressOf(leaf), slot);
  const failed = change(first, last, value, leaves, inner);
  return failed != 0 ? <f64>failed : <f64>before;
}

/** Stores over a range if all of it is free: 1 if it was, 0 if not, or what is below 0 if it did not. */
export function insertRange(
  header: u32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): i32 {
  if (!begin(header, first)) return NOT_MINE;
  const node = addressOf(leaf);
  // A free run is one slot.
  if (heldSlot(node, slot) != 0 || last > pivotOf(node, slot, leafMax)) return 0;
  const failed = change(first, last, value, leaves, inner);
  return failed != 0 ? failed : 1;
}

/** Empties the range that contains an index, and leaves its bounds; returns what it held, or what is below 0 if it did not. */
export function erase(header: u32, index: f64, leaves: u32, inner: u32): f64 {
  if (!begin(header, index)) return NOT_MINE;
  const node = addressOf(leaf);
  const before = heldSlot(node, slot);
  const first = firstOfSlot(node, slot);
  const last = pivotOf(node, slot, leafMax);
  if (before != 0) {
    const failed = change(first, last, 0, leaves, inner);
    if (failed != 0) return failed;
  }
  store<f64>(scratch, first, ERASED_FIRST);
  store<f64>(scratch, last, ERASED_LAST);
  return <f64>before;
}

/** As `storeRange`, without the lock: it is taken and released here, unless what is returned is below 0. See `lock.ts`. */
export function enterStoreRange(
  header: u32,
  identity: i32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, storeRange(header, first, last, value, leaves, inner));
}

/** As `insertRange`, without the lock: as `enterStoreRange`. */
export function enterInsertRange(
  header: u32,
  identity: i32,
  first: f64,
  last: f64,
  value: u32,
  leaves: u32,
  inner: u32,
): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, insertRange(header, first, last, value, leaves, inner));
}

/** As `erase`, without the lock: as `enterStoreRange`. */
export function enterErase(header: u32, identity: i32, index: f64, leaves: u32, inner: u32): f64 {
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  return leaveTree(header, identity, erase(header, index, leaves, inner));
}

/**
 * Stores over the `count` ranges that the caller left, one after the other, as `enterStoreRange` would, under one hold of the lock.
 * It stops at the first one that is not mine or lacks nodes, and leaves how many were stored. First it goes down to where all of
 * them begin, so that they wait for memory together, and each store begins in the leaf that was found for it, if it can; what was found
 * is not freed before all of this ends, since it is in a read section.
 */
export function enterStoreMany(header: u32, identity: i32, count: i32, leaves: u32, inner: u32): f64 {
  store<i32>(scratch, 0, MANY_STORED);
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  const entered = enter();
  const answer = storeAll(header, count, leaves, inner);
  leave(entered);
  return leaveTree(header, identity, answer);
}

/** Does that, under the tree's lock and within a read section. */
function storeAll(header: u32, count: i32, leaves: u32, inner: u32): f64 {
  aim(header);
  goDown(header, count, isTracking);
  for (let at: i32 = 0; at < count; at++) {
    const first = load<f64>(scratch + (<usize>at << 3));
    const last = load<f64>(scratch + (<usize>at << 3), MANY_LASTS);
    const value = load<u32>(scratch + (<usize>at << 2), MANY_VALUES);
    const found = <usize>load<u32>(scratch + (<usize>at << 2), FOUND);
    if (found == 0 || !overwrite(found, first, last, value)) {
      const hasBegun = (found != 0 && beginAt(found, first)) || begin(header, first);
      if (!hasBegun) return NOT_MINE;
      const failed = change(first, last, value, leaves, inner);
      if (failed != 0) return failed;
    }
    store<i32>(scratch, at + 1, MANY_STORED);
  }
  return 0;
}

/**
 * Stores an entry in a slot that was found before, if that covers exactly this range still; says whether it did. The stores since may
 * have replaced its leaf, which is marked dead then, or changed it in place; the read section keeps its memory from being reused. Of
 * the first slot and of the one behind the last pivot it is not known what they cover.
 */
function overwrite(at: usize, first: f64, last: f64, value: u32): bool {
  const node = at & ~(NODE_BYTES - 1);
  const slot = (at - node - NODE_SLOTS) >> 2;
  if (
    slot == 0 || <i32>slot >= PIVOT_COUNT || value == 0 ||
    pivotBefore(node, slot) != first - 1 ||
    load<f64>(node + (slot << 3), NODE_PIVOTS) != last ||
    load<u32>(at) == 0 || load<u32>(node, NODE_PARENT) == <u32>(node >> 6)
  ) return false;
  // Pairs with the loads of readers.
  atomic.store<u32>(at, value);
  noteChange(0);
  return true;
}

/** Stores over a range that begins in the path's slot: 0 if it did, else what it returns instead. */
function change(first: f64, last: f64, value: u32, leaves: u32, inner: u32): i32 {
  if (value == 0) {
    last = widenedLast(last);
    first = widenedFirst(first);
  }
  if (!findEnd(first, last)) return NOT_MINE;
  const node = addressOf(leaf), right = addressOf(rightLeaf);
  const end = <i32>slotFor(right, f64x2.splat(last), false);
  const begin = firstOfSlot(node, slot), endLast = pivotOf(right, end, rightMax);
  const cut = heldSlot(node, slot), rest = heldSlot(right, end);
  const count = countOf(node);
  const isOneLeaf = leaf == rightLeaf;
  if (
    isOneLeaf && slot == end && first == begin && last == endLast &&
    (value != 0 || count > 1)
  ) {
    storeSlot(node, cut, value);
    return 0;
  }
  let delta = <i32>(value != 0);
  if (isOneLeaf) delta -= entriesIn(node, slot, end + 1);
  else delta -= entriesIn(node, slot, count) + entriesIn(right, 0, end + 1);
  let items: i32 = 0;
  if (first > begin) {
    setItem(items++, first - 1, cut);
    delta += <i32>(cut != 0);
  }
  setItem(items++, last, value);
  if (last < endLast) {
    setItem(items++, endLast, rest);
    delta += <i32>(rest != 0);
  }
  const size = slot + items + countOf(right) - (end + 1);
  if (
    isOneLeaf && size <= MAX_SLOTS && (size >= MIN_SLOTS || top == 0) &&
    (size > 1 || value != 0)
  ) return replaceLeaf(node, count, end, items, delta, leaves);
  if (top == 0) return NOT_MINE;
  // It changes the parent, too, for which it needs what is above that.
  walkWhole(first);
  return replaceLeaves(end, items, size, delta, leaves, inner);
}

/** How many of the slots `from` … `to − 1` of a leaf are not empty. */
function entriesIn(node: usize, from: i32, to: i32): i32 {
  let entries: i32 = 0;
  for (let at = from; at < to; at++) {
    entries += <i32>(heldSlot(node, at) != 0);
  }
  return entries;
}

function storeSlot(node: usize, old: u32, value: u32): void {
  if (old == 0 && value == 0) return;
  // Pairs with the loads of readers.
  atomic.store<u32>(node + (<usize>slot << 2), value, NODE_SLOTS);
  const delta = <i32>(value != 0) - <i32>(old != 0);
  if (isTracking && delta != 0) updateGaps(node);
  noteChange(delta);
}

/** Has the items stand for the leaf's slots from the path's up to `end`: in a copy that takes its place, or in place. */
function replaceLeaf(
  node: usize,
  count: i32,
  end: i32,
  items: i32,
  delta: i32,
  leaves: u32,
): i32 {
  const shift = items - (end + 1 - slot);
  if (load<i32>(tree, HEADER_HAD_RCU) == 0 && shift >= -2) {
    spliceInPlace(node, count, slot, end + 1, items, leafMax);
    if (isTracking) updateGaps(node);
    noteChange(delta);
    return 0;
  }
  if (isSeen(leaf)) return NOT_MINE;
  const copy = take(leaves);
  if (copy == 0) return NO_LEAVES;
  const target = addressOf(copy);
  splice(node, target, count, slot, end + 1, items, leafMax);
  // Pairs with the load of a mover.
  atomic.store<u32>(target, parentOfHeight(0), NODE_PARENT);
  claim(leaf);
  publish(0, copy);
  retire(leaf);
  defer(leaf);
  if (isTracking) updateGaps(target);
  noteChange(delta);
  return 0;
}
