/**
 * A lock of one shared word.
 *
 * The word is 0 while the lock is free, the owner's id (a thread's number, from 1) while it is held, and the owner's id
 * with the {@linkcode CONTENDED} bit while somebody sleeps on it. Mutual exclusion: the only transition out of 0 is a
 * compare-exchange that succeeds for one thread, and only the owner moves the word back to 0. What an owner wrote before
 * its unlock is seen by the next owner, since the unlock's compare-exchange (or store) is read by the next owner's.
 * No wake-up is lost: a waiter sleeps only on a word that carries the bit (`wait` re-checks it atomically), and an owner
 * that finds the bit at unlock notifies after it stored 0. A waiter that wakes takes the lock with the bit set, because
 * it can't know whether others still sleep; that costs at most one needless notify. The same goes for a thread that sets the
 * bit and does not sleep ({@linkcode spinTryLockFor}): the bit only ever means that the owner must look, never that it need not.
 *
 * But for one: an owner may die between its store of 0 and its notify, and a waiter that was woken before it has taken the
 * lock. Then the word says that the lock is free, nobody knows of those who sleep, and whoever takes the lock next does not
 * wake them either. So no waiter sleeps for longer than {@linkcode SLEEP_MILLIS} before it looks again. Where nobody dies,
 * the notify comes first.
 *
 * An owner that locks again or a stranger that unlocks is a mistake in the program and is an error, never a deadlock.
 *
 * @module
 */
import {
  compareExchange,
  load,
  notify,
  store,
  wait,
  type Words,
} from "./atomics.ts";
import { guardOf } from "./guard.ts";

/** Set in the word while a thread may be asleep on the lock. */
const CONTENDED = 0x4000_0000;
/** Turns through the fast loop before sleeping: about as long as the longest ordinary hold. */
const SPIN_TURNS = 200;
/** After so long a waiter looks by itself, in case that whoever was to wake it died. */
const SLEEP_MILLIS = 50;

/**
 * Takes the lock at `index` for `owner`; sleeps while another thread holds it.
 *
 * @throws {Error} If `owner` holds it already.
 */
export function spinLock(words: Words, index: number, owner: number): void {
  // Pairs with the compare-exchange or store of `spinUnlock`.
  if (compareExchange(words, index, 0, owner) !== 0) {
    lockSlow(words, index, owner);
  }
}

/** Takes the lock at `index` if it is free; says whether it did. */
export function spinTryLock(
  words: Words,
  index: number,
  owner: number,
): boolean {
  return compareExchange(words, index, 0, owner) === 0;
}

/**
 * As {@linkcode spinTryLock}, but looks at a lock that is held up to `looks` times. The first look sets the bit that a sleeper
 * sets: so the owner's unlock takes the longer way, behind which the lock is free for long enough to be caught, even if the
 * same thread takes it again and again. Whoever sets the bit and gives up costs one needless notify.
 */
export function spinTryLockFor(
  words: Words,
  index: number,
  owner: number,
  looks: number,
): boolean {
  let seen = compareExchange(words, index, 0, owner);
  if (seen === 0) return true;
  if ((seen & CONTENDED) === 0) {
    compareExchange(words, index, seen, seen | CONTENDED);
  }
  for (let look = 0; look < looks; look++) {
    seen = load(words, index);
    if (seen === 0 && compareExchange(words, index, 0, owner) === 0) {
      return true;
    }
  }
  return false;
}

/**
 * One look of a thread that takes a lock as {@linkcode spinLock} does, but may do so only between two sleeps: because the word may be
 * put to another use meanwhile. Takes the lock and returns 0, or returns what {@linkcode spinSleep} is to sleep on.
 *
 * @param slept What the thread has slept on; 0 at its first look.
 * @throws {Error} If `owner` holds it already.
 */
export function spinLook(
  words: Words,
  index: number,
  owner: number,
  slept: number,
): number {
  if (slept === 0) {
    if (spinLockOwner(words, index) === owner) {
      throw new Error(`Cannot lock: thread ${owner} holds this lock already`);
    }
    for (let turn = 0; turn < SPIN_TURNS; turn++) {
      if (
        load(words, index) === 0 &&
        compareExchange(words, index, 0, owner) === 0
      ) return 0;
    }
  }
  for (;;) {
    const seen = load(words, index);
    if (seen === 0) {
      if (compareExchange(words, index, 0, owner | CONTENDED) === 0) return 0;
    } else if (
      (seen & CONTENDED) !== 0 ||
      compareExchange(words, index, seen, seen | CONTENDED) === seen
    ) return seen | CONTENDED;
  }
}

