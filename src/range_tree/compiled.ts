/**
 * The loops over trees that are compiled to WebAssembly (`assembly/`), as one thread uses them.
 *
 * Each does what a function in TypeScript does as well, to the same words and under the same protection: that one says what, and
 * serves where there is no WebAssembly memory. Longer answers are left in words of the thread's own (`Arena.scratchIndex`).
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { perArena } from "../memory/per_arena.ts";
import { handsOf } from "../slab/hands.ts";
import { refuseCalls, WasmModule } from "../sync/wasm.ts";
import { WASM } from "./compiled_wasm.ts";

/** What `assembly/mod.ts` exports. */
export interface CompiledTrees extends CompiledStores {
  /** Binds an instance to its thread, by the index of words. */
  bind(
    epochIndex: number,
    readerIndex: number,
    scratchIndex: number,
    thread: number,
  ): void;
  /**
   * The entry at an index, signed, 0 where it is reserved, in a read section of its own; -1 if the tree's flags are not these, or say
   * that readers need the lock.
   */
  lookUp(header: number, index: number, flags: number): number;
  /**
   * The entry at an index, 0 where it is reserved, of a tree of those flags, whose readers need the lock: as `enterStoreRange`
   * takes and releases it. What the answer means, `TreeLock.endCompiledRead` knows.
   */
  enterLookUp(header: number, index: number, flags: number): number;
  /** The entry at an index, inside a read section or under the lock. It is signed. */
  lookUpInside(header: number, index: number): number;
  /**
   * Finds the entries at up to 16 indices, which are the first doubles of the scratch words, in a read section of its own, and leaves
   * them behind these; 0 if the tree's flags are not these, or say that readers need the lock.
   */
  lookUpMany(header: number, count: number, flags: number): number;
  /** `Walk.to`, which says what it leaves. */
  seek(header: number, index: number): void;
  /** `Walk.entryFrom`, and -1 if there is no such read section. */
  find(
    header: number,
    index: number,
    max: number,
    passes: boolean,
    flags: number,
  ): number;
  /** `Walk.entryBefore`, and -1 if there is no such read section. */
  findBefore(
    header: number,
    index: number,
    min: number,
    flags: number,
  ): number;
  /** `Walk.stepOn`: the slot that was gone to, -2 if in another leaf, -1 if there is none. */
  stepOn(
    header: number,
    generation: number,
    leaf: number,
    slot: number,
    first: number,
    last: number,
    leafMax: number,
    max: number,
    skipsEmpty: boolean,
  ): number;
  /** `Walk.stepBack`: the slot that was gone to, -2 if in another leaf, -1 if there is none. */
  stepBack(
    header: number,
    generation: number,
    leaf: number,
    slot: number,
    last: number,
    first: number,
    leafMin: number,
    min: number,
    skipsEmpty: boolean,
  ): number;
  /** `Walk.copyForward`: up to which index it got, -1 if there is no such read section. */
  copyForward(
    header: number,
    from: number,
    to: number,
    leaves: number,
    flags: number,
  ): number;
  /** `Walk.copyBackward`, in the way of `copyForward`. */
  copyBackward(
    header: number,
    from: number,
    to: number,
    leaves: number,
    flags: number,
  ): number;
  /** `Walk.count`. */
  countEntries(header: number, from: number, to: number): number;
  /** `GapSearch.lowest`. */
  lowestRoom(header: number, size: number, min: number, max: number): number;
  /** `GapSearch.highest`. */
  highestRoom(header: number, size: number, min: number, max: number): number;
  /** Tells the mover's loops which refs lie in pages, who takes locks, and what a claim of its says. */
  bindMover(first: number, end: number, thread: number, hands: number): void;
  /** Fetches nodes that are to be moved, as `touchNodes` of `node.ts`. */
  fetchNodes(count: number): number;
  /** Moves nodes as long as nothing is in the way: `NodeMover.relocateRun`, where it stands what the answer means. */
  moveRun(count: number, header: number, lock: number): number;
  /** Puts a copy in a node's place, if it is linked in that tree; says whether it did (1) or not (0). Under the tree's lock. */
  replace(node: number, copy: number, header: number): number;
}

