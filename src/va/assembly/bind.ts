/**
 * A bind that replaces exactly one mapping: taking the tree's lock and looking what is there, and when the new mapping is made,
 * storing it, releasing the lock, and bringing the VmBos' lists up to date. As `bindInPlace` of `../apply.ts` does it, which says
 * why it may be done. Under the outer lock.
 *
 * Under the tree's lock slots are read plainly: only its holder changes them.
 */
import { enterTree, leaveTree } from "../../range_tree/assembly/lock";
import { FOUND, goDown } from "../../range_tree/assembly/many";
import {
  addressOf,
  HEADER_GENERATION,
  HEADER_ROOT,
  heightOf,
  MAX_INDEX,
  NODE_SLOTS,
  pivotBefore,
  pivotOf,
  slotFor,
} from "../../range_tree/assembly/node";
import { enter, leave, scratch } from "../../range_tree/assembly/thread";
import {
  BO_COUNT,
  BO_HEAD,
  BO_TAIL,
  MANAGER_NOTE_COUNT,
  MANAGER_NOTES,
  MAPPING_BO,
  MAPPING_NEXT,
  MAPPING_PREV,
} from "./mapping";

// What `heldExact` leaves: the word of the slot.
const SLOT_WORD: usize = 0;
// Behind what `goDown` leaves: what nobody looks at.
const TOUCHED: usize = 192;

/** What is answered where neither one mapping nor a hole is there. */
const NEITHER: i32 = -1;

// What `replaceAndExit` says.
const RELEASED: i32 = 1;
const FULL: i32 = 2;
/** How many replaced mappings a header can note. */
const MAX_NOTES: u32 = 8;

/** Takes the lock of a tree of that identity and does what `heldExact` does; what else is answered is that of `enterTree`. */
export function enterExact(
  tree: u32,
  identity: i32,
  first: f64,
  last: f64,
): i32 {
  const refused = enterTree(tree, identity);
  return refused != 0 ? refused : heldExact(tree, first, last);
}

/**
 * The mapping of exactly that range, the word of whose slot is left in the scratch words; 0 = a hole covers all of it, -1 = neither.
 * Under the tree's lock.
 */
export function heldExact(tree: u32, first: f64, last: f64): i32 {
  let ref = load<u32>(addressOf(tree), HEADER_ROOT);
  if (ref == 0) return 0;
  const key = f64x2.splat(first);
  let before: f64 = -1;
  let end = MAX_INDEX;
  let word: usize = 0;
  let height = heightOf(addressOf(ref));
  do {
    const node = addressOf(ref);
    const slot = slotFor(node, key, false);
    if (slot != 0) before = pivotBefore(node, slot);
    end = pivotOf(node, slot, end);
    word = node + (slot << 2) + NODE_SLOTS;
    ref = load<u32>(word);
  } while (height-- > 0);
  if (ref == 0) return end >= last ? 0 : NEITHER;
  store<u32>(scratch, <u32>(word >> 2), SLOT_WORD);
  // The entry is all of the mapping: so the mapping's line need not be waited for.
  return end == last && before + 1 == first ? <i32>ref : NEITHER;
}

/** Fetches the mappings before and behind this one on its VmBo's list, which change when it is taken off. */
function touchNeighbours(mapping: usize): void {
  const next = addressOf(load<u32>(mapping, MAPPING_NEXT));
  const prev = addressOf(load<u32>(mapping, MAPPING_PREV));
  // Where there is none this reads the arena's first words. The reads are not left out, since what they read is kept.
  const touched = load<u32>(next, MAPPING_PREV) ^ load<u32>(prev, MAPPING_NEXT);
  store<u32>(scratch, touched, TOUCHED);
}

/**
 * Fetches what binds at some addresses will look for, as far as it is there now: nodes, mappings, and the mappings before and
 * behind these. The addresses are the first doubles of the scratch words. What is found is not used, and may have changed when
 * the binds come.
 */
export function fetch(tree: u32, count: i32): void {
  const entered = enter();
  goDown(tree, count, false);
  for (let i: i32 = 0; i < count; i++) {
    const slot = <usize>load<u32>(scratch + (<usize>i << 2), FOUND);
    const ref = slot == 0 ? 0 : atomic.load<u32>(slot);
    if (ref != 0) touchNeighbours(addressOf(ref));
  }
  leave(entered);
}

