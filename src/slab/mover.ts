/**
 * The contract by which the owner of a cache's objects makes them movable.
 *
 * @module
 */

/** What became of an object that was to be moved. */
export type MoveOutcome =
  /** It lives elsewhere now; its old place is free after a grace period. */
  | "moved"
  /** Its owner has nothing to lock, so it can't be moved. */
  | "pinned"
  /** Somebody is working on it: try later. */
  | "busy"
  /** It is no longer in use. */
  | "gone";

/** What the owner of a cache's objects provides to make them movable. */
export interface Mover {
  /** Gets ready to move these objects, of which some may be gone meanwhile. Called inside a read section. */
  prepare(refs: readonly number[]): void;
  /** Moves one object out of its slab. Called with no lock held. */
  relocate(ref: number): MoveOutcome;
  /**
   * Moves objects from `from` on, as long as nothing is in the way, and returns how many: maybe none, then `relocate` says why.
   * Called inside a read section, with no lock held.
   */
  relocateRun(refs: readonly number[], from: number): number;
  /** Whether nothing can be locked to move the object. Stale as soon as it is read. */
  isPinned(ref: number): boolean;
  /** Gives back what was prepared and not used. */
  finish(): void;
}
