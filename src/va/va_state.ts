/**
 * What the parts of a VA manager share: its header (`header.ts`), its trees and caches, and how it looks at its mappings.
 *
 * @module
 */
import type { Arena } from "../memory/mod.ts";
import { heldGenerationOf, noteChange, rootOf } from "../range_tree/header.ts";
import { MAX_INDEX, RangeTree } from "../range_tree/mod.ts";
import { lookup } from "../range_tree/node.ts";
import type { NodeCaches } from "../range_tree/node_caches.ts";
import { TreeLock } from "../range_tree/tree_lock.ts";
import { TreeMemory } from "../range_tree/tree_memory.ts";
import { Walk } from "../range_tree/walk.ts";
import { Writer } from "../range_tree/writer.ts";
import { type SlabCache, Slabs } from "../slab/mod.ts";
import type { Words } from "../sync/atomics.ts";
import {
  spinLockOwner,
  spinLook,
  spinPassOn,
  spinSleep,
  spinUnlock,
} from "../sync/spin_lock.ts";
import { compiledFor, type CompiledManagers } from "./compiled.ts";
import {
  type BadRange,
  VaError,
  VaNotFoundError,
  VaRangeError,
} from "./errors.ts";
import {
  boundsOf,
  boWordsOf,
  flagsOf,
  HEADER_BYTES,
  HEADER_LINK,
  isChanging,
  isLife,
  killManager,
  lifeOf,
  LINKED_BY_HAND,
  outerLockIndex,
  OWN_OUTER_LOCK,
  reservedOf,
  setChanging,
  treesOf,
} from "./header.ts";
import {
  type Doubles,
  initMapping,
  isSameMapping,
  lastOf,
  type Mapping,
  MAPPING_BYTES,
  MAPPING_LINK,
  type MappingSpec,
  offsetAt,
  readCopied,
  readMapping,
  setMappingFlags,
  startOf,
} from "./mapping.ts";
import type { VaSpan } from "./operations.ts";
import { whyNoRange } from "./request.ts";
import { ordinarySupply, type VaSupply } from "./apply.ts";
import { Replaced } from "./replaced.ts";
import { Reserve } from "./reserve.ts";
import { finishChange } from "./unfinished.ts";
import { Unread } from "./unread.ts";
import { BO_BYTES, BO_LINK, BoTable } from "./vm_bo.ts";

/** For how many changes what they will look for is fetched at once. */
export const MAX_FETCHED = 16;
/** More than one mapping may overlap a range, or a mapping and a hole: see {@linkcode VaState.covering}. */
export const SEVERAL = -1;
/** A mapping covers a range and nothing else. Refs are below 2^27. */
export const EXACT = 2 ** 30;
/** What compiled loops say where they have taken the tree's lock, and found neither one mapping nor a hole. */
const NEITHER = -1;
// What the compiled `replaceAndExit` says: the lock is released; so many mappings are noted that they must be settled.
const RELEASED = 1;
const FULL = 2;

/** The caches that the managers of one arena live in. */
export interface VaCaches {
  /** Manager headers. */
  readonly headers: SlabCache;
  /** Mappings. */
  readonly mappings: SlabCache;
  /** VmBos. */
  readonly bos: SlabCache;
  /** Tree headers. */
  readonly trees: SlabCache;
}

/** The caches of an arena's managers. */
export function vaCaches(arena: Arena): VaCaches {
  const slabs = Slabs.of(arena);
  return {
    headers: slabs.cache({
      name: "va_manager",
      objectBytes: HEADER_BYTES,
      link: HEADER_LINK,
    }),
    mappings: slabs.cache({
      name: "va_mapping",
      objectBytes: MAPPING_BYTES,
      link: MAPPING_LINK,
    }),
    bos: slabs.cache({
      name: "va_bo",
      objectBytes: BO_BYTES,
      link: BO_LINK,
    }),
    trees: TreeMemory.of(arena).headers,
  };
}

/**
 * One thread's view of a manager.
 *
 * Thread contract: an object belongs to one thread.
 */
