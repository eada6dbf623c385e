/**
 * Who guards a tree's writers, and what each operation does about it.
 *
 * | lock mode | the lock | what an operation that writes does |
 * |---|---|---|
 * | `"internal"` | in the tree's header | takes it |
 * | `"external"`, registered | an `ExternalLock` | asserts that the caller holds it |
 * | `"external"`, not registered; `"none"` | unknown | nothing: the caller keeps other writers out |
 *
 * Reading in RCU mode enters a read section; else it does about the lock what writing does.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { spinLock, spinTryLock, spinUnlock } from "../sync/spin_lock.ts";
import {
  externalLockIndex,
  externalLockOf,
  flagsOf,
  isRcu,
  lockIndexOf,
  type LockMode,
  lockModeOf,
} from "./header.ts";
import { TreeMemory } from "./tree_memory.ts";

/** The word of the lock that guards the writers of a tree; -1 if nobody can take it but its owner. */
export function guardIndexOf(
  words: Arena["words"],
  header: number,
): number {
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
  readonly #class: number;
  readonly #internal: boolean;

  /** The lock of the tree with that header. */
  constructor(arena: Arena, header: number) {
    this.mode = lockModeOf(flagsOf(arena.words, header));
    this.index = guardIndexOf(arena.words, header);
    this.#arena = arena;
    this.#internal = this.mode === "internal";
    const memory = TreeMemory.of(arena);
    this.#class = this.#internal ? memory.lockClass : memory.externalLockClass;
  }

  /** Whether operations take the lock themselves. */
  get isInternal(): boolean {
    return this.#internal;
  }

  /**
   * Takes the lock.
   *
   * @throws {Error} If it is unknown.
   * @throws {LockdepError} If this thread holds it, or another of its class, already.
   */
  lock(site: string): void {
    this.#assertKnown(site);
    this.#lock(site);
  }

  /** Takes the lock if it is free; says whether it did. */
  tryLock(site: string): boolean {
    this.#assertKnown(site);
    const { words, thread, lockdep } = this.#arena;
    lockdep.tryAcquire(this.#class, this.index, site);
    if (spinTryLock(words, this.index, thread)) return true;
    lockdep.release(this.index);
    return false;
  }

  /** Releases the lock. */
  unlock(): void {
    spinUnlock(this.#arena.words, this.index, this.#arena.thread);
    this.#arena.lockdep.release(this.index);
  }

  /** Begins writing. */
  enterWriter(site: string): void {
    if (this.#internal) this.#lock(site);
    else this.assertHeld(site);
  }

  /** Ends writing. */
  exitWriter(): void {
    if (this.#internal) this.unlock();
  }

  /** Begins reading; `flags` are the tree's. */
  enterReader(flags: number, site: string): void {
    if (isRcu(flags)) this.#arena.rcu.readLock();
    else this.enterWriter(site);
  }

  /** Ends reading that began with the same flags. */
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
    if (this.index >= 0) lockdep.assertHeld(this.index, rcu.depth, site);
  }

  /**
   * Asserts that what the caller reads is not freed under it, as far as it can be known.
   *
   * @throws {LockdepError} If the lock is known and not held, and the caller is in no read section.
   */
  assertReading(site: string): void {
    const { lockdep, rcu } = this.#arena;
    if (this.index >= 0) lockdep.assertReading(this.index, rcu.depth, site);
  }

  /** What tells this hold of the lock, or this read section, from every other; 0 never. */
  stamp(): number {
    const { lockdep, rcu } = this.#arena;
    const hold = lockdep.stampOf(this.index);
    return hold !== 0 ? hold : -1 - rcu.section;
  }

  #lock(site: string): void {
    const { words, thread, lockdep } = this.#arena;
    lockdep.acquire(this.#class, this.index, site);
    spinLock(words, this.index, thread);
  }

  #assertKnown(site: string): void {
    if (this.index >= 0) return;
    throw new Error(
      `Cannot lock in ${site}: the tree has lock mode "${this.mode}", and no lock is registered`,
    );
  }
}
