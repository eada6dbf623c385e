/**
 * A cursor: a position in a tree for compound operations, where the caller holds the lock or is inside a read section and
 * nothing is taken or dropped in between (but by {@linkcode Cursor.storeBlocking}).
 *
 * A position is a leaf and a slot, so it is worth only as much as what protects the leaf: it belongs to the one hold of the
 * lock, or the one outermost read section, in which it was found. Lockdep keeps a number of that hold with the position and
 * reports a use in another one, unless the cursor was reset or paused between. If the tree changed within the hold (its
 * generation tells), the cursor walks to its index again.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { makeRoom } from "../slab/make_room.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { checkEntry, checkRange, checkRoom, checkValue } from "./checks.ts";
import { GapSearch } from "./gaps.ts";
import { flagsOf, generationOf, identityOf } from "./header.ts";
import { MAX_INDEX } from "./node.ts";
import type { TreeLock } from "./tree_lock.ts";
import { Walk } from "./walk.ts";
import { Writer } from "./writer.ts";

/** What a cursor works on. */
export interface CursorTarget {
  /** The arena, as seen by this thread. */
  readonly arena: Arena;
  /** The tree's header. */
  readonly header: number;
  /** Where its nodes come from. */
  readonly nodes: SlabCache;
  /** Who guards its writers. */
  readonly lock: TreeLock;
  /** Whether it tracks gaps. */
  readonly gaps: boolean;
}

/**
 * Where a cursor is.
 *
 * | state | the cursor's range | the next search |
 * |---|---|---|
 * | `"start"` | what it was set to | begins at it |
 * | `"active"` | the range that was found, stored or empty | goes on beside it |
 * | `"root"` | all indices: the tree holds one entry | there is nothing beside it |
 * | `"none"` | all indices: the tree is empty | there is nothing beside it |
 * | `"paused"` | what was dealt with last | goes on beside it, in a new hold of the lock |
 * | `"overflow"` | the last one up to `max`: `next` found no more | back, it begins at it; forward, it goes on |
 * | `"underflow"` | the first one from `min` on: `prev` found no more | forward, it begins at it; back, it goes on |
 */
export type CursorState =
  | "start"
  | "active"
  | "root"
  | "none"
  | "paused"
  | "overflow"
  | "underflow";

/**
 * A position in a range tree.
 *
 * Thread contract: an object belongs to one thread and to one hold of the tree's lock or one read section at a time.
 *
 * - What searches (`walk`, `find`, `next`, `prev` and their kin) needs the lock or a read section, and no memory.
 * - What changes the tree, and what looks for room, needs the lock. Only stores, `insert`, `erase` and `preallocate` need
 *   memory; without it they throw, and tree and cursor are as they were.
 * - No method takes the lock, and none drops it but `storeBlocking`.
 * - Reserved ranges are seen like any other entry.
 *
 * Searches return the entry, 0 if there is none; the cursor's range then tells where.
 *
 * Analogous to the Linux `ma_state`; differs: a use after the lock was dropped is found.
 *
 * @example Remove every second entry under one hold of the lock
 * ```ts
 * import { Arena, RangeTree } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
 * for (let i = 1; i <= 4; i++) tree.storeRange(i * 10, i * 10 + 4, i);
 * {
 *   using _guard = tree.lock();
 *   const cursor = tree.cursor();
 *   for (let value = cursor.find(); value !== 0; value = cursor.find()) {
 *     if (value % 2 === 0) cursor.erase();
 *   }
 * }
 * assertEquals([...tree].map((entry) => entry.value), [1, 3]);
 * ```
 */
export class Cursor implements Disposable {
  readonly #target: CursorTarget;
  readonly #walk: Walk;
  readonly #writer: Writer;
  readonly #search: GapSearch;
  readonly #identity: number;
  #index: number;
  #last: number;
  #state: CursorState = "start";
  /** Which hold of the lock (or, negative, which read section) the cursor belongs to; 0 = none. */
  #stamp = 0;
  /** The tree's generation when the walk came to where the cursor is; -1 if it is not there. */
  #generation = -1;
  /** Nodes that were preallocated. */
  readonly #reserve: number[] = [];

  /** A cursor at `index` … `last`; use {@linkcode RangeTree.cursor}. */
  constructor(target: CursorTarget, index: number, last: number) {
    this.#target = target;
    const { words, doubles } = target.arena;
    this.#walk = new Walk(words, doubles, true);
    this.#writer = Writer.of(target.arena);
    this.#search = GapSearch.of(target.arena);
    this.#identity = identityOf(flagsOf(words, target.header));
    this.#index = index;
    this.#last = last;
  }

  /** The first index of the range that the cursor is at. */
  get index(): number {
    return this.#index;
  }