/** What `assembly/writer.ts` exports. Under the tree's lock or taking it, by a thread that may allocate. */
export interface CompiledStores {
  /** Binds an instance to what its thread notes, keeps at hand and defers by. */
  bindSupply(
    hands: number,
    sizeOffset: number,
    nextHeadIndex: number,
    nextSeenIndex: number,
    waitSeenIndex: number,
    nextCountIndex: number,
    handingIndex: number,
    handingLastIndex: number,
  ): void;
  /**
   * Stores `value` over `first` … `last`; returns what was at `first`. Or, if it has changed nothing: -1 where it can't be done
   * so, -2 where it takes more leaves than the thread has at hand, -3 where it takes more inner nodes.
   *
   * @param leaves The head of the leaves that the thread has at hand.
   * @param inner The head of the nodes above leaves that it has at hand.
   */
  storeRange(
    header: number,
    first: number,
    last: number,
    value: number,
    leaves: number,
    inner: number,
  ): number;
  /** As `storeRange` if all of the range is free; 1 if it was, 0 if not, below 0 as above. */
  insertRange(
    header: number,
    first: number,
    last: number,
    value: number,
    leaves: number,
    inner: number,
  ): number;
  /** Empties the range that contains an index; returns what it held, or below 0 as above. */
  erase(header: number, index: number, leaves: number, inner: number): number;
  /**
   * As `storeRange`, but takes the lock first and releases it, if it is the tree's own, unless the answer is below 0; what the
   * answer means then, `TreeLock.endCompiled` knows.
   *
   * @param identity Which tree it must be.
   */
  enterStoreRange(
    header: number,
    identity: number,
    first: number,
    last: number,
    value: number,
    leaves: number,
    inner: number,
  ): number;
  /**
   * `enterStoreRange` of so many ranges that the caller left in the scratch words (`store_many.ts` says where), under one
   * hold of the lock. Below 0 some of them may have been stored: how many, is left there.
   */
  enterStoreMany(
    header: number,
    identity: number,
    count: number,
    leaves: number,
    inner: number,
  ): number;
  /** As `insertRange`, in the way of `enterStoreRange`. */
  enterInsertRange(
    header: number,
    identity: number,
    first: number,
    last: number,
    value: number,
    leaves: number,
    inner: number,
  ): number;
  /** As `erase`, in the way of `enterStoreRange`. */
  enterErase(
    header: number,
    identity: number,
    index: number,
    leaves: number,
    inner: number,
  ): number;
}

/** How many indices are dealt with at once by what deals with many: they are the first doubles of the scratch words. */
export const AT_ONCE = 16;
/** Where what is found at them stands, in words: behind them. */
export const FOUND: number = 2 * AT_ONCE;

const compiledTrees = new WasmModule<CompiledTrees>(WASM);

/** The compiled loops of an arena's thread; nothing where they can't run. */
export const compiledFor: (arena: Arena) => CompiledTrees | undefined =
  perArena((arena) => {
    const { memory } = arena;
    const loops = memory && compiledTrees.over(memory);
    if (loops === undefined) return undefined;
    bindTo(loops, arena);
    arena.onLeave(() => refuseCalls(loops));
    return loops;
  });

/** Binds an instance to an arena's thread. */
export function bindTo(
  compiled: CompiledTrees,
  { rcu, scratchIndex, stocks, thread }: Arena,
): void {
  compiled.bind(rcu.epochIndex, rcu.readerIndex, scratchIndex, thread);
  const { head, seen, waitSeen, count, handing, handingLast } = rcu.deferral;
  compiled.bindSupply(
    handsOf(thread),
    stocks.size,
    head,
    seen,
    waitSeen,
    count,
    handing,
    handingLast,
  );
}
