/**
 * The mover's loops: a copy of a node put in its place, and what is read beforehand so that it is at hand then. They do what
 * `src/defrag/relocate.ts` does, in the same steps, which that file argues.
 *
 * A ref that a parent word or a slot holds may be anything, where the node is nobody's or somebody's private one. In TypeScript
 * a read outside of the memory is no number; here it would be a trap. So what is no node's place is not followed.
 */
import {
  addressOf,
  countOf,
  HEADER_ROOT,
  heightOf,
  linesOf,
  MAX_SLOTS,
  NODE_LINK,
  NODE_PARENT,
  NODE_SLOTS,
} from "./node";
import { scratch } from "./thread";

/** As in `../path.ts`. */
const MAX_HEIGHT: i32 = 16;
// What the caller leaves: up to 64 nodes, and a place for each.
const NODES: usize = 0;
const PLACES: usize = 64 * 4;
/** In the answer of `moveRun`: the lock is still held, since others wait for it. */
const IS_HELD: i32 = 0x100;

let firstRef: u32 = 0;
let endRef: u32 = 0;
let thread: i32 = 0;
let hands: i32 = 0;

/**
 * Says which refs lie in pages, who takes the locks, and what the link word of a node in its hands says.
 *
 * @param end The first ref behind all pages.
 */
export function bindMover(first: u32, end: u32, owner: i32, claim: i32): void {
  firstRef = first;
  endRef = end;
  thread = owner;
  hands = claim;
}

/** Whether a node can lie there. */
function isNodeRef(ref: u32): bool {
  return ref >= firstRef && ref < endRef && (ref & 3) == 0;
}

function isHeaderParent(parent: u32): bool {
  return (parent & 1) != 0;
}

/** The parent word: pairs with the stores of whoever links, moves or retires the node. */
function parentOf(ref: u32): u32 {
  return atomic.load<u32>(addressOf(ref), NODE_PARENT);
}

/**
 * Fetches the first `count` of the nodes that the caller left, their places, parents and children. Inside a read section.
 *
 * @returns What was read, which is of no use to anybody.
 */
export function fetchNodes(count: i32): u32 {
  let fetched: u32 = 0;
  for (let i: usize = 0; i < <usize>count; i++) {
    fetched ^= linesOf(addressOf(load<u32>(scratch + (i << 2), NODES)));
    fetched ^= linesOf(addressOf(load<u32>(scratch + (i << 2), PLACES)));
  }
  for (let i: usize = 0; i < <usize>count; i++) {
    const node = load<u32>(scratch + (i << 2), NODES);
    const parent = parentOf(node);
    // Of a parent no more is looked at than its first word and its slots.
    if (isNodeRef(parent)) {
      const at = addressOf(parent);
      fetched ^= load<u32>(at) ^ load<u32>(at, 128) ^ load<u32>(at, 192);
    }
    if (heightOf(addressOf(node)) > 0) fetched ^= touchChildren(node);
  }
  return fetched;
}

/** Fetches the parent words of a node's children. */
function touchChildren(ref: u32): u32 {
  const node = addressOf(ref), count = slotCount(node);
  let fetched: u32 = 0;
  for (let slot: usize = 0; slot < <usize>count; slot++) {
    // Plain: nothing is done with what is read there.
    const child = load<u32>(node + (slot << 2), NODE_SLOTS);
    if (isNodeRef(child)) fetched ^= load<u32>(addressOf(child));
  }
  return fetched;
}

/** How many slots a node uses: no more than it has, whatever lies there. */
function slotCount(node: usize): i32 {
  return min(countOf(node) & 0xff, MAX_SLOTS);
}

/**
 * Moves the first nodes of the `count` that the caller left, as long as they are linked in the tree of that header and its lock
 * is free: each under a hold of its own. Inside a read section.
 *
 * @param lock The index of the word of the tree's lock.
 * @returns How many were moved, and whether the lock is still held because others wait for it: then the caller releases it.
 */
export function moveRun(count: i32, header: u32, lock: i32): i32 {
  const word = <usize>lock << 2;
  for (let i = 0; i < count; i++) {
    // Pairs with the compare-exchange or store of whoever released it.
    if (atomic.cmpxchg<i32>(word, 0, thread) != 0) return i;
    const at = scratch + (<usize>i << 2);
    const isMoved = replace(load<u32>(at, NODES), load<u32>(at, PLACES), header);
    // Pairs with the compare-exchange of whoever takes it next.
    if (atomic.cmpxchg<i32>(word, thread, 0) != thread) {
      return (i + <i32>isMoved) | IS_HELD;
    }
    if (!isMoved) return i;
  }
  return count;
}

