/**
 * The arena: one shared buffer that holds everything, and what one thread needs to work with it.
 *
 * All state is in the buffer and position-independent: a *ref* is an offset in granules of 64 bytes, 0 is null. The
 * buffer begins with a header (magic, version, geometry and the geometry's checksum), immutable once the arena is
 * created, so it is read plainly. Every section behind it belongs to one module, which says what protects it:
 *
 * | section | owner | protected by |
 * |---|---|---|
 * | header | here | immutable once created; which layers have state here: atomic |
 * | epoch, thread slots | `sync/rcu.ts` | atomic |
 * | lock order | `sync/lockdep.ts` | its lock, atomic edges |
 * | allocator, pageblocks, frames | `page_allocator.ts` | its lock; an allocated block's words: its owner |
 * | roots | `roots.ts` | its lock |
 * | serials | here | atomic |
 * | caches | `slab/` | each cache's lock |
 * | stocks | `slab/` | atomic |
 * | scratch | whoever compiled loops belong to | each thread has its own |
 * | pages | whoever allocated them | |
 *
 * An `Arena` object belongs to one thread: creating or attaching joins the thread (claims a slot), `leave` gives the slot
 * back. The memory is handed to other threads by `postMessage`.
 *
 * Where the buffer is that of a WebAssembly memory, the hottest loops run in WebAssembly (see `sync/wasm.ts`), on every thread
 * that was handed the memory. A thread that was handed its buffer alone works on the same words without them, as all threads
 * do in debug mode, whose checks are in the TypeScript.
 *
 * @module
 */
import {
  add,
  compareExchange,
  load,
  type Words,
  wordsOf,
} from "../sync/atomics.ts";
import { Lockdep, LOCKDEP_WORDS } from "../sync/lockdep.ts";
import { Rcu, type Reclaimer, THREAD_SLOT_WORDS } from "../sync/rcu.ts";
import { shown } from "../sync/shown.ts";
import { checksum } from "./checksum.ts";
import {
  FRAME_WORDS,
  type Mobility,
  PAGE_ALLOCATOR_WORDS,
  PAGE_BYTES,
  PageAllocator,
  pageblockWords,
} from "./page_allocator.ts";
import { Roots, ROOTS_WORDS } from "./roots.ts";

const VERSION = 9;
const MAGIC = 0x41_4c_4f_50; // "POLA"
const SAVE_MAGIC = 0x53_4c_4f_50; // "POLS"
/** Refs are u32 offsets in granules of 64 bytes. */
const GRANULE_BYTES = 64;
const GRANULE_WORDS = GRANULE_BYTES / 4;
const GRANULES_PER_PAGE = PAGE_BYTES / GRANULE_BYTES;
const PAGE_WORDS = PAGE_BYTES / 4;
/** A word index must fit 31 bits, so that shared views index it as a small integer: 8 GiB. */
const MAX_BYTES = 2 ** 33;
/** A page of a WebAssembly memory, and how many one has at most. */
const WASM_PAGE_BYTES = 65536;
const WASM_MAX_PAGES = 65536;
/**
 * Arenas of so many pages or more, 64 MiB, begin their pages at a huge page of 2 MiB, counted from the buffer's first byte: the
 * system puts large WebAssembly memories there itself (measured: from 64 MiB on always). So free blocks of order 9 and 10 are
 * whole huge pages, and there are as many as otherwise.
 */
const ALIGNED_FROM_PAGES = 2 ** 14;
const HUGE_PAGES = 512;
/** What the slab layer may use for its caches: 16 records of 128 words. */
const CACHES_WORDS = 16 * 128;
/** What a thread has for the objects that it keeps at hand: a line that others look at and one of its own, one word a cache. */
const STOCK_WORDS = 32;
const STOCK_SIZES = 16;
/** What compiled loops leave a thread their longer answers in, the entries of some leaves, and what stores build nodes of. */
const SCRATCH_WORDS = 640;

