/**
 * Looking addresses up, from any thread, without a lock: `VaManager.lookup` and `VaManager.translate`, each with its read section;
 * both for several addresses at once, which wait for memory together (see `../../range_tree/assembly/many.ts`); and what the
 * outer lock's holder asks before it makes operations.
 *
 * The manager's word of life is loaded within the section. If it is what it was, the trees and the mappings that can be found from
 * here on are there until the section ends: destroying a manager ends its life first, and frees all of it a grace period later.
 * The fields of a mapping never change once it is in the tree, so they are read plainly behind the atomic load that found its
 * ref; but for the flags, which are loaded atomically.
 */
import {
  addressOf,
  HEADER_ROOT,
  heightOf,
  MAX_INDEX,
  pivotBefore,
  pivotOf,
  slotFor,
  slotOf,
} from "../../range_tree/assembly/node";
import { findMany, FOUND } from "../../range_tree/assembly/many";
import { entryAt } from "../../range_tree/assembly/reader";
import { enter, leave, scratch } from "../../range_tree/assembly/thread";
import {
  MANAGER_LIFE,
  MAPPING_FLAGS,
  MAPPING_OBJECT,
  MAPPING_OFFSET,
  MAPPING_PHASE,
  MAPPING_REPEAT,
  MAPPING_START,
} from "./mapping";

/** What `locate` answers where the manager was destroyed. */
const DEAD: i32 = -1;
/** What `covering` answers where more than one mapping may overlap a range, or a mapping and a hole. */
const SEVERAL: i32 = -1;
/** What it adds to a mapping that covers nothing else. */
const EXACT: u32 = 1 << 30;

/** The mapping that covers an address, 0 = none. Inside a read section. The tree of mappings tracks no gaps. */
function refAt(tree: u32, address: f64): u32 {
  return address >= 0 && address <= MAX_INDEX ? entryAt(tree, address, false) : 0;
}

/** Where an address leads, -1 if nothing is mapped there; -2 if the manager is not the one with that life. */
export function translate(header: u32, life: i32, tree: u32, address: f64): f64 {
  const entered = enter();
  let place: f64 = -2;
  if (atomic.load<i32>(addressOf(header), MANAGER_LIFE) == life) {
    const ref = refAt(tree, address);
    place = ref == 0 ? -1 : offsetAt(addressOf(ref), address);
  }
  leave(entered);
  return place;
}

/** As `offsetAt` of `../mapping.ts`. */
function offsetAt(mapping: usize, address: f64): f64 {
  const into = address - load<f64>(mapping, MAPPING_START);
  const offset = load<f64>(mapping, MAPPING_OFFSET);
  const repeat = load<f64>(mapping, MAPPING_REPEAT);
  if (repeat == 0) return offset + into;
  // As `phaseBehind` there. A block is a whole number, and an address of the mapping is not before its start.
  const phase = load<f64>(mapping, MAPPING_PHASE);
  const whole = floor<f64>(into);
  const within = <f64>(<i64>whole % <i64>repeat) + (into - whole);
  const rest = repeat - phase;
  return offset + (within < rest ? phase + within : within - rest);
}

/** The mapping that covers an address, whose fields are left in the scratch words; 0 = none, -1 = the manager is no more. */
export function locate(header: u32, life: i32, tree: u32, address: f64): i32 {
  const entered = enter();
  let answer = DEAD;
  if (atomic.load<i32>(addressOf(header), MANAGER_LIFE) == life) {
    const ref = refAt(tree, address);
    if (ref != 0) copyFields(addressOf(ref));
    answer = <i32>ref;
  }
  leave(entered);
  return answer;
}

// Behind what `goDown` leaves: copies of up to 16 mappings.
const COPIES: usize = 192;
const MAPPING_BYTES: usize = 64;

/**
 * Puts in the place of so many addresses, which are the first doubles of the scratch words, where they lead, as `translate`; says
 * whether the manager is the one with that life.
 */
