/**
 * Putting trees in order whose writer died: terminated anywhere in a store, with the lock held.
 *
 * What is certain is what readers see: the root, slots, pivots and meta words, since every change of them is one store of a
 * finished whole, or, in place, a stretch in which no thread is terminated (`assembly/writer.ts`). So the store that broke
 * off is there or it is not. All else is made anew from that: the parent words of the nodes that can be reached (those of
 * adopted children may be old), the gaps above the leaves, the number of entries.
 *
 * What the store had built and not published, or replaced and not retired, is then freed by `sweep.ts`.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import type { Words } from "../sync/atomics.ts";
import { spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import {
  entryCountOf,
  externalLockIndex,
  externalLockOf,
  flagsOf,
  headerParent,
  heldRootOf,
  isLiveHeader,
  lockIndexOf,
  noteChange,
  tracksGaps,
} from "./header.ts";
import {
  countOf,
  type Doubles,
  heightOf,
  heldSlotOf,
  largestGap,
  largestRun,
  MAX_INDEX,
  parentOf,
  pivotOf,
  setGap,
  setParent,
} from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";

/** The caches of what trees are made of. */
export interface TreeCaches {
  /** Nodes of trees whose lock can be taken. */
  readonly nodes: NodeCaches;
  /** Tree headers. */
  readonly headers: SlabCache;
  /** External locks, if there are any. */
  readonly locks: SlabCache | undefined;
}

/** Releases the locks of trees that a thread that is gone held, and puts those trees in order. */
export function recoverTrees(
  arena: Arena,
  { headers, locks }: TreeCaches,
  gone: number,
): void {
  const { words, doubles, thread } = arena;
  const trees = headers.objects();
  const whileHeld = (lock: number, repair: () => void) => {
    if (!spinTakeOver(words, lock, gone, thread)) return;
    repair();
    spinUnlock(words, lock, thread);
  };
  const repair = (header: number) => {
    if (isLiveHeader(words, header)) repairTree(words, doubles, header);
  };
  for (const header of trees) {
    whileHeld(lockIndexOf(header), () => repair(header));
  }
  for (const lock of locks === undefined ? [] : locks.objects()) {
    whileHeld(externalLockIndex(lock), () => {
      for (const header of trees) {
        if (externalLockOf(words, header) === lock) repair(header);
      }
    });
  }
}

/** Makes all of a tree fit what its root leads to. Under the tree's lock. */
function repairTree(words: Words, doubles: Doubles, header: number): void {
  const root = heldRootOf(words, header);
  const gaps = tracksGaps(flagsOf(words, header));
  let entries = 0;
  /** Repairs a subtree; returns its largest free run. */
  const repair = (
    node: number,
    parent: number,
    min: number,
    max: number,
  ): number => {
    if (parentOf(words, node) !== parent) setParent(words, node, parent);
    const height = heightOf(words, node), count = countOf(words, node);
    let first = min;
    for (let slot = 0; slot < count; slot++) {
      const last = pivotOf(doubles, node, slot, max);
      const held = heldSlotOf(words, node, slot);
      if (height > 0) {
        const gap = repair(held, node, first, last);
        if (gaps) setGap(doubles, node, slot, gap);
      } else if (held !== 0) entries++;
      first = last + 1;
    }
    if (!gaps) return 0;
    return height > 0
      ? largestGap(words, doubles, node)
      : largestRun(words, doubles, node, min, max);
  };
  if (root !== 0) repair(root, headerParent(header), 0, MAX_INDEX);
  noteChange(words, header, entries - entryCountOf(words, header));
}
