/**
 * Walks along the ranges of a tree: down to one slot of one leaf, and on from there. As `Walk` of `../walk.ts`.
 *
 * A walk is taken inside a read section or under the tree's lock, with one atomic load a slot. The functions that are given flags
 * enter a read section of their own, and answer -1 if the tree's flags are not these or say that readers need the lock; where the
 * caller protects the walk it gives 0, which no tree's flags are. Reserved ranges are passed over like empty ones, but not by `seek`
 * and the steps.
 */
import {
  addressOf,
  countOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_GENERATION,
  HEADER_ROOT,
  heightOf,
  isRcu,
  linesOf,
  MAX_INDEX,
  MAX_SLOTS,
  pivotBefore,
  pivotOf,
  RESERVED,
  slotFor,
  slotOf,
} from "./node";
import { enter, leave, scratch } from "./thread";

// What `seek` leaves; a search or a step leaves of it what it found.
const FIRST: usize = 0;
const LAST: usize = 8;
const MIN: usize = 16;
const MAX: usize = 24;
const VALUE: usize = 32;
const LEAF: usize = 36;
const SLOT: usize = 40;
const COUNT: usize = 44;

/** The most entries that are copied: what follows their room in the scratch words is of the supply of nodes (`supply.ts`). */
const MAX_COPIED: i32 = 124;
// What copying leaves: the first index and the last one of each entry, as doubles, what it holds, in words; the tree's generation, and
// how many there are.
const FIRSTS: usize = 0;
const LASTS: usize = MAX_COPIED << 3;
const VALUES: usize = MAX_COPIED << 4;
const GENERATION: usize = VALUES + (MAX_COPIED << 2);
const COPIED: usize = GENERATION + 4;

// Where the walk is. No two are under way at a time.
let leaf: u32 = 0;
let node: usize = 0;
let slot: i32 = 0;
let count: i32 = 0;
let min: f64 = 0;
let max: f64 = 0;
let first: f64 = 0;
let last: f64 = 0;
let value: u32 = 0;
// The parent of the leaf, none above a root leaf; in which slot it is, and what the parent covers. Within one section, or under the lock,
// the way on over it is as good as a new one from the root: if it was replaced since, the generation tells that the tree has changed.
let parent: usize = 0;
let place: i32 = 0;
let parentMin: f64 = 0;
let parentMax: f64 = 0;
// How many entries were copied.
let copied: i32 = 0;

/** Walks to the range that covers an index. */
export function seek(header: u32, index: f64): void {
  walkTo(header, index);
  leaveWalk();
}

function leaveWalk(): void {
  store<f64>(scratch, first, FIRST);
  store<f64>(scratch, last, LAST);
  store<f64>(scratch, min, MIN);
  store<f64>(scratch, max, MAX);
  store<u32>(scratch, value, VALUE);
  store<u32>(scratch, leaf, LEAF);
  store<i32>(scratch, slot, SLOT);
  store<i32>(scratch, count, COUNT);
}

/**
 * The first entry that contains or follows an index and begins at or before `bound`, 0 if there is none.
 *
 * @param passes Whether the one that contains the index is passed over.
 */
export function find(
  header: u32,
  index: f64,
  bound: f64,
  passes: bool,
  flags: i32,
): f64 {
  const entered = enter();
  let found: f64 = -1;
  if (isSafe(header, flags)) {
    if (index <= bound) {
      walkTo(header, index);
      do {
        if (passes) value = 0;
        while (!isEntry(value)) {
          if (!forward(header, bound)) break;
        }
        // Behind the leaf the way on may have led over a newer root, to a range that contains the index.
      } while (passes && value != 0 && first <= index);
    } else {
      value = 0;
    }
    found = leaveEntry();
  }
  leave(entered);
  return found;
}