  /** The last index of the range that the cursor is at. */
  get last(): number {
    return this.#last;
  }

  /** Where the cursor is. */
  get state(): CursorState {
    return this.#state;
  }

  /** Sets the range that is to be worked on next, and forgets the position. Analogous to Linux `mas_set_range`. */
  setRange(index: number, last: number = index): void {
    checkRange(index, last);
    this.#index = index;
    this.#last = last;
    this.reset();
  }

  /**
   * Forgets the position: the next operation starts from the cursor's range anew. To be called when the lock was dropped.
   * Analogous to Linux `mas_reset`.
   */
  reset(): void {
    this.#forget("start");
  }

  /**
   * Forgets the position, but goes on beside the cursor's range: to be called before the lock is dropped in the middle of an
   * iteration. Analogous to Linux `mas_pause`.
   */
  pause(): void {
    this.#forget("paused");
  }

  /**
   * Goes to the range that covers the index; returns its entry, 0 if it is empty. Analogous to Linux `mas_walk`.
   *
   * @throws {LockdepError} Without the lock or a read section, or if the lock was dropped since the position was found.
   */
  walk(): number {
    this.#enter("Cursor.walk");
    return this.#toIndex();
  }

  /**
   * Goes to the first entry at or after the index that begins at or before `max`; once there, to the next one each time.
   * Analogous to Linux `mas_find`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  find(max: number = MAX_INDEX): number {
    this.#enter("Cursor.find");
    return this.#find(max, true);
  }

  /**
   * As {@linkcode Cursor.find}, but once it is anywhere it also stops at empty runs: it returns 0 then, and the cursor's range
   * is the run. Analogous to Linux `mas_find_range`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findRange(max: number = MAX_INDEX): number {
    this.#enter("Cursor.findRange");
    return this.#find(max, false);
  }

  /**
   * Goes to the last entry at or before the index that ends at or after `min`; once there, to the one before each time.
   * Analogous to Linux `mas_find_rev`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findReverse(min = 0): number {
    this.#enter("Cursor.findReverse");
    return this.#findReverse(min, true);
  }

  /**
   * As {@linkcode Cursor.findReverse}, but once it is anywhere it also stops at empty runs. Analogous to Linux
   * `mas_find_range_rev`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findRangeReverse(min = 0): number {
    this.#enter("Cursor.findRangeReverse");
    return this.#findReverse(min, false);
  }

  /**
   * Goes to the first entry that begins after the cursor's range and at or before `max`. Analogous to Linux `mas_next`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  next(max: number = MAX_INDEX): number {
    this.#enter("Cursor.next");
    return this.#next(max, true);
  }

  /**
   * Goes to the range, stored or empty, that begins behind the cursor's, if it does so at or before `max`. Analogous to Linux
   * `mas_next_range`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  nextRange(max: number = MAX_INDEX): number {
    this.#enter("Cursor.nextRange");
    return this.#next(max, false);
  }

  /**
   * Goes to the last entry that ends before the cursor's range and at or after `min`. Analogous to Linux `mas_prev`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  prev(min = 0): number {
    this.#enter("Cursor.prev");
    return this.#prev(min, true);
  }

  /**
   * Goes to the range, stored or empty, that ends before the cursor's, if it does so at or after `min`. Analogous to Linux
   * `mas_prev_range`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  prevRange(min = 0): number {
    this.#enter("Cursor.prevRange");
    return this.#prev(min, false);
  }

  /**
   * Stores an entry over the cursor's range; 0 empties it. Returns what was at the index before. Uses preallocated nodes
   * first. Analogous to Linux `mas_store`.
   *
   * @throws {LockdepError} Without the lock, or if it was dropped since the position was found.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  store(value: number): number {
    checkValue(value);
    this.#enterWriter("Cursor.store");
    return this.#change(value);
  }

  /**
   * As {@linkcode Cursor.store}, but when there is no room **drops the lock**, makes room, takes the lock again, and begins anew.
   * What was found before under the lock may have changed then. Makes room as {@linkcode RangeTree.storeBlocking} does.
   * Analogous to Linux `mas_store_gfp` with `GFP_KERNEL`; differs: with an external lock it drops nothing and gives up.
   *
   * @throws {LockdepError} Without the lock, with another one beside it, or inside a read section.
   * @throws {OutOfMemoryError} If no room could be made; the tree is as it was.
   */
  storeBlocking(value: number): number {
    const site = "Cursor.storeBlocking";
    checkValue(value);
    const { arena, lock } = this.#target;
    if (lock.isInternal) arena.rcu.assertMayWait(site, lock.index);
    for (let attempt = 0;; attempt++) {
      this.#enterWriter(site);
      try {
        return this.#change(value);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || !lock.isInternal) {
          throw error;
        }
        if (!this.#makeRoom(attempt, site)) throw error;
      }
    }
  }

