/**
 * Synchronisation in shared memory: the seam of atomics, a lock of one word, read-copy-update, and the checker of them.
 *
 * @module
 */
export { SpinLock } from "./spin_lock.ts";
export { Lockdep, LockdepError } from "./lockdep.ts";
export {
  Rcu,
  type RcuDeferral,
  type RcuOptions,
  type RcuStall,
  RcuStallError,
} from "./rcu.ts";
export type { InlineAtomics, Words } from "./atomics.ts";
