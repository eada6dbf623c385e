/**
 * What a thread has of its own in the arena: its reader word, which says whether it is inside a read section, and words in which
 * longer answers are left for the caller; and its number, by which it takes locks. One instance of this module belongs to one thread.
 */

let epoch: usize = 0;
let reader: usize = 0;
/** Where answers are left. */
export let scratch: usize = 0;
/** What the thread stores in the word of a lock that it takes. */
export let owner: i32 = 0;

/** Binds the instance to its thread, by the index of words. */
export function bind(
  epochIndex: i32,
  readerIndex: i32,
  scratchIndex: i32,
  thread: i32,
): void {
  epoch = <usize>epochIndex << 2;
  reader = <usize>readerIndex << 2;
  scratch = <usize>scratchIndex << 2;
  owner = thread;
}

/** Enters a read section if the thread is in none; says whether it did. As `Rcu.readLock`. */
export function enter(): bool {
  // Plain: nobody else writes this word.
  if (load<i32>(reader) != 0) return false;
  // Pairs with the scan of whoever waits for a grace period.
  atomic.store<i32>(reader, atomic.load<i32>(epoch) | 1);
  return true;
}

/** Leaves the read section that `enter` entered, if it did. */
export function leave(entered: bool): void {
  if (entered) atomic.store<i32>(reader, 0);
}
