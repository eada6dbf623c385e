/**
 * Lockdep: finds locking mistakes the first time that they could matter, not the one time that they do.
 *
 * Each thread keeps the stack of the locks that it holds (its own memory, no other thread reads it). Whenever a lock of
 * one class is taken under a lock of another, the edge "held before taken" is added to a matrix of classes in shared
 * memory, so an order that thread 1 established and thread 2 inverts is found although neither deadlocked. Edges are
 * only ever added (compare-exchange), so a thread's private copy of a row is at worst missing newer edges, and a missing
 * edge leads to the slow path, which reads the shared row. A class is registered once under the table's own lock; its
 * name is written before the count that publishes it.
 *
 * A splat is a {@linkcode LockdepError} whose message carries what the kernel's carries: what was attempted, what is
 * held, where each was taken. It is thrown before the mistake is made.
 *
 * @module
 */
import { compareExchange, load, store, type Words } from "./atomics.ts";
import { refuseAsLeft } from "./left.ts";
import { decodeName, encodeName } from "./names.ts";
import { spinLock, spinTakeOver, spinUnlock } from "./spin_lock.ts";

/** Classes are bits of one word. */
const MAX_CLASSES = 31;
/** A deeper stack than this is a runaway. */
const MAX_HELD = 16;
const NAME_WORDS = 6;

// The shared table: its lock, the number of classes, then one record a class: its name, 1 word of edges.
const LOCK = 0;
const COUNT = 1;
const RECORDS = 2;
const EDGES = NAME_WORDS;
const RECORD_WORDS = NAME_WORDS + 1;

/** What the shared table takes, in words. */
export const LOCKDEP_WORDS: number = RECORDS + MAX_CLASSES * RECORD_WORDS;

/** A locking mistake, found before it was made. */
export class LockdepError extends Error {
  /** The name of this class of errors. */
  override name = "LockdepError";
}

/**
 * One thread's view of the lock order of an arena.
 *
 * Thread contract: an object belongs to one thread; the order that it learns is shared by all threads of the arena.
 */
export class Lockdep {
  /** Whether anything is checked at all. */
  readonly enabled: boolean;
  readonly #words: Words;
  readonly #base: number;
  readonly #thread: number;
  readonly #edges = new Int32Array(MAX_CLASSES);
  readonly #classes = new Int32Array(MAX_HELD);
  readonly #keys = new Float64Array(MAX_HELD);
  readonly #stamps = new Float64Array(MAX_HELD);
  readonly #sites: string[] = new Array(MAX_HELD).fill("");
  /** How the locks of each class are taken, where this thread was told. */
  readonly #ways: string[] = [];
  #depth = 0;
  #acquisitions = 0;

  /** Binds the table at word `base` to the thread whose id is `thread`. */
  constructor(words: Words, base: number, thread: number, enabled: boolean) {
    this.#words = words;
    this.#base = base;
    this.#thread = thread;
    this.enabled = enabled;
  }

  /** Where this thread forbade itself to allocate; empty where it did not. */
  #noAllocation = "";

  /** How many locks this thread holds. 0 when lockdep is off. */
  get held(): number {
    return this.#depth;
  }

  /**
   * The number of the class called `name`, registered if it is new. Every lock of one class obeys one order.
   *
   * @param way What whoever uses it calls to take such a lock, for the report that it is not held.
   * @throws {RangeError} If the name takes more than 24 bytes or would not come back as it is, or the table is full.
   */
  lockClass(name: string, way?: string): number {
    const id = this.#register(name);
    if (way !== undefined) this.#ways[id] = way;
    return id;
  }

