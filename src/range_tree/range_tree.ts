/**
 * The range tree: a map from ranges of indices to `u32` entries, in shared memory, that many threads read while one
 * writes and while its nodes are being moved.
 *
 * Readers and writers. In RCU mode a reader enters a read section and takes no lock; without it a reader takes the tree's
 * lock. A writer takes the lock. Both find a whole tree at every moment, because every change becomes visible by one
 * atomic store (see `writer.ts`). Freed nodes are deferred in either mode, so switching the mode never endangers a reader
 * that is inside.
 *
 * The lock is always in the tree, also where somebody else guards the writers: the mode `"internal"` says that the
 * operations take it, and so a mover that takes it may relocate the tree's nodes.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { makeRoom } from "../slab/make_room.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import type { Words } from "../sync/atomics.ts";
import {
  checkEntry,
  checkIndex,
  checkRange,
  checkRoom,
  checkValue,
} from "./checks.ts";
import { Cursor } from "./cursor.ts";
import { EntryIterator } from "./entries.ts";
import { countTree, ExternalLock } from "./external_lock.ts";
import { GapSearch } from "./gaps.ts";
import {
  entryCountOf,
  externalLockOf,
  flagsOf,
  generationOf,
  headerParent,
  heldFlagsOf,
  identityOf,
  initHeader,
  isLiveHeader,
  isRcu,
  killHeader,
  type LockMode,
  noteChange,
  rootOf,
  setRcuFlag,
  setRoot,
  tracksGaps,
} from "./header.ts";
import {
  dumpTree,
  type RangeTreeStats,
  treeStats,
  validateTree,
} from "./inspect.ts";
import {
  type Doubles,
  heightOf,
  heldLookup,
  lookup,
  MAX_INDEX,
  setParent,
} from "./node.ts";
import { copySubtree, retireUnlinked, SubtreeBuilder } from "./subtree.ts";
import { TreeLock } from "./tree_lock.ts";
import { TreeMemory } from "./tree_memory.ts";
import { type Entry, RESERVED, Walk } from "./walk.ts";
import { Writer } from "./writer.ts";

/** How a tree is created. */
export interface RangeTreeOptions {
  /** A name under which other threads find it; a tree without one is found by its ref. */
  name?: string;
  /**
   * Whether readers need no lock.
   *
   * @default {false}
   */
  rcu?: boolean;
  /**
   * Whether the tree knows its free runs, which finding room in it needs. It makes stores dearer.
   *
   * @default {false}
   */
  gaps?: boolean;
  /**
   * Who guards the writers.
   *
   * @default {"internal"}
   */
  lock?: LockMode;
  /** The lock that guards the writers, where the lock mode is `"external"`: with it the tree's nodes can be moved. */
  externalLock?: ExternalLock;
}

/** Where room is looked for. */
export interface AllocationWindow {
  /**
   * The lowest index that may be used.
   *
   * @default {0}
   */
  min?: number;
  /**
   * The highest one.
   *
   * @default {MAX_INDEX}
   */
  max?: number;
}

/** Where {@linkcode RangeTree.allocCyclic} looks. */
export interface CyclicWindow extends AllocationWindow {
  /**
   * Where the search begins: what the call before returned as `next`.
   *
   * @default {0}
   */
  next?: number;
}

/** What {@linkcode RangeTree.allocCyclic} found. */
export interface CyclicAllocation {
  /** The index that the entry is stored at. */
  readonly index: number;
  /** Whether the search came to the end of its window and began anew. */
  readonly wrapped: boolean;
  /** Where the next search is to begin. */
  readonly next: number;
}