/**
 * Puts a copy in a node's place, if the node is linked in the tree of that header; says whether it did. Under the tree's lock.
 *
 * @param copy A private place.
 */
export function replace(ref: u32, copy: u32, header: u32): bool {
  const node = addressOf(ref), target = addressOf(copy);
  // Once, for the check and for the replacing: see `#isLinked` of the mover.
  const above = parentOf(ref);
  if (!isLinked(ref, above, header)) return false;
  const isRoot = isHeaderParent(above);
  const slot = isRoot ? 0 : slotOfChild(addressOf(above), ref);
  if (slot < 0) return false;
  copyNode(node, target);
  atomic.store<u32>(target, above, NODE_PARENT);
  if (heightOf(target) > 0) adoptChildren(copy);
  // In whose hands the node is, before it is taken out.
  store<i32>(node, hands, NODE_LINK);
  // Pairs with the loads of readers, on their way down.
  if (isRoot) atomic.store<u32>(addressOf(header), copy, HEADER_ROOT);
  else atomic.store<u32>(addressOf(above) + (<usize>slot << 2), copy, NODE_SLOTS);
  // Dead. Pairs with the loads of whoever walks up, or has kept the ref.
  atomic.store<u32>(node, ref, NODE_PARENT);
  return true;
}

/** Whether from the node's parent on each parent's slot holds the child, and the header's root is the topmost. */
function isLinked(node: u32, above: u32, header: u32): bool {
  let child = node, parent = above;
  for (let steps = 0; steps <= MAX_HEIGHT; steps++) {
    if (isHeaderParent(parent)) {
      return parent == header + 1 &&
        atomic.load<u32>(addressOf(header), HEADER_ROOT) == child;
    }
    if (parent == child || !isNodeRef(parent)) return false;
    if (steps > 0 && slotOfChild(addressOf(parent), child) < 0) return false;
    child = parent;
    parent = parentOf(child);
  }
  return false;
}

/** The slot of a node that holds a child; -1 if none does. All slots are compared, four at a time. Under the tree's lock. */
function slotOfChild(node: usize, child: u32): i32 {
  const key = i32x4.splat(child);
  // Plain: only the holder of the lock changes slots.
  const found = i32x4.bitmask(i32x4.eq(v128.load(node, NODE_SLOTS), key)) |
    i32x4.bitmask(i32x4.eq(v128.load(node, NODE_SLOTS + 16), key)) << 4 |
    i32x4.bitmask(i32x4.eq(v128.load(node, NODE_SLOTS + 32), key)) << 8 |
    i32x4.bitmask(i32x4.eq(v128.load(node, NODE_SLOTS + 48), key)) << 12 |
    i32x4.bitmask(i32x4.eq(v128.load(node, NODE_SLOTS + 64), key)) << 16 |
    <i32>(load<u32>(node, NODE_SLOTS + 80) == child) << 20;
  // What lies behind the slots in use is left of an earlier life, or a gap.
  const used = found & ((1 << slotCount(node)) - 1);
  return used == 0 ? -1 : ctz(used);
}

/** Copies a live node into a private one, all but its parent and link. Under the tree's lock. */
function copyNode(node: usize, target: usize): void {
  store<u32>(target, load<u32>(node, 4), 4);
  store<u64>(target, load<u64>(node, 8), 8);
  for (let at: usize = 16; at < 240; at += 32) {
    // Plain: only the holder of the lock changes slots.
    v128.store(target + at, v128.load(node + at));
    v128.store(target + at, v128.load(node + at, 16), 16);
  }
  store<u64>(target, load<u64>(node, 240), 240);
  store<u32>(target, load<u32>(node, 248), 248);
}

/** Points all children of a node at it. Under the tree's lock. */
function adoptChildren(ref: u32): void {
  const node = addressOf(ref), count = slotCount(node);
  for (let slot: usize = 0; slot < <usize>count; slot++) {
    const child = load<u32>(node + (slot << 2), NODE_SLOTS);
    // Pairs with the loads of whoever walks up.
    atomic.store<u32>(addressOf(child), ref, NODE_PARENT);
  }
}