  #register(name: string): number {
    const action = "Cannot register a lock class";
    const encoded = encodeName(name, NAME_WORDS, action);
    const words = this.#words;
    spinLock(words, this.#base + LOCK, this.#thread);
    try {
      const count = load(words, this.#base + COUNT);
      for (let id = 0; id < count; id++) {
        if (this.#className(id) === name) return id;
      }
      if (count === MAX_CLASSES) {
        throw new RangeError(
          `Cannot register lock class "${name}": all ${MAX_CLASSES} classes are taken`,
        );
      }
      words.set(encoded, this.#record(count));
      // Publishes the name; pairs with the load in `#className`'s callers.
      store(words, this.#base + COUNT, count + 1);
      return count;
    } finally {
      spinUnlock(words, this.#base + LOCK, this.#thread);
    }
  }

  /** Recovers from a thread that is gone: if it held the table's lock, that is released. */
  recover(gone: number): void {
    const lock = this.#base + LOCK;
    if (spinTakeOver(this.#words, lock, gone, this.#thread)) {
      spinUnlock(this.#words, lock, this.#thread);
    }
  }

  /**
   * To be called before waiting for a lock: checks the order and notes the lock as held.
   *
   * @param lockClass The lock's class.
   * @param key What tells this lock from others of its class: its word.
   * @param site Where it is taken, for the report.
   * @throws {LockdepError} If this thread holds the lock or one of its class, or if another order was seen before.
   */
  acquire(lockClass: number, key: number, site: string): void {
    if (!this.enabled) return;
    if (this.#depth > 0) this.#checkOrder(lockClass, key, site);
    this.#push(lockClass, key, site);
  }

  /**
   * To be called before a lock is tried, which can't deadlock: notes it as held. If it is not to be had,
   * {@linkcode Lockdep.release} takes that back.
   *
   * @throws {LockdepError} If this thread holds too many locks.
   */
  tryAcquire(lockClass: number, key: number, site: string): void {
    if (this.enabled) this.#push(lockClass, key, site);
  }

  /**
   * The thread has left the arena: from here on it takes no lock, allocates nothing and may count on none, also where lockdep is off.
   * These are functions of this object alone, so that nobody who has not left pays for a look.
   */
  leave(): void {
    this.lockClass =
      this.acquire =
      this.tryAcquire =
      this.assertReading =
      this.assertHeld =
      this.assertMayWait =
      this.assertMayAllocate =
        refuseAsLeft;
    Object.defineProperty(this, "mayAllocate", { get: refuseAsLeft });
  }

  /** To be called before or after a lock is released. */
  release(key: number): void {
    if (!this.enabled) return;
    let at = this.#depth - 1;
    while (at >= 0 && this.#keys[at] !== key) at--;
    // Unlocking what one does not hold is reported by the lock itself.
    if (at < 0) return;
    this.#depth--;
    for (; at < this.#depth; at++) {
      this.#classes[at] = this.#classes[at + 1];
      this.#keys[at] = this.#keys[at + 1];
      this.#stamps[at] = this.#stamps[at + 1];
      this.#sites[at] = this.#sites[at + 1];
    }
  }

  /** A number that names the present hold of the lock: 0 if it is not held, and different each time it is taken. */
  stampOf(key: number): number {
    for (let at = this.#depth - 1; at >= 0; at--) {
      if (this.#keys[at] === key) return this.#stamps[at];
    }
    return 0;
  }

  /**
   * Asserts that a reader is safe: it holds the lock or is inside a read section.
   *
   * @param lockClass The lock's class, for the report.
   * @throws {LockdepError} "suspicious rcu_dereference_check() usage".
   */
  assertReading(
    key: number,
    readDepth: number,
    site: string,
    lockClass?: number,
  ): void {
    if (this.enabled && readDepth === 0 && this.stampOf(key) === 0) {
      this.#suspicious(
        "rcu_dereference_check",
        key,
        readDepth,
        site,
        lockClass,
      );
    }
  }

  /**
   * Asserts that a writer is alone: it holds the lock.
   *
   * @param lockClass The lock's class, for the report.
   * @throws {LockdepError} "suspicious rcu_dereference_protected() usage".
   */
  assertHeld(
    key: number,
    readDepth: number,
    site: string,
    lockClass?: number,
  ): void {
    if (this.enabled && this.stampOf(key) === 0) {
      this.#suspicious(
        "rcu_dereference_protected",
        key,
        readDepth,
        site,
        lockClass,
      );
    }
  }

  /**
   * Asserts that waiting for a grace period can end: no lock is held. (A read section is checked by RCU itself.)
   *
   * @param dropped A lock that is held now, but will not be while waiting.
   * @throws {LockdepError} If a lock is held.
   */
  assertMayWait(site: string, dropped?: number): void {
    if (this.#noAllocation !== "") {
      this.#forbidden("wait for a grace period", site);
    }
    const others = dropped !== undefined && this.stampOf(dropped) !== 0
      ? this.#depth - 1
      : this.#depth;
    if (this.enabled && others > 0) {
      throw this.splat(
        `illegal wait for a grace period while holding a lock\n${site} would wait for readers that may need it`,
        0,
      );
    }
  }

  /**
   * Forbids this thread to allocate, and to wait for a grace period, until {@linkcode Lockdep.allowAllocation}: for sections
   * that others wait for, and that must not wait for memory. Analogous to Linux `dma_fence_begin_signalling`.
   *
   * @param site What the section is, for the report.
   */
  forbidAllocation(site: string): void {
    if (this.enabled) this.#noAllocation = site;
  }

  /** Ends a section that {@linkcode Lockdep.forbidAllocation} began. Analogous to Linux `dma_fence_end_signalling`. */
  allowAllocation(): void {
    this.#noAllocation = "";
  }

  /** Whether this thread may allocate: whether it is in no section that must not. */
  get mayAllocate(): boolean {
    return this.#noAllocation === "";
  }

  /**
   * Asserts that this thread may allocate.
   *
   * @throws {LockdepError} In a section that must not.
   */
  assertMayAllocate(site: string): void {
    if (this.#noAllocation !== "") this.#forbidden("allocation", site);
  }

  #forbidden(what: string, site: string): never {
    throw this.splat(
      `illegal ${what} in a section that must not wait for memory\n${site} is called within ${this.#noAllocation}`,
      0,
    );
  }

  /** An error that says `what` went wrong and what this thread holds. */
  splat(what: string, readDepth: number): LockdepError {
    const held = this.#depth === 0
      ? `no locks held by thread ${this.#thread}`
      : `${this.#depth} lock${
        this.#depth === 1 ? "" : "s"
      } held by thread ${this.#thread}:`;
    const lines = [
      `WARNING: ${what}`,
      "",
      "other info that might help us debug this:",
      held,
    ];
    for (let at = this.#depth - 1; at >= 0; at--) {
      lines.push(` #${at}: ${this.#describe(at)}`);
    }
    if (readDepth > 0) {
      lines.push(` inside ${readDepth} nested read section(s)`);
    }
    return new LockdepError(lines.join("\n"));
  }

  #suspicious(
    wording: string,
    key: number,
    readDepth: number,
    site: string,
    lockClass: number | undefined,
  ): never {
    const name = lockClass === undefined
      ? ""
      : `"${this.#className(lockClass)}" `;
    const way = this.#ways[lockClass ?? -1];
    throw this.splat(
      `suspicious RCU usage\n${site}: suspicious ${wording}() usage! Needs the lock ${name}at word ${key}` +
        (way === undefined ? "" : ` (${way} takes it)`) +
        (wording === "rcu_dereference_check" ? " or a read section" : ""),
      readDepth,
    );
  }

  #push(lockClass: number, key: number, site: string): void {
    const at = this.#depth;
    if (at === MAX_HELD) {
      throw this.splat(`more than ${MAX_HELD} locks held\nat ${site}`, 0);
    }
    this.#classes[at] = lockClass;
    this.#keys[at] = key;
    this.#stamps[at] = ++this.#acquisitions;
    this.#sites[at] = site;
    this.#depth = at + 1;
  }

  #checkOrder(lockClass: number, key: number, site: string): void {
    for (let at = 0; at < this.#depth; at++) {
      const held = this.#classes[at];
      if (held === lockClass) this.#recursive(lockClass, key, site);
      if ((this.#edges[held] & (1 << lockClass)) === 0) {
        this.#learn(at, lockClass, key, site);
      }
    }
  }

  /** Adds the edge from a held lock's class, after a look whether the opposite way exists already. */
  #learn(at: number, lockClass: number, key: number, site: string): void {
    const held = this.#classes[at];
    this.#assertNoPath(lockClass, at, key, site);
    const index = this.#record(held) + EDGES;
    let seen = load(this.#words, index);
    for (;;) {
      const was = compareExchange(
        this.#words,
        index,
        seen,
        seen | (1 << lockClass),
      );
      if (was === seen) break;
      seen = was;
    }
    // Again: another thread may have learned the opposite order at the same moment. One of the two sees it.
    this.#assertNoPath(lockClass, at, key, site);
    this.#edges[held] = seen | (1 << lockClass);
  }

  #assertNoPath(
    lockClass: number,
    at: number,
    key: number,
    site: string,
  ): void {
    const path = this.#path(lockClass, this.#classes[at]);
    if (path === undefined) return;
    throw this.splat(
      `possible circular locking dependency detected\n` +
        `thread ${this.#thread} is trying to acquire lock:\n` +
        `  ${this.#className(lockClass)} (word ${key}), at ${site}\n` +
        `but is already holding lock:\n  ${this.#describe(at)}\n` +
        `which already depends on the new lock: ${
          path.map((id) => this.#className(id)).join(" -> ")
        }`,
      0,
    );
  }

  /** The classes on a way from `from` to `to` along the shared edges, if there is one. */
  #path(from: number, to: number): number[] | undefined {
    const came = new Map<number, number>([[from, -1]]);
    for (const id of came.keys()) {
      if (id === to) {
        const path = [];
        for (let step = to; step !== -1; step = came.get(step)!) {
          path.unshift(step);
        }
        return path;
      }
      const edges = load(this.#words, this.#record(id) + EDGES);
      for (let next = 0; next < MAX_CLASSES; next++) {
        if ((edges & (1 << next)) !== 0 && !came.has(next)) came.set(next, id);
      }
    }
    return undefined;
  }

  #recursive(lockClass: number, key: number, site: string): never {
    throw this.splat(
      `possible recursive locking detected\nthread ${this.#thread} is trying to acquire lock:\n` +
        `  ${this.#className(lockClass)} (word ${key}), at ${site}`,
      0,
    );
  }

  #describe(at: number): string {
    return `${this.#className(this.#classes[at])} (word ${
      this.#keys[at]
    }), taken at ${this.#sites[at]}`;
  }

  #record(id: number): number {
    return this.#base + RECORDS + id * RECORD_WORDS;
  }

  #className(id: number): string {
    return decodeName(this.#words, this.#record(id), NAME_WORDS);
  }
}
