/**
 * Workload: the entry at a random index. The peer answers by a floor lookup, into an array that is used again.
 *
 * @module
 */
import { RangeTree } from "../mod.ts";
import {
  emptyHash,
  fold,
  GAPPED,
  PACKED,
  randomIndices,
  storeOrder,
} from "./keys.ts";
import {
  emptyPeer,
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

function treeOf(width: number, isOneSection: boolean): Variant {
  return (ranges, largest) => {
    const arena = onlyArenaFor(largest);
    const tree = RangeTree.create(arena, { rcu: true });
    storeAll(tree, storeOrder(ranges), width);
    const indices = randomIndices(ranges);

    const start = performance.now();
    if (isOneSection) arena.rcu.readLock();
    let hash = emptyHash();
    for (let i = 0; i < indices.length; i++) {
      hash = fold(hash, tree.load(indices[i]));
    }
    if (isOneSection) arena.rcu.readUnlock();
    const nanos = nanosEach(start, ranges);
    tree.destroy();
    return { hash, figures: { nanos } };
  };
}

/** Nothing lies between packed ranges, so the peer need not keep or look at where one ends. */
function packedPeer(ranges: number): Outcome {
  const peer = emptyPeer<number>();
  storePackedInPeer(peer, storeOrder(ranges));
  const indices = randomIndices(ranges);
  const pair: [number, number] = [0, 0];

  const start = performance.now();
  let hash = emptyHash();
  for (let i = 0; i < indices.length; i++) {
    const found = peer.getPairOrNextLower(indices[i], pair);
    hash = fold(hash, found === undefined ? 0 : found[1]);
  }
  return { hash, figures: { nanos: nanosEach(start, ranges) } };
}

function gappedPeer(ranges: number): Outcome {
  const peer = emptyPeer<Held>();
  storeGappedInPeer(peer, storeOrder(ranges), GAPPED);
  const indices = randomIndices(ranges);
  const pair: [number, Held] = [0, { last: 0, value: 0 }];

  const start = performance.now();
  let hash = emptyHash();
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i];
    const found = peer.getPairOrNextLower(index, pair);
    const isHeld = found !== undefined && index <= found[1].last;
    hash = fold(hash, isHeld ? found[1].value : 0);
  }
  return { hash, figures: { nanos: nanosEach(start, ranges) } };
}

if (import.meta.main) {
  await runVariant({
    "packed sections": treeOf(PACKED, false),
    "packed one-section": treeOf(PACKED, true),
    "packed sorted-btree": packedPeer,
    "gapped sections": treeOf(GAPPED, false),
    "gapped one-section": treeOf(GAPPED, true),
    "gapped sorted-btree": gappedPeer,
  });
}
