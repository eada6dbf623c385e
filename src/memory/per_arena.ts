/**
 * What a layer has once for each arena object, that is, for each thread that is in it.
 *
 * @module
 */
import { shown } from "../sync/shown.ts";
import { Arena } from "./arena.ts";

/**
 * Makes it for an arena when it is first asked for, and gives the same each time.
 *
 * @throws {TypeError} If it is asked for what is no arena: that of {@linkcode Arena.shared}, say.
 */
export function perArena<Thing>(
  make: (arena: Arena) => Thing,
): (arena: Arena) => Thing {
  const made = new WeakMap<Arena, Thing>();
  return (arena) => {
    let thing = made.get(arena);
    if (thing === undefined) {
      assertArena(arena);
      made.set(arena, thing = make(arena));
    }
    return thing;
  };
}

function assertArena(arena: unknown): void {
  if (arena instanceof Arena) return;
  throw new TypeError(
    `Cannot use ${
      shown(arena)
    } as an arena: Arena.create or Arena.attach gives one`,
  );
}
