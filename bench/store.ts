/**
 * Workload: building a tree by storing its ranges in random order, in RCU mode.
 *
 * @module
 */
import { RangeTree } from "../mod.ts";
import { GAPPED, PACKED, storeOrder } from "./keys.ts";
import {
  emptyPeer,
  hashOfPeer,
  hashOfTree,
  type Held,
  onlyArenaFor,
  storeAll,
  storeGappedInPeer,
  storePackedInPeer,
} from "./trees.ts";
import {
  nanosEach,
  type Outcome,
  runVariant,
  type Variant,
} from "./variant.ts";

function treeOf(width: number): Variant {
  return (ranges, largest) => {
    const tree = RangeTree.create(onlyArenaFor(largest), { rcu: true });
    const order = storeOrder(ranges);
    const start = performance.now();
    storeAll(tree, order, width);
    const nanos = nanosEach(start, ranges);
    const hash = hashOfTree(tree);
    tree.destroy();
    return { hash, figures: { nanos } };
  };
}

function packedPeer(ranges: number): Outcome {
  const peer = emptyPeer<number>();
  const order = storeOrder(ranges);
  const start = performance.now();
  storePackedInPeer(peer, order);
  const nanos = nanosEach(start, ranges);
  const heldOf = (value: number, first: number) => ({
    last: first + PACKED - 1,
    value,
  });
  return { hash: hashOfPeer(peer, heldOf), figures: { nanos } };
}

function gappedPeer(ranges: number): Outcome {
  const peer = emptyPeer<Held>();
  const order = storeOrder(ranges);
  const start = performance.now();
  storeGappedInPeer(peer, order, GAPPED);
  const nanos = nanosEach(start, ranges);
  return { hash: hashOfPeer(peer, (held) => held), figures: { nanos } };
}

if (import.meta.main) {
  await runVariant({
    "packed tree": treeOf(PACKED),
    "packed sorted-btree": packedPeer,
    "gapped tree": treeOf(GAPPED),
    "gapped sorted-btree": gappedPeer,
  });
}
