/**
 * The range tree: a map from ranges of indices to `u32` entries, in shared memory, that many threads read while one
 * writes and while its nodes are being moved.
 *
 * Readers and writers. In RCU mode a reader enters a read section and takes no lock; without it a reader takes the tree's
 * lock. A writer takes the lock. Both find a whole tree at every moment, because every change becomes visible by one
 * atomic store (see `writer.ts`). Freed nodes are deferred in either mode, so switching the mode never endangers a reader
 * that is inside. `tree_lock.ts` says how all of them enter and leave.
 *
 * The lock is always in the tree, also where somebody else guards the writers: the mode `"internal"` says that the
 * operations take it, and so a mover that takes it may relocate the tree's nodes.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { shownRoot } from "../memory/roots.ts";
import { makeRoom } from "../slab/make_room.ts";
import type { Words } from "../sync/atomics.ts";
import { guardOf } from "../sync/guard.ts";
import {
  checkEntry,
  checkIndex,
  checkIndices,
  checkOptions,
  checkRange,
  checkValue,
  lengthOf,
  settled,
} from "./checks.ts";
import { AT_ONCE, compiledFor, type CompiledTrees } from "./compiled.ts";
import { Cursor } from "./cursor.ts";
import { EntryIterator } from "./entries.ts";
import {
  assertLockMode,
  entryCountOf,
  flagsOf,
  isLiveHeader,
  isRcu,
  type LockMode,
  rootOf,
  setRcuFlag,
  tracksGaps,
} from "./header.ts";
import {
  dumpTree,
  type RangeTreeStats,
  treeStats,
  validateTree,
} from "./inspect.ts";
import { loadSome } from "./load_many.ts";
import {
  type Doubles,
  heightOf,
  heldLookup,
  lookup,
  MAX_INDEX,
} from "./node.ts";
import type {
  AllocationWindow,
  CyclicAllocation,
  CyclicWindow,
  RangeTreeOptions,
} from "./options.ts";
import type { TreeParts } from "./parts.ts";
import { Room } from "./room.ts";
import { settledRanges, storeSome } from "./store_many.ts";
import { TreeLock } from "./tree_lock.ts";
import { TreeMemory } from "./tree_memory.ts";
import {
  type Entry,
  type EntryColumns,
  PROTECTED,
  RESERVED,
  Walk,
} from "./walk.ts";
import {
  bulkLoad,
  clearTree,
  cloneTree,
  createHeader,
  destroyTree,
  discardHeader,
} from "./whole.ts";
import { Writer } from "./writer.ts";

/**
 * A map from ranges of indices (safe integers, both ends included) to `u32` entries.
 *
 * An entry is 1 to 2^32 − 2. Storing 0 empties a range. Storing 2^32 − 1, which is {@linkcode RESERVED}, occupies it, but it
 * reads as empty, as what {@linkcode RangeTree.reserve} has occupied.
 *
 * Thread contract: an object belongs to one thread; the tree is shared, by name or by ref. One writer at a time, which the
 * lock sees to; in RCU mode any number of readers beside it, without a lock.
 *
 * - A reader sees all of a store or none of it.
 * - A store that can't get memory throws and changes nothing.
 * - Ranges are kept as they were stored: neighbours with equal entries stay apart.
 *
 * The last line of each function's description says what it needs and does, in these words:
 *
 * - Lock: *none*. Or *own*: it takes the tree's lock itself, so it is an error under it. Or *own read*: in RCU mode it enters a
 *   read section itself, else as *own*; *in each look*: an iterator looks at the tree in its first step, when it has given out
 *   what it copied then, and when the tree has changed. Where the lock is external, *own* means that the caller holds that one; where there is
 *   none, that the caller keeps others out.
 * - Memory: *no*; *may*, if nodes are needed, for which there may be no room; *yes*.
 * - Drops the lock: whether other writers may have been there in between.
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
  readonly #parts: TreeParts;
  readonly #writer: Writer;
  readonly #walk: Walk;
  readonly #room: Room;
  readonly #lock: TreeLock;
  readonly #compiled: CompiledTrees | undefined;

  private constructor(arena: Arena, header: number) {
    this.ref = header;
    this.gaps = tracksGaps(flagsOf(arena.words, header));
    const lock = this.#lock = new TreeLock(arena, header);
    this.lockMode = lock.mode;
    this.#arena = arena;
    this.#words = arena.words;
    this.#doubles = arena.doubles;
    const nodes = TreeMemory.of(arena).nodes(lock.index >= 0);
    this.#parts = { arena, header, nodes, lock, gaps: this.gaps };
    this.#writer = Writer.of(arena);
    this.#compiled = compiledFor(arena);
    this.#walk = new Walk(arena);
    this.#room = new Room(this.#parts);
  }

  /**
   * Creates an empty tree.
   *
   * Lock: none. Memory: yes. Drops the lock: no.
   *
   * @throws {OutOfMemoryError} If there is no room for its header.
   * @throws {RangeError} If the lock mode or the name is none, or the arena names as much as it can; then no tree was created.
   * @throws {Error} If the name is taken; then no tree was created.
   * @throws {TypeError} If an external lock is given that the lock mode does not ask for, or one of another arena.
   */
  static create(arena: Arena, options: RangeTreeOptions = {}): RangeTree {
    checkOptions(options);
    const { name, rcu = false, gaps = false, lock = "internal" } = options;
    const { externalLock } = options;
    assertLockMode(lock);
    if (externalLock !== undefined && lock !== "external") {
      throw new TypeError(
        `Cannot register an external lock: the tree is to have lock mode "${lock}"`,
      );
    }
    externalLock?.assertGuards(arena, "RangeTree.create");
    const header = createHeader(arena, {
      rcu,
      gaps,
      lock,
      externalLock: externalLock?.ref ?? 0,
    });
    if (name !== undefined) {
      try {
        arena.roots.add(name, header);
      } catch (error) {
        discardHeader(arena, header);
        throw error;
      }
    }
    return new RangeTree(arena, header);
  }

  /**
   * Opens a tree that exists, by its name or by its ref.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   *
   * @throws {Error} If there is no such tree.
   */
  static attach(arena: Arena, root: string | number): RangeTree {
    const { headers } = TreeMemory.of(arena);
    const header = arena.roots.refOf(root);
    if (
      header === 0 || !headers.isAllocated(header) ||
      !isLiveHeader(arena.words, header)
    ) {
      throw new Error(
        `Cannot attach to a range tree: there is none at ${shownRoot(root)}`,
      );
    }
    return new RangeTree(arena, header);
  }

  /**
   * How many ranges are stored, reserved ones among them. Stale as soon as it is read, unless the caller keeps writers out.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  get count(): number {
    this.#lock.flags("RangeTree.count");
    return entryCountOf(this.#words, this.ref);
  }

  /**
   * How many levels of nodes there are; 0 for an empty tree.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   */
  get height(): number {
    const flags = this.#lock.enterReader("RangeTree.height");
    const root = rootOf(this.#words, this.ref);
    const height = root === 0 ? 0 : heightOf(this.#words, root) + 1;
    this.#lock.exitReader(flags);
    return height;
  }

  /**
   * Whether readers need no lock. Stale as soon as it is read.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  get rcu(): boolean {
    return isRcu(this.#lock.flags("RangeTree.rcu"));
  }

  /**
   * The entry at an index, 0 where nothing is stored.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   */
  load(index: number): number {
    checkIndex(index);
    const compiled = this.#compiled;
    if (compiled !== undefined) {
      const found = compiled.lookUp(this.ref, index, this.#lock.seenFlags);
      // Else the tree is not as it was seen last, or its readers take the lock.
      if (found !== -1) return found >>> 0;
    }
    return this.#load(index, "RangeTree.load");
  }

  #load(index: number, site: string): number {
    const lock = this.#lock;
    const compiled = this.#compiled;
    if (compiled !== undefined && lock.mayReadCompiled()) {
      const found = compiled.enterLookUp(this.ref, index, lock.seenFlags);
      // Whatever was added to say that the lock was still held.
      if (lock.endCompiledRead(found)) return found >>> 0;
    }
    const flags = this.#lock.enterReader(site);
    const value = this.#loadInside(index, isRcu(flags));
    this.#lock.exitReader(flags);
    return value === RESERVED ? 0 : value;
  }

  #loadInside(index: number, isRcu: boolean): number {
    if (this.#compiled !== undefined) {
      return this.#compiled.lookUpInside(this.ref, index) >>> 0;
    }
    const root = rootOf(this.#words, this.ref);
    if (root === 0) return 0;
    return isRcu
      ? lookup(this.#words, this.#doubles, root, index)
      : heldLookup(this.#words, this.#doubles, root, index);
  }

  /**
   * The entries at many indices, in their order. As {@linkcode RangeTree.load} for each of them, but in large trees three times as fast:
   * a lookup mostly waits for memory, and here sixteen wait at the same time. Each entry was in the tree at some moment of the call.
   *
   * Lock: own read, for up to sixteen. Memory: no. Drops the lock: yes, between them.
   *
   * @throws {RangeError} If an index is no safe integer from 0 on.
   *
   * @example
   * ```ts
   * import { Arena, RangeTree } from "@pollard/pollard";
   * import { assertEquals } from "@std/assert";
   *
   * const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
   * tree.storeRange(10, 19, 1);
   * tree.storeRange(30, 39, 2);
   * assertEquals([...tree.loadMany([30, 20, 10])], [2, 0, 1]);
   * ```
   */
  loadMany(indices: ArrayLike<number>): Uint32Array<ArrayBuffer> {
    const site = "RangeTree.loadMany";
    const own = settled(indices, checkIndex);
    const entries = new Uint32Array(lengthOf(own));
    checkIndices(own, entries.length);
    const compiled = this.#compiled;
    if (entries.length === 0) this.#lock.flags(site);
    for (let at = 0; at < entries.length;) {
      if (compiled === undefined) {
        entries[at] = this.#load(own[at], site);
        at++;
      } else at += loadSome(this.#parts, compiled, site, own, at, entries);
    }
    return entries;
  }

  /**
   * Stores an entry at one index. As {@linkcode RangeTree.storeRange}.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names.
   */
  store(index: number, value: number): void {
    this.#storeRange("RangeTree.store", index, index, value);
  }

  /**
   * Stores an entry over `first` … `last`, whatever is there; the entry 0 empties the range. Readers see all of it or
   * none.
   *
   * A store waits for no reader. So in an arena that is nearly full it may find no room although enough was retired, namely as long
   * as some thread stays inside a read section, or is not on a processor in the middle of one: {@linkcode RangeTree.storeBlocking}
   * waits for it.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names.
   * @throws {RangeError} If the range or the entry is out of bounds.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  storeRange(first: number, last: number, value: number): void {
    this.#storeRange("RangeTree.storeRange", first, last, value);
  }

  /**
   * Stores many entries, each over its range `firsts[i]` … `lasts[i]`, one after the other as {@linkcode RangeTree.storeRange}
   * does. In a tree that is larger than the cache a store waits for memory most of the time: here the leaves of up to sixteen
   * stores are fetched at once, so that they wait together.
   *
   * Readers see the stores one by one, in order.
   *
   * Lock: own, one hold for up to sixteen. Memory: may. Drops the lock: yes, between them.
   *
   * @param values The entries, of those that {@linkcode RangeTree} names.
   * @throws {RangeError} If the lists are not of one length, or a range or an entry is out of bounds; the tree is as it was.
   * @throws {OutOfMemoryError} If there is no room; the message says how many are stored.
   *
   * @example Fill a page table
   * ```ts
   * import { Arena, RangeTree } from "@pollard/pollard";
   * import { assertEquals } from "@std/assert";
   *
   * const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
   * tree.storeMany([0x1000, 0x3000], [0x1fff, 0x3fff], [7, 8]);
   * assertEquals([tree.load(0x1800), tree.load(0x3fff)], [7, 8]);
   * ```
   */
  storeMany(
    firsts: ArrayLike<number>,
    lasts: ArrayLike<number>,
    values: ArrayLike<number>,
  ): void {
    const ranges = settledRanges(firsts, lasts, values);
    if (ranges.count === 0) this.#lock.flags("RangeTree.storeMany");
    for (let from = 0; from < ranges.count; from += AT_ONCE) {
      storeSome(this.#parts, this.#writer, this.#compiled, ranges, from);
    }
  }

  /**
   * As {@linkcode RangeTree.storeRange}, but when there is no room **drops the lock**, makes room, and begins anew: what is
   * deferred is freed after a grace period; then, if there is a `Compactor` for the arena on this thread, all trees
   * of the arena are compacted. What other threads store meanwhile is overwritten like everything else in the range.
   *
   * With an external lock or none there is nothing that it could drop, so it gives up at once.
   *
   * Lock: own, and no other is held. Memory: may. Drops the lock: yes, and waits.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names.
   * @throws {RangeError} If the range or the entry is out of bounds.
   * @throws {LockdepError} Inside a read section, or while a lock is held; but where the lock is external or there is none.
   * @throws {OutOfMemoryError} If no room could be made; the tree is as it was.
   * @throws {RcuStallError} If a reader holds up the grace period for it; the tree is as it was.
   */
  storeBlocking(first: number, last: number, value: number): void {
    const site = "RangeTree.storeBlocking";
    const { isInternal } = this.#lock;
    if (isInternal) this.#arena.rcu.assertMayWait(site);
    for (let attempt = 0;; attempt++) {
      try {
        return this.#storeRange(site, first, last, value);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || !isInternal) throw error;
        if (!makeRoom(this.#arena, attempt)) throw error;
      }
    }
  }

  /**
   * Stores an entry at one index if it is empty. As {@linkcode RangeTree.insertRange}.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names.
   */
  insert(index: number, value: number): boolean {
    return this.#insertRange("RangeTree.insert", index, index, value);
  }

  /**
   * Stores an entry over `first` … `last` if all of it is empty; says whether it did.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names; 0 is none.
   * @throws {RangeError} If the range or the entry is out of bounds, or the entry is 0.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  insertRange(first: number, last: number, value: number): boolean {
    return this.#insertRange("RangeTree.insertRange", first, last, value);
  }

  /**
   * Occupies `first` … `last` if all of it is free; says whether it did. Nothing is inserted or allocated there any more,
   * but it reads as empty.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the range is out of bounds.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  reserve(first: number, last: number): boolean {
    return this.#insertRange("RangeTree.reserve", first, last, RESERVED);
  }

  /**
   * Stores an entry over the lowest `size` free indices of a window, by default of all; returns the first of them, nothing if
   * there are none. Analogous to Linux `mtree_alloc_range`.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @param value The entry, of those that {@linkcode RangeTree} names; 0 is none.
   * @throws {RangeError} If the window is out of bounds or smaller than that, or the entry is out of bounds or 0.
   * @throws {Error} If the tree does not track gaps.
   * @throws {OutOfMemoryError} If there is no memory; the tree is as it was.
   */
  allocRange(
    size: number,
    value: number,
    window: AllocationWindow = {},
  ): number | undefined {
    return this.#room
      .allocRange("RangeTree.allocRange", size, value, window, false);
  }

  /**
   * Stores an entry over the highest `size` free indices of a window, by default of all. As {@linkcode RangeTree.allocRange}.
   * Analogous to Linux `mtree_alloc_rrange`.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   */
  allocRangeReverse(
    size: number,
    value: number,
    window: AllocationWindow = {},
  ): number | undefined {
    return this.#room
      .allocRange("RangeTree.allocRangeReverse", size, value, window, true);
  }

  /**
   * Stores an entry at the lowest free index of a window, by default of all, from `next` on, by default from 0, or if there
   * is none, at the lowest of all of the window, and says so. Nothing if none is free. Analogous to Linux
   * `mtree_alloc_cyclic`; differs: what wraps is this very search, and the tree remembers nothing of it.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the window or the entry is out of bounds, or the entry is 0.
   * @throws {Error} If the tree does not track gaps.
   * @throws {OutOfMemoryError} If there is no memory; the tree is as it was.
   */
  allocCyclic(
    value: number,
    window: CyclicWindow = {},
  ): CyclicAllocation | undefined {
    return this.#room.allocCyclic("RangeTree.allocCyclic", value, window);
  }

  /**
   * Removes the whole range that contains an index, from its first index to its last, not the index alone, which {@linkcode
   * RangeTree.eraseRange} empties; returns its entry, 0 if nothing is stored there. A reserved range is removed too, as which
   * it is not seen.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the index is no safe integer from 0 on.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  erase(index: number): number {
    checkIndex(index);
    const value = this.#erase(index);
    return value === RESERVED ? 0 : value;
  }

  /**
   * Empties `first` … `last`; ranges that stick out are cut. As {@linkcode RangeTree.storeRange} with the entry 0.
   *
   * Lock: own. Memory: may. Drops the lock: no.
   */
  eraseRange(first: number, last: number): void {
    this.#storeRange("RangeTree.eraseRange", first, last, 0);
  }

  /**
   * The first entry that contains or follows an index and begins at or before `max`, by default {@linkcode MAX_INDEX}; none
   * where `max` is below the index. So `find(i, i)` is the range that covers `i`, with its ends.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  find(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    return this.#find("RangeTree.find", index, max, false);
  }

  /**
   * The first entry that begins after an index and at or before `max`, by default {@linkcode MAX_INDEX}: what follows the entry
   * that contains the index.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  next(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    return this.#find("RangeTree.next", index, max, true);
  }

  /**
   * The first entry that contains or follows the index behind this one and begins at or before `max`, by default {@linkcode
   * MAX_INDEX}; none where `max` is not above the index. So a search goes on that has dealt with all up to the index.
   * Analogous to Linux `mt_find_after`.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  findAfter(index: number, max: number = MAX_INDEX): Entry | undefined {
    checkIndex(index);
    checkIndex(max);
    return this.#find("RangeTree.findAfter", index + 1, max, false);
  }

  /**
   * The last entry that ends before an index and at or after `min`, by default 0: what precedes the entry that contains the
   * index.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  prev(index: number, min = 0): Entry | undefined {
    checkIndex(index);
    checkIndex(min);
    return this.#findBefore("RangeTree.prev", index, min);
  }

  /**
   * Every entry that overlaps `from` … `to`, whole, in order; all by default. The tree may change meanwhile: each entry was in
   * it at the moment when it was given out, but for what a store was replacing that had not returned yet; one that was stored since
   * the last was given out may begin before that one's end.
   *
   * Lock: own read, in each look. Memory: no. Drops the lock: yes, between its steps.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entries(from = 0, to: number = MAX_INDEX): IterableIterator<Entry> {
    return this.#iterate("RangeTree.entries", from, to, false);
  }

  /**
   * Calls back for every entry that overlaps `from` … `to`, whole, in order; for all by default. As {@linkcode
   * RangeTree.entries}, but it creates no objects. The callback may change the tree; what it throws ends it.
   *
   * Lock: own read, in each look. Memory: no. Drops the lock: yes, while it calls back.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   *
   * @example
   * ```ts
   * import { Arena, RangeTree } from "@pollard/pollard";
   * import { assertEquals } from "@std/assert";
   *
   * const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
   * tree.storeRange(10, 19, 1);
   * tree.storeRange(30, 34, 2);
   * let indices = 0;
   * tree.forEach((first, last) => indices += last - first + 1);
   * assertEquals(indices, 15);
   * ```
   */
  forEach(
    callback: (first: number, last: number, value: number) => void,
    from = 0,
    to: number = MAX_INDEX,
  ): void {
    this.#iterate("RangeTree.forEach", from, to, false).forEach(callback);
  }

  /**
   * Calls back for all entries that overlap `from` … `to`, whole, in order, some at a time; for all that there are by default. As
   * {@linkcode RangeTree.forEach}, but with columns of up to 124 entries, which takes about half the time. Each of them was in the
   * tree at some moment between the call before and this one, not all of them at the same one. No two of a call overlap; one that
   * was stored since the call before may begin before the end of its last one. The columns are the callback's until it returns.
   *
   * Lock: own read, in each look. Memory: no. Drops the lock: yes, while it calls back.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   *
   * @example Sum up
   * ```ts
   * import { Arena, RangeTree } from "@pollard/pollard";
   * import { assertEquals } from "@std/assert";
   *
   * const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
   * tree.storeMany([10, 30, 50], [19, 34, 50], [1, 2, 3]);
   * let indices = 0;
   * tree.forEachMany(({ count, firsts, lasts }) => {
   *   for (let i = 0; i < count; i++) indices += lasts[i] - firsts[i] + 1;
   * });
   * assertEquals(indices, 16);
   * ```
   */
  forEachMany(
    callback: (entries: EntryColumns) => void,
    from = 0,
    to: number = MAX_INDEX,
  ): void {
    this.#iterate("RangeTree.forEachMany", from, to, false)
      .forEachMany(callback);
  }

  /**
   * Every entry that overlaps `from` … `to`, whole, the last one first; all by default. As {@linkcode RangeTree.entries}.
   *
   * Lock: own read, in each look. Memory: no. Drops the lock: yes, between its steps.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  entriesReverse(from = 0, to: number = MAX_INDEX): IterableIterator<Entry> {
    return this.#iterate("RangeTree.entriesReverse", from, to, true);
  }

  /**
   * How many entries overlap `from` … `to`; reserved ranges are none. Stale as soon as it is read; if the tree changes
   * meanwhile, each entry is counted as it was at some moment of the call.
   *
   * Lock: own read. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If a bound is no safe integer from 0 on.
   */
  countIn(from: number, to: number): number {
    checkIndex(from);
    checkIndex(to);
    const flags = this.#lock.enterReader("RangeTree.countIn");
    try {
      return from > to ? 0 : this.#walk.count(this.ref, from, to);
    } finally {
      this.#lock.exitReader(flags);
    }
  }

  /** Every entry, in order. As {@linkcode RangeTree.entries}. */
  [Symbol.iterator](): IterableIterator<Entry> {
    return this.entries();
  }

  /**
   * Fills an empty tree with entries that come in order and do not overlap, each node as full as can be.
   *
   * Lock: own, before the first entry is asked for and after the last one; none in between. Memory: yes. Drops the lock: yes,
   * while it builds.
   *
   * @throws {Error} If the tree is not empty: before anything is built, or after it if another writer came between.
   * @throws {RangeError} If an entry is out of bounds, out of order, or empty; the tree stays empty.
   * @throws {OutOfMemoryError} If there is no room; the tree stays empty.
   */
  bulkLoad(entries: Iterable<Entry>): void {
    bulkLoad(this.#parts, entries);
  }

  /**
   * A copy of the tree in the same arena, node by node, of the same modes; without a name by default.
   *
   * Lock: own. Memory: yes. Drops the lock: no.
   *
   * @param options A name for it: see {@linkcode RangeTreeOptions.name}.
   * @throws {OutOfMemoryError} If there is no room; nothing of the copy is left.
   * @throws {RangeError} If the name is none, or the arena names as much as it can; nothing of the copy is left.
   * @throws {Error} If the name is taken; nothing of the copy is left.
   */
  clone(options: { name?: string } = {}): RangeTree {
    checkOptions(options);
    const copy = new RangeTree(this.#arena, cloneTree(this.#parts));
    if (options.name !== undefined) {
      try {
        // Last: whoever finds the name finds the whole copy.
        this.#arena.roots.add(options.name, copy.ref);
      } catch (error) {
        destroyTree(copy.#parts, "RangeTree.clone");
        throw error;
      }
    }
    return copy;
  }

  /**
   * Removes every entry.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  clear(): void {
    clearTree(this.#parts);
  }

  /**
   * Removes every entry and the tree itself; every later use of it is an error. That no other thread is in the middle of a use
   * is for the caller to see to.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  destroy(): void {
    destroyTree(this.#parts, "RangeTree.destroy");
  }

  /**
   * Switches lock-free readers on or off. A tree that they were never allowed in has its leaves changed in place, which takes fewer
   * nodes and less time; once they were, its leaves are copied for good, since a reader may still be inside.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  setRcu(on: boolean): void {
    this.#lock.enterWriter("RangeTree.setRcu");
    setRcuFlag(this.#words, this.ref, on);
    this.#lock.exitWriterAndPoll();
  }

  /**
   * Takes the tree's lock, or its external lock, until the end of the caller's block: for a {@linkcode Cursor}. The other
   * methods that write take an internal lock themselves and are errors inside.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   *
   * @throws {Error} If the lock mode is `"none"`, or `"external"` and no lock was registered.
   * @throws {LockdepError} If this thread holds the lock of a tree already.
   */
  lock(): Disposable {
    this.#lock.lock("RangeTree.lock");
    return this.#guard();
  }

  /**
   * Takes the tree's lock if it is free, as {@linkcode RangeTree.lock}; nothing otherwise, also where this thread holds it.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   *
   * @throws {Error} If the lock mode is `"none"`, or `"external"` and no lock was registered.
   */
  tryLock(): Disposable | undefined {
    return this.#lock.tryLock("RangeTree.tryLock") ? this.#guard() : undefined;
  }

  /**
   * A cursor at `index` … `last`, by default at index 0, or at the one index that is given: for compound operations under one
   * hold of the lock or inside one read section.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the range is out of bounds.
   */
  cursor(index = 0, last: number = index): Cursor {
    checkRange(index, last);
    this.#lock.flags("RangeTree.cursor");
    return new Cursor(this.#parts, index, last);
  }

  /**
   * The tree's numbers.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  stats(): RangeTreeStats {
    return this.#inspect(
      "RangeTree.stats",
      () => treeStats(this.#words, this.#doubles, this.ref),
    );
  }

  /**
   * Checks every invariant of the tree.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   *
   * @throws {TreeInvariantError} Naming the node and the rule that is broken.
   */
  validate(): void {
    const { nodes } = this.#parts;
    this.#inspect("RangeTree.validate", () => {
      validateTree(this.#words, this.#doubles, this.ref, nodes);
    });
  }

  /**
   * The tree as text, one line a node and an entry.
   *
   * Lock: own. Memory: no. Drops the lock: no.
   */
  dump(): string {
    return this.#inspect(
      "RangeTree.dump",
      () => dumpTree(this.#words, this.#doubles, this.ref),
    );
  }

  /**
   * One line: how many ranges, and the modes.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  toString(): string {
    if (this.#lock.isDestroyed) return "RangeTree(destroyed)";
    const flags = flagsOf(this.#words, this.ref);
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

  #storeRange(site: string, first: number, last: number, value: number): void {
    checkRange(first, last);
    checkValue(value);
    const lock = this.#lock, { nodes } = this.#parts;
    const compiled = this.#compiled;
    if (compiled !== undefined && lock.beginCompiled(site)) {
      const answer = compiled.enterStoreRange(
        this.ref,
        lock.identity,
        first,
        last,
        value,
        nodes.leafStock,
        nodes.innerStock,
      );
      if (lock.endCompiled(site, answer)) return this.#arena.rcu.poll();
    } else lock.enterWriter(site);
    try {
      this.#writer.storeRange(this.ref, nodes, first, last, value);
    } finally {
      lock.exitWriterAndPoll();
    }
  }

  #insertRange(
    site: string,
    first: number,
    last: number,
    value: number,
  ): boolean {
    checkRange(first, last);
    checkEntry(value);
    const lock = this.#lock, { nodes } = this.#parts;
    const compiled = this.#compiled;
    if (compiled !== undefined && lock.beginCompiled(site)) {
      const answer = compiled.enterInsertRange(
        this.ref,
        lock.identity,
        first,
        last,
        value,
        nodes.leafStock,
        nodes.innerStock,
      );
      if (lock.endCompiled(site, answer)) {
        this.#arena.rcu.poll();
        return answer % 2 === 1;
      }
    } else lock.enterWriter(site);
    try {
      return this.#writer.insertRange(this.ref, nodes, first, last, value);
    } finally {
      lock.exitWriterAndPoll();
    }
  }

  #erase(index: number): number {
    const site = "RangeTree.erase";
    const lock = this.#lock, { nodes } = this.#parts;
    const compiled = this.#compiled;
    if (compiled !== undefined && lock.beginCompiled(site)) {
      const answer = compiled.enterErase(
        this.ref,
        lock.identity,
        index,
        nodes.leafStock,
        nodes.innerStock,
      );
      if (lock.endCompiled(site, answer)) {
        this.#arena.rcu.poll();
        // Whatever was added to say that the lock was still held.
        return answer >>> 0;
      }
    } else lock.enterWriter(site);
    try {
      return this.#writer.erase(this.ref, nodes, index);
    } finally {
      lock.exitWriterAndPoll();
    }
  }

  #find(
    site: string,
    index: number,
    max: number,
    passes: boolean,
  ): Entry | undefined {
    const walk = this.#walk, header = this.ref, lock = this.#lock;
    let found = walk.entryFrom(header, index, max, passes, lock.seenFlags);
    if (found < 0) {
      const flags = lock.enterReader(site);
      try {
        found = walk.entryFrom(header, index, max, passes, PROTECTED);
      } finally {
        lock.exitReader(flags);
      }
    }
    return found === 0 ? undefined : walk.entry();
  }

  #findBefore(site: string, index: number, min: number): Entry | undefined {
    const walk = this.#walk, header = this.ref, lock = this.#lock;
    let found = walk.entryBefore(header, index, min, lock.seenFlags);
    if (found < 0) {
      const flags = lock.enterReader(site);
      try {
        found = walk.entryBefore(header, index, min, PROTECTED);
      } finally {
        lock.exitReader(flags);
      }
    }
    return found === 0 ? undefined : walk.entry();
  }

  #iterate(
    site: string,
    from: number,
    to: number,
    reverse: boolean,
  ): EntryIterator {
    checkIndex(from);
    checkIndex(to);
    this.#lock.flags(site);
    return new EntryIterator(this.#parts, this.#walk, site, from, to, reverse);
  }

  #inspect<T>(site: string, look: () => T): T {
    this.#lock.enterWriter(site);
    try {
      return look();
    } finally {
      this.#lock.exitWriterAndPoll();
    }
  }

  #guard(): Disposable {
    return guardOf(() => this.#lock.release());
  }
}