  /**
   * Stores an entry over the cursor's range if all of it is free; says whether it did. The cursor's range stays. Analogous
   * to Linux `mas_insert`.
   *
   * @throws {RangeError} If the entry is out of bounds, or 0.
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  insert(value: number): boolean {
    checkEntry(value);
    this.#enterWriter("Cursor.insert");
    const { header, nodes } = this.#target;
    const free = this.#writer
      .insertRange(header, nodes, this.#index, this.#last, value);
    this.#stand();
    return free;
  }

  /**
   * Removes the whole range that covers the index; returns its entry, 0 if it is empty. The cursor's range becomes that
   * range. Analogous to Linux `mas_erase`.
   *
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  erase(): number {
    this.#enterWriter("Cursor.erase");
    const { header, nodes } = this.#target;
    const writer = this.#writer;
    const value = writer.erase(header, nodes, this.#index);
    this.#index = writer.first;
    this.#last = writer.last;
    this.#stand();
    return value;
  }

  /**
   * Goes to the lowest `size` free indices in `min` … `max`, which become the cursor's range; says whether there are any.
   * Analogous to Linux `mas_empty_area`.
   *
   * @throws {RangeError} If the window is out of bounds or smaller than that.
   * @throws {Error} If the tree does not track gaps.
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   */
  emptyArea(min: number, max: number, size: number): boolean {
    return this.#findRoom("Cursor.emptyArea", min, max, size, false);
  }

  /**
   * Goes to the highest `size` free indices in `min` … `max`. As {@linkcode Cursor.emptyArea}. Analogous to Linux
   * `mas_empty_area_rev`.
   */
  emptyAreaReverse(min: number, max: number, size: number): boolean {
    return this.#findRoom("Cursor.emptyAreaReverse", min, max, size, true);
  }