/** Sleeps between two looks. Where the word was put to another use, this ends by itself, and changes nothing there. */
export function spinSleep(words: Words, index: number, held: number): void {
  wait(words, index, held, SLEEP_MILLIS);
}

/** Wakes the next that sleeps, for a thread that was woken, perhaps, and does not take the lock. Changes nothing, as `spinSleep`. */
export function spinPassOn(words: Words, index: number): void {
  notify(words, index, 1);
}

/**
 * Releases the lock at `index`.
 *
 * @throws {Error} If `owner` does not hold it; the lock stays as it was.
 */
export function spinUnlock(words: Words, index: number, owner: number): void {
  // Pairs with the compare-exchange of `spinLock`.
  if (compareExchange(words, index, owner, 0) !== owner) {
    unlockSlow(words, index, owner);
  }
}

/** The id of the thread that holds the lock at `index`, 0 if it is free. Stale as soon as it is read. */
export function spinLockOwner(words: Words, index: number): number {
  return load(words, index) & ~CONTENDED;
}

/**
 * Takes over the lock at `index` from a thread that is gone and will never release it; says whether that one held it. Waiters
 * go on waiting, for the new owner.
 */
export function spinTakeOver(
  words: Words,
  index: number,
  gone: number,
  owner: number,
): boolean {
  for (;;) {
    const seen = load(words, index);
    if ((seen & ~CONTENDED) !== gone) return false;
    // Only waiters can come between, and all that they do is set the bit.
    const taken = seen & CONTENDED | owner;
    if (compareExchange(words, index, seen, taken) === seen) return true;
  }
}

function lockSlow(words: Words, index: number, owner: number): void {
  let held = 0;
  while ((held = spinLook(words, index, owner, held)) !== 0) {
    spinSleep(words, index, held);
  }
}

function unlockSlow(words: Words, index: number, owner: number): void {
  const seen = load(words, index);
  if ((seen & ~CONTENDED) !== owner) {
    const holder = seen === 0
      ? "nobody holds it"
      : `thread ${seen & ~CONTENDED} holds it`;
    throw new Error(
      `Cannot unlock: thread ${owner} is not the owner, ${holder}`,
    );
  }
  // Only the owner changes a word that carries the bit, so a plain store of 0 loses nothing.
  store(words, index, 0);
  notify(words, index, 1);
}

/**
 * A lock in shared memory, bound to the thread that uses this object.
 *
 * One object belongs to one thread; the word it stands on is shared by all.
 *
 * - At most one thread holds the lock.
 * - Locking what one holds, and unlocking what one does not, throws and changes nothing.
 *
 * @example Guard a section
 * ```ts
 * import { SpinLock } from "@pollard/pollard/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const words = new Int32Array(new SharedArrayBuffer(64));
 * const lock = new SpinLock(words, 0, 1);
 * {
 *   using _guard = lock.guard();
 *   assertEquals(lock.owner, 1);
 * }
 * assertEquals(lock.owner, 0);
 * ```
 */
export class SpinLock {
  readonly #words: Words;
  readonly #index: number;
  readonly #owner: number;

  /** Binds the lock at word `index` to the thread whose id is `owner` (1 or more). */
  constructor(words: Words, index: number, owner: number) {
    if (!Number.isSafeInteger(owner) || owner < 1 || owner >= CONTENDED) {
      throw new RangeError(
        `Cannot create a lock: owner id ${owner} is outside [1, ${CONTENDED})`,
      );
    }
    this.#words = words;
    this.#index = index;
    this.#owner = owner;
  }

  /** The id of the thread that holds the lock, 0 if nobody does. Stale as soon as it is read. */
  get owner(): number {
    return spinLockOwner(this.#words, this.#index);
  }

  /** Takes the lock; sleeps while another thread holds it. Throws if this thread holds it already. */
  lock(): void {
    spinLock(this.#words, this.#index, this.#owner);
  }

  /** Takes the lock if it is free; says whether it did. */
  tryLock(): boolean {
    return spinTryLock(this.#words, this.#index, this.#owner);
  }

  /** Releases the lock. Throws if this thread does not hold it. */
  unlock(): void {
    spinUnlock(this.#words, this.#index, this.#owner);
  }

  /** Takes the lock and releases it at the end of the caller's block. */
  guard(): Disposable {
    this.lock();
    return guardOf(() => this.unlock());
  }
}