/**
 * A map from ranges of indices (safe integers, both ends included) to `u32` entries; 0 is empty, 2^32 − 1 is
 * {@linkcode RESERVED}.
 *
 * Thread contract: an object belongs to one thread; the tree is shared, by name or by ref. One writer at a time, which the
 * lock sees to; in RCU mode any number of readers beside it, without a lock.
 *
 * - A reader sees all of a store or none of it.
 * - A store that can't get memory throws and changes nothing.
 * - Ranges are kept as they were stored: neighbours with equal entries stay apart.
 *
 * Analogous to the Linux maple tree's `mtree_*`; differs: indices end at 2^53 − 1, entries are numbers, and the nodes can
 * be moved.
 *
 * @example Store, look up, iterate
 * ```ts
 * import { Arena, RangeTree } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * const tree = RangeTree.create(arena, { name: "vm", rcu: true });
 * tree.storeRange(0x1000, 0x1fff, 7);
 * tree.eraseRange(0x1800, 0x18ff);
 * assertEquals(tree.load(0x1000), 7);
 * assertEquals(tree.load(0x1800), 0);
 * assertEquals([...tree.entries(0, 0xffff)], [
 *   { first: 0x1000, last: 0x17ff, value: 7 },
 *   { first: 0x1900, last: 0x1fff, value: 7 },
 * ]);
 * ```
 */
export class RangeTree implements Iterable<Entry> {
  /** The ref of the tree's header: with it another thread of the arena can attach. */
  readonly ref: number;
  /** Who guards the writers. */
  readonly lockMode: LockMode;
  /** Whether the tree knows its free runs. */
  readonly gaps: boolean;
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #doubles: Doubles;
  readonly #nodes: SlabCache;
  readonly #writer: Writer;
  readonly #walk: Walk;
  readonly #gapSearch: GapSearch;
  readonly #lock: TreeLock;
  /** Tells the tree from a later one in the same place. */
  readonly #identity: number;

  private constructor(arena: Arena, header: number) {
    this.ref = header;
    const flags = flagsOf(arena.words, header);
    this.#identity = identityOf(flags);
    this.gaps = tracksGaps(flags);
    this.#lock = new TreeLock(arena, header);
    this.lockMode = this.#lock.mode;
    this.#arena = arena;
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    this.#nodes = TreeMemory.of(arena).nodes(this.#lock.index >= 0);
    this.#writer = Writer.of(arena);
    this.#walk = new Walk(arena.words, arena.doubles);
    this.#gapSearch = GapSearch.of(arena);
  }

  /**
   * Creates an empty tree.
   *
   * @throws {OutOfMemoryError} If there is no room for its header.
   * @throws {Error} If the name is taken; then no tree was created.
   */
  static create(arena: Arena, options: RangeTreeOptions = {}): RangeTree {
    const { name, rcu = false, gaps = false, lock = "internal" } = options;
    const { externalLock } = options;
    if (externalLock !== undefined && lock !== "external") {
      throw new TypeError(
        `Cannot register an external lock: the tree is to have lock mode "${lock}"`,
      );
    }
    externalLock?.assertExists("RangeTree.create");
    const { headers } = TreeMemory.of(arena);
    const header = headers.allocate();
    const lockRef = externalLock?.ref ?? 0;
    initHeader(arena.words, header, rcu, gaps, lock, lockRef);
    if (name !== undefined) {
      try {
        arena.roots.add(name, header);
      } catch (error) {
        killHeader(arena.words, header);
        headers.free(header);
        throw error;
      }
    }
    if (lockRef !== 0) countTree(arena.words, lockRef, 1);
    return new RangeTree(arena, header);
  }

  /**
   * Opens a tree that exists, by its name or by its ref.
   *
   * @throws {Error} If there is no such tree.
   */
  static attach(arena: Arena, root: string | number): RangeTree {
    const header = typeof root === "string" ? arena.roots.get(root) : root;
    const { headers } = TreeMemory.of(arena);
    if (
      header === 0 || !headers.isAllocated(header) ||
      !isLiveHeader(arena.words, header)
    ) {
      throw new Error(
        `Cannot attach to a range tree: there is none at ${
          JSON.stringify(root)
        }`,
      );
    }
    return new RangeTree(arena, header);
  }

