/**
 * Read-copy-update: readers take no lock, and what a writer replaced is freed only when no reader can see it.
 *
 * The shared epoch is an even number that every new grace period raises by 2. A reader that enters its outermost section
 * loads the epoch and stores it, made odd, in its own cache line; leaving stores 0. A grace period that begins by raising
 * the epoch to `target` has ended when every thread's word is 0 or not older than `target`.
 *
 * Why nobody who waits is overtaken. Atomics are sequentially consistent, so take their single order. A writer unlinks
 * an object, then raises the epoch, then looks at each reader's word.
 * - The reader's store precedes the look: the look finds it. If it carries an older epoch, the writer waits. If it
 *   carries `target` or a newer one, the reader loaded the epoch after it was raised, so after the unlink; what it walks
 *   afterwards no longer leads to the object.
 * - The reader's store follows the look: then all that it walks follows the unlink too.
 * A reader may store an epoch that has become old meanwhile; that only makes a writer wait longer than it must.
 * Epochs are compared by their signed difference, so wrapping round is harmless as long as no reader sleeps through
 * 2^30 grace periods, and a reader that does holds the second one up.
 *
 * Deferred refs are chained through a link word of the object itself: each thread pushes onto a list of its own with a
 * compare-exchange, and a list is only ever taken whole, by an exchange or a compare-exchange that leaves 0 or a mark. So any
 * thread may take any list (that is how {@linkcode Rcu.barrier} drains everybody's), and nobody pops single entries: where a
 * head is what it was, the chain behind it is what it was, so there is no ABA. Link words are plain: one is written before the
 * compare-exchange that publishes it, and read after the access that took the list.
 * A taken list is freed after a grace period that began after the taking; a barrier that gives up pushes what it has taken,
 * which is its own now, back onto the list of the thread that it came from.
 *
 * What a thread remembers of its list (what it stored there last, how many) stands in words of its slot that nobody else
 * touches: compiled loops of other layers defer as {@linkcode Rcu.deferChain} does, by the words of {@linkcode Rcu.deferral}.
 *
 * A thread may die anywhere in this, and then another must be able to tell what it had in its hands (`Arena.reap`):
 * - What is taken is unchained at once into private memory, and each object's link word says whose hands it is in (see
 *   `hands.ts` of the slab layer), until it is free or queued again.
 * - Whoever takes a list that others may look for leaves a mark with the head that it took, {@linkcode TAKEN}.
 * - What the owner is about to put into a list of its own it notes first, plainly, in its slot, and it clears the note before
 *   it frees what it noted. Nobody else puts anything in front of it but a barrier that gives up, which leaves a mark too. So
 *   when the owner is dead it can be told whether that object got there: then it is in one of the lists, or a list was taken
 *   with it at the head. (Whoever joins in the slot clears the marks of the thread before it, which say nothing of its own objects.) Only
 *   where a list was taken after something had been put back it can't: then it may be lost.
 *
 * @module
 */
import {
  add,
  compareExchange,
  exchange,
  load,
  store,
  wait,
  type Words,
} from "./atomics.ts";
import { guardOf } from "./guard.ts";
import { refuseAsLeft } from "./left.ts";
import type { Lockdep } from "./lockdep.ts";

// A thread's slot: two cache lines. The first is written at every section and scanned by others; the second is the list.
const READER = 0;
const ALIVE = 1;
const NEXT_HEAD = 16;
const WAIT_HEAD = 17;
const IDLE = 18;
/** In the slot of thread 1 alone: the highest id that was ever claimed. */
const HIGHEST = 19;
/**
 * The first of the objects that the owner puts into a list, or moves to the other; with the sign bit as long as they can't be
 * there yet. Plain, read when the owner is dead.
 */
