/**
 * Getting memory back when there is none, by ways that may wait and so need that nothing is locked.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import { Slabs } from "./slabs.ts";

/**
 * Tries the next way to get memory back: first everything that is deferred is freed, after a grace period, and empty slabs
 * go back; then the arena is compacted, if it has a compactor; then the first way again, as long as it frees anything: others may
 * have taken what was freed before. Says whether there is something to hope for.
 *
 * @param attempt How many ways were tried before.
 * @throws {LockdepError} Inside a read section, or while a lock is held.
 */
export function makeRoom(arena: Arena, attempt: number): boolean {
  const slabs = Slabs.of(arena);
  if (attempt === 1 && slabs.compact !== undefined) {
    slabs.compact();
    return true;
  }
  let freed = arena.rcu.barrier();
  for (const cache of slabs.all()) freed += cache.shrink();
  freed += arena.rcu.barrier();
  return attempt === 0 || freed > 0;
}
