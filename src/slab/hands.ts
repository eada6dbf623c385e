/**
 * Whose hands: the link word of an object that is in no chain says which thread had it in its hands last: whoever allocated
 * it, has it in hand to free it, or was about to take it out of a structure (`SlabCache.claim`, which stands before the store
 * that takes it out). Refs are below 2^27, so what a word with the sign bit holds is such a note. A page that its cache has
 * given up bears such a note in its link word while a thread has it in hand to free it.
 *
 * When a thread has died, its owner finds the objects with its note (`SlabCache.claimedBy`), and frees those that no structure
 * holds. The notes are plain words. That of an object which another thread gets or takes out meanwhile may change as it is
 * read; but then it either changes under the cache's lock, or the owner, who looks at the note again after it has found the
 * object to be out of the structure by an atomic load, sees it changed, because the store that took it out followed the note.
 *
 * @module
 */

/** In a link word: the object is in a thread's hands, or was so last. The thread's id stands in the low bits. */
const IN_HANDS = 0x8000_0000 | 0;
/** And so is all that hangs below it. */
const WITH_ALL_BELOW = 0x4000_0000;

/** What a link word says of an object that a thread has in its hands. */
export function handsOf(thread: number): number {
  return IN_HANDS | thread;
}

/** What it says if all that hangs below the object is in these hands too. */
export function handsOfAllBelow(thread: number): number {
  return IN_HANDS | WITH_ALL_BELOW | thread;
}

/** What a link word says, read: whose hands, from 1; 0 where the object is in a chain. */
export function readHands(
  word: number,
): { thread: number; withAllBelow: boolean } {
  return {
    thread: word < 0 ? word & ~(IN_HANDS | WITH_ALL_BELOW) : 0,
    withAllBelow: word < 0 && (word & WITH_ALL_BELOW) !== 0,
  };
}