// The header.
const H_MAGIC = 0;
const H_VERSION = 1;
const H_PAGES_TOTAL = 2;
const H_THREADS = 3;
const H_FLAGS = 4;
const H_CHECKSUM = 5;
/** Which of {@linkcode LAYERS} have state in the arena: bits that are only ever set. */
const H_LAYERS = 6;
const HEADER_WORDS = 16;
const FLAG_LOCKDEP = 1;
const FLAG_DEBUG = 2;

// The header of a saved arena: magic, version, metadata pages, used pages, checksum of all else.
const SAVE_HEADER_WORDS = 5;
const SAVE_CHECKSUM = 4;

/** A layer whose state must be put in order when a thread has died. */
export type ReapedLayer = "slab caches" | "range trees" | "VA managers";

/** In the order in which they are put in order: each needs those before it. */
const LAYERS: readonly ReapedLayer[] = [
  "slab caches",
  "range trees",
  "VA managers",
];
const openers = new Map<ReapedLayer, (arena: Arena) => void>();

/**
 * Says how a layer opens its state in an arena, for a thread that reaps another and has not used that state itself. The
 * layer's module does, once.
 *
 * @param open Opens it, which calls {@linkcode Arena.onReap}.
 */
export function openForReap(
  layer: ReapedLayer,
  open: (arena: Arena) => void,
): void {
  openers.set(layer, open);
}

/** Memory that threads share: what holds an arena. */
export type SharedMemory = SharedArrayBuffer | WebAssembly.Memory;

/** How an arena is created. */
export interface ArenaOptions {
  /** The fixed capacity in bytes, a multiple of 4096. Pages that are never touched cost nothing. */
  byteLength: number;
  /**
   * How many threads can be joined at once.
   *
   * @default {32}
   */
  maxThreads?: number;
  /**
   * Whether locking mistakes are looked for.
   *
   * @default {true}
   */
  lockdep?: boolean;
  /**
   * Whether freed objects are poisoned, kept in quarantine and checked, and every object's history is kept.
   *
   * @default {false}
   */
  debug?: boolean;
}

/** Where the sections lie, in words; derived from the geometry alone. */
interface Sections {
  epoch: number;
  slots: number;
  lockdep: number;
  allocator: number;
  roots: number;
  serials: number;
  caches: number;
  stocks: number;
  scratch: number;
  blocks: number;
  frames: number;
  /** The first page, in pages. */
  firstPage: number;
  /** How many pages can be allocated. */
  pages: number;
}

function sectionsOf(pagesTotal: number, maxThreads: number): Sections {
  let at = HEADER_WORDS;
  const take = (words: number) => {
    const start = at;
    at = Math.ceil((at + words) / GRANULE_WORDS) * GRANULE_WORDS;
    return start;
  };
  const epoch = take(1);
  const slots = take(maxThreads * THREAD_SLOT_WORDS);
  const lockdep = take(LOCKDEP_WORDS);
  const allocator = take(PAGE_ALLOCATOR_WORDS);
  const roots = take(ROOTS_WORDS);
  const serials = take(1);
  const caches = take(CACHES_WORDS);
  const stocks = take(maxThreads * STOCK_WORDS);
  const scratch = take(maxThreads * SCRATCH_WORDS);
  const blocks = take(pageblockWords(pagesTotal));
  const frames = take(pagesTotal * FRAME_WORDS);
  const alignment = pagesTotal < ALIGNED_FROM_PAGES ? 1 : HUGE_PAGES;
  const firstPage = Math.ceil(at / PAGE_WORDS / alignment) * alignment;
  const pages = pagesTotal - firstPage;
  return {
    epoch,
    slots,
    lockdep,
    allocator,
    roots,
    serials,
    caches,
    stocks,
    scratch,
    blocks,
    frames,
    firstPage,
    pages,
  };
}

/** Of how many pages the smallest arena is: what there is to keep of each takes room too. */
function fewestPages(maxThreads: number): number {
  let total = sectionsOf(0, maxThreads).firstPage + 1;
  while (sectionsOf(total, maxThreads).pages < 1) total++;
  return total;
}

