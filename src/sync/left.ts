/**
 * Refuses what a thread does that has left its arena: the id by which it would do it may be another thread's now.
 *
 * @throws {Error} Always.
 */
export function refuseAsLeft(): never {
  throw new Error("Cannot use the arena: this thread has left it");
}
