/**
 * A cursor: a position in a tree for compound operations, where the caller holds the lock or is inside a read section and
 * nothing is taken or dropped in between (but by {@linkcode Cursor.storeBlocking}).
 *
 * A position is a leaf and a slot, so it is worth only as much as what protects the leaf: it belongs to the one hold of the
 * lock, or the one outermost read section, in which it was found. Lockdep keeps a number of that hold with the position and
 * reports a use in another one, unless the cursor was reset or paused between. If the tree changed within the hold (its
 * generation tells), the cursor walks to its index again.
 *
 * What can fail is asked before anything of the cursor is changed, so a call that throws leaves it as it was. That the tree lives
 * is asked once a call: what protects the position protects the tree's header as well.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/page_allocator.ts";
import { makeRoom } from "../slab/make_room.ts";
import {
  checkEntry,
  checkIndex,
  checkRange,
  checkRoom,
  checkValue,
} from "./checks.ts";
import { assertTracksGaps, GapSearch } from "./gaps.ts";
import { generationOf } from "./header.ts";
import { MAX_INDEX } from "./node.ts";
import { NodeReserve } from "./node_supply.ts";
import type { TreeParts } from "./parts.ts";
import { Walk } from "./walk.ts";
import { Writer } from "./writer.ts";

/** Where a cursor is: `docs/cursor.md` has a table of what each state means, and one of what leads to it. */
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
 * - What changes the tree, and what looks for room, needs the lock.
 * - No method takes the lock, and none drops it but `storeBlocking`.
 * - A call that throws leaves the cursor as it was.
 * - Reserved ranges are seen like any other entry.
 *
 * The last line of each function's description says what it needs, in the words of {@linkcode RangeTree}; here the lock is
 * *held*, that of the tree, or *reading*, that or a read section.
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
  readonly #parts: TreeParts;
  readonly #walk: Walk;
  readonly #writer: Writer;
  readonly #search: GapSearch;
  #index: number;
  #last: number;
  #state: CursorState = "start";
  /** Which hold of the lock (or, negative, which read section) the cursor belongs to; 0 = none. */
  #stamp = 0;
  /** Whether the walk is where the cursor is … */
  #isThere = false;
  /** … as the tree was at this generation. */
  #generation = 0;
  /** Nodes that were preallocated. */
  readonly #reserve = new NodeReserve();

  /** A cursor at `index` … `last`; use {@linkcode RangeTree.cursor}. */
  constructor(parts: TreeParts, index: number, last: number) {
    this.#parts = parts;
    this.#walk = new Walk(parts.arena, true);
    this.#writer = Writer.of(parts.arena);
    this.#search = GapSearch.of(parts.arena);
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

  /**
   * Sets the range that is to be worked on next, by default the one index, and forgets the position. Analogous to Linux
   * `mas_set_range`.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  setRange(index: number, last: number = index): void {
    checkRange(index, last);
    this.#index = index;
    this.#last = last;
    this.reset();
  }

  /**
   * Forgets the position: the next operation starts from the cursor's range anew. To be called when the lock was dropped.
   * Analogous to Linux `mas_reset`.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  reset(): void {
    this.#forget("start");
  }

  /**
   * Forgets the position, but goes on beside the cursor's range: to be called before the lock is dropped in the middle of an
   * iteration. `find` and `findReverse` begin beside that range then; `next` and `prev` beside what covers the cursor's index then.
   * Analogous to Linux `mas_pause`.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  pause(): void {
    this.#forget("paused");
  }

  /**
   * Goes to the range that covers the index; returns its entry, 0 if it is empty. Analogous to Linux `mas_walk`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {LockdepError} Without the lock or a read section, or if the lock was dropped since the position was found.
   */
  walk(): number {
    this.#enter("Cursor.walk");
    return this.#to(this.#index);
  }

  /**
   * Goes to the first entry at or after the index that begins at or before `max`, by default anywhere; once there, to the
   * next one each time. Analogous to Linux `mas_find`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  find(max: number = MAX_INDEX): number {
    if (max !== MAX_INDEX) checkIndex(max);
    if (this.#steppedOn(max, true)) return this.#walk.value;
    this.#enter("Cursor.find");
    return this.#find(max, true);
  }

  /**
   * As {@linkcode Cursor.find}, but once it is anywhere it also stops at empty runs: it returns 0 then, and the cursor's range
   * is the run. Analogous to Linux `mas_find_range`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findRange(max: number = MAX_INDEX): number {
    if (max !== MAX_INDEX) checkIndex(max);
    if (this.#steppedOn(max, false)) return this.#walk.value;
    this.#enter("Cursor.findRange");
    return this.#find(max, false);
  }

  /**
   * Goes to the last entry at or before the index that ends at or after `min`, by default anywhere; once there, to the one
   * before each time. Analogous to Linux `mas_find_rev`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findReverse(min = 0): number {
    checkIndex(min);
    if (this.#steppedBack(min, true)) return this.#walk.value;
    this.#enter("Cursor.findReverse");
    return this.#findReverse(min, true);
  }

  /**
   * As {@linkcode Cursor.findReverse}, but once it is anywhere it also stops at empty runs. Analogous to Linux
   * `mas_find_range_rev`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  findRangeReverse(min = 0): number {
    checkIndex(min);
    if (this.#steppedBack(min, false)) return this.#walk.value;
    this.#enter("Cursor.findRangeReverse");
    return this.#findReverse(min, false);
  }

  /**
   * Goes on to the next entry, if it begins at or before `max`, by default wherever: from where the cursor is or, where it
   * has no position yet, from the range that covers its index. Nothing where the cursor's range ends at or after `max`.
   * Analogous to Linux `mas_next`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  next(max: number = MAX_INDEX): number {
    if (max !== MAX_INDEX) checkIndex(max);
    if (this.#steppedOn(max, true)) return this.#walk.value;
    this.#enter("Cursor.next");
    return this.#next(max, true);
  }

  /**
   * Goes on to the next range, stored or empty. As {@linkcode Cursor.next}. Analogous to Linux `mas_next_range`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  nextRange(max: number = MAX_INDEX): number {
    if (max !== MAX_INDEX) checkIndex(max);
    if (this.#steppedOn(max, false)) return this.#walk.value;
    this.#enter("Cursor.nextRange");
    return this.#next(max, false);
  }

  /**
   * Goes back to the entry before, if it ends at or after `min`, by default wherever: from where the cursor is or, where it
   * has no position yet, from the range that covers its index. Nothing where the cursor's range begins at or before `min`.
   * Analogous to Linux `mas_prev`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  prev(min = 0): number {
    checkIndex(min);
    if (this.#steppedBack(min, true)) return this.#walk.value;
    this.#enter("Cursor.prev");
    return this.#prev(min, true);
  }

  /**
   * Goes back to the range before, stored or empty. As {@linkcode Cursor.prev}. Analogous to Linux `mas_prev_range`.
   *
   * Lock: reading. Memory: no. Drops the lock: no.
   *
   * @throws {RangeError} If the bound is no safe integer from 0 on.
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  prevRange(min = 0): number {
    checkIndex(min);
    if (this.#steppedBack(min, false)) return this.#walk.value;
    this.#enter("Cursor.prevRange");
    return this.#prev(min, false);
  }

  /**
   * Stores an entry, of those that {@linkcode RangeTree} names, over the cursor's range; 0 empties it. Returns what was at
   * the index before. Uses preallocated nodes first. Analogous to Linux `mas_store`.
   *
   * Lock: held. Memory: may. Drops the lock: no.
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
   * Lock: held, and no other is. Memory: may. Drops the lock: yes, and waits; it is held at the return.
   *
   * @throws {LockdepError} Without the lock; with another one beside it, or inside a read section, but where the lock is external
   * or there is none.
   * @throws {OutOfMemoryError} If no room could be made; the tree is as it was.
   * @throws {RcuStallError} If a reader holds up the grace period for it; the tree is as it was, and the lock is held.
   */
  storeBlocking(value: number): number {
    const site = "Cursor.storeBlocking";
    checkValue(value);
    const { arena, lock } = this.#parts;
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
   * Stores an entry over the cursor's range if all of it is free; says whether it did. If not, the cursor stays as it was.
   * Analogous to Linux `mas_insert`.
   *
   * Lock: held. Memory: may. Drops the lock: no.
   *
   * @throws {RangeError} If the entry is out of bounds, or 0.
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  insert(value: number): boolean {
    checkEntry(value);
    this.#enterWriter("Cursor.insert");
    const { header, nodes } = this.#parts;
    const free = this.#writer
      .insertRange(header, nodes, this.#index, this.#last, value);
    if (free) this.#stand(value);
    return free;
  }

  /**
   * Removes the whole range that covers the index; returns its entry, 0 if it is empty. The cursor's range becomes that
   * range. Analogous to Linux `mas_erase`.
   *
   * Lock: held. Memory: may. Drops the lock: no.
   *
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  erase(): number {
    this.#enterWriter("Cursor.erase");
    const { header, nodes } = this.#parts;
    const writer = this.#writer;
    const value = writer.erase(header, nodes, this.#index);
    this.#index = writer.first;
    this.#last = writer.last;
    this.#stand(0);
    return value;
  }

  /**
   * Goes to the lowest `size` free indices in `min` … `max`, which become the cursor's range; says whether there are any.
   * Analogous to Linux `mas_empty_area`.
   *
   * Lock: held. Memory: no. Drops the lock: no.
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
   *
   * Lock: held. Memory: no. Drops the lock: no.
   */
  emptyAreaReverse(min: number, max: number, size: number): boolean {
    return this.#findRoom("Cursor.emptyAreaReverse", min, max, size, true);
  }

  /**
   * Has the cursor hold exactly the nodes that storing that entry over its range needs: what is missing is allocated, what is
   * not needed is given back. The store then needs no memory, so long as nobody changes the tree before it; if somebody did,
   * it may be called again. Analogous to Linux `mas_preallocate`; differs: that is exact only until the next change.
   *
   * Lock: held. Memory: may. Drops the lock: no.
   *
   * @throws {LockdepError} As {@linkcode Cursor.store}.
   * @throws {OutOfMemoryError} If there is no room; what was preallocated before is still there.
   */
  preallocate(value: number): void {
    checkValue(value);
    this.#enterWriter("Cursor.preallocate");
    const { header, nodes } = this.#parts;
    this.#writer.rehearse(
      this.#reserve,
      header,
      nodes,
      this.#index,
      this.#last,
      value,
    );
  }

  /**
   * Gives back what was preallocated and not used. Analogous to Linux `mas_destroy`.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  destroy(): void {
    const { leaves, inner } = this.#reserve;
    for (const node of leaves.splice(0)) this.#parts.nodes.free(node);
    for (const node of inner.splice(0)) this.#parts.nodes.free(node);
  }

  /** As {@linkcode Cursor.destroy}. */
  [Symbol.dispose](): void {
    this.destroy();
  }

  /**
   * One line: the range, and the state.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  toString(): string {
    return `Cursor([${this.#index}, ${this.#last}], ${this.#state})`;
  }

  /** As {@linkcode Cursor.toString}, for `console.log` in Deno. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** As {@linkcode Cursor.toString}, for `console.log` in Node. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  #forget(state: CursorState): void {
    this.#stamp = 0;
    this.#isThere = false;
    this.#state = state;
  }

  /**
   * Goes on to the next range, or entry, if the tree has not changed since the position was found in the same hold of the lock, or the
   * same section: so it lives as it did, since its end is a change. If it did not go on, nothing of the cursor has changed, and its walk
   * has passed nothing that whoever goes on does not pass as well.
   */
  #steppedOn(max: number, skipsEmpty: boolean): boolean {
    if (!this.#isSameHold()) return false;
    const walk = this.#walk, { header } = this.#parts;
    if (!walk.stepOn(header, this.#generation, max, skipsEmpty)) return false;
    this.#index = walk.first;
    this.#last = walk.last;
    return true;
  }

  /** Goes back to the range, or entry, before, as {@linkcode Cursor.#steppedOn}. */
  #steppedBack(min: number, skipsEmpty: boolean): boolean {
    if (!this.#isSameHold()) return false;
    const walk = this.#walk, { header } = this.#parts;
    if (!walk.stepBack(header, this.#generation, min, skipsEmpty)) return false;
    this.#index = walk.first;
    this.#last = walk.last;
    return true;
  }

  /** Whether the cursor is at a position that was found in this hold of the lock, or this section. */
  #isSameHold(): boolean {
    return this.#state === "active" && this.#isThere &&
      this.#parts.lock.isStill(this.#stamp);
  }

  #find(max: number, skipsEmpty: boolean): number {
    switch (this.#state) {
      case "start":
        if (this.#index > max) return 0;
        if (this.#to(this.#index) !== 0) return this.#walk.value;
        break;
      case "paused":
        if (this.#last >= max) return 0;
        if (this.#to(this.#last + 1) !== 0) return this.#walk.value;
        break;
      case "underflow":
        if (this.#index > max) return this.#end("overflow");
        if (this.#to(this.#index) !== 0) return this.#walk.value;
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
        if (this.#to(this.#index) !== 0) return this.#walk.value;
        break;
      case "paused":
        if (this.#index <= min) return this.#end("underflow");
        if (this.#to(this.#index - 1) !== 0) return this.#walk.value;
        break;
      case "overflow":
        if (this.#last < min) return this.#end("underflow");
        if (this.#to(this.#index) !== 0) return this.#walk.value;
    }
    return this.#backward(min, skipsEmpty);
  }

  #next(max: number, skipsEmpty: boolean): number {
    if (this.#last >= max) return this.#end("overflow");
    const from = this.#index;
    switch (this.#state) {
      case "start":
      case "paused":
      case "none":
        this.#to(from);
        break;
      case "underflow":
        if (this.#to(from) !== 0) return this.#walk.value;
    }
    return this.#forward(max, skipsEmpty, from);
  }

  #prev(min: number, skipsEmpty: boolean): number {
    if (this.#index <= min) return this.#end("underflow");
    let from = this.#last;
    switch (this.#state) {
      case "start":
      case "paused":
      case "none":
        from = this.#index;
        this.#to(from);
        break;
      case "overflow":
        from = this.#index;
        if (this.#to(from) !== 0) return this.#walk.value;
    }
    return this.#backward(min, skipsEmpty, from);
  }

  /** Goes on to the next range, or entry. What contains `from`, which may have come in meanwhile, is passed. */
  #forward(max: number, skipsEmpty: boolean, from = this.#index): number {
    const walk = this.#walk, { header } = this.#parts;
    this.#position();
    do {
      if (!walk.forward(header, max)) {
        this.#arrive();
        return this.#end("overflow");
      }
    } while (walk.first <= from || (skipsEmpty && walk.value === 0));
    return this.#arrive();
  }

  /** Goes back to the range, or entry, before. What contains `from`, which may have come in meanwhile, is passed. */
  #backward(min: number, skipsEmpty: boolean, from = this.#last): number {
    const walk = this.#walk, { header } = this.#parts;
    this.#position();
    do {
      if (!walk.backward(header, min)) {
        this.#arrive();
        return this.#end("underflow");
      }
    } while (walk.last >= from || (skipsEmpty && walk.value === 0));
    return this.#arrive();
  }

  #end(state: "overflow" | "underflow"): 0 {
    this.#state = state;
    return 0;
  }

  /** Has the walk be where the cursor is: it is not if nothing was walked to, or the tree has changed since. */
  #position(): void {
    const { arena, header } = this.#parts;
    const generation = generationOf(arena.words, header);
    if (this.#isThere && this.#generation === generation) return;
    this.#walk.to(header, this.#index);
    this.#generation = generation;
    this.#isThere = true;
  }

  #to(index: number): number {
    const { arena, header } = this.#parts;
    this.#generation = generationOf(arena.words, header);
    this.#isThere = true;
    this.#walk.to(header, index);
    return this.#arrive();
  }

  /** Takes over the range that was walked to. */
  #arrive(): number {
    const { first, last, value } = this.#walk;
    this.#index = first;
    this.#last = last;
    this.#hold(value);
    return value;
  }

  /** Stays where it is after a change, by which its range holds `value`; the next search walks there first. */
  #stand(value: number): void {
    this.#isThere = false;
    this.#hold(value);
  }

  /** Is at its range, in this hold of the lock. */
  #hold(value: number): void {
    this.#state = "active";
    if (this.#index === 0 && this.#last === MAX_INDEX) {
      this.#state = value === 0 ? "none" : "root";
    }
    this.#stamp = this.#parts.lock.stamp();
  }

  #change(value: number): number {
    const { header, nodes } = this.#parts;
    const writer = this.#writer;
    const first = this.#index, last = this.#last;
    const before = this.#reserve.isEmpty
      ? writer.storeRange(header, nodes, first, last, value)
      : writer.storeRangeFrom(
        this.#reserve,
        header,
        nodes,
        first,
        last,
        value,
      );
    this.#stand(value);
    return before;
  }

  /** Drops the lock, makes room and takes the lock again; says whether there was another way to make it. */
  #makeRoom(attempt: number, site: string): boolean {
    const { arena, lock } = this.#parts;
    lock.unlock();
    try {
      return makeRoom(arena, attempt);
    } finally {
      // What was found before belongs to another hold.
      this.#stamp = 0;
      this.#isThere = false;
      lock.lock(site);
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
    const { header, gaps } = this.#parts;
    this.#enterWriter(site);
    assertTracksGaps(gaps, site);
    const search = this.#search;
    const first = highest
      ? search.highest(header, size, min, max)
      : search.lowest(header, size, min, max);
    if (first < 0) return false;
    this.#index = first;
    this.#last = first + size - 1;
    this.#stand(0);
    return true;
  }

  /** Checks what protects a reader, and that the tree lives. */
  #enter(site: string): void {
    const { lock } = this.#parts;
    lock.assertReading(site);
    this.#assertSameHold(site);
    lock.flags(site);
  }

  /** Checks what protects a writer, and that the tree lives. */
  #enterWriter(site: string): void {
    const { lock } = this.#parts;
    lock.assertHeld(site);
    this.#assertSameHold(site);
    lock.flags(site);
  }

  #assertSameHold(site: string): void {
    const { arena, lock } = this.#parts;
    if (
      !arena.lockdep.enabled || this.#stamp === 0 ||
      lock.isOf(this.#stamp)
    ) return;
    throw arena.lockdep.splat(
      `suspicious RCU usage\n${site}: the cursor's position is of another hold of the lock, or of another read section; reset or pause it first`,
      arena.rcu.depth,
    );
  }
}
