/**
 * Looking an entry up: inside a read section or under the tree's lock, with one atomic load a node, as `lookup` of `../node.ts` does.
 */
import { enterTree, leaveTree, NOT_ENTERED } from "./lock";
import {
  addressOf,
  hasNarrowNodes,
  HEADER_FLAGS,
  HEADER_ROOT,
  heightOf,
  identityOf,
  isRcu,
  RESERVED,
  slotFor,
  slotOf,
} from "./node";
import { enter, leave } from "./thread";

/** The entry at an index, inside a read section or under the lock. */
export function lookUpInside(header: u32, index: f64): u32 {
  const flags = atomic.load<i32>(addressOf(header), HEADER_FLAGS);
  return entryAt(header, index, hasNarrowNodes(flags));
}

/** As `lookUpInside`, where it is known whether inner nodes are narrow. */
export function entryAt(header: u32, index: f64, areNarrow: bool): u32 {
  let ref = atomic.load<u32>(addressOf(header), HEADER_ROOT);
  if (ref == 0) return 0;
  const key = f64x2.splat(index);
  let height = heightOf(addressOf(ref));
  do {
    const node = addressOf(ref);
    ref = slotOf(node, slotFor(node, key, areNarrow && height > 0));
  } while (height-- > 0);
  return ref;
}

/**
 * The entry at an index, 0 where it is reserved, in a read section of its own; the reserved entry if the tree's flags are not these, or
 * say that readers need the lock.
 */
export function lookUp(header: u32, index: f64, flags: i32): u32 {
  if (!isRcu(flags)) return RESERVED;
  const entered = enter();
  let found = RESERVED;
  if (atomic.load<i32>(addressOf(header), HEADER_FLAGS) == flags) {
    found = entryAt(header, index, hasNarrowNodes(flags));
    if (found == RESERVED) found = 0;
  }
  leave(entered);
  return found;
}

/**
 * The entry at an index, 0 where it is reserved, of a tree of those flags, which say that readers need the lock: that is taken and
 * released here, unless what is returned is below 0. See `lock.ts`.
 */
export function enterLookUp(header: u32, index: f64, flags: i32): f64 {
  // Another mode is another way to read.
  if (atomic.load<i32>(addressOf(header), HEADER_FLAGS) != flags) return NOT_ENTERED;
  const identity = identityOf(flags);
  const refused = enterTree(header, identity);
  if (refused != 0) return refused;
  const found = entryAt(header, index, hasNarrowNodes(flags));
  return leaveTree(header, identity, found == RESERVED ? 0 : <f64>found);
}
