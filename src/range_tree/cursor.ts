/**
 * A cursor: a position in a tree for compound operations, where the caller holds the lock or is inside a read section and
 * nothing is taken or dropped in between.
 *
 * A position is a leaf and a slot, so it is worth only as much as what protects the leaf: it belongs to the one hold of the
 * lock, or the one outermost read section, in which it was found. Lockdep keeps a number of that hold with the position and
 * reports a use in another one, unless the cursor was reset or paused between. If the tree changed within the hold (its
 * generation tells), the cursor walks to its index again.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { SlabCache } from "../slab/slab_cache.ts";
import { generationOf, lockIndexOf } from "./header.ts";
import { MAX_INDEX } from "./node.ts";
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
  /** Whether the tree's own lock guards its writers, so that lockdep can tell whether it is held. */
  readonly internal: boolean;
}

/**
 * A position in a range tree.
 *
 * Thread contract: an object belongs to one thread and to one hold of the tree's lock or one read section at a time.
 * Reading needs either; `store` and `erase` need the lock. No method takes or drops the lock.
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
export class Cursor {
  readonly #target: CursorTarget;
  readonly #walk: Walk;
  readonly #lockIndex: number;
  #index: number;
  #last: number;
  /** Which hold of the lock (or, negative, which read section) the position belongs to; 0 = no position. */
  #stamp = 0;
  #generation = 0;
  /** Everything up to `last` was dealt with. */
  #paused = false;

  /** A cursor at `index` … `last`; use {@linkcode RangeTree.cursor}. */
  constructor(target: CursorTarget, index: number, last: number) {
    this.#target = target;
    this.#walk = new Walk(target.arena.words, target.arena.doubles);
    this.#lockIndex = lockIndexOf(target.header);
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

  /** Sets the range that is to be worked on next, and forgets the position. */
  setRange(index: number, last: number): void {
    if (
      !Number.isSafeInteger(index) || !Number.isSafeInteger(last) ||
      index < 0 || index > last
    ) {
      throw new RangeError(
        `Cannot set the cursor to [${index}, ${last}]: it is no range`,
      );
    }
    this.#index = index;
    this.#last = last;
    this.reset();
  }

  /** Forgets the position: the next operation starts from the index anew. To be called when the lock was dropped. */
  reset(): void {
    this.#stamp = 0;
    this.#paused = false;
  }

  /** Forgets the position, but goes on behind it: to be called before the lock is dropped in the middle of an iteration. */
  pause(): void {
    this.#stamp = 0;
    this.#paused = true;
  }

  /**
   * Goes to the range that covers the index; returns its entry, 0 if it is empty. The cursor's range becomes that range.
   *
   * @throws {LockdepError} Without the lock or a read section, or if the lock was dropped since the position was found.
   */
  walk(): number {
    this.#enter("Cursor.walk");
    this.#walk.to(this.#target.header, this.#index);
    return this.#arrive();
  }

  /**
   * Goes to the first entry at or after the index that begins at or before `max`; once there, to the next one each time.
   * Returns the entry, 0 if there is none.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  find(max: number = MAX_INDEX): number {
    const positioned = this.#enter("Cursor.find");
    if (positioned || this.#paused) return this.#goOn(max);
    return this.#index <= max &&
        this.#walk.find(this.#target.header, this.#index, max)
      ? this.#arrive()
      : 0;
  }

  /**
   * Goes to the first entry that begins after the cursor's range and at or before `max`. Returns the entry, 0 if there is
   * none.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  next(max: number = MAX_INDEX): number {
    if (!this.#enter("Cursor.next") && !this.#paused) {
      this.#walk.to(this.#target.header, this.#index);
      this.#arrive();
    }
    return this.#goOn(max);
  }

  /**
   * Goes to the last entry that ends before the cursor's range and at or after `min`. Returns the entry, 0 if there is
   * none.
   *
   * @throws {LockdepError} As {@linkcode Cursor.walk}.
   */
  prev(min = 0): number {
    if (!this.#enter("Cursor.prev")) {
      this.#walk.to(this.#target.header, this.#index);
      this.#arrive();
    }
    return this.#walk.prev(this.#target.header, min) ? this.#arrive() : 0;
  }

  /**
   * Stores an entry over the cursor's range; 0 empties it.
   *
   * @throws {LockdepError} Without the lock, or if it was dropped since the position was found.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  store(value: number): void {
    if (value >>> 0 !== value) {
      throw new RangeError(
        `Cannot store ${value}: an entry is a 32-bit unsigned integer`,
      );
    }
    this.#enterWriter("Cursor.store");
    this.#change(value);
  }

  /**
   * Removes the whole range that covers the index; returns its entry, 0 if it is empty.
   *
   * @throws {LockdepError} Without the lock, or if it was dropped since the position was found.
   * @throws {OutOfMemoryError} If there is no room; the tree is as it was.
   */
  erase(): number {
    this.#enterWriter("Cursor.erase");
    this.#walk.to(this.#target.header, this.#index);
    const value = this.#arrive();
    if (value !== 0) this.#change(0);
    return value;
  }

  #change(value: number): void {
    const { arena, header, nodes } = this.#target;
    const last = this.#last;
    Writer.of(arena).storeRange(header, nodes, this.#index, last, value);
    this.#walk.to(header, this.#index);
    this.#stamp = this.#protection();
    this.#generation = generationOf(arena.words, header);
  }

  /** Goes to the first entry behind the cursor's range. */
  #goOn(max: number): number {
    if (this.#last >= max) return 0;
    this.#paused = false;
    return this.#walk.find(this.#target.header, this.#last + 1, max)
      ? this.#arrive()
      : 0;
  }

  /** Takes over the range that was walked to. */
  #arrive(): number {
    const { first, last, value } = this.#walk;
    this.#index = first;
    this.#last = last;
    this.#stamp = this.#protection();
    this.#generation = generationOf(
      this.#target.arena.words,
      this.#target.header,
    );
    return value;
  }

  /** Checks what protects a reader; says whether the cursor has a position, which is up to date then. */
  #enter(site: string): boolean {
    const { arena, internal, header } = this.#target;
    if (internal) {
      arena.lockdep.assertReading(this.#lockIndex, arena.rcu.depth, site);
    }
    this.#assertSameHold(site);
    if (this.#stamp === 0) return false;
    if (generationOf(arena.words, header) !== this.#generation) {
      this.#walk.to(header, this.#index);
      this.#generation = generationOf(arena.words, header);
    }
    return true;
  }

  #enterWriter(site: string): void {
    const { arena, internal } = this.#target;
    if (internal) {
      arena.lockdep.assertHeld(this.#lockIndex, arena.rcu.depth, site);
    }
    this.#assertSameHold(site);
  }

  #assertSameHold(site: string): void {
    const { arena } = this.#target;
    if (
      !arena.lockdep.enabled || this.#stamp === 0 ||
      this.#stamp === this.#protection()
    ) return;
    throw arena.lockdep.splat(
      `suspicious RCU usage\n${site}: the cursor is used after its lock was dropped; reset or pause it first`,
      arena.rcu.depth,
    );
  }

  /** What tells this hold of the lock, or this read section, from every other; 0 never. */
  #protection(): number {
    const { arena } = this.#target;
    const hold = arena.lockdep.stampOf(this.#lockIndex);
    return hold !== 0 ? hold : -1 - arena.rcu.section;
  }
}
