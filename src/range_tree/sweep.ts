/**
 * Freeing what a thread that died had in its hands: nodes, headers and external locks that are in use and in no structure.
 *
 * Every object says in its link word which thread had it in its hands last (see `hands.ts`). Most of those that name the
 * thread that is gone were linked long ago and live on in trees. The others are *loose*:
 *
 * - A node whose parent word is 0, or the node itself, or leads to nothing. All nodes that are linked have a parent.
 * - A node that names a header whose root is another node, or a parent none of whose slots holds it.
 * - A node that is held by one that is loose, if that one was in the same hands: a copy that was being made, say.
 *
 * Why no loose node that is found so is in use by another thread, though no lock is held here. Trees whose lock the dead
 * thread held are in order again (`recover.ts`), so its nodes that are linked have the parent words that they should have.
 * Whoever takes a node out of a tree claims it before the store that unlinks it (or that of the parent word that marks it
 * dead), and that store is atomic. So, of a node that another thread took out: the atomic load that shows that it is loose
 * has read that store or a later one, and the claim, which is read after it, names the other thread. A node that another
 * thread has allocated names it too, and names the dead one no more from the moment when it was first deferred. So a node
 * that is loose, and after that still names the dead thread, was in its hands, and stays there.
 *
 * Nodes of other threads that a live writer moves at this moment may lead anywhere for a while; that can only make a node
 * look linked. What is freed here is deferred: readers may be inside what the dead thread had just unlinked. A read section
 * keeps all that parent words lead to from being reused meanwhile.
 *
 * A subtree that was taken out as a whole (`clear`, `destroy`, a store over many leaves) is claimed at its top, *with all
 * below*. It may have been freed in part, from the leaves up, each node marked dead before. So from such a top the slots are
 * followed to the children whose parent word still names the node above: nobody else knows of them.
 *
 * Headers and external locks are loose if they bear no mark of life: that is stored last when they are made and removed,
 * after they were claimed, before they are freed.
 *
 * Nodes of trees of lock mode `"none"`, or with an unregistered external lock, stay: what the dead thread did to such a tree
 * is not known, so a node may be linked there whose parent word does not say so.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { isLiveLock } from "./external_lock.ts";
import { isHeaderParent, isLiveHeader, rootOf } from "./header.ts";
import { countOf, heightOf, parentOf, setParent, slotOf } from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";
import { MAX_HEIGHT } from "./path.ts";
import type { TreeCaches } from "./recover.ts";

/** Defers the freeing of what the dead thread had in its hands. After its trees were put in order. */
export function sweepTrees(
  arena: Arena,
  { nodes, headers, locks }: TreeCaches,
  gone: number,
): void {
  const { words, rcu, roots } = arena;
  rcu.readLock();
  const lost = lostNodes(arena, nodes, gone);
  rcu.readUnlock();
  // Dead, as all nodes are that are deferred: a mover gives up at once.
  for (const node of lost) setParent(words, node, node);
  nodes.deferLost(lost);
  const dead = headers.claimedBy(gone)
    .filter((header) => !isLiveHeader(words, header));
  for (const header of dead) roots.remove(header);
  headers.deferLost(dead);
  if (locks === undefined) return;
  const deadLocks = locks.claimedBy(gone)
    .filter((lock) => !isLiveLock(words, lock));
  for (const lock of deadLocks) roots.remove(lock);
  locks.deferLost(deadLocks);
}

function lostNodes(arena: Arena, nodes: NodeCaches, gone: number): number[] {
  const { words } = arena;
  const lost = new Set<number>();
  for (const node of nodes.claimedBy(gone)) {
    const top = looseTop(arena, node);
    if (
      top === 0 || nodes.claimant(top).thread !== gone ||
      nodes.claimant(node).thread !== gone
    ) continue;
    lost.add(node);
    if (nodes.claimant(node).withAllBelow) addBelow(words, node, lost);
  }
  return [...lost];
}

/** The node that the way up ends at if it does not end at a header; 0 if it does. Inside a read section. */
function looseTop(arena: Arena, node: number): number {
  const { words } = arena;
  const first = arena.pageRef(0), end = arena.pageRef(arena.pages.count);
  let child = node;
  for (let steps = 0; steps <= MAX_HEIGHT; steps++) {
    const parent = parentOf(words, child);
    const isRef = parent >= first && parent < end;
    if (!isRef || parent === child) return child;
    if (isHeaderParent(parent)) {
      return rootOf(words, parent - 1) === child ? 0 : child;
    }
    if (!holds(words, parent, child)) return child;
    child = parent;
  }
  return 0;
}

/** Whether a slot of a node holds a child. Without its tree's lock. */
function holds(words: Arena["words"], node: number, child: number): boolean {
  for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
    if (slotOf(words, node, slot) === child) return true;
  }
  return false;
}

/** Adds all that hangs below a node that was taken out of its tree with it, and is not yet freed. */
function addBelow(
  words: Arena["words"],
  node: number,
  lost: Set<number>,
): void {
  if (heightOf(words, node) === 0) return;
  for (let slot = countOf(words, node) - 1; slot >= 0; slot--) {
    const child = slotOf(words, node, slot);
    if (parentOf(words, child) !== node) continue;
    lost.add(child);
    addBelow(words, child, lost);
  }
}
