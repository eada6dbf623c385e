/**
 * Building what is measured: range trees, and the same ranges in the peer.
 *
 * @module
 */
import BTreeModule from "sorted-btree";
import { Arena, type ArenaOptions, type RangeTree } from "../mod.ts";
import { emptyHash, fold, SPAN } from "./keys.ts";

const BTree = BTreeModule.default;
const PAGE_BYTES = 4096;
/** More than a tree of gapped ranges takes a range, half of it spare. */
const RANGE_BYTES = 80;
const SPARE_BYTES = 2 ** 22;

/** What the peer must keep of a range where a gap may follow it. */
export interface Held {
  /** The range's last index. */
  readonly last: number;
  /** The range's entry. */
  readonly value: number;
}

/** The peer with ranges by their first indices; where no gap can follow, the bare entry is enough. */
export type Peer<Value> = InstanceType<typeof BTree<number, Value>>;

/** An arena with room for that many ranges. */
export function arenaFor(
  ranges: number,
  options: Omit<ArenaOptions, "byteLength"> = {},
): Arena {
  const bytes = ranges * RANGE_BYTES + SPARE_BYTES;
  const byteLength = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  return Arena.create({ byteLength, ...options });
}

let onlyArena: Arena | undefined;

/**
 * The arena of this process, with room for that many ranges: one for all that it does, as a program has, since V8 inlines calls
 * into WebAssembly only where they go into one arena's. Whoever warms up in it leaves nothing behind.
 */
export function onlyArenaFor(
  ranges: number,
  options: Omit<ArenaOptions, "byteLength"> = {},
): Arena {
  return onlyArena ??= arenaFor(ranges, options);
}

/** Stores ranges one by one. */
export function storeAll(
  tree: RangeTree,
  order: Int32Array,
  width: number,
): void {
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN;
    tree.storeRange(first, first + width - 1, order[i] + 1);
  }
}

/** The peer, empty. (A comparison of numbers given to it makes it no faster than its own of anything.) */
export function emptyPeer<Value>(): Peer<Value> {
  return new BTree<number, Value>();
}

/** Stores packed ranges in the peer one by one. */
export function storePackedInPeer(peer: Peer<number>, order: Int32Array): void {
  for (let i = 0; i < order.length; i++) {
    peer.set(order[i] * SPAN, order[i] + 1);
  }
}

/** Stores ranges with gaps between them in the peer one by one. */
export function storeGappedInPeer(
  peer: Peer<Held>,
  order: Int32Array,
  width: number,
): void {
  for (let i = 0; i < order.length; i++) {
    const first = order[i] * SPAN;
    peer.set(first, { last: first + width - 1, value: order[i] + 1 });
  }
}

/** The hash of all that a tree holds, in order. */
export function hashOfTree(tree: RangeTree): number {
  let hash = emptyHash();
  for (const { first, last, value } of tree) {
    hash = fold(fold(fold(hash, first), last), value);
  }
  return hash;
}

/** The hash of all that the peer holds, in order, as {@linkcode hashOfTree} makes it of the same ranges. */
export function hashOfPeer<Value>(
  peer: Peer<Value>,
  heldOf: (value: Value, first: number) => Held,
): number {
  let hash = emptyHash();
  peer.forEachPair((first, kept) => {
    const { last, value } = heldOf(kept, first);
    hash = fold(fold(fold(hash, first), last), value);
  });
  return hash;
}