/**
 * One shared buffer with everything in it, as seen by one thread.
 *
 * Thread contract: an object belongs to one thread; all of them work on the same buffer with equal rights.
 *
 * - The capacity is fixed; memory that was never used is never touched.
 * - A buffer or file that is not a whole, undamaged arena of this version is refused.
 *
 * @example Create, attach from elsewhere, leave
 * ```ts
 * import { Arena } from "@pollard/pollard/memory";
 * import { assertEquals } from "@std/assert";
 *
 * const arena = Arena.create({ byteLength: 2 ** 20 });
 * const other = Arena.attach(arena.shared); // usually in a worker
 * assertEquals([arena.thread, other.thread], [1, 2]);
 * other.leave();
 * ```
 */
export class Arena {
  /** The shared buffer. Its length may be rounded up to 64 KiB. */
  readonly buffer: SharedArrayBuffer;
  /** The memory whose buffer it is, where this thread runs WebAssembly on it. */
  readonly memory: WebAssembly.Memory | undefined;
  /** This thread's id in the arena, from 1. */
  readonly thread: number;
  /** Every shared word. */
  readonly words: Words;
  /** The same memory as `f64`, for fields that are immutable once published. */
  readonly doubles: Float64Array<SharedArrayBuffer>;
  /** This thread's lockdep. */
  readonly lockdep: Lockdep;
  /** This thread's access to read sections and grace periods. */
  readonly rcu: Rcu;
  /** The buddy allocator of the arena's pages. */
  readonly pages: PageAllocator;
  /** The named roots. */
  readonly roots: Roots;
  /** Whether freed objects are poisoned and checked. */
  readonly debug: boolean;
  /** The first word of what the slab layer may use for its caches. */
  readonly cachesIndex: number;
  /**
   * Where the slab layer may note what threads keep at hand: thread 1's words, from one thread to the next, how many threads,
   * and from a word to one for that thread alone.
   */
  readonly stocks: {
    readonly first: number;
    readonly stride: number;
    readonly threads: number;
    readonly size: number;
  };
  /** The first of this thread's words in which compiled loops leave their answers: plain, nobody else touches them. */
  readonly scratchIndex: number;
  readonly #shared: SharedMemory;
  readonly #sections: Sections;
  readonly #maxThreads: number;
  readonly #reapers: Map<ReapedLayer, (gone: number) => void> = new Map();
  readonly #leavers: (() => void)[] = [];
  #blockMaker: ((order: number) => boolean) | undefined;
  #reclaimer: Reclaimer | undefined;

