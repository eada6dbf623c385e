/**
 * The buddy allocator: blocks of 2^order pages of 4 KiB, orders 0 to 10.
 *
 * Every page has a frame record. The record's first word is the page's state: the first frame of a block says whether
 * the block is free or used and its order; the frames inside a block say "inside". The other words belong to the
 * allocator while the block is free (the free lists are threaded through them) and to whoever allocated it while it is
 * used. All of it is protected by the allocator's lock, but for an allocated block's own words, which its owner protects.
 * So no record is accessed by two threads at once and plain accesses suffice.
 *
 * Blocks of the buffer (pageblocks of 2^9 pages) carry a mobility type. A free block hangs on the list of the type of the
 * pageblock that it begins in. A request is served from its own type; only when that is exhausted does it take from the
 * other type, and then a whole pageblock if it can, so that what can't be moved stays together.
 *
 * Invariants, checked by {@linkcode PageAllocator.validate}: free pages = Σ blocks × size over all lists; a free block's
 * buddy is not a free block of the same order; blocks are aligned to their size.
 *
 * Analogous to Linux `mm/page_alloc.c`; differs: one zone, two mobility types, no per-CPU lists.
 *
 * @module
 */
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import type { Words } from "../sync/atomics.ts";
import type { Lockdep } from "../sync/lockdep.ts";

/** Bytes of a page. */
export const PAGE_BYTES = 4096;
/** The largest order of a block. */
export const MAX_ORDER = 10;
/** What one page's frame record takes, in words. */
export const FRAME_WORDS = 8;
/** What the allocator's own state takes, in words. */
export const PAGE_ALLOCATOR_WORDS = 64;
/** The word of a used block's first frame that says from the beginning whose it is: see {@linkcode PageAllocator.tryAllocate}. */
export const FRAME_OWNER = 3;
/** Pageblocks have 2^9 pages, 2 MiB: the size that a huge page has. */
const PAGEBLOCK_ORDER = 9;
const ORDERS = MAX_ORDER + 1;
/** Blocks that are looked at under one hold of the lock: a few microseconds. */
const LOOKS_A_HOLD = 1000;

// The frame record. `STATE` is the allocator's; the words behind it are the owner's while the block is used.
const STATE = 0;
const NEXT = 1;
const PREV = 2;
/** In a free block's first frame: whether its memory was handed back to the operating system. */
const RELEASED = 3;
const INSIDE = 0;
const FREE = 1;
const USED = 2;

// The allocator's state: lock, free pages, then per mobility and order a list head and a block count.
const LOCK = 0;
const FREE_PAGES = 1;
const HEADS = 2;
const COUNTS = HEADS + 2 * ORDERS;

/** Whether what a page holds can be relocated. */
export type Mobility = "movable" | "unmovable";

/** There is no room; nothing was changed. */
export class OutOfMemoryError extends Error {
  /** The name of this class of errors. */
  override name = "OutOfMemoryError";
}

/** Where the allocator's state lies. */
export interface PageAllocatorOptions {
  /** The word of the allocator's own state. */
  base: number;
  /** The first word of the frame records. */
  frames: number;
  /** The first word of the pageblocks' types, one word each. */
  blocks: number;
  /** How many pages there are. */
  count: number;
  /** The id of the thread that uses this object, from 1. */
  thread: number;
  /** That thread's lockdep. */
  lockdep: Lockdep;
}

/** How many words the pageblocks' types take for so many pages. */
export function pageblockWords(pages: number): number {
  return (pages >>> PAGEBLOCK_ORDER) + 1;
}

/**
 * The page allocator of an arena. Pages are numbered from 0 (their *page frame numbers*).
 *
 * Thread contract: an object belongs to one thread; the state is shared and guarded by one lock.
 *
 * - A failed allocation changes nothing.
 * - Free neighbours of one size are always joined.
 */
export class PageAllocator {
  /** How many pages there are in all. */
  readonly count: number;
  readonly #words: Words;
  readonly #base: number;
  readonly #frames: number;
  readonly #blocks: number;
  readonly #thread: number;
  readonly #lockdep: Lockdep;
  readonly #lockClass: number;

  /** Binds the state in shared memory to one thread. */
  constructor(words: Words, options: PageAllocatorOptions) {
    this.#words = words;
    this.#base = options.base;
    this.#frames = options.frames;
    this.#blocks = options.blocks;
    this.#thread = options.thread;
    this.#lockdep = options.lockdep;
    this.#lockClass = options.lockdep.lockClass("page allocator");
    this.count = options.count;
  }

