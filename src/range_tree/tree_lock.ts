/**
 * Who guards a tree's writers, what each operation does about it, and how one that comes too late is found out.
 *
 * | lock mode | the lock | what an operation that writes does |
 * |---|---|---|
 * | `"internal"` | in the tree's header | takes it |
 * | `"external"`, registered | an `ExternalLock` | asserts that the caller holds it |
 * | `"external"`, not registered; `"none"` | unknown | nothing: the caller keeps other writers out |
 *
 * Reading in RCU mode enters a read section; else it does about the lock what writing does.
 *
 * Whether the tree lives is asked when that is done, not before it, so that the answer holds while the operation works: from
 * then on a header that is destroyed is not used again, inside a read section because that would take a grace period, under
 * the lock because destroying would take the lock. The flags word of a header names its tree, and whatever else may lie
 * there some day does not look like it (see `header.ts`).
 *
 * A read section touches nothing of the tree. A lock word is in the tree, so the flags are looked at before it is taken as
 * well, or a handle of a tree that is long gone would take, or wait for, a word that is another's now. That look and the
 * taking are not one step. What remains: a thread that destroys a tree while another one is in the middle of a call on it is
 * making a mistake, and the mistake is found by the second look unless, between the two looks of that call, a grace period
 * ended, the header's whole slab became empty and was given back, and its page was put to another use. (A read section from
 * one look to the other would close this gap too. It costs each store 30 ns, and a thread that sleeps on a lock would hold
 * up every grace period.)
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { Words } from "../sync/atomics.ts";
import { spinLock, spinTryLock, spinUnlock } from "../sync/spin_lock.ts";
import {
  externalLockIndex,
  externalLockOf,
  flagsOf,
  heldFlagsOf,
  identityOf,
  isLive,
  isRcu,
  lockIndexOf,
  type LockMode,
  lockModeOf,
  mayHaveReaders,
} from "./header.ts";
import { TreeMemory } from "./tree_memory.ts";

/** The stamp of whoever keeps others out in a way that is not known: outside of a read section, in a tree without a lock to look at. */
const UNKNOWN = -1;

// What a compiled operation answers that was to do all of its work under one hold.
/** It was done; but the lock is still held, since somebody sleeps on it. This is added to what it has to say. */
const IS_HELD = 2 ** 32;
/** The lock was not taken; from there on up, below 0, it is held. */
const NOT_ENTERED = -4;
/** It was taken, and the tree is no more. */
const LOST = -5;

/** The word of the lock that guards the writers of a tree; -1 if nobody can take it but its owner. */
export function guardIndexOf(words: Words, header: number): number {
  const mode = lockModeOf(flagsOf(words, header));
  if (mode === "internal") return lockIndexOf(header);
  const lock = mode === "external" ? externalLockOf(words, header) : 0;
  return lock === 0 ? -1 : externalLockIndex(lock);
}

/** The lock of one tree, as one thread uses it. */
export class TreeLock {
  /** Who guards the writers. */
  readonly mode: LockMode;
  /** The word of the lock; -1 if it is unknown. */
  readonly index: number;
  readonly #arena: Arena;
  readonly #words: Words;
  readonly #header: number;
  readonly #class: number;
  readonly #internal: boolean;
  /** The tree's flags but for the RCU bit: they tell it from every other tree. */
  readonly identity: number;
  /** The tree's flags as they were seen last. */
  #flags: number;

