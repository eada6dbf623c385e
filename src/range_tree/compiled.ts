/**
 * The loops over trees that are compiled to WebAssembly (`assembly/`), as one thread uses them.
 *
 * Each does what a function in TypeScript does as well, to the same words and under the same protection: that one says what, and
 * serves where there is no WebAssembly memory. Longer answers are left in words of the thread's own (`Arena.scratchIndex`).
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { WasmModule } from "../sync/wasm.ts";
import { WASM } from "./compiled_wasm.ts";

/** What `assembly/mod.ts` exports. */
export interface CompiledTrees {
  /** Binds an instance to its thread, by the index of words. */
  bind(epochIndex: number, readerIndex: number, scratchIndex: number): void;
  /**
   * The entry at an index, signed, 0 where it is reserved, in a read section of its own; -1 if the tree's flags are not these, or say
   * that readers need the lock.
   */
  lookUp(header: number, index: number, flags: number): number;
  /** The entry at an index, inside a read section or under the lock. It is signed. */
  lookUpInside(header: number, index: number): number;
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
    first: number,
    leafMin: number,
    min: number,
    skipsEmpty: boolean,
  ): number;
  /** `Walk.copyForward`: `Walk.reached`, and -1 if there is no such read section. */
  copyForward(
    header: number,
    from: number,
    to: number,
    leaves: number,
    flags: number,
  ): number;
  /** `Walk.copyBackward`: `Walk.reached`, and -1 if there is no such read section. */
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

const compiledTrees = new WasmModule<CompiledTrees>(WASM);
const compiledOf = new WeakMap<Arena, CompiledTrees>();

/** The compiled loops of an arena's thread; nothing where they can't run. */
export function compiledFor(arena: Arena): CompiledTrees | undefined {
  const { memory, rcu, scratchIndex } = arena;
  if (memory === undefined) return undefined;
  let compiled = compiledOf.get(arena);
  if (compiled === undefined) {
    compiled = compiledTrees.over(memory);
    if (compiled === undefined) return undefined;
    compiled.bind(rcu.epochIndex, rcu.readerIndex, scratchIndex);
    compiledOf.set(arena, compiled);
  }
  return compiled;
}