  /** Makes all pages free. Only for a new arena that nobody else sees yet. */
  format(): void {
    for (let i = 0; i < 2 * ORDERS; i++) {
      this.#words[this.#base + HEADS + i] = -1;
    }
    this.#makeFree(0, this.count);
    this.#words[this.#base + FREE_PAGES] = this.count;
  }

  /** How many pages are free. */
  get freePages(): number {
    return this.#locked(
      "PageAllocator.freePages",
      () => this.#words[this.#base + FREE_PAGES],
    );
  }

  /**
   * Allocates a block of 2^order pages and returns its first page frame number. Its owner's frame words are 0.
   *
   * @throws {RangeError} If the order is not in 0 … 10.
   * @throws {OutOfMemoryError} If no block is large enough; nothing was changed.
   */
  allocate(order: number, mobility: Mobility): number {
    const pfn = this.tryAllocate(order, mobility);
    if (pfn < 0) {
      throw new OutOfMemoryError(
        `Cannot allocate a block of order ${order}: ${this.freePages} pages are free, ` +
          `largest free order ${this.largestFreeOrder}`,
      );
    }
    return pfn;
  }

  /**
   * As {@linkcode PageAllocator.allocate}, but returns -1 where there is no room.
   *
   * @param owner What the owner's third frame word holds from the beginning, so that it is known whose the block is if the
   * thread dies with it.
   */
  tryAllocate(order: number, mobility: Mobility, owner = 0): number {
    assertOrder(order, "allocate pages");
    return this.#locked("PageAllocator.allocate", () => {
      const type = mobility === "movable" ? 0 : 1;
      let pfn = this.#takeOwn(order, type);
      if (pfn < 0) pfn = this.#takeOther(order, type);
      if (pfn >= 0) this.#words[this.#frame(pfn) + FRAME_OWNER] = owner;
      return pfn;
    });
  }

  /** As {@linkcode PageAllocator.tryAllocate} of one page, but of no block that begins in `from` … `to − 1`. */
  tryAllocateOutside(
    from: number,
    to: number,
    mobility: Mobility,
    owner = 0,
  ): number {
    return this.#locked("PageAllocator.allocateOutside", () => {
      const type = mobility === "movable" ? 0 : 1;
      let pfn = this.#takeOutside(from, to, type);
      if (pfn < 0) pfn = this.#takeOutside(from, to, 1 - type);
      if (pfn >= 0) this.#words[this.#frame(pfn) + FRAME_OWNER] = owner;
      return pfn;
    });
  }

  /**
   * Frees the block that begins at a page.
   *
   * @throws {Error} If no used block begins there; nothing was changed.
   */
  free(pfn: number): void {
    this.#locked("PageAllocator.free", () => {
      const state = pfn >= 0 && pfn < this.count
        ? this.#words[this.#frame(pfn) + STATE]
        : INSIDE;
      if ((state & 0xff) !== USED) {
        throw new Error(
          `Cannot free page ${pfn}: ${
            (state & 0xff) === FREE
              ? "it is free already"
              : "no block begins there"
          }`,
        );
      }
      let order = state >>> 8;
      this.#words[this.#base + FREE_PAGES] += 1 << order;
      this.#setState(pfn, INSIDE);
      while (order < MAX_ORDER) {
        const buddy = pfn ^ (1 << order);
        if (
          buddy + (1 << order) > this.count ||
          this.#words[this.#frame(buddy) + STATE] !== (FREE | (order << 8))
        ) break;
        this.#unlink(buddy, order);
        this.#setState(buddy, INSIDE);
        pfn = Math.min(pfn, buddy);
        order++;
      }
      this.#push(pfn, order);
    });
  }

  /** All free blocks: first page and order. Stale as soon as it is read. */
  freeBlocks(): [pfn: number, order: number][] {
    return this.#locked("PageAllocator.freeBlocks", () => {
      const blocks: [number, number][] = [];
      for (let list = 0; list < 2 * ORDERS; list++) {
        for (let pfn = this.#words[this.#base + HEADS + list]; pfn >= 0;) {
          blocks.push([pfn, list % ORDERS]);
          pfn = this.#words[this.#frame(pfn) + NEXT];
        }
      }
      return blocks;
    });
  }

  /** How many free blocks there are of each order, of one mobility type or of both. */
  freeBlocksByOrder(mobility?: Mobility): number[] {
    return this.#locked(
      "PageAllocator.freeBlocksByOrder",
      () => this.#freeBlocks(mobility),
    );
  }

  /** The largest order of which a block is free; -1 if none is. */
  get largestFreeOrder(): number {
    return this.freeBlocksByOrder().findLastIndex((blocks) => blocks > 0);
  }

  /**
   * Why an allocation of this order would fail: towards 0 for lack of memory, towards 1 because of fragmentation; -1 if it
   * would succeed. Analogous to Linux `extfrag_index`.
   *
   * @throws {RangeError} If the order is not in 0 … 10.
   */
  extfragIndex(order: number): number {
    assertOrder(order, "tell the fragmentation");
    const { freePages, blocks, suitable } = this.#freeInfo(order);
    if (blocks === 0) return 0;
    if (suitable > 0) return -1;
    return 1 - (1 + freePages / (1 << order)) / blocks;
  }

  /**
   * Which share of the free memory an allocation of this order can't use. Analogous to Linux `unusable_index`.
   *
   * @throws {RangeError} If the order is not in 0 … 10.
   */
  unusableIndex(order: number): number {
    assertOrder(order, "tell the unusable share");
    const { freePages, suitable } = this.#freeInfo(order);
    return freePages === 0
      ? 1
      : (freePages - suitable * (1 << order)) / freePages;
  }

  /**
   * Recovers from a thread that is gone: if it held the lock, the free lists are made anew from the states of the pages, and
   * the lock is released. A block that it was about to allocate or free may be either then.
   *
   * How a change that broke off reads. An allocation turns the block's first frame to used last, so before that all of the
   * block still counts as free, whatever was split off it. Freeing turns the frame to "inside" first, so a frame that is
   * inside where a block should begin belongs to one that was being freed.
   */
  recover(gone: number): void {
    const lock = this.#base + LOCK;
    if (!spinTakeOver(this.#words, lock, gone, this.#thread)) return;
    this.#words.fill(-1, this.#base + HEADS, this.#base + COUNTS);
    this.#words.fill(
      0,
      this.#base + COUNTS,
      this.#base + COUNTS + 2 * ORDERS,
    );
    let free = 0;
    for (let pfn = 0; pfn < this.count;) {
      const end = this.#endOfFreeRun(pfn);
      if (end > pfn) {
        free += end - pfn;
        this.#makeFree(pfn, end);
        pfn = end;
      } else pfn += 1 << (this.#words[this.#frame(pfn) + STATE] >>> 8);
    }
    this.#words[this.#base + FREE_PAGES] = free;
    spinUnlock(this.#words, lock, this.#thread);
  }

  /** Where the pages end, from one on, that are in no used block. */
  #endOfFreeRun(from: number): number {
    let pfn = from;
    while (pfn < this.count) {
      const state = this.#words[this.#frame(pfn) + STATE];
      if ((state & 0xff) === USED) break;
      pfn += (state & 0xff) === FREE ? 1 << (state >>> 8) : 1;
    }
    return Math.min(pfn, this.count);
  }

  /** Makes free blocks of pages, as large as can be. */
  #makeFree(from: number, end: number): void {
    for (let pfn = from; pfn < end; pfn++) this.#setState(pfn, INSIDE);
    for (let pfn = from; pfn < end;) {
      let order = MAX_ORDER;
      while (pfn % (1 << order) !== 0 || pfn + (1 << order) > end) order--;
      this.#push(pfn, order);
      pfn += 1 << order;
    }
  }

  /**
   * Calls `release` for the free blocks of this order and larger ones that it was not called for before, in the order of their
   * pages; where it returns `false` it is asked again next time. Nobody allocates or frees during one call of it; between two
   * they do, so what becomes free meanwhile may be left out.
   */
  releaseFree(
    lowest: number,
    release: (pfn: number, order: number) => boolean,
  ): void {
    for (let pfn = 0; pfn < this.count;) {
      pfn = this.#locked(
        "PageAllocator.releaseFree",
        () => this.#releaseNext(lowest, pfn, release),
      );
    }
  }

  /** Releases the next block from a page on, if one is found soon; returns where to go on. */
  #releaseNext(
    lowest: number,
    from: number,
    release: (pfn: number, order: number) => boolean,
  ): number {
    let pfn = from;
    for (let look = 0; look < LOOKS_A_HOLD && pfn < this.count; look++) {
      const frame = this.#frame(pfn);
      const state = this.#words[frame + STATE];
      const order = state >>> 8;
      // A page inside a block, of which blocks joined meanwhile, counts as order 0: the next one is looked at.
      const end = pfn + (1 << order);
      if (
        (state & 0xff) === FREE && order >= lowest &&
        this.#words[frame + RELEASED] === 0
      ) {
        if (release(pfn, order)) this.#words[frame + RELEASED] = 1;
        return end;
      }
      pfn = end;
    }
    return pfn;
  }

  /**
   * Checks the invariants that stand at the top of this file.
   *
   * @throws {Error} Naming the page and the rule that is broken.
   */
  validate(): void {
    this.#locked("PageAllocator.validate", () => {
      let free = 0;
      const listed = new Set<number>();
      for (let list = 0; list < 2 * ORDERS; list++) {
        free += this.#validateList(list, listed);
      }
      const counted = this.#words[this.#base + FREE_PAGES];
      if (free !== counted) {
        throw new Error(
          `Page allocator: ${free} pages are on lists, ${counted} are counted free`,
        );
      }
      for (let pfn = 0; pfn < this.count;) {
        const state = this.#words[this.#frame(pfn) + STATE];
        if (state === INSIDE) {
          throw new Error(`Page allocator: page ${pfn} begins no block`);
        }
        if ((state & 0xff) === FREE && !listed.has(pfn)) {
          throw new Error(`Page allocator: free page ${pfn} is on no list`);
        }
        pfn += 1 << (state >>> 8);
      }
    });
  }

  /** The pages of all used blocks, in order. Stale as soon as it is read, but for those that nobody else frees. */
  usedPages(): number[] {
    return this.#locked(
      "PageAllocator.usedPages",
      () => PageAllocator.usedPages(this.#words, this.#frames, this.count),
    );
  }

  /** The pages of all used blocks, in order. Only while nobody allocates or frees. */
  static usedPages(words: Words, frames: number, count: number): number[] {
    const used = [];
    for (let pfn = 0; pfn < count;) {
      const state = words[frames + pfn * FRAME_WORDS + STATE];
      const pages = 1 << (state >>> 8);
      for (let i = 0; i < pages && (state & 0xff) === USED; i++) {
        used.push(pfn + i);
      }
      pfn += pages;
    }
    return used;
  }

  #validateList(list: number, listed: Set<number>): number {
    const order = list % ORDERS;
    let blocks = 0;
    for (let pfn = this.#words[this.#base + HEADS + list]; pfn >= 0;) {
      const frame = this.#frame(pfn);
      const buddy = pfn ^ (1 << order);
      if (this.#words[frame + STATE] !== (FREE | (order << 8))) {
        throw new Error(
          `Page allocator: page ${pfn} on the list of order ${order} is not so free`,
        );
      }
      if (pfn % (1 << order) !== 0) {
        throw new Error(`Page allocator: page ${pfn} is not aligned`);
      }
      if (this.#list(pfn, order) !== list) {
        throw new Error(
          `Page allocator: page ${pfn} is on the list of the other mobility`,
        );
      }
      if (
        order < MAX_ORDER && buddy + (1 << order) <= this.count &&
        this.#words[this.#frame(buddy) + STATE] === (FREE | (order << 8))
      ) {
        throw new Error(
          `Page allocator: buddies ${pfn} and ${buddy} are free but not joined`,
        );
      }
      listed.add(pfn);
      blocks++;
      pfn = this.#words[frame + NEXT];
    }
    if (blocks !== this.#words[this.#base + COUNTS + list]) {
      throw new Error(
        `Page allocator: ${blocks} blocks of order ${order} are listed, not as counted`,
      );
    }
    return blocks * (1 << order);
  }

  #freeBlocks(mobility?: Mobility): number[] {
    const counts = this.#base + COUNTS;
    return Array.from({ length: ORDERS }, (_, order) => {
      const movable = mobility === "unmovable"
        ? 0
        : this.#words[counts + order];
      const unmovable = mobility === "movable"
        ? 0
        : this.#words[counts + ORDERS + order];
      return movable + unmovable;
    });
  }

  #freeInfo(
    order: number,
  ): { freePages: number; blocks: number; suitable: number } {
    let freePages = 0, blocks = 0, suitable = 0;
    this.freeBlocksByOrder().forEach((n, blockOrder) => {
      blocks += n;
      freePages += n * (1 << blockOrder);
      if (blockOrder >= order) suitable += n * (1 << (blockOrder - order));
    });
    return { freePages, blocks, suitable };
  }

  /** The smallest block of this type that is large enough, split as far as needed; -1 if there is none. */
  #takeOwn(order: number, type: number): number {
    for (let have = order; have <= MAX_ORDER; have++) {
      const pfn = this.#words[this.#base + HEADS + type * ORDERS + have];
      if (pfn >= 0) return this.#take(pfn, have, order);
    }
    return -1;
  }

  /** The first page of the smallest block of this type that begins outside of `from` … `to − 1`; -1 if there is none. */
  #takeOutside(from: number, to: number, type: number): number {
    for (let have = 0; have <= MAX_ORDER; have++) {
      let pfn = this.#words[this.#base + HEADS + type * ORDERS + have];
      while (pfn >= from && pfn < to) {
        pfn = this.#words[this.#frame(pfn) + NEXT];
      }
      if (pfn >= 0) return this.#take(pfn, have, 0);
    }
    return -1;
  }

  /** Takes from the other type: a large block and its pageblock with it, else the smallest that will do. */
  #takeOther(order: number, type: number): number {
    const heads = this.#base + HEADS + (1 - type) * ORDERS;
    for (
      let have = MAX_ORDER;
      have >= Math.max(order, PAGEBLOCK_ORDER - 1);
      have--
    ) {
      const pfn = this.#words[heads + have];
      if (pfn < 0) continue;
      this.#retype(pfn, have, type);
      return this.#take(pfn, have, order);
    }
    return this.#takeOwn(order, 1 - type);
  }

  /** Gives the pageblocks that a free block touches the type, and moves the free blocks that begin in them. */
  #retype(pfn: number, order: number, type: number): void {
    const first = pfn >>> PAGEBLOCK_ORDER;
    const last = (pfn + (1 << order) - 1) >>> PAGEBLOCK_ORDER;
    const end = Math.min((last + 1) << PAGEBLOCK_ORDER, this.count);
    const free: [pfn: number, order: number][] = [];
    for (let at = first << PAGEBLOCK_ORDER; at < end; at++) {
      const state = this.#words[this.#frame(at) + STATE];
      if ((state & 0xff) === FREE) free.push([at, state >>> 8]);
    }
    for (const [at, size] of free) this.#unlink(at, size);
    for (let block = first; block <= last; block++) {
      this.#words[this.#blocks + block] = type;
    }
    for (const [at, size] of free) this.#push(at, size);
  }

  #take(pfn: number, have: number, order: number): number {
    this.#unlink(pfn, have);
    while (have > order) {
      have--;
      this.#push(pfn + (1 << have), have);
    }
    this.#setState(pfn, USED | (order << 8));
    this.#words[this.#base + FREE_PAGES] -= 1 << order;
    return pfn;
  }

  #push(pfn: number, order: number): void {
    this.#setState(pfn, FREE | (order << 8));
    const frame = this.#frame(pfn);
    const head = this.#base + HEADS + this.#list(pfn, order);
    const next = this.#words[head];
    this.#words[frame + NEXT] = next;
    this.#words[frame + PREV] = -1;
    if (next >= 0) this.#words[this.#frame(next) + PREV] = pfn;
    this.#words[head] = pfn;
    this.#words[head + COUNTS - HEADS]++;
  }

  #unlink(pfn: number, order: number): void {
    const frame = this.#frame(pfn);
    const head = this.#base + HEADS + this.#list(pfn, order);
    const next = this.#words[frame + NEXT];
    const prev = this.#words[frame + PREV];
    if (next >= 0) this.#words[this.#frame(next) + PREV] = prev;
    if (prev >= 0) this.#words[this.#frame(prev) + NEXT] = next;
    else this.#words[head] = next;
    this.#words[head + COUNTS - HEADS]--;
  }

  #setState(pfn: number, state: number): void {
    const frame = this.#frame(pfn);
    this.#words[frame + STATE] = state;
    // A loop: `fill` costs more than eight stores.
    for (let word = NEXT; word < FRAME_WORDS; word++) {
      this.#words[frame + word] = 0;
    }
  }

  /** Which list a free block hangs on: by the type of the pageblock that it begins in, and its order. */
  #list(pfn: number, order: number): number {
    return this.#words[this.#blocks + (pfn >>> PAGEBLOCK_ORDER)] * ORDERS +
      order;
  }

  #frame(pfn: number): number {
    return this.#frames + pfn * FRAME_WORDS;
  }

  #locked<T>(site: string, section: () => T): T {
    const lock = this.#base + LOCK;
    this.#lockdep.acquire(this.#lockClass, lock, site);
    spinLock(this.#words, lock, this.#thread);
    try {
      return section();
    } finally {
      spinUnlock(this.#words, lock, this.#thread);
      this.#lockdep.release(lock);
    }
  }
}

function assertOrder(order: number, what: string): void {
  if (Number.isInteger(order) && order >= 0 && order <= MAX_ORDER) return;
  throw new RangeError(
    `Cannot ${what}: order ${order} is outside [0, ${MAX_ORDER}]`,
  );
}