  /** The lock of the tree with that header. */
  constructor(arena: Arena, header: number) {
    const words = this.#words = arena.words;
    this.#flags = flagsOf(words, header);
    if (!isLive(this.#flags)) destroyed("RangeTree.attach");
    this.identity = identityOf(this.#flags);
    this.mode = lockModeOf(this.#flags);
    this.index = guardIndexOf(words, header);
    this.#arena = arena;
    this.#header = header;
    this.#internal = this.mode === "internal";
    const memory = TreeMemory.of(arena);
    this.#class = this.#internal ? memory.lockClass : memory.externalLockClass;
  }

  /** Whether operations take the lock themselves. */
  get isInternal(): boolean {
    return this.#internal;
  }

  /** The tree's flags as this thread saw them last: to be compared with what they are, where it counts. */
  get seenFlags(): number {
    return this.#flags;
  }

  /** Whether the tree was destroyed. Stale as soon as it is read, unless something protects the caller. */
  get isDestroyed(): boolean {
    return identityOf(flagsOf(this.#words, this.#header)) !== this.identity;
  }

  /**
   * The tree's flags.
   *
   * @throws {Error} If the tree was destroyed.
   */
  flags(site: string): number {
    const flags = flagsOf(this.#words, this.#header);
    if (identityOf(flags) !== this.identity) destroyed(site);
    return flags;
  }

  /**
   * Takes the lock.
   *
   * @throws {Error} If it is unknown, or the tree was destroyed.
   * @throws {LockdepError} If this thread holds it, or another of its class, already.
   */
  lock(site: string): void {
    this.#assertKnown(site);
    this.flags(site);
    this.#take(site);
  }

  /**
   * Takes the lock if it is free; says whether it did.
   *
   * @throws {Error} If it is unknown, or the tree was destroyed.
   */
  tryLock(site: string): boolean {
    this.#assertKnown(site);
    this.flags(site);
    const { thread, lockdep } = this.#arena;
    lockdep.tryAcquire(this.#class, this.index, site);
    if (!spinTryLock(this.#words, this.index, thread)) {
      lockdep.release(this.index);
      return false;
    }
    this.#lookAgain(site);
    return true;
  }

  /** Releases the lock. */
  unlock(): void {
    spinUnlock(this.#words, this.index, this.#arena.thread);
    this.#arena.lockdep.release(this.index);
  }

  /**
   * Releases the lock at the end of a guard's block. There is nothing to release if the lock was dropped within (by
   * `storeBlocking`) and could not be taken again, since the tree was destroyed: which needs its lock, so it never is under a guard.
   */
  release(): void {
    if (!(this.#internal && this.isDestroyed)) this.unlock();
  }

  /**
   * Begins writing.
   *
   * @throws {Error} If the tree was destroyed.
   * @throws {LockdepError} If the lock is the tree's own and this thread holds one of its class; or if it is the caller's and
   * not held.
   */
  enterWriter(site: string): void {
    this.flags(site);
    this.#begin(site);
  }

  /**
   * Notes that this thread is about to take the tree's own lock by a compiled loop, which does all the rest of
   * {@linkcode TreeLock.enterWriter}, but for waiting. Its answer is for {@linkcode TreeLock.endCompiled}.
   *
   * @throws {LockdepError} If this thread holds a lock of its class.
   */
  noteEnter(site: string): void {
    this.#arena.lockdep.acquire(this.#class, this.index, site);
  }

  /** Notes that a compiled loop has released the lock. */
  noteExit(): void {
    this.#arena.lockdep.release(this.index);
  }

  /**
   * Begins an operation that a compiled loop is to do as a whole: that takes the lock, if it is the tree's own, and releases it;
   * says whether it did. Not where there is something that {@linkcode TreeLock.enterWriter} reports, or this thread may not allocate.
   *
   * @throws {LockdepError} If the lock is the tree's own and this thread holds one of its class.
   */
  beginCompiled(site: string): boolean {
    const { lockdep } = this.#arena;
    if (!lockdep.mayAllocate) return false;
    if (!this.#internal) return this.#isHeldByCaller();
    // Where there may be something to report, that the tree was destroyed goes first.
    if (lockdep.held > 0) this.flags(site);
    lockdep.acquire(this.#class, this.index, site);
    return true;
  }

  /**
   * Takes the answer of such a loop; says whether the operation was done, and writing has ended. If not, writing
   * has begun, and what is left of it is still to be done.
   *
   * @throws {Error} If the tree was destroyed.
   */
  endCompiled(site: string, answer: number): boolean {
    if (answer >= 0) {
      if (answer >= IS_HELD) this.unlock();
      else if (this.#internal) this.noteExit();
      return true;
    }
    if (answer <= NOT_ENTERED) {
      if (answer === LOST) this.unlock();
      else if (this.#internal) this.noteExit();
      this.enterWriter(site);
    }
    return false;
  }

  /**
   * Whether a compiled loop may do all of a reading in a tree without RCU. Not where {@linkcode TreeLock.enterReader} may have
   * something to report, or does something else. Lockdep is told nothing: with no lock held there is nothing to compare this one
   * with, and it is released before anything else is done.
   */
  mayReadCompiled(): boolean {
    if (isRcu(this.#flags)) return false;
    if (this.#internal) return this.#arena.lockdep.held === 0;
    return this.#isHeldByCaller();
  }

  /** Takes the answer of such a loop; says whether it is one. If not, reading has not begun. */
  endCompiledRead(answer: number): boolean {
    if (answer >= IS_HELD || answer === LOST) this.unlock();
    return answer >= 0;
  }

  /** Ends writing. */
  exitWriter(): void {
    if (this.#internal) this.unlock();
  }

  /** Ends writing, and frees what was deferred, as far as it can be without waiting. */
  exitWriterAndPoll(): void {
    this.exitWriter();
    this.#arena.rcu.poll();
  }

  /**
   * Begins reading; what it returns says how, and ends it.
   *
   * @throws {Error} If the tree was destroyed.
   * @throws {LockdepError} As {@linkcode TreeLock.enterWriter}, where readers need the lock.
   */
  enterReader(site: string): number {
    const { rcu } = this.#arena;
    const seen = this.#flags;
    // How to enter is known for sure only from inside: it is tried as it was the last time.
    if (isRcu(seen)) {
      rcu.readLock();
      if (flagsOf(this.#words, this.#header) === seen) return seen;
      rcu.readUnlock();
    }
    return this.#enterAsItIs(site);
  }

  /** Ends reading that began with that. */
  exitReader(flags: number): void {
    if (isRcu(flags)) this.#arena.rcu.readUnlock();
    else this.exitWriter();
  }

  /**
   * Asserts that the caller keeps other writers out, as far as it can be known.
   *
   * @throws {LockdepError} If the lock is known and not held.
   */
  assertHeld(site: string): void {
    const { lockdep, rcu } = this.#arena;
    if (this.index >= 0) {
      lockdep.assertHeld(this.index, rcu.depth, site, this.#class);
    }
  }

  /**
   * Asserts that what the caller reads is neither freed nor changed under it, as far as it can be known.
   *
   * @throws {LockdepError} If the lock is known and not held, and the caller is in no read section, or the tree never was in RCU mode.
   */
  assertReading(site: string): void {
    if (this.index < 0) return;
    const { lockdep, rcu } = this.#arena;
    if (!lockdep.enabled) return;
    // First: the word behind it may be another tree's.
    this.flags(site);
    // Else a writer counts on it that whoever reads holds the lock, and changes nodes in place.
    if (mayHaveReaders(this.#words, this.#header)) {
      lockdep.assertReading(this.index, rcu.depth, site, this.#class);
    } else this.assertHeld(site);
  }

  /** What tells this hold of the lock, or this read section, from every other; 0 never. */
  stamp(): number {
    const { lockdep, rcu } = this.#arena;
    const hold = lockdep.stampOf(this.index);
    if (hold !== 0) return hold;
    return this.index < 0 && rcu.depth === 0 ? UNKNOWN : -2 - rcu.section;
  }

  /** Whether this is the hold of the lock, or the read section, of that stamp, as far as it can be known. */
  isOf(stamp: number): boolean {
    return stamp === UNKNOWN || stamp === this.stamp();
  }

  /** Whether the caller is still in the hold of the lock, or the read section, of that stamp, as far as it can be known. */
  isStill(stamp: number): boolean {
    const { lockdep, rcu } = this.#arena;
    if (!lockdep.enabled) return true;
    // A section's stamp is still the same when it has been left.
    const isProtected = stamp > 0 || rcu.depth > 0 || this.index < 0;
    return isProtected && this.isOf(stamp);
  }

  /** Begins reading in a tree without RCU, or one whose mode was another the last time. */
  #enterAsItIs(site: string): number {
    const flags = this.#flags = this.flags(site);
    if (isRcu(flags)) return this.enterReader(site);
    this.#begin(site);
    return flags;
  }

  /** Whether the caller holds the lock that it is to hold, as far as it can be known. */
  #isHeldByCaller(): boolean {
    const { lockdep } = this.#arena;
    return this.index < 0 || !lockdep.enabled ||
      lockdep.stampOf(this.index) > 0;
  }

  #begin(site: string): void {
    if (this.#internal) this.#take(site);
    else this.assertHeld(site);
  }

  #take(site: string): void {
    const { thread, lockdep } = this.#arena;
    lockdep.acquire(this.#class, this.index, site);
    spinLock(this.#words, this.index, thread);
    this.#lookAgain(site);
  }

  /** Releases the lock that was just taken and throws, if the tree was destroyed meanwhile. */
  #lookAgain(site: string): void {
    const flags = heldFlagsOf(this.#words, this.#header);
    if (identityOf(flags) === this.identity) return;
    this.unlock();
    destroyed(site);
  }

  #assertKnown(site: string): void {
    if (this.index >= 0) return;
    throw new Error(
      `Cannot lock in ${site}: the tree has lock mode "${this.mode}", and no lock is registered`,
    );
  }
}

function destroyed(site: string): never {
  throw new Error(`Cannot use the tree in ${site}: it was destroyed`);
}