export class VaState {
  /** The arena. */
  readonly arena: Arena;
  /** Every shared word. */
  readonly words: Words;
  /** The same memory as `f64`. */
  readonly doubles: Doubles;
  /** The manager's header. */
  readonly header: number;
  /** Its word of life. */
  readonly life: number;
  /** Its flags. */
  readonly flags: number;
  /** The first address that can be mapped. */
  readonly start: number;
  /** The last address that can be mapped. */
  readonly last: number;
  /** The mapping of the reserved node, 0 = none. */
  readonly reserved: number;
  /** Mappings by address. */
  readonly tree: RangeTree;
  /** Regions by address. */
  readonly regions: RangeTree;
  /** VmBos. */
  readonly bos: BoTable;
  /** The tree of VmBos. */
  readonly boTree: RangeTree;
  /** Mappings that were replaced and not yet taken off their VmBos' lists. */
  readonly replaced: Replaced;
  /** Lists of operations that this object has made, and that have not read their mapping. */
  readonly unread: Unread;
  /** Where headers, mappings and VmBos come from. */
  readonly caches: VaCaches;
  /** Memory as it is needed. */
  readonly supply: VaSupply;
  /** Memory that was set aside. */
  readonly reserve: Reserve;
  /** The lock of the tree of mappings. */
  readonly treeLock: TreeLock;
  /** Where the nodes of the trees come from. */
  readonly nodes: NodeCaches;
  /** What writes trees on this thread. */
  readonly writer: Writer;
  /** A walk over the tree of mappings. */
  readonly walk: Walk;
  readonly #lockClass: number;
  /** Whether {@linkcode VaState.lock} was called and the lock is held still. */
  #isHeld = false;
  readonly #compiled: CompiledManagers | undefined;
  /** Where compiled loops leave the fields of a mapping, as if it were one. */
  readonly #copied: number;
  /** The word of the slot in which {@linkcode VaState.enterExact} found a mapping last, if it is compiled. */
  #heldSlot = 0;

  /**
   * The manager with that header.
   *
   * @throws {Error} If it is no more.
   */
  constructor(arena: Arena, header: number) {
    const words = this.words = arena.words;
    // First: so what is read below is of this life, or this one has ended.
    this.life = lifeOf(words, header);
    // All that is dead looks the same: a handle of it would be taken for good.
    if (!isLife(this.life)) throw destroyedIn("VaManager.attach");
    const { tree, bos, regions } = treesOf(words, header);
    const { start, last } = boundsOf(arena.doubles, header);
    this.arena = arena;
    this.doubles = arena.doubles;
    this.header = header;
    this.flags = flagsOf(words, header);
    this.start = start;
    this.last = last;
    this.reserved = reservedOf(words, header);
    this.tree = RangeTree.attach(arena, tree);
    this.regions = RangeTree.attach(arena, regions);
    this.boTree = RangeTree.attach(arena, bos);
    this.caches = vaCaches(arena);
    this.bos = new BoTable({
      words,
      doubles: arena.doubles,
      assertWriter: (site) => this.assertWriter(site),
      settle: () => this.replaced.settle(),
      setChanging: (on) => this.isChanging = on,
      isMapped: (mapping) => this.isMapped(mapping),
      manager: header,
      tree: this.boTree,
      cache: this.caches.bos,
      ...boWordsOf(header),
    });
    this.treeLock = new TreeLock(arena, this.tree.ref);
    this.nodes = TreeMemory.of(arena).nodes(this.treeLock.index >= 0);
    this.writer = Writer.of(arena);
    this.walk = new Walk(arena);
    this.supply = ordinarySupply(this);
    this.reserve = new Reserve(this);
    const compiled = this.#compiled = compiledFor(arena);
    this.unread = new Unread(words, arena.rcu, header);
    this.replaced = new Replaced({
      words,
      header,
      cache: this.caches.mappings,
      isInTree: (mapping) => this.isInTree(mapping),
      noteRetirement: () => this.unread.noteRetirement(),
      unlink: (refs) =>
        compiled === undefined
          ? refs.forEach((ref) => this.bos.unlink(ref))
          : compiled.unlinkNoted(header),
    });
    this.#copied = arena.scratchIndex / 16;
    this.#lockClass = arena.lockdep.lockClass("va manager", "VaManager.lock()");
  }

  /**
   * A number that changes with every change of the mappings or the regions: the sum of two that only go up. Under the outer lock.
   */
  get generation(): number {
    return heldGenerationOf(this.words, this.tree.ref) +
      heldGenerationOf(this.words, this.regions.ref);
  }