export function translateMany(header: u32, life: i32, tree: u32, count: i32): bool {
  const entered = enter();
  const isLive = atomic.load<i32>(addressOf(header), MANAGER_LIFE) == life;
  if (isLive) {
    findAll(tree, count);
    for (let i: i32 = 0; i < count; i++) {
      const ref = foundAt(i), address = addressAt(i);
      const place = ref == 0 ? -1 : offsetAt(addressOf(ref), address);
      store<f64>(scratch + (<usize>i << 3), place);
    }
  }
  leave(entered);
  return isLive;
}

/**
 * Leaves copies of the mappings that cover so many addresses in the scratch words, and before these their refs, 0 = none; says
 * whether the manager is the one with that life.
 */
export function locateMany(header: u32, life: i32, tree: u32, count: i32): bool {
  const entered = enter();
  const isLive = atomic.load<i32>(addressOf(header), MANAGER_LIFE) == life;
  if (isLive) {
    findAll(tree, count);
    for (let i: i32 = 0; i < count; i++) {
      const ref = foundAt(i);
      const copy = scratch + COPIES + <usize>i * MAPPING_BYTES;
      if (ref != 0) copyFieldsTo(copy, addressOf(ref));
    }
  }
  leave(entered);
  return isLive;
}

/**
 * Finds the mappings that cover so many addresses, and reads each one's line, none of which is waited for. What is no address is looked
 * for as -1: behind the last address a descent would come to slots that are not used.
 */
function findAll(tree: u32, count: i32): void {
  for (let i: i32 = 0; i < count; i++) {
    const address = addressAt(i);
    if (!(address >= 0 && address <= MAX_INDEX)) {
      store<f64>(scratch + (<usize>i << 3), -1);
    }
  }
  findMany(tree, count, false);
  let touched: u32 = 0;
  for (let i: i32 = 0; i < count; i++) {
    if (addressAt(i) < 0) store<u32>(scratch + (<usize>i << 2), 0, FOUND);
    // Where there is none this reads the arena's first words.
    touched ^= load<u32>(addressOf(foundAt(i)), MAPPING_OBJECT);
  }
  store<u32>(scratch, touched, COPIES);
}

function addressAt(i: i32): f64 {
  return load<f64>(scratch + (<usize>i << 3));
}

function foundAt(i: i32): u32 {
  return load<u32>(scratch + (<usize>i << 2), FOUND);
}

/**
 * The mapping that covers all of a range, with a bit if it covers nothing else; 0 = it is a hole, -1 = neither. Under the outer lock. The
 * mapping's line is not waited for.
 */
export function covering(tree: u32, first: f64, last: f64): i32 {
  const entered = enter();
  let ref = atomic.load<u32>(addressOf(tree), HEADER_ROOT);
  let before: f64 = -1;
  let end = MAX_INDEX;
  if (ref != 0) {
    const key = f64x2.splat(first);
    let height = heightOf(addressOf(ref));
    do {
      const node = addressOf(ref);
      const slot = slotFor(node, key, false);
      if (slot != 0) before = pivotBefore(node, slot);
      end = pivotOf(node, slot, end);
      ref = slotOf(node, slot);
    } while (height-- > 0);
  }
  leave(entered);
  // The entry's end, not the mapping's: where a thread died while it cut one, that may be several entries still.
  if (end < last) return SEVERAL;
  return <i32>(ref != 0 && before + 1 == first && end == last ? ref | EXACT : ref);
}

/** Leaves the fields of a mapping in the scratch words, in the same places. */
function copyFields(mapping: usize): void {
  copyFieldsTo(scratch, mapping);
}

function copyFieldsTo(copy: usize, mapping: usize): void {
  v128.store(copy, v128.load(mapping, MAPPING_START), MAPPING_START);
  v128.store(copy, v128.load(mapping, MAPPING_OFFSET), MAPPING_OFFSET);
  store<f64>(copy, load<f64>(mapping, MAPPING_PHASE), MAPPING_PHASE);
  store<u32>(copy, load<u32>(mapping, MAPPING_OBJECT), MAPPING_OBJECT);
  store<u32>(copy, atomic.load<u32>(mapping, MAPPING_FLAGS), MAPPING_FLAGS);
}
