/**
 * A lock of the user's that guards the writers of one or several trees, and that the mover can take because it lies in the
 * arena and the trees name it.
 *
 * | word | field | protected by |
 * |---|---|---|
 * | 0 | the lock | itself |
 * | 1 | serial: odd while the lock exists, different for each lock of the arena | atomic |
 * | 2 | how many trees it is registered with | atomic |
 * | 15 | whose hands it was in last; link of the queue of deferred frees | the queue, once the lock is destroyed |
 *
 * A lock is not destroyed while a tree names it, and is freed by deferral: a mover that read the name of it from the header
 * of a tree, inside a read section, finds the lock there, takes it, and sees that the tree is no more.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { shownRoot } from "../memory/roots.ts";
import { add, load, store, type Words } from "../sync/atomics.ts";
import { guardOf } from "../sync/guard.ts";
import { spinLock, spinTryLock, spinUnlock } from "../sync/spin_lock.ts";
import { checkOptions } from "./checks.ts";
import { externalLockIndex } from "./header.ts";
import { TreeMemory } from "./tree_memory.ts";

const SERIAL = 1;
const TREES = 2;

/** Whether the object is an external lock that was not destroyed. */
export function isLiveLock(words: Words, lock: number): boolean {
  return (load(words, lock * 16 + SERIAL) & 1) !== 0;
}

/** Notes that one tree more (1) or fewer (−1) names the lock. */
export function countTree(words: Words, lock: number, change: 1 | -1): void {
  add(words, lock * 16 + TREES, change);
}

/**
 * A lock that guards trees of lock mode `"external"`.
 *
 * Thread contract: an object belongs to one thread; the lock is shared, by name or by ref.
 *
 * - At most one thread holds the lock; with it, it may write all trees that the lock is registered with.
 * - The nodes of those trees stay movable: the mover takes this lock.
 *
 * Analogous to Linux `mt_set_external_lock`; differs: registering it is not only for lockdep.
 *
 * @example Two trees that change together
 * ```ts
 * import { Arena, ExternalLock, RangeTree } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * const externalLock = ExternalLock.create(arena);
 * const options = { lock: "external", externalLock } as const;
 * const trees = [RangeTree.create(arena, options), RangeTree.create(arena, options)];
 * {
 *   using _guard = externalLock.guard();
 *   for (const tree of trees) tree.storeRange(10, 19, 7);
 *   assertEquals(trees[1].load(15), 7);
 * }
 * ```
 */
export class ExternalLock {
  /** The lock's ref: with it another thread of the arena can attach. */
  readonly ref: number;
  readonly #arena: Arena;
  readonly #class: number;
  readonly #serial: number;

  private constructor(arena: Arena, ref: number) {
    this.ref = ref;
    this.#arena = arena;
    this.#class = TreeMemory.of(arena).externalLockClass;
    this.#serial = load(arena.words, ref * 16 + SERIAL);
  }

  /**
   * Creates a lock.
   *
   * Lock: none. Memory: yes. Drops the lock: no.
   *
   * @param options A name for it: see {@linkcode RangeTreeOptions.name}.
   * @throws {OutOfMemoryError} If there is no room for it.
   * @throws {RangeError} If the name is none, or the arena names as much as it can; then no lock was created.
   * @throws {Error} If the name is taken; then no lock was created.
   */
  static create(arena: Arena, options: { name?: string } = {}): ExternalLock {
    checkOptions(options);
    const { locks } = TreeMemory.of(arena);
    const ref = locks.allocate();
    const { words } = arena;
    store(words, externalLockIndex(ref), 0);
    store(words, ref * 16 + TREES, 0);
    // The arena's: the page may have been away since the last lock was here.
    store(words, ref * 16 + SERIAL, (arena.nextSerial() << 1) | 1);
    if (options.name !== undefined) {
      try {
        arena.roots.add(options.name, ref);
      } catch (error) {
        add(words, ref * 16 + SERIAL, 1);
        locks.free(ref);
        throw error;
      }
    }
    return new ExternalLock(arena, ref);
  }