  /** Whether mappings are linked to their VmBos by the manager. */
  get links(): boolean {
    return (this.flags & LINKED_BY_HAND) === 0;
  }

  /** Whether the outer lock is the manager's own. */
  get ownsOuterLock(): boolean {
    return (this.flags & OWN_OUTER_LOCK) !== 0;
  }

  /** Checks that the manager lives, and that its outer lock is held if it is the manager's own. */
  assertOuterLock(site: string): void {
    this.assertLive(site);
    if (!this.ownsOuterLock) return;
    const { lockdep, rcu } = this.arena;
    const lock = outerLockIndex(this.header);
    lockdep.assertHeld(lock, rcu.depth, site, this.#lockClass);
  }

  /**
   * Checks that the manager lives, and that its outer lock is held if it is the manager's own; and puts in order what a thread left that
   * died within it.
   *
   * @throws {OutOfMemoryError} If that takes memory, and there is none; nothing was changed.
   */
  assertWriter(site: string): void {
    this.assertOuterLock(site);
    // What follows is there only where a thread died that held the outer lock.
    if (this.replaced.isInDoubt) {
      this.replaced.settle();
      noteChange(this.words, this.tree.ref, 0);
    }
    if (this.isChanging) finishChange(this);
  }

  /**
   * Whether a change of mappings is under way, so that an entry of the tree may be a part of one, or a list not be what the trees say.
   * Under the outer lock.
   */
  get isChanging(): boolean {
    return isChanging(this.words, this.header);
  }

  /**
   * Sets whether one is: before anything is claimed or the tree is changed, which is counted (`unread.ts`), and when all that follows is
   * done.
   */
  set isChanging(on: boolean) {
    if (on) this.unread.noteRetirement();
    setChanging(this.words, this.header, on);
  }

  /** Checks that the manager lives. */
  assertLive(site: string): void {
    if (!this.isLive) this.#refuseDestroyed(site);
  }

  #refuseDestroyed(site: string): never {
    // Who has destroyed it could not free what this thread has set aside for it.
    this.reserve.close();
    throw destroyedIn(site);
  }

  /** Whether the manager was not destroyed. */
  get isLive(): boolean {
    return lifeOf(this.words, this.header) === this.life;
  }

  /** Whether a copy of a mapping is of one that is there, and says what that says but for its flags. Under the outer lock. */
  isMapped(mapping: Mapping): boolean {
    const { ref, start } = mapping;
    return ref !== 0 && Number.isSafeInteger(start) && start >= 0 &&
      this.tree.load(start) === ref &&
      isSameMapping(this.words, this.doubles, ref, mapping);
  }

  /**
   * Checks a copy of a mapping. Under the outer lock.
   *
   * @throws {VaNotFoundError} If that mapping is not there any more.
   */
  assertMapped(mapping: Mapping, what: string): void {
    if (this.isMapped(mapping)) return;
    throw new VaNotFoundError(
      `Cannot ${what} [${mapping.start}, +${mapping.range}): another mapping is there, or none`,
    );
  }

