/**
 * What concerns a whole tree: making it, filling it, copying it, emptying it and ending it.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { checkRange, checkValue } from "./checks.ts";
import { countTree } from "./external_lock.ts";
import {
  entryCountOf,
  externalLockOf,
  flagsOf,
  type HeaderFields,
  headerParent,
  initHeader,
  isRcu,
  killHeader,
  noteChange,
  rootOf,
  setRoot,
} from "./header.ts";
import { MAX_INDEX, setParent } from "./node.ts";
import type { TreeParts } from "./parts.ts";
import { copySubtree, retireUnlinked, SubtreeBuilder } from "./subtree.ts";
import { TreeMemory } from "./tree_memory.ts";
import type { Entry } from "./walk.ts";

/**
 * Makes the header of an empty tree, which nobody else knows of; returns its ref.
 *
 * @throws {OutOfMemoryError} If there is no room for it.
 */
export function createHeader(arena: Arena, fields: HeaderFields): number {
  const header = TreeMemory.of(arena).headers.allocate();
  initHeader(arena.words, header, arena.nextSerial(), fields);
  const { externalLock } = fields;
  if (externalLock !== 0) countTree(arena.words, externalLock, 1);
  return header;
}

/** Takes back a header that nobody else has seen, of a tree that has no nodes. */
export function discardHeader(arena: Arena, header: number): void {
  endHeader(arena, header);
  TreeMemory.of(arena).headers.free(header);
}

/** Fills an empty tree. */
export function bulkLoad(
  { arena, header, nodes, lock, gaps }: TreeParts,
  entries: Iterable<Entry>,
): void {
  const { words, doubles } = arena;
  const site = "RangeTree.bulkLoad";
  const whileEmpty = (act: () => void) => {
    lock.enterWriter(site);
    try {
      if (rootOf(words, header) !== 0) {
        throw new Error(
          `Cannot bulk-load: the tree is not empty, its count is ${
            entryCountOf(words, header)
          }`,
        );
      }
      act();
    } finally {
      lock.exitWriterAndPoll();
    }
  };
  // Nothing is built in vain for a tree that can't take it.
  whileEmpty(() => {});
  const builder = new SubtreeBuilder(words, doubles, nodes, gaps);
  let published = false;
  try {
    // Built without the lock: the entries may come from another tree, whose lock they need.
    const count = pushAll(builder, entries);
    const root = count === 0 ? 0 : builder.finish();
    whileEmpty(() => {
      if (root !== 0) publishRoot(arena, header, root, count);
      published = true;
    });
  } catch (error) {
    if (!published) builder.abandon();
    throw error;
  }
}

/** Copies a tree; returns the header of the copy, which nobody else knows of yet. */
export function cloneTree(
  { arena, header, nodes, lock, gaps }: TreeParts,
): number {
  const { words, doubles } = arena;
  lock.enterWriter("RangeTree.clone");
  try {
    const copy = createHeader(arena, {
      rcu: isRcu(flagsOf(words, header)),
      gaps,
      lock: lock.mode,
      externalLock: externalLockOf(words, header),
    });
    try {
      const root = rootOf(words, header);
      if (root === 0) return copy;
      const subtree = copySubtree(words, doubles, nodes, root);
      publishRoot(arena, copy, subtree, entryCountOf(words, header));
      return copy;
    } catch (error) {
      discardHeader(arena, copy);
      throw error;
    }
  } finally {
    lock.exitWriterAndPoll();
  }
}

/** Removes every entry of a tree. */
export function clearTree(parts: TreeParts): void {
  const { lock } = parts;
  lock.enterWriter("RangeTree.clear");
  let root: number;
  try {
    root = unlinkAll(parts);
  } finally {
    lock.exitWriter();
  }
  retireAll(parts, root);
}

/** Removes every entry of a tree and the tree itself. */
export function destroyTree(parts: TreeParts, site: string): void {
  const { arena, header, lock } = parts;
  lock.enterWriter(site);
  let root: number;
  try {
    root = unlinkAll(parts);
    endHeader(arena, header);
    arena.roots.remove(header);
  } finally {
    lock.exitWriter();
  }
  retireAll(parts, root);
  TreeMemory.of(arena).headers.defer(header);
}

/** Marks a tree as destroyed. Under its lock. */
function endHeader(arena: Arena, header: number): void {
  const { words } = arena;
  // If this thread dies from here on, it is its own: see `sweep.ts`.
  TreeMemory.of(arena).headers.claim(header);
  killHeader(words, header);
  // Also where it was empty: iterators notice.
  noteChange(words, header, 0);
  const lock = externalLockOf(words, header);
  if (lock !== 0) countTree(words, lock, -1);
}

/** Takes all nodes out of a tree by one store; returns what was the root, or 0. Under its lock. */
function unlinkAll({ arena, header, nodes }: TreeParts): number {
  const { words } = arena;
  const root = rootOf(words, header);
  if (root === 0) return 0;
  // Nobody else frees them from here on.
  nodes.claim(root, true);
  setRoot(words, header, 0);
  noteChange(words, header, -entryCountOf(words, header));
  return root;
}

/** Retires a whole tree's nodes, after the lock was released. */
function retireAll({ arena, nodes }: TreeParts, root: number): void {
  if (root !== 0) retireUnlinked(arena.words, nodes, root);
  arena.rcu.poll();
}

/** Makes a private subtree the content of a tree that was empty. Under its lock. */
function publishRoot(
  { words }: Arena,
  header: number,
  root: number,
  count: number,
): void {
  setParent(words, root, headerParent(header));
  setRoot(words, header, root);
  noteChange(words, header, count);
}

/** Pushes entries, and the gaps between them, as slots; returns how many entries there were. */
function pushAll(builder: SubtreeBuilder, entries: Iterable<Entry>): number {
  let next = 0, count = 0;
  for (const { first, last, value } of entries) {
    checkRange(first, last);
    checkValue(value);
    if (value === 0) {
      throw new RangeError(`Cannot bulk-load: entry ${count} is empty`);
    }
    if (first < next) {
      throw new RangeError(
        `Cannot bulk-load: entry ${count} begins at ${first}, the one before it ends at ${
          next - 1
        }`,
      );
    }
    if (first > next) builder.push(first - 1, 0);
    builder.push(last, value);
    next = last + 1;
    count++;
  }
  if (count > 0 && next <= MAX_INDEX) builder.push(MAX_INDEX, 0);
  return count;
}