  private constructor(shared: SharedMemory, format: boolean) {
    const buffer = this.buffer = bufferOf(shared);
    const flags = new Int32Array(buffer)[H_FLAGS];
    this.debug = (flags & FLAG_DEBUG) !== 0;
    this.#shared = shared;
    this.memory = isMemory(shared) && !this.debug ? shared : undefined;
    const words = this.words = wordsOf(this.memory ?? buffer);
    this.doubles = new Float64Array(buffer);
    const maxThreads = this.#maxThreads = words[H_THREADS];
    const sections = this.#sections = sectionsOf(
      words[H_PAGES_TOTAL],
      maxThreads,
    );
    const thread = this.thread = Rcu.join(words, sections.slots, maxThreads);
    if (thread === 0) {
      throw new Error(
        `Cannot join the arena: all ${maxThreads} thread slots are taken`,
      );
    }
    const lockdep = this.lockdep = new Lockdep(
      words,
      sections.lockdep,
      thread,
      (flags & FLAG_LOCKDEP) !== 0,
    );
    this.rcu = new Rcu(words, {
      epochIndex: sections.epoch,
      slotsIndex: sections.slots,
      maxThreads,
      thread,
      lockdep,
      assertCanReclaim: () => this.#assertCanReclaim(),
      reclaimer: {
        unchain: (head, refs) => this.#reclaimer!.unchain(head, refs),
        chain: (refs) => this.#reclaimer!.chain(refs),
        reclaim: (refs, mayKeep) => this.#reclaimer!.reclaim(refs, mayKeep),
        giveBack: () => this.#reclaimer?.giveBack() ?? false,
      },
    });
    this.pages = new PageAllocator(words, {
      base: sections.allocator,
      frames: sections.frames,
      blocks: sections.blocks,
      count: sections.pages,
      thread,
      lockdep,
    });
    this.roots = new Roots(words, sections.roots, thread);
    this.cachesIndex = sections.caches;
    this.stocks = {
      first: sections.stocks,
      stride: STOCK_WORDS,
      threads: maxThreads,
      size: STOCK_SIZES,
    };
    this.scratchIndex = sections.scratch + (thread - 1) * SCRATCH_WORDS;
    if (format) this.pages.format();
  }

  /**
   * Creates an arena and joins this thread.
   *
   * @throws {RangeError} If the capacity is not a multiple of 4096 bytes, too small for one page, or over 8 GiB.
   */
  static create(options: ArenaOptions): Arena {
    const { byteLength, maxThreads = 32, lockdep = true, debug = false } =
      options;
    if (!Number.isInteger(maxThreads) || maxThreads < 1 || maxThreads > 1024) {
      throw new RangeError(
        `Cannot create an arena: maxThreads ${
          shown(maxThreads)
        } is outside [1, 1024]`,
      );
    }
    if (
      !Number.isInteger(byteLength) || byteLength < 0 ||
      byteLength % PAGE_BYTES !== 0
    ) {
      throw new RangeError(
        `Cannot create an arena: byteLength ${
          shown(byteLength)
        } is not a multiple of ${PAGE_BYTES}`,
      );
    }
    if (byteLength > MAX_BYTES) {
      throw new RangeError(
        `Cannot create an arena: byteLength ${byteLength} is over ${MAX_BYTES}, which is 8 GiB`,
      );
    }
    const total = byteLength / PAGE_BYTES;
    if (sectionsOf(total, maxThreads).pages < 1) {
      throw new RangeError(
        `Cannot create an arena: byteLength ${byteLength} leaves no page, at least ${
          fewestPages(maxThreads) * PAGE_BYTES
        } are needed`,
      );
    }
    const shared = newMemory(byteLength);
    const words = new Int32Array(bufferOf(shared));
    words[H_MAGIC] = MAGIC;
    words[H_VERSION] = VERSION;
    words[H_PAGES_TOTAL] = total;
    words[H_THREADS] = maxThreads;
    words[H_FLAGS] = (lockdep ? FLAG_LOCKDEP : 0) | (debug ? FLAG_DEBUG : 0);
    words[H_CHECKSUM] = checksum(words.subarray(0, H_CHECKSUM)) | 0;
    return new Arena(shared, true);
  }

  /** What another thread attaches to: to be posted to it. */
  get shared(): SharedMemory {
    return this.#shared;
  }

  /**
   * Joins this thread to an arena that another thread created.
   *
   * @param shared What its {@linkcode Arena.shared} is. With its buffer alone everything works the same, but slower: see the top
   * of this file.
   * @throws {TypeError} If the buffer is no arena of this version, truncated or damaged: says what was expected and found.
   * @throws {Error} If all thread slots are taken.
   */
  static attach(shared: SharedMemory): Arena {
    checkGeometry(bufferOf(shared));
    return new Arena(shared, false);
  }

  /**
   * Writes the arena to bytes: its metadata and the pages in use. Where lockdep is off, it can't be known whether this thread
   * holds a lock of a tree or another one; whoever loads the bytes would find it held for ever.
   *
   * @throws {Error} If another thread is joined, which could write meanwhile; or, in debug mode, if an object was used after it
   * was freed.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   */
  save(): Uint8Array {
    this.rcu.assertMayWait("Arena.save");
    const others = this.threads.filter((thread) => thread !== this.thread);
    if (others.length > 0) {
      throw new Error(
        `Cannot save the arena: others are joined, too (${others.join(", ")})`,
      );
    }
    // What this thread keeps from being reused would be lost in the bytes.
    for (let gaveBack = true; gaveBack;) {
      this.rcu.barrier();
      gaveBack = this.#reclaimer?.giveBack() ?? false;
    }
    const used = this.#usedPages(this.words);
    const metaWords = this.#sections.firstPage * PAGE_WORDS;
    const image = new Int32Array(
      SAVE_HEADER_WORDS + metaWords + used.length * PAGE_WORDS,
    );
    image.set(this.words.subarray(0, metaWords), SAVE_HEADER_WORDS);
    // Whoever loads it joins anew.
    image.fill(
      0,
      SAVE_HEADER_WORDS + this.#sections.slots,
      SAVE_HEADER_WORDS + this.#sections.slots +
        this.#maxThreads * THREAD_SLOT_WORDS,
    );
    let at = SAVE_HEADER_WORDS + metaWords;
    for (const page of used) {
      const start = (this.#sections.firstPage + page) * PAGE_WORDS;
      image.set(this.words.subarray(start, start + PAGE_WORDS), at);
      at += PAGE_WORDS;
    }
    image.set([SAVE_MAGIC, VERSION, this.#sections.firstPage, used.length]);
    image[SAVE_CHECKSUM] = savedChecksum(image);
    return new Uint8Array(image.buffer);
  }

  /**
   * Makes an arena of what {@linkcode Arena.save} wrote, and joins this thread.
   *
   * @throws {TypeError} If the bytes are no saved arena of this version, truncated or damaged: says what was expected and
   * found.
   */
  static load(bytes: Uint8Array): Arena {
    const fail = (what: string): never => {
      throw new TypeError(`Cannot load an arena: ${what}`);
    };
    if (!(bytes instanceof Uint8Array)) {
      fail(`expected a Uint8Array, found ${shown(bytes)}`);
    }
    if (bytes.length < SAVE_HEADER_WORDS * 4 || bytes.length % 4 !== 0) {
      fail(
        `expected at least ${
          SAVE_HEADER_WORDS * 4
        } bytes in whole words, found ${bytes.length}`,
      );
    }
    // A copy, whatever array of bytes it is: what Node's `Buffer` calls a slice is none.
    const image = new Int32Array(new Uint8Array(bytes).buffer);
    const [magic, version, metaPages, usedPages, sum] = image;
    if (magic !== SAVE_MAGIC) {
      fail(`expected magic ${hex(SAVE_MAGIC)}, found ${hex(magic)}`);
    }
    if (version !== VERSION) {
      fail(`expected version ${VERSION}, found ${version}`);
    }
    const expected = (metaPages + usedPages) * PAGE_BYTES +
      SAVE_HEADER_WORDS * 4;
    if (bytes.length !== expected) {
      fail(`expected ${expected} bytes, found ${bytes.length}`);
    }
    const body = image.subarray(SAVE_HEADER_WORDS);
    const found = savedChecksum(image);
    if (found !== sum >>> 0) {
      fail(`expected checksum ${hex(sum)}, found ${hex(found)}`);
    }

    const shared = newMemory(body[H_PAGES_TOTAL] * PAGE_BYTES);
    const words = new Int32Array(bufferOf(shared));
    words.set(body.subarray(0, metaPages * PAGE_WORDS));
    const arena = Arena.attach(shared);
    let at = metaPages * PAGE_WORDS;
    for (const page of arena.#usedPages(words)) {
      words.set(
        body.subarray(at, at + PAGE_WORDS),
        (metaPages + page) * PAGE_WORDS,
      );
      at += PAGE_WORDS;
    }
    return arena;
  }

  /** The ids of the threads that have joined, this one among them. Stale as soon as it is read. */
  get threads(): number[] {
    const threads = [];
    for (let thread = 1; thread <= this.#maxThreads; thread++) {
      if (Rcu.isJoined(this.words, this.#sections.slots, thread)) {
        threads.push(thread);
      }
    }
    return threads;
  }

  /**
   * Gives this thread's slot back, after freeing what it deferred and what it kept at hand or in quarantine. The object, and what
   * was opened in it, must not be used afterwards: another thread may get the slot. What takes a lock, enters a read section, allocates
   * or waits throws then. What does none of that may work on: an iterator gives out what it has copied, and where no compiled loops run
   * a tree of lock mode `"none"` may be read.
   *
   * What cursors have preallocated (`Cursor.destroy`) and queues have set aside (`BindQueue.trim`) is to be given back before, and a
   * background compactor that was driven slice by slice stopped (`BackgroundCompactor.stop`): nobody can afterwards.
   *
   * @throws {Error} If the thread has left already; or, in debug mode, if an object was used after it was freed: it may be called
   * again then.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {RcuStallError} If another thread holds up the grace period for what was deferred; then the thread has not left.
   */
  leave(): void {
    this.rcu.leave();
    this.lockdep.leave();
    this.roots.leave();
    for (const refuse of this.#leavers) refuse();
    this.onLeave = (refuse) => refuse();
  }

  /** Says how what a layer has for this thread refuses to be used when it has left. */
  onLeave(refuse: () => void): void {
    this.#leavers.push(refuse);
  }

  /**
   * Recovers from a thread that died: a worker that was terminated or that failed, whose `leave` was never called. Its
   * read section ends, its locks are released, and what they protect is put in order: free lists, slabs and trees are made
   * good from what is certain in them, so that every store that had returned is there, and of the one that was under way
   * all or nothing. What it had deferred, or had in its hands, is freed, and its slot can be claimed again.
   *
   * The caller guarantees that the thread runs no more. A terminated worker may do so long after `terminate()` has returned:
   * see `docs/threads.md` for how to know.
   *
   * @throws {RangeError} If the thread is this one, or has not joined.
   * @throws {Error} If the arena holds something (slab caches, range trees, VA managers) whose module this program has not
   * imported; nothing was changed.
   * @throws {LockdepError} Inside a read section, or while a lock is held.
   * @throws {RcuStallError} If another thread holds up the grace period for what was deferred; it may be called again then.
   */
  reap(thread: number): void {
    if (thread === this.thread || !this.threads.includes(thread)) {
      throw new RangeError(
        `Cannot reap thread ${thread}: ${
          thread === this.thread ? "it is this one" : "it has not joined"
        }`,
      );
    }
    this.rcu.assertMayWait("Arena.reap");
    this.#openLayers(thread);
    this.rcu.endSectionsOf(thread);
    this.lockdep.recover(thread);
    this.pages.recover(thread);
    this.roots.recover(thread);
    for (const layer of LAYERS) this.#reapers.get(layer)?.(thread);
    this.rcu.releaseSlotOf(thread);
  }

  /** Says what a layer does when a thread is reaped, and notes that the layer has state in the arena. */
  onReap(layer: ReapedLayer, recover: (gone: number) => void): void {
    this.#reapers.set(layer, recover);
    const bit = 1 << LAYERS.indexOf(layer);
    let seen = load(this.words, H_LAYERS);
    while ((seen & bit) === 0) {
      seen = compareExchange(this.words, H_LAYERS, seen, seen | bit);
    }
  }

  /** Sees to it that all that the arena holds can be put in order on this thread. */
  #openLayers(gone: number): void {
    const held = load(this.words, H_LAYERS);
    for (const [i, layer] of LAYERS.entries()) {
      if ((held >>> i & 1) === 0 || this.#reapers.has(layer)) continue;
      const open = openers.get(layer);
      if (open === undefined) {
        throw new Error(
          `Cannot reap thread ${gone}: the arena holds ${layer}, and the module that recovers them is not imported here`,
        );
      }
      open(this);
    }
  }

  /**
   * A number that no call before it returned, in any thread, until 2^32 were: for what must be told from all that lay in its
   * place before, whose memory may be gone and zeroed.
   */
  nextSerial(): number {
    return add(this.words, this.#sections.serials, 1) >>> 0;
  }

  /** The ref of a page's first byte. */
  pageRef(pfn: number): number {
    return (this.#sections.firstPage + pfn) * GRANULES_PER_PAGE;
  }

  /** The page frame number of the page that holds a ref; negative or too large where the ref is in no page. */
  pfnOf(ref: number): number {
    return (ref >>> 6) - this.#sections.firstPage;
  }

  /** The first word of a page's frame record. */
  frameOf(pfn: number): number {
    return this.#sections.frames + pfn * FRAME_WORDS;
  }

  /**
   * Says how deferred refs are freed. The slab layer does, once an arena object.
   */
  setReclaimer(reclaimer: Reclaimer): void {
    this.#reclaimer = reclaimer;
  }

  /**
   * Allocates a block of 2^order pages, as `pages.allocate` does, and returns its first page frame number. Where only
   * fragmentation stands in the way, the arena is compacted for it, if there is a `Compactor` for it on this thread.
   *
   * @throws {RangeError} If the order is not in 0 … 10.
   * @throws {OutOfMemoryError} If no such block is free or can be made so.
   * @throws {LockdepError} Inside a read section, or while a lock is held: it may wait.
   */
  allocPages(order: number, mobility: Mobility = "unmovable"): number {
    this.rcu.assertMayWait("Arena.allocPages");
    const pfn = this.pages.tryAllocate(order, mobility);
    if (pfn >= 0) return pfn;
    this.#blockMaker?.(order);
    return this.pages.allocate(order, mobility);
  }

  /**
   * Says how a large free block is made. The compactor does, once an arena object.
   *
   * @param blockMaker Makes one of that order; says whether it could.
   */
  setBlockMaker(blockMaker: (order: number) => boolean): void {
    this.#blockMaker = blockMaker;
  }

  #assertCanReclaim(): void {
    if (this.#reclaimer === undefined) {
      throw new Error(
        "Cannot free deferred objects: this thread has opened no slab caches",
      );
    }
  }

  #usedPages(words: Words): number[] {
    return PageAllocator.usedPages(
      words,
      this.#sections.frames,
      this.#sections.pages,
    );
  }
}

/**
 * Shared memory of so many bytes, or a few more: a WebAssembly memory if it can be, since that runs WebAssembly, and begins at a
 * page of the system, so that pages can be handed back to it (see `release.ts`). Other buffers begin anywhere.
 */
function newMemory(byteLength: number): SharedMemory {
  const pages = wasmPagesFor(byteLength);
  if (pages <= WASM_MAX_PAGES && typeof WebAssembly !== "undefined") {
    try {
      const limits = { initial: pages, maximum: pages, shared: true };
      return new WebAssembly.Memory(limits);
    } catch {
      // No room for one in the address space, which it takes more of than it holds.
    }
  }
  return new SharedArrayBuffer(byteLength);
}

function bufferOf(shared: SharedMemory): SharedArrayBuffer {
  return isMemory(shared)
    ? shared.buffer as unknown as SharedArrayBuffer
    : shared;
}

function isMemory(shared: SharedMemory): shared is WebAssembly.Memory {
  return typeof WebAssembly !== "undefined" &&
    shared instanceof WebAssembly.Memory;
}

function wasmPagesFor(bytes: number): number {
  return Math.ceil(bytes / WASM_PAGE_BYTES);
}

function savedChecksum(image: Int32Array): number {
  const header = checksum(image.subarray(0, SAVE_CHECKSUM));
  return checksum(image.subarray(SAVE_HEADER_WORDS), header);
}

function checkGeometry(buffer: SharedArrayBuffer): void {
  const fail = (what: string): never => {
    throw new TypeError(`Cannot attach to the buffer: ${what}`);
  };
  if (!(buffer instanceof SharedArrayBuffer)) {
    fail("it is no SharedArrayBuffer");
  }
  if (buffer.byteLength < HEADER_WORDS * 4) {
    fail(
      `expected at least ${HEADER_WORDS * 4} bytes, found ${buffer.byteLength}`,
    );
  }
  const words = new Int32Array(buffer, 0, HEADER_WORDS);
  if (words[H_MAGIC] !== MAGIC) {
    fail(`expected magic ${hex(MAGIC)}, found ${hex(words[H_MAGIC])}`);
  }
  if (words[H_VERSION] !== VERSION) {
    fail(`expected version ${VERSION}, found ${words[H_VERSION]}`);
  }
  const found = checksum(words.subarray(0, H_CHECKSUM));
  if (found !== words[H_CHECKSUM] >>> 0) {
    fail(
      `expected a geometry of checksum ${hex(words[H_CHECKSUM])}, found ${
        hex(found)
      }`,
    );
  }
  const expected = words[H_PAGES_TOTAL] * PAGE_BYTES;
  if (
    buffer.byteLength !== expected &&
    buffer.byteLength !== wasmPagesFor(expected) * WASM_PAGE_BYTES
  ) {
    fail(`expected ${expected} bytes, found ${buffer.byteLength}`);
  }
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16)}`;
}