  /**
   * Takes the outer lock that the manager offers.
   *
   * The lock goes with the manager, and nobody can keep that from going before the lock is taken. So each look at it is made inside a
   * read section, behind one at the word of life: a header that was alive then is not freed until the section ends. Between two
   * looks the thread sleeps outside of it, since it would hold up every grace period; on a word that may be another's when it wakes.
   *
   * @throws {VaError} If the manager was destroyed, also while this waited for the lock; then it is not held.
   */
  lock(site: string): void {
    this.assertLive(site);
    const { lockdep } = this.arena, index = outerLockIndex(this.header);
    lockdep.acquire(this.#lockClass, index, site);
    let held = 0;
    try {
      while ((held = this.#look(site, index, held)) !== 0) {
        spinSleep(this.words, index, held);
      }
      this.#isHeld = true;
    } catch (error) {
      lockdep.release(index);
      if (held !== 0) spinPassOn(this.words, index);
      throw error;
    }
  }

  /** Takes the lock and returns 0, or returns what to sleep on. */
  #look(site: string, index: number, slept: number): number {
    const { rcu, thread } = this.arena;
    rcu.readLock();
    try {
      this.assertLive(site);
      const held = spinLook(this.words, index, thread, slept);
      // Whoever held it may have destroyed the manager before it was released.
      if (held === 0 && !this.isLive) {
        spinUnlock(this.words, index, thread);
        this.#refuseDestroyed(site);
      }
      return held;
    } finally {
      rcu.readUnlock();
    }
  }

  /** Releases it, unless that was done with the manager's end. Whoever destroys it holds it, or the driver's lock under which it was taken. */
  unlock(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const { thread, lockdep } = this.arena;
    const index = outerLockIndex(this.header);
    // Where a manager was that was destroyed under this lock, another one's may be by now.
    if (this.isLive) spinUnlock(this.words, index, thread);
    lockdep.release(index);
  }

  /**
   * Ends the manager's life, under the outer lock, whichever that is. If it is the one that the manager offers, that is released
   * then, and whoever waits for it finds out.
   */
  kill(): void {
    const { thread, lockdep } = this.arena;
    const index = outerLockIndex(this.header);
    killManager(this.words, this.header);
    if (spinLockOwner(this.words, index) !== thread) return;
    this.#isHeld = false;
    spinUnlock(this.words, index, thread);
    lockdep.release(index);
  }

  /** A copy of the mapping that covers an address. From any thread, without a lock. */
  lookup(address: number, site: string): Mapping | undefined {
    const compiled = this.#compiled;
    if (compiled === undefined) return this.#lookup(address, site);
    const ref = compiled
      .locate(this.header, this.life, this.tree.ref, address);
    if (ref > 0) return this.#copiedMapping(ref);
    if (ref < 0) this.#refuseDestroyed(site);
    return undefined;
  }

  #lookup(address: number, site: string): Mapping | undefined {
    const { rcu } = this.arena;
    rcu.readLock();
    try {
      this.assertLive(site);
      const ref = this.refAt(address);
      return ref === 0 ? undefined : readMapping(this.words, this.doubles, ref);
    } finally {
      rcu.readUnlock();
    }
  }

  /** Where in its object an address leads, −1 if nothing is mapped there. From any thread, without a lock. */
  translate(address: number, site: string): number {
    const compiled = this.#compiled;
    if (compiled === undefined) return this.#translate(address, site);
    const place = compiled
      .translate(this.header, this.life, this.tree.ref, address);
    if (place < -1) this.#refuseDestroyed(site);
    return place;
  }

