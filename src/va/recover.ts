/**
 * Putting VA managers in order when a thread has died, after the trees are (`range_tree/recover.ts`).
 *
 * The outer lock that a manager offers is taken over. Under it one operation may have been under way. Each is one store into
 * the tree of mappings, so it is there or it is not, but for what follows that store. So here that is finished (`unfinished.ts`), and
 * the VmBos' lists are made anew from the tree (in the order of addresses). Of a set of operations those that were applied stay
 * applied, and the others are not.
 *
 * Then mappings and VmBos that the dead thread had in its hands and that no manager's tree leads to are freed. Why they are
 * nobody else's: see `range_tree/sweep.ts`; the claim stands before the store into the tree here, too, or instead of it the
 * manager notes what is replaced (`replaced.ts`), which is then left alone.
 *
 * A manager that the thread was destroying goes: its header still names its trees, which the thread has claimed before it ended the
 * manager's life. Those that it had not yet destroyed are destroyed here. Where another tree lies by now in the place of one that
 * it had, that is another thread's.
 *
 * A manager whose outer lock is the driver's can't be known to have been in use. Its trees are in order, and a change of mappings that
 * was under way is finished by whoever changes the manager next. So a mapping, or a VmBo, that is on a list of such a manager is left
 * to that one.
 *
 * @module
 */
import { type Arena, openForReap } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/mod.ts";
import { perArena } from "../memory/per_arena.ts";
import { externalLockOf, isLiveHeader, rootOf } from "../range_tree/header.ts";
import { ExternalLock, MAX_INDEX, RangeTree } from "../range_tree/mod.ts";
import { lookup } from "../range_tree/node.ts";
import { spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import { isNoted } from "./replaced.ts";
import { clearPlace, lastOf, sharedBoOf, startOf } from "./mapping.ts";
import { finishChange } from "./unfinished.ts";
import {
  flagsOf,
  forgetTrees,
  isLiveManager,
  outerLockIndex,
  OWN_OUTER_LOCK,
  reservedOf,
  treesOf,
} from "./header.ts";
import { type VaCaches, vaCaches, VaState } from "./va_state.ts";
import { clearFlags, isOnAnyList, managerOf, objectOfBo } from "./vm_bo.ts";

openForReap("VA managers", (arena) => openManagers(arena));

/** Opens the caches of an arena's managers, and sees to it that this thread can put them in order. */
export const openManagers: (arena: Arena) => VaCaches = perArena((arena) => {
  const caches = vaCaches(arena);
  arena.onReap("VA managers", (gone) => recoverManagers(arena, caches, gone));
  return caches;
});

function recoverManagers(arena: Arena, caches: VaCaches, gone: number): void {
  const { words, thread } = arena;
  const managers = caches.headers.objects()
    .filter((header) => isLiveManager(words, header));
  for (const header of managers) {
    if (!takeOver(arena, header, gone)) continue;
    tryToFinish(new VaState(arena, header));
    spinUnlock(words, outerLockIndex(header), thread);
  }
  sweep(arena, caches, gone);
}

/**
 * Takes the lock that a manager offers over from a thread that is gone, if it had it; not from whatever lies there by now. Says whether
 * it is held now: not where the outer lock is the driver's, since who holds that may destroy the manager meanwhile.
 */
function takeOver(
  { words, rcu, thread }: Arena,
  header: number,
  gone: number,
): boolean {
  const lock = outerLockIndex(header);
  rcu.readLock();
  const isTaken = isLiveManager(words, header) &&
    spinTakeOver(words, lock, gone, thread);
  const isOuter = (flagsOf(words, header) & OWN_OUTER_LOCK) !== 0;
  if (isTaken && !isOuter) spinUnlock(words, lock, thread);
  rcu.readUnlock();
  return isTaken && isOuter;
}

/** Puts a manager in order, if that can be done now; else whoever changes it next does it. Under the outer lock. */
function tryToFinish(state: VaState): void {
  // An external lock, which was not known to be held, is needed to store.
  if (state.isChanging && state.tree.lockMode === "external") return;
  try {
    finishChange(state);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
  }
}

function sweep(
  arena: Arena,
  { headers, mappings, bos, trees }: VaCaches,
  gone: number,
): void {
  const { words, doubles, rcu, roots } = arena;
  rcu.readLock();
  // Seen alive in this section, so that their trees are there until it ends, or known to be gone.
  const managers = headers.objects()
    .filter((header) => isLiveManager(words, header));
  /** What the managers' trees of one kind hold at an index. */
  const isHeld = (ref: number, index: number, which: "tree" | "bos") =>
    managers.some((header) =>
      lookUp(arena, treesOf(words, header)[which], index) === ref
    );
  const lostMappings = mappings.claimedBy(gone).filter((ref) => {
    // What remains of it while it is mapped over is at its ends.
    const isMapped = isHeld(ref, startOf(doubles, ref), "tree") ||
      isHeld(ref, lastOf(doubles, ref), "tree") ||
      managers.some((header) =>
        reservedOf(words, header) === ref || isNoted(words, header, ref)
      );
    if (isMapped) return false;
    const bo = sharedBoOf(words, ref);
    const isOnList = bo !== 0 && bos.isAllocated(bo) &&
      isLiveManager(words, managerOf(words, bo));
    // The claim is read last: see `unfinished.ts`.
    return !isOnList && mappings.claimant(ref).thread === gone;
  });
  const lostBos = bos.claimedBy(gone).filter((bo) =>
    !isHeld(bo, objectOfBo(words, bo), "bos") &&
    !(isOnAnyList(words, bo) && isLiveManager(words, managerOf(words, bo))) &&
    bos.claimant(bo).thread === gone
  );
  rcu.readUnlock();
  const dead = headers.claimedBy(gone)
    .filter((header) => !isLiveManager(words, header));
  for (const header of dead) {
    roots.remove(header);
    for (const tree of Object.values(treesOf(words, header))) {
      if (
        trees.isAllocated(tree) && isLiveHeader(words, tree) &&
        trees.claimant(tree).thread === gone
      ) destroyTree(arena, tree);
    }
    forgetTrees(words, header);
    // It held the manager's own outer lock while it destroyed it: whoever waits for that finds the manager dead.
    const lock = outerLockIndex(header);
    if (spinTakeOver(words, lock, gone, arena.thread)) {
      spinUnlock(words, lock, arena.thread);
    }
  }
  for (const ref of lostMappings) clearPlace(words, ref);
  mappings.deferLost(lostMappings);
  for (const bo of lostBos) clearFlags(words, bo);
  bos.deferLost(lostBos);
  headers.deferLost(dead);
}

/** Destroys a tree that nobody else knows of any more. */
function destroyTree(arena: Arena, tree: number): void {
  const lock = externalLockOf(arena.words, tree);
  using _guard = lock === 0
    ? undefined
    : ExternalLock.attach(arena, lock).guard();
  RangeTree.attach(arena, tree).destroy();
}

/** What a tree, if there is one, holds at an index. Inside a read section. */
function lookUp(arena: Arena, tree: number, index: number): number {
  const root = tree === 0 ? 0 : rootOf(arena.words, tree);
  return root !== 0 && index >= 0 && index <= MAX_INDEX
    ? lookup(arena.words, arena.doubles, root, index)
    : 0;
}
