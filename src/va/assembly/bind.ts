/**
 * What a bind looks for under the tree's lock, so that slots are read plainly: only the holder of the lock changes them.
 */
import {
  addressOf,
  HEADER_ROOT,
  heightOf,
  NODE_SLOTS,
  pivotOf,
  slotFor,
} from "../../range_tree/assembly/node";
import { scratch } from "../../range_tree/assembly/thread";
import {
  MAPPING_LAST,
  MAPPING_NEXT,
  MAPPING_PREV,
  MAPPING_START,
} from "./mapping";

// What `heldWhole` leaves: the word of the slot, and what nobody looks at.
const SLOT_WORD: usize = 0;
const TOUCHED: usize = 4;

const MAX_INDEX: f64 = 9007199254740991;

/**
 * The mapping of exactly that range, the word of whose slot is left in the scratch words; 0 = a hole covers all of it, -1 = neither.
 * Under the tree's lock and the outer lock.
 */
export function heldWhole(tree: u32, first: f64, last: f64): i32 {
  let ref = load<u32>(addressOf(tree), HEADER_ROOT);
  if (ref == 0) return 0;
  const key = f64x2.splat(first);
  let end = MAX_INDEX;
  let word: usize = 0;
  let height = heightOf(addressOf(ref));
  do {
    const node = addressOf(ref);
    const slot = slotFor(node, key, false);
    end = pivotOf(node, slot, end);
    word = node + (slot << 2) + NODE_SLOTS;
    ref = load<u32>(word);
  } while (height-- > 0);
  if (ref == 0) return end >= last ? 0 : -1;
  const mapping = addressOf(ref);
  touchNeighbours(mapping);
  store<u32>(scratch, <u32>(word >> 2), SLOT_WORD);
  // An entry that ends where its mapping does, and covers the first address of it, is all of it.
  return end == last && load<f64>(mapping, MAPPING_LAST) == last &&
      load<f64>(mapping, MAPPING_START) == first
    ? <i32>ref
    : -1;
}

/**
 * Fetches the mappings before and behind this one on its VmBo's list, which change when it is taken off, while there is other
 * work to do. Under the outer lock.
 */
function touchNeighbours(mapping: usize): void {
  const next = addressOf(load<u32>(mapping, MAPPING_NEXT));
  const prev = addressOf(load<u32>(mapping, MAPPING_PREV));
  // Where there is none this reads the arena's first words. The reads are not left out, since the sum is kept.
  const touched = load<u32>(next, MAPPING_PREV) ^ load<u32>(prev, MAPPING_NEXT);
  store<u32>(scratch, touched, TOUCHED);
}