/** The last entry that ends before an index and at or after `bound`, 0 if there is none: before the range that contains the index. */
export function findBefore(
  header: u32,
  index: f64,
  bound: f64,
  flags: i32,
): f64 {
  const entered = enter();
  let found: f64 = -1;
  if (isSafe(header, flags)) {
    walkTo(header, index);
    do {
      value = 0;
      while (!isEntry(value)) {
        if (!backward(header, bound)) break;
      }
    } while (value != 0 && last >= index);
    found = leaveEntry();
  }
  leave(entered);
  return found;
}

/** What a step answers if there is nothing where it should go, or the tree has changed … */
const NOWHERE: i32 = -1;
/** … and if it left the leaf: then it leaves what `seek` does. */
const ELSEWHERE: i32 = -2;

/**
 * Goes on from a slot of a leaf to the next one, or the next one that is not empty, whose range begins at or before `bound`; says which,
 * if it is in the same leaf. Inside a read section or under the lock, if the tree's generation is still that one. In a newer tree, to
 * which the way on may lead, a range that contains the slot's first index is passed.
 *
 * @param start The first index of the slot.
 * @param end Its last.
 * @param leafMax That of the leaf.
 */
export function stepOn(
  header: u32,
  generation: i32,
  leaf: u32,
  slot: i32,
  start: f64,
  end: f64,
  leafMax: f64,
  bound: f64,
  skipsEmpty: bool,
): i32 {
  if (generationOf(header) != generation) return NOWHERE;
  const node = addressOf(leaf);
  const count = countOf(node);
  while (end < bound && ++slot < count) {
    const begin = end + 1;
    end = pivotOf(node, slot, leafMax);
    const word = slotOf(node, slot);
    if (word != 0 || !skipsEmpty) {
      leaveRange(begin, end, word);
      return slot;
    }
  }
  if (end >= bound) return NOWHERE;
  walkTo(header, end + 1);
  while ((skipsEmpty && value == 0) || first <= start) {
    if (!forward(header, bound)) return NOWHERE;
  }
  leaveWalk();
  return ELSEWHERE;
}

/**
 * Goes back from a slot of a leaf to the one before, whose range ends at or after `bound`, as `stepOn`.
 *
 * @param start The last index of the slot.
 * @param begin Its first.
 * @param leafMin That of the leaf.
 */
export function stepBack(
  header: u32,
  generation: i32,
  leaf: u32,
  slot: i32,
  start: f64,
  begin: f64,
  leafMin: f64,
  bound: f64,
  skipsEmpty: bool,
): i32 {
  if (generationOf(header) != generation) return NOWHERE;
  const node = addressOf(leaf);
  while (begin > bound && --slot >= 0) {
    const end = begin - 1;
    begin = slot > 0 ? pivotBefore(node, slot) + 1 : leafMin;
    const word = slotOf(node, slot);
    if (word != 0 || !skipsEmpty) {
      leaveRange(begin, end, word);
      return slot;
    }
  }
  if (begin <= bound) return NOWHERE;
  walkTo(header, begin - 1);
  while ((skipsEmpty && value == 0) || last >= start) {
    if (!backward(header, bound)) return NOWHERE;
  }
  leaveWalk();
  return ELSEWHERE;
}

/**
 * Copies the entries that overlap `from` … `to`, from the first on, as far as they are in one of so many leaves and there is
 * room for a whole leaf, and leaves how many there are. Up to the index that it answers there are no others.
 */
export function copyForward(
  header: u32,
  from: f64,
  to: f64,
  leaves: i32,
  flags: i32,
): f64 {
  const entered = enter();
  let reached: f64 = -1;
  if (isSafe(header, flags)) {
    beginCopying(header);
    walkTo(header, from);
    if (max < to) touchLeaves(place + 1, place + leaves + 1);
    reached = copyOn(to);
    while (--leaves > 0 && max < to && hasRoom()) {
      toNextLeaf(header);
      // Where the way on led over a newer root, a range may begin before: then what follows is for another call.
      if (first != reached + 1) break;
      reached = copyOn(to);
    }
    store<i32>(scratch, copied, COPIED);
  }
  leave(entered);
  return reached;
}

