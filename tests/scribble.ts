/**
 * Filling a thread's scratch words with what would lead out of the arena: no compiled loop may read there what it has not written.
 *
 * @module
 */
import type { Arena } from "../src/memory/mod.ts";
import { compiledFor as treesFor } from "../src/range_tree/compiled.ts";
import { compiledFor as managersFor } from "../src/va/compiled.ts";

/** The scratch words behind which stands what outlives a call: see `assembly/supply.ts`. */
const FREE_SCRATCH = 624;

/** The loops that find what they are to do in the scratch words; and what binds an instance to its thread. */
const TOLD_IN_SCRATCH = [
  "bind",
  "bindMover",
  "bindSupply",
  "enterStoreMany",
  "fetch",
  "fetchNodes",
  "locateMany",
  "lookUpMany",
  "moveRun",
  "translateMany",
];

/** Fills the scratch words. */
export function scribble({ words, scratchIndex }: Arena): void {
  words.fill(0x7f7f_7f7f, scratchIndex, scratchIndex + FREE_SCRATCH);
}

/** Has the scratch words of an arena's thread filled before every call of a compiled loop; gives the arena. */
export function scribbled(arena: Arena): Arena {
  for (const loops of [treesFor(arena), managersFor(arena)]) {
    const calls = loops as unknown as Record<string, CallableFunction>;
    for (const [name, call] of Object.entries(calls ?? {})) {
      if (TOLD_IN_SCRATCH.includes(name)) continue;
      calls[name] = (...args: unknown[]) => {
        scribble(arena);
        return call(...args);
      };
    }
  }
  return arena;
}