/**
 * Stores a new mapping in the slot that `heldExact` found, releases the tree's lock, links the new mapping to its VmBo, unless that is
 * 0, and notes the old one, which is taken off its list later: see `../replaced.ts`. The word for the note is empty.
 *
 * @returns `RELEASED` unless somebody sleeps on the lock, who must be woken; and `FULL` if there is no word for another note.
 */
export function replaceAndExit(
  manager: u32,
  slot: i32,
  old: u32,
  fresh: u32,
  bo: u32,
  tree: u32,
  identity: i32,
): i32 {
  const header = addressOf(manager);
  const count = load<u32>(header, MANAGER_NOTE_COUNT);
  // Pairs with the load of whoever reaps a thread.
  atomic.store<u32>(header + (count << 2), old, MANAGER_NOTES);
  // Publishes the mapping: pairs with the readers' loads of the slot.
  atomic.store<u32>(<usize>slot << 2, fresh);
  store<u32>(header, count + 1, MANAGER_NOTE_COUNT);
  atomic.add<i32>(addressOf(tree), 1, HEADER_GENERATION);
  const isReleased = leaveTree(tree, identity, 0) == 0;
  if (bo != 0) link(bo, fresh);
  return (isReleased ? RELEASED : 0) | (count + 1 == MAX_NOTES ? FULL : 0);
}

/** Takes all mappings that are noted off their lists: first it fetches them, then their neighbours. */
export function unlinkNoted(manager: u32): void {
  const notes = addressOf(manager) + MANAGER_NOTES;
  const end = notes + (MAX_NOTES << 2);
  let touched: u32 = 0;
  // Where there is none this reads the arena's first words. The reads are not left out, since what they read is kept.
  for (let at = notes; at < end; at += 4) {
    touched ^= load<u32>(addressOf(load<u32>(at)), MAPPING_NEXT);
  }
  for (let at = notes; at < end; at += 4) {
    const mapping = addressOf(load<u32>(at));
    touched ^= load<u32>(addressOf(load<u32>(mapping, MAPPING_NEXT)), MAPPING_PREV);
    touched ^= load<u32>(addressOf(load<u32>(mapping, MAPPING_PREV)), MAPPING_NEXT);
  }
  store<u32>(scratch, touched, TOUCHED);
  for (let at = notes; at < end; at += 4) {
    const mapping = load<u32>(at);
    if (mapping != 0) unlink(addressOf(mapping));
  }
}

/** As `BoTable.link`. */
function link(bo: u32, mapping: u32): void {
  const list = addressOf(bo), last = addressOf(mapping);
  const tail = load<u32>(list, BO_TAIL);
  store<u32>(last, bo, MAPPING_BO);
  store<u32>(last, 0, MAPPING_NEXT);
  store<u32>(last, tail, MAPPING_PREV);
  if (tail == 0) store<u32>(list, mapping, BO_HEAD);
  else store<u32>(addressOf(tail), mapping, MAPPING_NEXT);
  store<u32>(list, mapping, BO_TAIL);
  store<u32>(list, load<u32>(list, BO_COUNT) + 1, BO_COUNT);
}

/**
 * As `BoTable.unlink`. Who looks at the VmBo's word without the outer lock learns nothing of either value: as long as the mapping is not in
 * this thread's hands it is noted (`replaced.ts`), and then it is not for others to free.
 */
function unlink(mapping: usize): void {
  const bo = load<u32>(mapping, MAPPING_BO);
  if (bo == 0) return;
  const list = addressOf(bo);
  const next = load<u32>(mapping, MAPPING_NEXT);
  const prev = load<u32>(mapping, MAPPING_PREV);
  const ref = <u32>(mapping >> 6);
  if (prev != 0) {
    if (load<u32>(addressOf(prev), MAPPING_NEXT) == ref) {
      store<u32>(addressOf(prev), next, MAPPING_NEXT);
    }
  } else if (load<u32>(list, BO_HEAD) == ref) store<u32>(list, next, BO_HEAD);
  if (next != 0) {
    if (load<u32>(addressOf(next), MAPPING_PREV) == ref) {
      store<u32>(addressOf(next), prev, MAPPING_PREV);
    }
  } else if (load<u32>(list, BO_TAIL) == ref) store<u32>(list, prev, BO_TAIL);
  store<u32>(mapping, 0, MAPPING_BO);
  store<u32>(mapping, 0, MAPPING_NEXT);
  store<u32>(mapping, 0, MAPPING_PREV);
  store<u32>(list, load<u32>(list, BO_COUNT) - 1, BO_COUNT);
}