/** As `copyForward`, but from the last entry back: down to the index that it answers there are no others. */
export function copyBackward(
  header: u32,
  from: f64,
  to: f64,
  leaves: i32,
  flags: i32,
): f64 {
  const entered = enter();
  let reached: f64 = -1;
  if (isSafe(header, flags)) {
    beginCopying(header);
    walkTo(header, to);
    if (min > from) touchLeaves(place - leaves, place);
    reached = copyBack(from);
    while (--leaves > 0 && min > from && hasRoom()) {
      toPreviousLeaf(header);
      if (last != reached - 1) break;
      reached = copyBack(from);
    }
    store<i32>(scratch, copied, COPIED);
  }
  leave(entered);
  return reached;
}

/** How many entries overlap `from` … `to`: inside a read section or under the lock. */
export function countEntries(header: u32, from: f64, to: f64): f64 {
  walkTo(header, from);
  let entries = countOn(to);
  while (max < to) {
    walkTo(header, max + 1);
    entries += countOn(to);
  }
  return <f64>entries;
}

/** Whether the caller protects the walk; or the section does, in which this was entered, and the tree is the one with these flags. */
function isSafe(header: u32, flags: i32): bool {
  if (flags == 0) return true;
  return isRcu(flags) &&
    atomic.load<i32>(addressOf(header), HEADER_FLAGS) == flags;
}

function isEntry(word: u32): bool {
  return word != 0 && word != RESERVED;
}

function walkTo(header: u32, index: f64): void {
  const tree = addressOf(header);
  let ref = atomic.load<u32>(tree, HEADER_ROOT);
  let from: f64 = 0, to = MAX_INDEX;
  parent = 0;
  if (ref != 0) {
    const key = f64x2.splat(index);
    const areNarrow = hasNarrowNodes(atomic.load<i32>(tree, HEADER_FLAGS));
    let at = addressOf(ref);
    let height = heightOf(at);
    let child = slotFor(at, key, areNarrow && height > 0);
    while (height > 0) {
      if (--height == 0) {
        parent = at;
        place = <i32>child;
        parentMin = from;
        parentMax = to;
      }
      if (child > 0) from = pivotBefore(at, child) + 1;
      to = pivotOf(at, child, to);
      ref = slotOf(at, child);
      at = addressOf(ref);
      child = slotFor(at, key, areNarrow && height > 0);
    }
    node = at;
    slot = <i32>child;
    count = countOf(at);
    first = child > 0 ? pivotBefore(at, child) + 1 : from;
    last = pivotOf(at, child, to);
    value = slotOf(at, child);
  } else {
    slot = 0;
    count = 0;
    first = 0;
    last = MAX_INDEX;
    value = 0;
  }
  leaf = ref;
  min = from;
  max = to;
}

/** Goes on to the next range if it begins at or before `bound`; nothing is found if not. */
function forward(header: u32, bound: f64): bool {
  if (last >= bound) {
    value = 0;
    return false;
  }
  if (slot + 1 < count) {
    slot++;
    first = last + 1;
    last = pivotOf(node, slot, max);
    value = slotOf(node, slot);
  } else {
    walkTo(header, last + 1);
  }
  return true;
}

/** Goes back to the range before if it ends at or after `bound`; nothing is found if not. */
function backward(header: u32, bound: f64): bool {
  if (first <= bound) {
    value = 0;
    return false;
  }
  if (slot > 0) {
    slot--;
    last = first - 1;
    first = slot > 0 ? pivotBefore(node, slot) + 1 : min;
    value = slotOf(node, slot);
  } else {
    walkTo(header, first - 1);
  }
  return true;
}

function leaveEntry(): f64 {
  store<f64>(scratch, first, FIRST);
  store<f64>(scratch, last, LAST);
  return <f64>value;
}

function leaveRange(begin: f64, end: f64, word: u32): void {
  store<f64>(scratch, begin, FIRST);
  store<f64>(scratch, end, LAST);
  store<u32>(scratch, word, VALUE);
}

function generationOf(header: u32): i32 {
  return atomic.load<i32>(addressOf(header), HEADER_GENERATION);
}