const HANDING = 20;
/** The link word of the last of them; 0 where it moves a whole list. */
const HANDING_LAST = 21;
/** Whether a barrier that gave up has put something back; atomic. */
const PUT_BACK = 22;
// Words of the owner alone, in the arena because compiled loops defer as well as `Rcu.deferChain` does.
/** What the owner stored last as the head of its list: most often what is there. */
const NEXT_SEEN = 23;
/** And as that of the list that waits. */
const WAIT_SEEN = 24;
/** How many refs it has put into its list. */
const NEXT_COUNT = 25;
/** In the head of a list: it is empty, and the rest is the head with which another thread, or a barrier, took it. */
const TAKEN = 0x8000_0000 | 0;

// Whether a thread's sections are looked at after its turn, and whether one was open then.
const UNWATCHED = 0;
const WATCHED = 1;
const SPANNED = 2;

/** What one thread's slot takes, in words: two cache lines. */
export const THREAD_SLOT_WORDS = 32;
/** Refs that gather before they are worth a grace period: a scan of all readers is shared by this many. */
const BATCH = 64;
/** Looks at the readers before the waiter begins to sleep between looks. */
const SPIN_LOOKS = 200;

/** A thread that holds up a grace period. */
export interface RcuStall {
  /** The thread's id. */
  readonly thread: number;
  /** How long the grace period has been waiting, in milliseconds. */
  readonly waitedMillis: number;
  /** How many deferred refs wait for it: all that a barrier has taken, else those of this thread. */
  readonly waiting: number;
}

/** A grace period did not end in time: names the readers that hold it up. */
export class RcuStallError extends Error {
  /** The name of this class of errors. */
  override name = "RcuStallError";
  /** The readers that hold the grace period up. */
  readonly stalls: readonly RcuStall[];

  /** Reports these stalls. */
  constructor(stalls: readonly RcuStall[]) {
    const threads = stalls.map(({ thread }) => thread).join(", ");
    const who = stalls.length === 1
      ? `thread ${threads} has`
      : `threads ${threads} have`;
    const { waitedMillis, waiting } = stalls[0];
    super(
      `Cannot end a grace period: ${who} been inside a read section for at least ` +
        `${Math.round(waitedMillis)} ms, ${
          waiting === 1 ? "1 deferred ref is" : `${waiting} deferred refs are`
        } waiting`,
    );
    this.stalls = stalls;
  }
}

/** Where RCU keeps its state and how it frees. */
export interface RcuOptions {
  /** The word of the shared epoch. */
  epochIndex: number;
  /** The first word of the thread slots. */
  slotsIndex: number;
  /** How many thread slots there are. */
  maxThreads: number;
  /** This thread's id, from 1. */
  thread: number;
  /** This thread's lockdep. */
  lockdep: Lockdep;
  /** Throws where this thread can't free anything; then what is queued stays queued. */
  assertCanReclaim(): void;
  /** How deferred refs are freed. */
  reclaimer: Reclaimer;
}

/** What knows the objects behind deferred refs. */
export interface Reclaimer {
  /** Adds the refs of a chain to `refs`, and notes in each one's link word that it is in this thread's hands. */
  unchain(head: number, refs: number[]): void;
  /** Chains refs, the first one in front; returns the link word of the last, which is for the caller to write. */
  chain(refs: readonly number[]): number;
  /**
   * Frees all of the refs; what it throws, it throws when all of them are dealt with.
   *
   * @param mayKeep Whether some may be kept at hand for this thread instead.
   */
  reclaim(refs: readonly number[], mayKeep: boolean): void;
  /** Frees what this thread keeps at hand; says whether there was anything. What it frees may be deferred. */
  giveBack(): boolean;
}

/** The words in which a thread defers, by index. All but the first are its own. */
export interface RcuDeferral {
  /** The head of its list: atomic. */
  readonly head: number;
  /** What it stored there last. */
  readonly seen: number;
  /** What it stored last as the head of the list that waits. */
  readonly waitSeen: number;
  /** How many refs it has put into its list. */
  readonly count: number;
  /** The first of the refs that it is about to put there. */
  readonly handing: number;
  /** The link word of the last of them. */
  readonly handingLast: number;
}

