/**
 * The loops over a manager's mappings that are compiled to WebAssembly (`assembly/`), as one thread uses them. As
 * `../range_tree/compiled.ts`: each does what a function in TypeScript does as well, to the same words.
 *
 * @module
 */
import type { Arena } from "../memory/mod.ts";
import { perArena } from "../memory/per_arena.ts";
import { refuseCalls, WasmModule } from "../sync/wasm.ts";
import { WASM } from "./compiled_wasm.ts";

/** What `assembly/mod.ts` exports. */
export interface CompiledManagers {
  /** Binds an instance to its thread, by the index of words. */
  bind(
    epochIndex: number,
    readerIndex: number,
    scratchIndex: number,
    thread: number,
  ): void;
  /** Where an address leads, in a read section of its own; -1 = nowhere, -2 = the manager's life is not that one. */
  translate(
    header: number,
    life: number,
    tree: number,
    address: number,
  ): number;
  /** The mapping that covers an address, in a read section of its own, its fields in the scratch words; 0 = none, -1 = the manager's life is not that one. */
  locate(header: number, life: number, tree: number, address: number): number;
  /** `translate` for up to 16 addresses, the first doubles of the scratch words, in whose place it puts where they lead; 0 if the life is not that one. */
  translateMany(
    header: number,
    life: number,
    tree: number,
    count: number,
  ): number;
  /** `locate` for as many addresses: behind 16 doubles stand the refs, a word each, and behind 16 of these copies of the mappings; 0 if the life is not that one. */
  locateMany(header: number, life: number, tree: number, count: number): number;
  /** `VaState.covering`. */
  covering(tree: number, first: number, last: number): number;
  /** `VaState.enterExact` without waiting; below -1 it has not, and `TreeLock.endCompiled` knows what is left to be done. */
  enterExact(
    tree: number,
    identity: number,
    first: number,
    last: number,
  ): number;
  /** The same under the tree's lock. Of a mapping the first of the scratch words then names the word of the slot. */
  heldExact(tree: number, first: number, last: number): number;
  /** `VaState.fetch`; the addresses are the first doubles of the scratch words. */
  fetch(tree: number, count: number): void;
  /** `VaState.replaceAndExit`; in what it returns bit 0 says that the lock is released, bit 1 that what is noted must be settled. */
  replaceAndExit(
    header: number,
    slot: number,
    old: number,
    fresh: number,
    bo: number,
    tree: number,
    identity: number,
  ): number;
  /** Takes all mappings that are noted as replaced off their VmBos' lists. Under the outer lock. */
  unlinkNoted(header: number): void;
}

const compiledManagers = new WasmModule<CompiledManagers>(WASM);

/** The compiled loops of an arena's thread; nothing where they can't run. */
export const compiledFor: (arena: Arena) => CompiledManagers | undefined =
  perArena((arena) => {
    const { memory, rcu, scratchIndex, thread } = arena;
    const loops = memory && compiledManagers.over(memory);
    if (loops === undefined) return undefined;
    loops.bind(rcu.epochIndex, rcu.readerIndex, scratchIndex, thread);
    arena.onLeave(() => refuseCalls(loops));
    return loops;
  });