  /**
   * Opens a lock that exists, by its name or by its ref.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   *
   * @throws {Error} If there is no such lock.
   */
  static attach(arena: Arena, root: string | number): ExternalLock {
    const { locks } = TreeMemory.of(arena);
    const ref = arena.roots.refOf(root);
    if (
      ref === 0 || !locks.isAllocated(ref) ||
      !isLiveLock(arena.words, ref)
    ) {
      throw new Error(
        `Cannot attach to an external lock: there is none at ${
          shownRoot(root)
        }`,
      );
    }
    return new ExternalLock(arena, ref);
  }

  /**
   * How many trees it is registered with. Stale as soon as it is read.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  get trees(): number {
    return this.#countTrees("ExternalLock.trees");
  }

  /**
   * Takes the lock; sleeps while another thread holds it.
   *
   * Lock: none, and no other external lock. Memory: no. Drops the lock: no.
   *
   * @throws {LockdepError} If this thread holds it, or another external lock, already.
   */
  lock(): void {
    this.#lock("ExternalLock.lock");
  }

  /**
   * Takes the lock if it is free; says whether it did. Also while another external lock is held, since it does not wait.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   */
  tryLock(): boolean {
    this.#assertExists("ExternalLock.tryLock");
    const { arena, index } = this.#place();
    const site = "ExternalLock.tryLock";
    arena.lockdep.tryAcquire(this.#class, index, site);
    if (!spinTryLock(arena.words, index, arena.thread)) {
      arena.lockdep.release(index);
      return false;
    }
    this.#lookAgain(site);
    return true;
  }

  /**
   * Releases the lock.
   *
   * Lock: held. Memory: no. Drops the lock: no, it is free then.
   *
   * @throws {Error} If this thread does not hold it.
   */
  unlock(): void {
    const { arena, index } = this.#place();
    spinUnlock(arena.words, index, arena.thread);
    arena.lockdep.release(index);
  }

  /**
   * Takes the lock and releases it at the end of the caller's block.
   *
   * Lock: none, and no other external lock. Memory: no. Drops the lock: no.
   */
  guard(): Disposable {
    this.#lock("ExternalLock.guard");
    return guardOf(() => this.unlock());
  }

  /**
   * Destroys the lock.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   *
   * @throws {Error} If a tree is registered with it, or somebody holds it.
   */
  destroy(): void {
    const { words } = this.#arena;
    const trees = this.#countTrees("ExternalLock.destroy");
    if (trees > 0) {
      throw new Error(
        `Cannot destroy the external lock: ${trees} trees are registered with it`,
      );
    }
    if (load(words, externalLockIndex(this.ref)) !== 0) {
      throw new Error("Cannot destroy the external lock: it is held");
    }
    const { locks } = TreeMemory.of(this.#arena);
    locks.claim(this.ref);
    add(words, this.ref * 16 + SERIAL, 1);
    this.#arena.roots.remove(this.ref);
    locks.defer(this.ref);
  }

  /**
   * Asserts that a tree of that arena can be registered with the lock.
   *
   * Lock: none. Memory: no. Drops the lock: no.
   *
   * @throws {TypeError} If the lock lies in another arena.
   * @throws {Error} If it was destroyed.
   */
  assertGuards(arena: Arena, site: string): void {
    if (arena.buffer !== this.#arena.buffer) {
      throw new TypeError(
        `Cannot register the external lock in ${site}: it lies in another arena`,
      );
    }
    this.#assertExists(site);
  }

  #lock(site: string): void {
    this.#assertExists(site);
    const { arena, index } = this.#place();
    arena.lockdep.acquire(this.#class, index, site);
    spinLock(arena.words, index, arena.thread);
    this.#lookAgain(site);
  }

  #countTrees(site: string): number {
    this.#assertExists(site);
    return load(this.#arena.words, this.ref * 16 + TREES);
  }

  #assertExists(site: string): void {
    if (!this.#exists()) destroyed(site);
  }

  #exists(): boolean {
    return load(this.#arena.words, this.ref * 16 + SERIAL) === this.#serial;
  }

  /** Releases the lock that was just taken and throws, if it was destroyed meanwhile: see `tree_lock.ts`. */
  #lookAgain(site: string): void {
    if (this.#exists()) return;
    this.unlock();
    destroyed(site);
  }

  #place(): { arena: Arena; index: number } {
    return { arena: this.#arena, index: externalLockIndex(this.ref) };
  }
}

function destroyed(site: string): never {
  throw new Error(`Cannot use the external lock in ${site}: it was destroyed`);
}