  /**
   * Allocates exactly the nodes that storing that entry over the cursor's range needs, as far as the cursor does not have
   * them: the store then needs no memory, so long as nobody changes the tree before it. If somebody did, it may be called
   * again, which checks anew and allocates only what is missing. Analogous to Linux `mas_preallocate`; differs: that is
   * exact only until the next change.
   *
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; what was preallocated before is still there.
   */
  preallocate(value: number): void {
    checkValue(value);
    this.#enterWriter("Cursor.preallocate");
    const { header, nodes } = this.#target;
    this.#writer.rehearse(
      this.#reserve,
      header,
      nodes,
      this.#index,
      this.#last,
      value,
    );
  }

  /** Gives back what was preallocated and not used. Needs no lock. Analogous to Linux `mas_destroy`. */
  destroy(): void {
    for (const node of this.#reserve.splice(0)) this.#target.nodes.free(node);
  }

  /** As {@linkcode Cursor.destroy}. */
  [Symbol.dispose](): void {
    this.destroy();
  }

  #forget(state: CursorState): void {
    this.#stamp = 0;
    this.#generation = -1;
    this.#state = state;
  }

  #find(max: number, skipsEmpty: boolean): number {
    switch (this.#state) {
      case "start":
        if (this.#index > max) return 0;
        if (this.#toIndex() !== 0) return this.#walk.value;
        break;
      case "paused":
        if (this.#last >= max) return 0;
        this.#index = ++this.#last;
        if (this.#toIndex() !== 0) return this.#walk.value;
        break;
      case "underflow":
        if (this.#toIndex() !== 0) return this.#walk.value;
        break;
      case "overflow":
        if (this.#last >= max) return 0;
    }
    const value = this.#forward(max, skipsEmpty);
    if (this.#state === "overflow") this.#arrive();
    return value;
  }

  #findReverse(min: number, skipsEmpty: boolean): number {
    switch (this.#state) {
      case "start":
        if (this.#index < min) return 0;
        if (this.#toIndex() !== 0) return this.#walk.value;
        break;
      case "paused":
        if (this.#index <= min) return this.#end("underflow");
        this.#last = --this.#index;
        if (this.#toIndex() !== 0) return this.#walk.value;
        break;
      case "overflow":
        if (this.#toIndex() !== 0) return this.#walk.value;
    }
    return this.#backward(min, skipsEmpty);
  }

  #next(max: number, skipsEmpty: boolean): number {
    if (this.#last >= max) return this.#end("overflow");
    switch (this.#state) {
      case "start":
      case "paused":
      case "none":
        this.#toIndex();
        break;
      case "underflow":
        if (this.#toIndex() !== 0) return this.#walk.value;
    }
    return this.#forward(max, skipsEmpty);
  }

  #prev(min: number, skipsEmpty: boolean): number {
    if (this.#index <= min) return this.#end("underflow");
    switch (this.#state) {
      case "start":
      case "paused":
      case "none":
        this.#toIndex();
        break;
      case "overflow":
        if (this.#toIndex() !== 0) return this.#walk.value;
    }
    return this.#backward(min, skipsEmpty);
  }

  /** Goes on to the next range, or entry. */
  #forward(max: number, skipsEmpty: boolean): number {
    const { header } = this.#target;
    this.#position();
    do {
      if (!this.#walk.forward(header, max)) {
        this.#arrive();
        return this.#end("overflow");
      }
    } while (skipsEmpty && this.#walk.value === 0);
    return this.#arrive();
  }

  /** Goes back to the range, or entry, before. */
  #backward(min: number, skipsEmpty: boolean): number {
    const { header } = this.#target;
    this.#position();
    do {
      if (!this.#walk.backward(header, min)) {
        this.#arrive();
        return this.#end("underflow");
      }
    } while (skipsEmpty && this.#walk.value === 0);
    return this.#arrive();
  }

  #end(state: "overflow" | "underflow"): 0 {
    this.#state = state;
    return 0;
  }

  /** Has the walk be where the cursor is: it is not if nothing was walked to, or the tree has changed since. */
  #position(): void {
    const { arena, header } = this.#target;
    const generation = generationOf(arena.words, header);
    if (this.#generation === generation) return;
    this.#assertLive();
    this.#walk.to(header, this.#index);
    this.#generation = generation;
  }

  #toIndex(): number {
    const { arena, header } = this.#target;
    this.#assertLive();
    this.#generation = generationOf(arena.words, header);
    this.#walk.to(header, this.#index);
    return this.#arrive();
  }

  /** Takes over the range that was walked to. */
  #arrive(): number {
    const { first, last, value } = this.#walk;
    this.#index = first;
    this.#last = last;
    this.#state = "active";
    if (first === 0 && last === MAX_INDEX) {
      this.#state = value === 0 ? "none" : "root";
    }
    this.#stamp = this.#target.lock.stamp();
    return value;
  }

  /** Stays where it is after a change; the next search walks there first. */
  #stand(): void {
    this.#state = "active";
    this.#generation = -1;
    this.#stamp = this.#target.lock.stamp();
  }

  #change(value: number): number {
    const { header, nodes } = this.#target;
    const writer = this.#writer;
    const first = this.#index, last = this.#last;
    const before = this.#reserve.length === 0
      ? writer.storeRange(header, nodes, first, last, value)
      : writer.storeRangeFrom(
        this.#reserve,
        header,
        nodes,
        first,
        last,
        value,
      );
    this.#stand();
    return before;
  }

  /** Drops the lock, makes room and takes the lock again; says whether there was another way to make it. */
  #makeRoom(attempt: number, site: string): boolean {
    const { arena, lock } = this.#target;
    lock.unlock();
    try {
      return makeRoom(arena, attempt);
    } finally {
      lock.lock(site);
      // What was found before belongs to another hold.
      this.#stamp = 0;
      this.#generation = -1;
    }
  }

  #findRoom(
    site: string,
    min: number,
    max: number,
    size: number,
    highest: boolean,
  ): boolean {
    checkRoom(size, min, max);
    const { header, gaps } = this.#target;
    if (!gaps) {
      throw new Error(
        `Cannot find room in ${site}: the tree does not track gaps`,
      );
    }
    this.#enterWriter(site);
    const search = this.#search;
    const first = highest
      ? search.highest(header, size, min, max)
      : search.lowest(header, size, min, max);
    if (first < 0) return false;
    this.#index = first;
    this.#last = first + size - 1;
    this.#stand();
    return true;
  }

  /** Checks what protects a reader. */
  #enter(site: string): void {
    this.#target.lock.assertReading(site);
    this.#assertSameHold(site);
  }

  #enterWriter(site: string): void {
    this.#target.lock.assertHeld(site);
    this.#assertSameHold(site);
    this.#assertLive();
  }

  /** Where a position is found or used to write: a tree that is destroyed has another generation than its positions. */
  #assertLive(): void {
    const { arena, header } = this.#target;
    if (identityOf(flagsOf(arena.words, header)) === this.#identity) return;
    throw new Error("Cannot use the cursor: its tree was destroyed");
  }

  #assertSameHold(site: string): void {
    const { arena, lock } = this.#target;
    if (
      !arena.lockdep.enabled || this.#stamp === 0 ||
      this.#stamp === lock.stamp()
    ) return;
    throw arena.lockdep.splat(
      `suspicious RCU usage\n${site}: the cursor is used after its lock was dropped; reset or pause it first`,
      arena.rcu.depth,
    );
  }
}