/** Before anything is copied, notes the generation: so what is copied is at least as new. */
function beginCopying(header: u32): void {
  store<i32>(scratch, generationOf(header), GENERATION);
  copied = 0;
}

/** Goes on to the first range behind the leaf, where there is one. */
function toNextLeaf(header: u32): void {
  if (parent == 0 || place + 1 >= countOf(parent)) {
    walkTo(header, max + 1);
    return;
  }
  place++;
  min = max + 1;
  max = pivotOf(parent, place, parentMax);
  leaf = slotOf(parent, place);
  node = addressOf(leaf);
  count = countOf(node);
  slot = 0;
  first = min;
  last = pivotOf(node, 0, max);
}

/**
 * Reads a word of each line of the parent's leaves in these slots, as far as there are such: so they are waited for together, and
 * while others are copied. What is read is kept, so that the reads are not left out, in the place of the first copy.
 */
function touchLeaves(from: i32, to: i32): void {
  if (parent == 0) return;
  if (from < 0) from = 0;
  const count = countOf(parent), end = to < count ? to : count;
  let touched: u32 = 0;
  for (let at = from; at < end; at++) {
    touched ^= linesOf(addressOf(slotOf(parent, at)));
  }
  store<u32>(scratch, touched);
}

/** Goes back to the last range before the leaf, where there is one. */
function toPreviousLeaf(header: u32): void {
  if (parent == 0 || place == 0) {
    walkTo(header, min - 1);
    return;
  }
  place--;
  max = min - 1;
  min = place > 0 ? pivotBefore(parent, place) + 1 : parentMin;
  leaf = slotOf(parent, place);
  node = addressOf(leaf);
  count = countOf(node);
  slot = count - 1;
  first = slot > 0 ? pivotBefore(node, slot) + 1 : min;
  last = max;
}

/**
 * Copies the entries of the leaf, from where the walk is on, that begin at or before `to`, behind those that were copied; answers where
 * the last of these slots ends. There is no branch that could be predicted wrongly: over an empty range the next one is written.
 */
function copyOn(to: f64): f64 {
  // In a tree without nodes there is one empty range.
  if (count == 0) return last;
  const end = max > to ? <i32>slotFor(node, f64x2.splat(to), false) + 1 : count;
  let begin = first, added = copied;
  for (let at = slot; at < end; at++) {
    const bound = pivotOf(node, at, max), word = slotOf(node, at);
    writeEntry(added, begin, bound, word);
    added += i32(isEntry(word));
    begin = bound + 1;
  }
  copied = added;
  return begin - 1;
}

/** As `copyOn`, from where the walk is back, those that end at or after `from`; answers where the last of the slots begins. */
function copyBack(from: f64): f64 {
  if (count == 0) return first;
  const end = min < from ? <i32>slotFor(node, f64x2.splat(from), false) : 0;
  let bound = last, added = copied;
  for (let at = slot; at >= end; at--) {
    const begin = at > 0 ? pivotBefore(node, at) + 1 : min, word = slotOf(node, at);
    writeEntry(added, begin, bound, word);
    added += i32(isEntry(word));
    bound = begin - 1;
  }
  copied = added;
  return bound + 1;
}

function writeEntry(at: i32, begin: f64, end: f64, word: u32): void {
  const words = scratch + (<usize>at << 2), doubles = words + (<usize>at << 2);
  store<f64>(doubles, begin, FIRSTS);
  store<f64>(doubles, end, LASTS);
  store<u32>(words, word, VALUES);
}

/** Whether there is room for the entries of a whole leaf more. */
function hasRoom(): bool {
  return copied + MAX_SLOTS <= MAX_COPIED;
}

function countOn(to: f64): i32 {
  let entries: i32 = 0;
  let begin = first;
  for (let at = slot; at < count && begin <= to; at++) {
    if (isEntry(slotOf(node, at))) entries++;
    begin = pivotOf(node, at, max) + 1;
  }
  return entries;
}