  #translate(address: number, site: string): number {
    const { rcu } = this.arena;
    rcu.readLock();
    try {
      this.assertLive(site);
      const ref = this.refAt(address);
      return ref === 0 ? -1 : offsetAt(this.doubles, ref, address);
    } finally {
      rcu.readUnlock();
    }
  }

  /** The mapping whose fields a compiled loop has copied. */
  #copiedMapping(ref: number): Mapping {
    return readCopied(this.words, this.doubles, ref, this.#copied);
  }

  /**
   * The mapping that covers all of `first` … `last`, 0 if that is a hole, or {@linkcode SEVERAL}; {@linkcode EXACT} is added to one that
   * covers nothing else. Under the outer lock.
   */
  covering(first: number, last: number): number {
    const compiled = this.#compiled;
    return compiled === undefined
      ? this.#covering(first, last)
      : compiled.covering(this.tree.ref, first, last);
  }

  #covering(first: number, last: number): number {
    const { rcu } = this.arena;
    const walk = this.walk;
    rcu.readLock();
    try {
      walk.to(this.tree.ref, first);
      if (walk.last < last) return SEVERAL;
      const isExact = walk.first === first && walk.last === last;
      return walk.value !== 0 && isExact ? walk.value | EXACT : walk.value;
    } finally {
      rcu.readUnlock();
    }
  }

  /** A number that changes before any mapping is let go, or flags are set; also where neither comes of it. */
  get retirements(): number {
    return this.unread.retirements;
  }

  /**
   * A copy of a mapping that was in the tree when {@linkcode VaState.retirements} was that number; nothing if it is another one now. From
   * any thread, without a lock: why that is enough, `unread.ts` says.
   */
  read(mapping: number, retirements: number): Mapping | undefined {
    const { rcu } = this.arena;
    rcu.readLock();
    try {
      if (!this.isLive || this.retirements !== retirements) return undefined;
      const copy = readMapping(this.words, this.doubles, mapping);
      // The section keeps the memory, but not the flags, which are set after that was counted.
      return this.retirements === retirements ? copy : undefined;
    } finally {
      rcu.readUnlock();
    }
  }

  /** Copies of all mappings that overlap `first` … `last`, in ascending order. Under the outer lock. */
  overlapping(first: number, last: number): Mapping[] {
    // Nearly always it is one mapping that covers all of it, or a hole.
    const one = this.#compiled === undefined
      ? SEVERAL
      : this.covering(first, last);
    if (one === 0) return [];
    if (one !== SEVERAL) {
      return [readMapping(this.words, this.doubles, one & ~EXACT)];
    }
    const { rcu } = this.arena;
    const walk = this.walk, header = this.tree.ref;
    const mappings: Mapping[] = [];
    rcu.readLock();
    try {
      if (!walk.find(header, first, last)) return mappings;
      do {
        mappings.push(readMapping(this.words, this.doubles, walk.value));
      } while (walk.next(header, last));
      return mappings;
    } finally {
      rcu.readUnlock();
    }
  }

  /** The mapping that covers an address, 0 = none. Inside a read section. */
  refAt(address: number): number {
    const root = rootOf(this.words, this.tree.ref);
    if (root === 0 || !(address >= 0 && address <= MAX_INDEX)) return 0;
    return lookup(this.words, this.doubles, root, address);
  }

  /** Whether an entry leads to a mapping: what remains of one that is being cut is at its ends. Under the outer lock. */
  isInTree(mapping: number): boolean {
    const { doubles, tree } = this;
    return tree.load(startOf(doubles, mapping)) === mapping ||
      tree.load(lastOf(doubles, mapping)) === mapping;
  }

  /** Whether an address is mapped, or the reserved node's. Under the outer lock. */
  hasMapping(address: number): boolean {
    return address >= 0 && address <= MAX_INDEX &&
      this.tree.load(address) !== 0;
  }

  /**
   * Fetches what changes at the starts of some spans will look for into the processor's cache, for up to {@linkcode MAX_FETCHED} from
   * the one at `from` on; where nothing is compiled, nothing. Under the outer lock.
   */
  fetch(spans: readonly VaSpan[], from: number): void {
    const compiled = this.#compiled, { doubles } = this;
    if (compiled === undefined) return;
    const first = this.arena.scratchIndex >>> 1;
    const count = Math.min(MAX_FETCHED, spans.length - from);
    for (let i = 0; i < count; i++) {
      doubles[first + i] = spans[from + i].start;
    }
    compiled.fetch(this.tree.ref, count);
  }

  /**
   * Takes the lock of the tree of mappings; then the mapping of exactly that range, 0 if all of it lies in a hole, −1 if it is
   * neither. Under the outer lock.
   *
   * @throws {Error} As {@linkcode TreeLock.enterWriter}; then the lock is not held.
   */
  enterExact(site: string, first: number, last: number): number {
    const compiled = this.#compiled, { treeLock } = this;
    if (compiled === undefined) {
      treeLock.enterWriter(site);
      return this.#heldExact(first, last);
    }
    if (treeLock.isInternal) {
      treeLock.noteEnter(site);
      const found = compiled.enterExact(
        this.tree.ref,
        treeLock.identity,
        first,
        last,
      );
      this.#heldSlot = this.words[this.arena.scratchIndex];
      if (found >= NEITHER) return found;
      // Another thread holds the lock, or there is something to be reported: this waits for it, or throws.
      treeLock.endCompiled(site, found);
    } else treeLock.enterWriter(site);
    const held = compiled.heldExact(this.tree.ref, first, last);
    this.#heldSlot = this.words[this.arena.scratchIndex];
    return held;
  }

  #heldExact(first: number, last: number): number {
    const walk = this.walk;
    walk.to(this.tree.ref, first);
    const mapping = walk.value;
    if (mapping === 0) return walk.last >= last ? 0 : -1;
    return walk.first === first && walk.last === last ? mapping : -1;
  }

  /**
   * Puts a new mapping in the place of the one that {@linkcode VaState.enterExact} has found, releases the tree's lock, links the
   * new one to a VmBo, unless that is 0, and sees to it that the old one is unlinked and deferred, now or later. Needs no memory.
   */
  replaceAndExit(old: number, fresh: number, bo: number): void {
    const compiled = this.#compiled, { tree, treeLock } = this;
    if (compiled !== undefined) {
      const done = compiled.replaceAndExit(
        this.header,
        this.#heldSlot,
        old,
        fresh,
        bo,
        tree.ref,
        treeLock.identity,
      );
      if ((done & RELEASED) === 0) treeLock.exitWriter();
      else if (treeLock.isInternal) treeLock.noteExit();
      if ((done & FULL) !== 0) this.replaced.settle();
      return;
    }
    this.isChanging = true;
    // If this thread dies from here on, it is its own: see `recover.ts`.
    this.caches.mappings.claim(old);
    const first = startOf(this.doubles, old), last = lastOf(this.doubles, old);
    this.writer.storeRange(tree.ref, this.nodes, first, last, fresh);
    treeLock.exitWriter();
    if (bo !== 0) this.bos.link(bo, fresh);
    this.retire(old);
    this.isChanging = false;
  }

  /**
   * The first mapping that overlaps `first` … `last`. From any thread, without a lock.
   *
   * @throws {VaError} If the manager was destroyed.
   */
  first(first: number, last: number): Mapping | undefined {
    const { rcu } = this.arena;
    const walk = this.walk;
    rcu.readLock();
    try {
      this.assertLive("a search");
      return walk.find(this.tree.ref, first, last)
        ? readMapping(this.words, this.doubles, walk.value)
        : undefined;
    } finally {
      rcu.readUnlock();
    }
  }

  /**
   * Allocates a mapping and fills it.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  createMapping(spec: MappingSpec): number {
    const { mappings } = this.caches;
    let ref = mappings.tryAllocate();
    if (ref === 0) {
      // What was replaced is to be freed like all the rest, by whoever makes room.
      this.replaced.settle();
      ref = mappings.allocate();
    }
    initMapping(this.words, this.doubles, ref, spec);
    return ref;
  }

  /** Sets the flags of a mapping that is in the tree. */
  setFlags(mapping: number, flags: number): void {
    this.unread.noteRetirement();
    setMappingFlags(this.words, mapping, flags);
  }

  /** Takes a mapping that is in the tree no more off its VmBo's list and defers its freeing. */
  retire(mapping: number): void {
    this.bos.unlink(mapping);
    this.caches.mappings.defer(mapping);
  }

  /** Why a range can't be mapped; undefined if it can. */
  whyNot(start: number, range: number): BadRange | undefined {
    const reason = whyNoRange(start, range);
    if (reason !== undefined) return reason;
    const end = start + range;
    if (start < this.start || end - 1 > this.last) return "outside";
    return this.overlapsReserved(start, end) ? "reserved" : undefined;
  }

  /** Whether a range overlaps the reserved node. */
  overlapsReserved(start: number, end: number): boolean {
    if (this.reserved === 0) return false;
    return start <= lastOf(this.doubles, this.reserved) &&
      end > startOf(this.doubles, this.reserved);
  }

  /**
   * Checks a range.
   *
   * @throws {VaRangeError} If it can't be mapped.
   */
  assertRange(span: VaSpan, what: string): void {
    const reason = this.whyNot(span.start, span.range);
    if (reason !== undefined) this.refuse(reason, span, what);
  }

  /** Refuses a range. */
  refuse(reason: BadRange, { start, range }: VaSpan, what: string): never {
    const WHY: Record<BadRange, string> = {
      empty: "it is empty, or no range of integers from 0 on",
      overflow: `it ends behind ${MAX_INDEX}`,
      outside: `it is not inside of [${this.start}, ${this.last}]`,
      reserved: "it overlaps the reserved node",
      region: "it is not inside of one region",
    };
    throw new VaRangeError(
      reason,
      `Cannot ${what} [${start}, +${range}): ${WHY[reason]}`,
    );
  }
}

function destroyedIn(site: string): VaError {
  return new VaError(
    "ENOENT",
    `Cannot use the VA manager in ${site}: it was destroyed`,
  );
}