/** A list of deferred refs that a barrier has taken. */
interface TakenList {
  /** The thread that it was taken from. */
  readonly thread: number;
  /** Its refs, in order. */
  readonly refs: number[];
}

/**
 * One thread's access to the grace periods of an arena.
 *
 * Thread contract: an object belongs to one thread; the epoch and the readers' words are shared.
 *
 * - What is deferred is freed after every read section that could see it has ended, and not before.
 * - Sections nest; only the outermost costs anything.
 * - Waiting inside a read section or under a lock is an error, not a deadlock.
 */
export class Rcu {
  readonly #words: Words;
  readonly #epoch: number;
  readonly #slots: number;
  readonly #maxThreads: number;
  readonly #thread: number;
  readonly #reader: number;
  /** The first word of this thread's slot. */
  readonly #own: number;
  readonly #lockdep: Lockdep;
  readonly #assertCanReclaim: () => void;
  readonly #reclaimer: Reclaimer;
  #depth = 0;
  #sections = 0;
  /** Whether it is seen to that a section which spans an `await` is found, and whether this one does. */
  #awaits: 0 | 1 | 2 = UNWATCHED;
  #waitCount = 0;
  #waitTarget = 0;
  /** Lists that a barrier has taken. */
  readonly #taken: TakenList[] = [];
  #hasLeft = false;

  /** Binds the state in shared memory to one thread. */
  constructor(words: Words, options: RcuOptions) {
    this.#words = words;
    this.#epoch = options.epochIndex;
    this.#slots = options.slotsIndex;
    this.#maxThreads = options.maxThreads;
    this.#thread = options.thread;
    const own = this.#own = this.#slot(options.thread);
    this.#reader = own + READER;
    // They are those of whoever had the slot before.
    words[own + NEXT_SEEN] =
      words[own + WAIT_SEEN] =
      words[own + NEXT_COUNT] =
        0;
    for (const head of [own + NEXT_HEAD, own + WAIT_HEAD]) {
      // A mark, too: what it names may come into this thread's hands, and would count as taken if that died of deferring it. Pairs
      // with the compare-exchange of a barrier that puts something back there.
      const mark = load(words, head);
      if (mark < 0) compareExchange(words, head, mark, 0);
    }
    this.#lockdep = options.lockdep;
    this.#assertCanReclaim = () => options.assertCanReclaim();
    this.#reclaimer = options.reclaimer;
  }

  /** Claims a free thread slot and returns its thread id; 0 if all are taken. */
  static join(words: Words, slotsIndex: number, maxThreads: number): number {
    for (let thread = 1; thread <= maxThreads; thread++) {
      const slot = slotsIndex + (thread - 1) * THREAD_SLOT_WORDS;
      if (compareExchange(words, slot + ALIVE, 0, thread) !== 0) continue;
      raise(words, slotsIndex + HIGHEST, thread);
      return thread;
    }
    return 0;
  }

  /** Whether a thread has claimed its slot. Stale as soon as it is read. */
  static isJoined(words: Words, slotsIndex: number, thread: number): boolean {
    return load(
      words,
      slotsIndex + (thread - 1) * THREAD_SLOT_WORDS + ALIVE,
    ) !== 0;
  }

  /** The word of the shared epoch. */
  get epochIndex(): number {
    return this.#epoch;
  }

  /** The word that says whether this thread is inside a read section: for loops that enter one without a call. */
  get readerIndex(): number {
    return this.#reader;
  }

  /** The words in which this thread defers, for loops that do it without a call: as {@linkcode Rcu.deferChain}. */
  get deferral(): RcuDeferral {
    const own = this.#own;
    return {
      head: own + NEXT_HEAD,
      seen: own + NEXT_SEEN,
      waitSeen: own + WAIT_SEEN,
      count: own + NEXT_COUNT,
      handing: own + HANDING,
      handingLast: own + HANDING_LAST,
    };
  }

  /** How many read sections this thread is inside of. */
  get depth(): number {
    return this.#depth;
  }

  /** A number that names the present outermost section; a new one each time. */
  get section(): number {
    return this.#sections;
  }

