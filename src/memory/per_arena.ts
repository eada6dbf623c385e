/**
 * What a layer has once for each arena object, that is, for each thread that is in it.
 *
 * @module
 */
import type { Arena } from "./arena.ts";

/** Makes it for an arena when it is first asked for, and gives the same each time. */
export function perArena<Thing>(
  make: (arena: Arena) => Thing,
): (arena: Arena) => Thing {
  const made = new WeakMap<Arena, Thing>();
  return (arena) => {
    let thing = made.get(arena);
    if (thing === undefined) made.set(arena, thing = make(arena));
    return thing;
  };
}