  /** How many ranges are stored. Stale as soon as it is read, unless the caller keeps writers out. */
  get count(): number {
    this.#flags("RangeTree.count");
    return entryCountOf(this.#words, this.ref);
  }

  /** How many levels of nodes there are; 0 for an empty tree. */
  get height(): number {
    const flags = this.#enter("RangeTree.height");
    const root = rootOf(this.#words, this.ref);
    const height = root === 0 ? 0 : heightOf(this.#words, root) + 1;
    this.#exit(flags);
    return height;
  }

  /** Whether readers need no lock. */
  get rcu(): boolean {
    return isRcu(this.#flags("RangeTree.rcu"));
  }

  /**
   * The entry at an index, 0 where nothing is stored.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   */
  load(index: number): number {
    checkIndex(index);
    const flags = this.#enter("RangeTree.load");
    const root = rootOf(this.#words, this.ref);
    let value = 0;
    if (root !== 0) {
      value = isRcu(flags)
        ? lookup(this.#words, this.#doubles, root, index)
        : heldLookup(this.#words, this.#doubles, root, index);
    }
    this.#exit(flags);
    return value === RESERVED ? 0 : value;
  }

  /** Stores an entry at one index. As {@linkcode RangeTree.storeRange}. */
  store(index: number, value: number): void {
    this.storeRange(index, index, value);
  }

  /**
   * Stores an entry over `first` … `last`, whatever is there; the entry 0 empties the range. Readers see all of it or
   * none.
   *
   * @throws {RangeError} If the range or the entry is out of bounds.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  storeRange(first: number, last: number, value: number): void {
    checkRange(first, last);
    checkValue(value);
    this.#enterWriter("RangeTree.storeRange");
    try {
      this.#writer.storeRange(this.ref, this.#nodes, first, last, value);
    } finally {
      this.#exitWriter();
    }
  }

  /**
   * As {@linkcode RangeTree.storeRange}, but when there is no room **drops the lock**, makes room, and begins anew: what is
   * deferred is freed after a grace period; then, if there is a `Compactor` for the arena on this thread, all trees
   * of the arena are compacted. What other threads store meanwhile is overwritten like everything else in the range.
   *
   * With an external lock or none there is nothing that it could drop, so it gives up at once.
   *
   * @throws {RangeError} If the range or the entry is out of bounds.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {OutOfMemoryError} If no room could be made; the tree is as it was.
   */
  storeBlocking(first: number, last: number, value: number): void {
    const { isInternal } = this.#lock;
    if (isInternal) this.#arena.rcu.assertMayWait("RangeTree.storeBlocking");
    for (let attempt = 0;; attempt++) {
      try {
        return this.storeRange(first, last, value);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || !isInternal) throw error;
        if (!makeRoom(this.#arena, attempt)) throw error;
      }
    }
  }

  /** Stores an entry at one index if it is empty. As {@linkcode RangeTree.insertRange}. */
  insert(index: number, value: number): boolean {
    return this.insertRange(index, index, value);
  }

  /**
   * Stores an entry over `first` … `last` if all of it is empty; says whether it did.
   *
   * @throws {RangeError} If the range or the entry is out of bounds, or the entry is 0.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  insertRange(first: number, last: number, value: number): boolean {
    checkRange(first, last);
    checkEntry(value);
    this.#enterWriter("RangeTree.insertRange");
    try {
      return this.#writer.insertRange(
        this.ref,
        this.#nodes,
        first,
        last,
        value,
      );
    } finally {
      this.#exitWriter();
    }
  }

  /**
   * Occupies `first` … `last` if all of it is free; says whether it did. Nothing is inserted or allocated there any more,
   * but it reads as empty.
   *
   * @throws {RangeError} If the range is out of bounds.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  reserve(first: number, last: number): boolean {
    return this.insertRange(first, last, RESERVED);
  }

  /**
   * Stores an entry over the lowest `size` free indices of a window; returns the first of them, nothing if there are none.
   * Analogous to Linux `mtree_alloc_range`.
   *
   * @throws {RangeError} If the window is out of bounds or smaller than that, or the entry is out of bounds or 0.
   * @throws {Error} If the tree does not track gaps.
   * @throws {OutOfMemoryError} If there is no memory; the tree is as it was.
   */
  allocRange(
    size: number,
    value: number,
    window: AllocationWindow = {},
  ): number | undefined {
    const { min = 0, max = MAX_INDEX } = window;
    checkRoom(size, min, max);
    checkEntry(value);
    return this.#alloc("RangeTree.allocRange", () => {
      const first = this.#gapSearch.lowest(this.ref, size, min, max);
      return this.#storeFound(first, size, value);
    });
  }

  /**
   * Stores an entry over the highest `size` free indices of a window. As {@linkcode RangeTree.allocRange}. Analogous to
   * Linux `mtree_alloc_rrange`.
   */
  allocRangeReverse(
    size: number,
    value: number,
    window: AllocationWindow = {},
  ): number | undefined {
    const { min = 0, max = MAX_INDEX } = window;
    checkRoom(size, min, max);
    checkEntry(value);
    return this.#alloc("RangeTree.allocRangeReverse", () => {
      const first = this.#gapSearch.highest(this.ref, size, min, max);
      return this.#storeFound(first, size, value);
    });
  }

  /**
   * Stores an entry at the lowest free index of a window from `next` on, or if there is none, at the lowest of all of the
   * window, and says so. Nothing if none is free. Analogous to Linux `mtree_alloc_cyclic`; differs: what wraps is this very
   * search, and the tree remembers nothing of it.
   *
   * @throws {RangeError} If the window or the entry is out of bounds, or the entry is 0.
   * @throws {Error} If the tree does not track gaps.
   * @throws {OutOfMemoryError} If there is no memory; the tree is as it was.
   */
  allocCyclic(
    value: number,
    window: CyclicWindow = {},
  ): CyclicAllocation | undefined {
    const { min = 0, max = MAX_INDEX, next = 0 } = window;
    checkRange(min, max);
    // Behind the last index begins who was given that one.
    if (next !== MAX_INDEX + 1) checkIndex(next);
    checkEntry(value);
    return this.#alloc("RangeTree.allocCyclic", () => {
      const from = next > min ? next : min;
      const search = this.#gapSearch;
      let index = from > max ? -1 : search.lowest(this.ref, 1, from, max);
      const wrapped = index < 0 && from > min;
      if (wrapped) index = search.lowest(this.ref, 1, min, max);
      return this.#storeFound(index, 1, value) === undefined
        ? undefined
        : { index, wrapped, next: index + 1 };
    });
  }

  /**
   * Removes the whole range that contains an index; returns its entry, 0 if nothing is stored there. A reserved range is
   * removed too, as which it is not seen.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  erase(index: number): number {
    checkIndex(index);
    this.#enterWriter("RangeTree.erase");
    try {
      const value = this.#writer.erase(this.ref, this.#nodes, index);
      return value === RESERVED ? 0 : value;
    } finally {
      this.#exitWriter();
    }
  }

  /** Empties `first` … `last`; ranges that stick out are cut. As {@linkcode RangeTree.storeRange} with the entry 0. */
  eraseRange(first: number, last: number): void {
    this.storeRange(first, last, 0);
  }

  /**
   * The first entry that contains or follows an index and begins at or before `max`; none where `max` is below the index.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  find(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    return this.#seek(() =>
      index <= max && this.#walk.find(this.ref, index, max)
    );
  }

  /**
   * The first entry that begins after an index and at or before `max`: what follows the entry that contains the index.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  next(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    return this.#seek(() => {
      this.#walk.to(this.ref, index);
      return this.#walk.next(this.ref, max);
    });
  }

  /**
   * The first entry that ends after an index and begins at or before `max`: where a search goes on that has dealt with all
   * up to the index. None where `max` is not above the index. Analogous to Linux `mt_find_after`.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  findAfter(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    this.#flags("RangeTree.findAfter");
    return index === MAX_INDEX ? undefined : this.find(index + 1, max);
  }

  /**
   * The last entry that ends before an index and at or after `min`: what precedes the entry that contains the index.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  prev(index: number, min = 0): Entry | undefined {
    checkIndex(index);
    checkIndex(min);
    return this.#seek(() => {
      this.#walk.to(this.ref, index);
      return this.#walk.prev(this.ref, min);
    });
  }

  /**
   * Every entry that overlaps `from` … `to`, whole, in order. The tree may change meanwhile: each entry was in it at the
   * moment when it was given out.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entries(from = 0, to: number = MAX_INDEX): IterableIterator<Entry> {
    return this.#iterate(from, to, false);
  }

  /**
   * Every entry that overlaps `from` … `to`, whole, the last one first. As {@linkcode RangeTree.entries}.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entriesReverse(from = 0, to: number = MAX_INDEX): IterableIterator<Entry> {
    return this.#iterate(from, to, true);
  }

  /**
   * How many entries overlap `from` … `to`. Stale as soon as it is read; if the tree changes meanwhile, each entry is
   * counted as it was at some moment of the call.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  countIn(from: number, to: number): number {
    checkIndex(from);
    checkIndex(to);
    const flags = this.#enter("RangeTree.countIn");
    try {
      return from > to ? 0 : this.#walk.count(this.ref, from, to);
    } finally {
      this.#exit(flags);
    }
  }

  /** Every entry, in order. As {@linkcode RangeTree.entries}. */
  [Symbol.iterator](): IterableIterator<Entry> {
    return this.entries();
  }

  /**
   * Fills an empty tree with entries that come in order and do not overlap, each node as full as can be.
   *
   * @throws {Error} If the tree is not empty.
   * @throws {RangeError} If an entry is out of bounds, out of order, or empty; the tree stays empty.
   * @throws {OutOfMemoryError} If there is no room; the tree stays empty.
   */
  bulkLoad(entries: Iterable<Entry>): void {
    const builder = new SubtreeBuilder(
      this.#words,
      this.#doubles,
      this.#nodes,
      this.gaps,
    );
    let published = false;
    try {
      // Built before the lock is taken: the entries may come from another tree, whose lock they need.
      const count = pushAll(builder, entries);
      const root = count === 0 ? 0 : builder.finish();
      this.#enterWriter("RangeTree.bulkLoad");
      try {
        if (rootOf(this.#words, this.ref) !== 0) {
          throw new Error(
            `Cannot bulk-load: the tree holds ${this.count} entries`,
          );
        }
        if (root !== 0) this.#publishRoot(root, count);
        published = true;
      } finally {
        this.#exitWriter();
      }
    } catch (error) {
      if (!published) builder.abandon();
      throw error;
    }
  }

  /**
   * A copy of the tree in the same arena, node by node, of the same modes.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing of the copy is left.
   * @throws {Error} If the name is taken; nothing of the copy is left.
   */
  clone(options: { name?: string } = {}): RangeTree {
    // Where the lock is another one, undoing a copy needs it as well.
    if (!this.#lock.isInternal) this.#lock.assertHeld("RangeTree.clone");
    const copy = this.#createAlike();
    try {
      this.#copyInto(copy);
      // Last: whoever finds the name finds the whole copy.
      if (options.name !== undefined) {
        this.#arena.roots.add(options.name, copy.ref);
      }
    } catch (error) {
      copy.destroy();
      throw error;
    }
    return copy;
  }

  /** Removes every entry. Needs no memory. */
  clear(): void {
    this.#enterWriter("RangeTree.clear");
    let root: number;
    try {
      root = this.#unlinkAll();
    } finally {
      this.#lock.exitWriter();
    }
    this.#retireAll(root);
  }

  /** Removes every entry and the tree itself; every later use of it is an error. Needs no memory. */
  destroy(): void {
    this.#enterWriter("RangeTree.destroy");
    let root: number;
    try {
      root = this.#unlinkAll();
      killHeader(this.#words, this.ref);
      // Also where it was empty: cursors notice.
      noteChange(this.#words, this.ref, 0);
      const lock = externalLockOf(this.#words, this.ref);
      if (lock !== 0) countTree(this.#words, lock, -1);
      this.#arena.roots.remove(this.ref);
    } finally {
      this.#lock.exitWriter();
    }
    this.#retireAll(root);
    TreeMemory.of(this.#arena).headers.defer(this.ref);
  }

  /** Switches lock-free readers on or off. Takes the lock. */
  setRcu(on: boolean): void {
    this.#enterWriter("RangeTree.setRcu");
    setRcuFlag(this.#words, this.ref, on);
    this.#exitWriter();
  }

  /**
   * Takes the tree's lock, or its external lock, until the end of the caller's block: for a {@linkcode Cursor}. The other
   * methods that write take an internal lock themselves and are errors inside.
   *
   * @throws {Error} If the lock mode is `"none"`, or `"external"` and no lock was registered.
   * @throws {LockdepError} If this thread holds the lock of a tree already.
   */
  lock(): Disposable {
    this.#lock.lock("RangeTree.lock");
    this.#assertLive("RangeTree.lock");
    return { [Symbol.dispose]: () => this.#lock.unlock() };
  }

  /** Takes the tree's lock if it is free, as {@linkcode RangeTree.lock}; nothing otherwise. */
  tryLock(): Disposable | undefined {
    if (!this.#lock.tryLock("RangeTree.tryLock")) return undefined;
    this.#assertLive("RangeTree.tryLock");
    return { [Symbol.dispose]: () => this.#lock.unlock() };
  }

  /**
   * A cursor at `index` … `last`, for compound operations under one hold of the lock or inside one read section.
   *
   * @throws {RangeError} If the range is out of bounds.
   */
  cursor(index = 0, last: number = index): Cursor {
    checkRange(index, last);
    const target = {
      arena: this.#arena,
      header: this.ref,
      nodes: this.#nodes,
      lock: this.#lock,
      gaps: this.gaps,
    };
    return new Cursor(target, index, last);
  }

  /** The tree's numbers. Takes the lock. */
  stats(): RangeTreeStats {
    return this.#inspect(
      "stats",
      () => treeStats(this.#words, this.#doubles, this.ref),
    );
  }

  /**
   * Checks every invariant of the tree. Takes the lock.
   *
   * @throws {TreeInvariantError} Naming the node and the rule that is broken.
   */
  validate(): void {
    this.#inspect("validate", () => {
      validateTree(this.#words, this.#doubles, this.ref, this.#nodes);
    });
  }

  /** The tree as text, one line a node and an entry. Takes the lock. */
  dump(): string {
    return this.#inspect(
      "dump",
      () => dumpTree(this.#words, this.#doubles, this.ref),
    );
  }

  /** One line: how many ranges, and the modes. Needs no lock. */
  toString(): string {
    const flags = flagsOf(this.#words, this.ref);
    if (identityOf(flags) !== this.#identity) return "RangeTree(destroyed)";
    const modes = [
      `${entryCountOf(this.#words, this.ref)} entries`,
      `lock ${this.lockMode}`,
      ...(isRcu(flags) ? ["rcu"] : []),
      ...(this.gaps ? ["gaps"] : []),
    ];
    return `RangeTree(${modes.join(", ")})`;
  }

  /** As {@linkcode RangeTree.toString}, for `console.log` in Deno. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** As {@linkcode RangeTree.toString}, for `console.log` in Node. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** Looks for room and stores there, under the lock. */
  #alloc<T>(site: string, alloc: () => T): T {
    if (!this.gaps) {
      throw new Error(
        `Cannot find room in ${site}: the tree does not track gaps`,
      );
    }
    this.#enterWriter(site);
    try {
      return alloc();
    } finally {
      this.#exitWriter();
    }
  }

  /** Stores where room was found, if it was. */
  #storeFound(first: number, size: number, value: number): number | undefined {
    if (first < 0) return undefined;
    const last = first + size - 1;
    this.#writer.storeRange(this.ref, this.#nodes, first, last, value);
    return first;
  }

  /** An empty tree of the same modes. */
  #createAlike(): RangeTree {
    const { rcu, gaps, lockMode: lock } = this;
    const ref = externalLockOf(this.#words, this.ref);
    const externalLock = ref === 0
      ? undefined
      : ExternalLock.attach(this.#arena, ref);
    return RangeTree.create(this.#arena, { rcu, gaps, lock, externalLock });
  }

  #copyInto(copy: RangeTree): void {
    this.#enterWriter("RangeTree.clone");
    try {
      const root = rootOf(this.#words, this.ref);
      if (root === 0) return;
      const subtree = copySubtree(
        this.#words,
        this.#doubles,
        this.#nodes,
        root,
      );
      copy.#publishRoot(subtree, this.count);
    } finally {
      this.#exitWriter();
    }
  }

  /** Takes all nodes out of the tree by one store; returns what was the root, or 0. Under the lock. */
  #unlinkAll(): number {
    const root = rootOf(this.#words, this.ref);
    if (root === 0) return 0;
    setRoot(this.#words, this.ref, 0);
    noteChange(this.#words, this.ref, -entryCountOf(this.#words, this.ref));
    return root;
  }

  /** Retires a whole tree's nodes, after the lock was released. */
  #retireAll(root: number): void {
    if (root !== 0) retireUnlinked(this.#words, this.#nodes, root);
    this.#arena.rcu.poll();
  }

  /** Makes a private subtree the content of the tree, which was empty. */
  #publishRoot(root: number, count: number): void {
    setParent(this.#words, root, headerParent(this.ref));
    setRoot(this.#words, this.ref, root);
    noteChange(this.#words, this.ref, count);
  }

  #seek(find: () => boolean): Entry | undefined {
    const flags = this.#enter("RangeTree.find");
    try {
      return find() ? this.#walk.entry() : undefined;
    } finally {
      this.#exit(flags);
    }
  }

  #iterate(
    from: number,
    to: number,
    reverse: boolean,
  ): IterableIterator<Entry> {
    checkIndex(from);
    checkIndex(to);
    return new EntryIterator(
      {
        generation: () => generationOf(this.#words, this.ref),
        reading: (read) => {
          const flags = this.#enter("RangeTree.entries");
          try {
            read(this.#walk, this.ref);
          } finally {
            this.#exit(flags);
          }
        },
      },
      from,
      to,
      reverse,
    );
  }

  #inspect<T>(name: string, look: () => T): T {
    this.#enterWriter(`RangeTree.${name}`);
    try {
      return look();
    } finally {
      this.#exitWriter();
    }
  }

  #flags(site: string): number {
    const flags = flagsOf(this.#words, this.ref);
    return identityOf(flags) === this.#identity ? flags : this.#destroyed(site);
  }

  /** Begins reading; what it returns ends it. */
  #enter(site: string): number {
    const flags = this.#flags(site);
    this.#lock.enterReader(flags, site);
    return flags;
  }

  #exit(flags: number): void {
    this.#lock.exitReader(flags);
  }

  #enterWriter(site: string): void {
    this.#lock.enterWriter(site);
    const flags = heldFlagsOf(this.#words, this.ref);
    if (identityOf(flags) === this.#identity) return;
    this.#lock.exitWriter();
    this.#destroyed(site);
  }

  #exitWriter(): void {
    this.#lock.exitWriter();
    this.#arena.rcu.poll();
  }

  /** Releases the lock that was just taken and throws, if the tree was destroyed meanwhile. */
  #assertLive(site: string): void {
    if (identityOf(flagsOf(this.#words, this.ref)) === this.#identity) return;
    this.#lock.unlock();
    this.#destroyed(site);
  }

  #destroyed(site: string): never {
    throw new Error(`Cannot use the tree in ${site}: it was destroyed`);
  }
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