  /** How many grace periods were begun, by any thread, modulo 2^31. */
  get gracePeriods(): number {
    return load(this.#words, this.#epoch) >>> 1;
  }

  /**
   * How many refs this thread has deferred that are not yet freed, as far as it knows: others may have freed some for it, or
   * have given that up.
   */
  get pending(): number {
    return this.#words[this.#own + NEXT_COUNT] + this.#waitCount;
  }

  /**
   * Enters a read section. It must be left before the next `await`: {@linkcode Rcu.readUnlock} of one that was not throws, where
   * lockdep is on.
   */
  readLock(): void {
    if (this.#depth++ === 0) {
      this.#sections++;
      if (this.#awaits === UNWATCHED) this.#watch();
      // Pairs with the scan in `#elapsed`.
      store(this.#words, this.#reader, load(this.#words, this.#epoch) | 1);
    }
  }

  /**
   * Leaves a read section.
   *
   * @throws {Error} If this thread is in none.
   * @throws {LockdepError} If the section spanned an `await`; it is left.
   */
  readUnlock(): void {
    if (this.#depth === 0) {
      throw new Error("Cannot leave a read section: this thread is in none");
    }
    if (--this.#depth === 0) {
      store(this.#words, this.#reader, 0);
      if (this.#awaits === SPANNED) this.#reportAwait();
    }
  }

  /** Enters a read section that the end of the caller's block leaves. */
  read(): Disposable {
    this.readLock();
    return guardOf(() => this.readUnlock());
  }

  /**
   * Sees to it that a section which is open when this thread's calls have all returned is found: microtasks run then, and what
   * comes after an `await` is one. One look a turn is enough, however many sections there are in it, and costs each of them a
   * comparison.
   */
  #watch(): void {
    this.#awaits = WATCHED;
    if (this.#lockdep.enabled) queueMicrotask(this.#look);
  }

  readonly #look = () => {
    this.#awaits = this.#depth > 0 ? SPANNED : UNWATCHED;
  };

  #reportAwait(): never {
    this.#awaits = UNWATCHED;
    throw this.#lockdep.splat(
      "suspicious RCU usage\na read section spans an await: voluntary context switch within it",
      1,
    );
  }

  /**
   * Queues an object that readers may still see to be freed after a grace period. Never waits and never frees at once, so
   * it may be called under any lock; whoever defers calls {@linkcode Rcu.poll} after its locks are released.
   *
   * @param ref The object.
   * @param link The word of the object that the queue may use; its last reader must not need it.
   */
  defer(ref: number, link: number): void {
    this.deferChain(ref, link, 1);
  }

  /**
   * As {@linkcode Rcu.defer} for many at once.
   *
   * @param first The first of the objects: each one's link word, but the last one's, holds the next.
   * @param lastLink The last one's link word.
   * @param count How many there are.
   */
  deferChain(first: number, lastLink: number, count: number): void {
    const words = this.#words, slot = this.#own;
    words[slot + HANDING_LAST] = lastLink;
    if (
      first === words[slot + NEXT_SEEN] || first === words[slot + WAIT_SEEN]
    ) {
      this.#clearMarks(first);
    }
    words[slot + HANDING] = first;
    // What this thread stored there last is there still, unless another one has taken the list.
    let seen = words[slot + NEXT_SEEN];
    for (;;) {
      words[lastLink] = seen < 0 ? 0 : seen;
      const was = compareExchange(words, slot + NEXT_HEAD, seen, first);
      if (was === seen) break;
      seen = was;
    }
    words[slot + NEXT_SEEN] = first;
    words[slot + NEXT_COUNT] += count;
  }

  /**
   * Frees what can be freed without waiting, once enough has gathered; some of it may be kept at hand for this thread. May be
   * called where waiting may not.
   */
  poll(): void {
    if (this.#words[this.#own + NEXT_COUNT] >= BATCH) this.#freeElapsed(true);
  }

  /** Frees what can be freed without waiting, however little has gathered. Returns whether nothing is left. */
  flush(): boolean {
    this.#freeElapsed(false);
    return this.pending === 0;
  }

  #freeElapsed(mayKeep: boolean): void {
    // What is freed can defer more (a slab that became empty), so until nothing moves any more.
    while (this.pending > 0 || this.#hasMore()) {
      if (this.#waitCount === 0) this.#startBatch();
      if (this.#waitCount > 0 && !this.#elapsed(this.#waitTarget)) break;
      this.#waitCount = 0;
      this.#assertCanReclaim();
      const slot = this.#own;
      this.#words[slot + HANDING] = 0;
      const head = exchange(this.#words, slot + WAIT_HEAD, 0);
      if (head <= 0) continue;
      const refs: number[] = [];
      this.#reclaimer.unchain(head, refs);
      this.#reclaimer.reclaim(refs, mayKeep);
    }
  }

  /** Whether this thread's list holds what it does not count: what another thread's barrier took and put back. */
  #hasMore(): boolean {
    return load(this.#words, this.#own + NEXT_HEAD) > 0;
  }

  /**
   * Waits until every read section that is open now has ended.
   *
   * @param stallMillis How long to wait before the readers in the way are reported.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {RcuStallError} If the grace period did not end in time.
   */
  synchronize(stallMillis = 10_000): void {
    this.assertMayWait("Rcu.synchronize");
    this.#await(this.#startGracePeriod(), stallMillis);
  }

  /**
   * Waits until everything that any thread has deferred so far is freed, but for what another thread is freeing right now. Returns
   * how many objects it has freed.
   *
   * @param stallMillis How long to wait before the readers in the way are reported; then everything stays queued.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {RcuStallError} If the grace period did not end in time.
   */
  barrier(stallMillis = 10_000): number {
    this.assertMayWait("Rcu.barrier");
    return this.#drain(1, this.#maxThreads, stallMillis);
  }

  /**
   * Gives the thread's slot back. What it deferred and what it kept at hand is freed first, but for what another thread's
   * barrier is freeing right now. Afterwards it enters no section, defers and frees nothing, and waits for nobody: that is refused, by
   * functions of this object alone, so that nobody who has not left pays for a look.
   *
   * @throws {Error} If the thread has left already: the slot may be another one's.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {RcuStallError} If the grace period for it did not end in time; then the thread has not left.
   */
  leave(stallMillis = 10_000): void {
    if (this.#hasLeft) {
      throw new Error(
        `Cannot leave the arena: thread ${this.#thread} has left already`,
      );
    }
    this.assertMayWait("Rcu.leave");
    // What is given back may be deferred in its turn.
    for (let gaveBack = true; gaveBack;) {
      this.#drain(this.#thread, this.#thread, stallMillis);
      gaveBack = this.#reclaimer.giveBack();
    }
    this.#hasLeft = true;
    this.readLock =
      this.deferChain =
      this.poll =
      this.flush =
      this.assertMayWait =
        refuseAsLeft;
    store(this.#words, this.#own + ALIVE, 0);
  }

  /**
   * Asserts that this thread may wait for a grace period.
   *
   * @param dropped The word of a lock that is held now, but will not be while waiting.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  assertMayWait(site: string, dropped?: number): void {
    if (this.#depth > 0) {
      throw this.#lockdep.splat(
        `suspicious RCU usage\n${site}: illegal wait for a grace period inside a read section`,
        this.#depth,
      );
    }
    this.#lockdep.assertMayWait(site, dropped);
  }

  /** A thread is gone: it is inside no section any more. */
  endSectionsOf(gone: number): void {
    store(this.#words, this.#slot(gone) + READER, 0);
  }

  /** A thread is gone: this one takes over what it had deferred, or was about to. */
  recover(gone: number): void {
    const words = this.#words, slot = this.#slot(gone);
    const refs: number[] = [];
    const note = words[slot + HANDING], first = note & ~TAKEN;
    let mayBeTaken = false;
    for (const head of [NEXT_HEAD, WAIT_HEAD]) {
      const before = refs.length;
      this.#takeList(slot + head, TAKEN, refs);
      const mark = load(words, slot + head);
      const mayHide = refs.length === before && mark !== 0 &&
        load(words, slot + PUT_BACK) !== 0;
      if (mark === (first | TAKEN) || mayHide) mayBeTaken = true;
    }
    const isInHand = note < 0 ||
      note > 0 && !mayBeTaken && !refs.includes(first);
    if (isInHand) {
      const lastLink = words[slot + HANDING_LAST];
      if (lastLink !== 0) words[lastLink] = 0;
      this.#reclaimer.unchain(first, refs);
    }
    words[slot + HANDING] = 0;
    store(words, slot + PUT_BACK, 0);
    if (refs.length > 0) {
      this.deferChain(refs[0], this.#reclaimer.chain(refs), refs.length);
    }
  }

  /** A thread is gone: its slot may be claimed again. What it deferred is freed first. As {@linkcode Rcu.barrier}. */
  releaseSlotOf(gone: number, stallMillis = 10_000): void {
    this.barrier(stallMillis);
    store(this.#words, this.#slot(gone) + ALIVE, 0);
  }

  /** Frees what the threads `from` … `to` have deferred; returns how many objects. */
  #drain(from: number, to: number, stallMillis: number): number {
    let freed = 0;
    // Freeing can defer more (a slab that became empty), so until nothing is queued any more.
    while (this.#take(from, to)) {
      try {
        this.#await(this.#startGracePeriod(), stallMillis);
        while (this.#taken.length > 0) {
          const { refs } = this.#taken.pop()!;
          this.#reclaimer.reclaim(refs, false);
          freed += refs.length;
        }
      } finally {
        // Nothing is left unless it failed.
        for (const list of this.#taken.splice(0)) this.#putBack(list);
      }
    }
    return freed;
  }

  #slot(thread: number): number {
    return this.#slots + (thread - 1) * THREAD_SLOT_WORDS;
  }

  #startGracePeriod(): number {
    return (add(this.#words, this.#epoch, 2) + 2) | 0;
  }

  #startBatch(): void {
    const words = this.#words, slot = this.#own;
    if (words[slot + WAIT_SEEN] !== 0) {
      // It is empty; a mark in it may name what is moved there now.
      store(words, slot + WAIT_HEAD, 0);
      words[slot + WAIT_SEEN] = 0;
    }
    let head = load(words, slot + NEXT_HEAD);
    while (head > 0) {
      words[slot + HANDING_LAST] = 0;
      words[slot + HANDING] = head;
      const was = compareExchange(words, slot + NEXT_HEAD, head, 0);
      if (was === head) break;
      head = was;
    }
    words[slot + NEXT_SEEN] = head > 0 ? 0 : head & ~TAKEN;
    // At least 1: a list that another thread's barrier put back is not counted.
    this.#waitCount = head <= 0 ? 0 : Math.max(1, words[slot + NEXT_COUNT]);
    words[slot + NEXT_COUNT] = 0;
    if (head <= 0) return;
    words[slot + WAIT_SEEN] = head;
    store(words, slot + WAIT_HEAD, head);
    this.#waitTarget = this.#startGracePeriod();
  }

  /**
   * Removes the marks of lists that began with an object that has come into this thread's hands again since, so that they do
   * not count for it. Meanwhile the note says that it is in hand for certain.
   */
  #clearMarks(first: number): void {
    const words = this.#words, slot = this.#own;
    words[slot + HANDING] = first | TAKEN;
    for (const head of [NEXT_HEAD, WAIT_HEAD]) {
      compareExchange(words, slot + head, first | TAKEN, 0);
    }
    for (const seen of [NEXT_SEEN, WAIT_SEEN]) {
      if (first === words[slot + seen]) words[slot + seen] = 0;
    }
  }

  /** Whether no thread is inside a section that began before `target`. */
  #elapsed(target: number): boolean {
    return this.#blocker(target, 1) === 0;
  }

  /** The first thread from `from` on that is inside a section older than `target`; 0 if there is none. */
  #blocker(target: number, from: number): number {
    // A thread that joins behind this look enters its sections after `target` was set: none of them is older.
    const highest = load(this.#words, this.#slots + HIGHEST);
    for (let thread = from; thread <= highest; thread++) {
      const seen = load(this.#words, this.#slot(thread) + READER);
      if (seen !== 0 && ((seen - target) | 0) < 0) return thread;
    }
    return 0;
  }

  #await(target: number, stallMillis: number): void {
    for (let look = 0; look < SPIN_LOOKS; look++) {
      if (this.#elapsed(target)) return;
    }
    const start = performance.now();
    while (!this.#elapsed(target)) {
      const waitedMillis = performance.now() - start;
      if (waitedMillis > stallMillis) this.#reportStall(target, waitedMillis);
      // Nobody writes this word: a sleep of a millisecond between two looks.
      wait(this.#words, this.#own + IDLE, 0, 1);
    }
  }

  #reportStall(target: number, waitedMillis: number): void {
    const stalls: RcuStall[] = [];
    let waiting = this.pending;
    for (const { refs } of this.#taken) waiting += refs.length;
    for (
      let thread = this.#blocker(target, 1);
      thread !== 0;
      thread = this.#blocker(target, thread + 1)
    ) {
      stalls.push({ thread, waitedMillis, waiting });
    }
    if (stalls.length > 0) throw new RcuStallError(stalls);
  }

  /** Takes the lists of threads, this one's among them; says whether there is anything to free. */
  #take(from: number, to: number): boolean {
    // What this thread takes of its own it no longer hands over.
    this.#words[this.#own + HANDING] = 0;
    for (let thread = from; thread <= to; thread++) {
      const mark = thread === this.#thread ? 0 : TAKEN;
      for (const which of [NEXT_HEAD, WAIT_HEAD]) {
        const refs: number[] = [];
        this.#takeList(this.#slot(thread) + which, mark, refs);
        if (refs.length > 0) this.#taken.push({ thread, refs });
      }
    }
    // What this thread counts was taken, or has been freed by another.
    this.#words[this.#own + NEXT_COUNT] = 0;
    this.#waitCount = 0;
    return this.#taken.length > 0;
  }

  /** Takes a list, if there is one, and adds its refs to those given; leaves the mark of it, or none if that is 0. */
  #takeList(index: number, mark: number, refs: number[]): void {
    // Where there is nothing, which is nearly everywhere, it is only a look.
    let head = load(this.#words, index);
    while (head > 0) {
      this.#assertCanReclaim();
      const left = mark === 0 ? 0 : head | mark;
      const was = compareExchange(this.#words, index, head, left);
      if (was === head) return this.#reclaimer.unchain(head, refs);
      head = was;
    }
  }

  /** Puts a list that was taken and not freed back onto that of the thread that it came from. */
  #putBack({ thread, refs }: TakenList): void {
    const words = this.#words, slot = this.#slot(thread);
    const isOwn = thread === this.#thread;
    // First, since afterwards the mark of another taking may name another head than that which the owner put there.
    if (!isOwn) store(words, slot + PUT_BACK, 1);
    let seen = load(words, slot + NEXT_HEAD);
    const link = this.#reclaimer.chain(refs);
    if (isOwn) {
      words[slot + NEXT_SEEN] = seen & ~TAKEN;
      return this.deferChain(refs[0], link, refs.length);
    }
    for (;;) {
      words[link] = seen < 0 ? 0 : seen;
      const was = compareExchange(words, slot + NEXT_HEAD, seen, refs[0]);
      if (was === seen) return;
      seen = was;
    }
  }
}

/** Makes a shared word at least `value`. */
function raise(words: Words, index: number, value: number): void {
  let seen = load(words, index);
  while (seen < value) {
    const was = compareExchange(words, index, seen, value);
    if (was === seen) return;
    seen = was;
  }
}
