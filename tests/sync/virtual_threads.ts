import { Lockdep, Rcu, type Words } from "../../src/sync/mod.ts";
import { LOCKDEP_WORDS } from "../../src/sync/lockdep.ts";
import { THREAD_SLOT_WORDS } from "../../src/sync/rcu.ts";

const EPOCH = 0;
const SLOTS = 16;
const LINKS = 256;

/** What a test wants different. */
export interface VirtualThreadsOptions {
  /** Whether lockdep checks. */
  lockdep?: boolean;
  /** The epoch to begin with. */
  epoch?: number;
  /** What happens when a ref is freed, beyond being noted. */
  onFree?: (ref: number, thread: number) => void;
  /** What a thread that leaves gives back; says whether there was anything. */
  giveBack?: (thread: number) => boolean;
}

/**
 * Some threads that share words, all driven by the test's own thread: shared memory can't tell. A ref is any number from 1
 * to 1023; what is freed is noted.
 */
export class VirtualThreads {
  /** What they share. */
  readonly words: Words = new Int32Array(
    new SharedArrayBuffer(8192 + 4 * LOCKDEP_WORDS),
  );
  /** The refs that were freed, in order. */
  readonly freed: number[] = [];
  /** Each thread's lockdep; thread 1 comes first. */
  readonly lockdeps: Lockdep[] = [];
  /** Each thread's RCU; thread 1 comes first. */
  readonly rcus: Rcu[] = [];
  readonly #maxThreads: number;
  readonly #options: VirtualThreadsOptions;

  /** Joins `count` threads, at most 7. */
  constructor(count: number, options: VirtualThreadsOptions = {}) {
    const { epoch = 0 } = options;
    this.words[EPOCH] = epoch;
    this.#maxThreads = count;
    this.#options = options;
    for (let i = 0; i < count; i++) this.join();
  }

  /** Has one more thread join, in the first slot that is free; returns its id. */
  join(): number {
    const { lockdep: enabled = true, onFree, giveBack } = this.#options;
    const thread = Rcu.join(this.words, SLOTS, this.#maxThreads);
    const lockdep = new Lockdep(this.words, 2048, thread, enabled);
    this.lockdeps[thread - 1] = lockdep;
    this.rcus[thread - 1] = new Rcu(this.words, {
      epochIndex: EPOCH,
      slotsIndex: SLOTS,
      maxThreads: this.#maxThreads,
      thread,
      lockdep,
      assertCanReclaim: () => {},
      reclaimer: {
        unchain: (head, refs) => {
          for (let ref = head; ref !== 0; ref = this.words[LINKS + ref]) {
            refs.push(ref);
          }
        },
        chain: (refs) => {
          refs.forEach((ref, i) => this.words[LINKS + ref] = refs[i + 1]);
          return LINKS + refs[refs.length - 1];
        },
        reclaim: (refs) => {
          for (const ref of refs) {
            this.freed.push(ref);
            onFree?.(ref, thread);
          }
        },
        giveBack: () => giveBack?.(thread) ?? false,
      },
    });
    return thread;
  }

  /** The shared epoch. */
  get epoch(): number {
    return this.words[EPOCH];
  }

  /** Defers a ref as the thread of that id. */
  defer(thread: number, ref: number): void {
    this.rcus[thread - 1].defer(ref, LINKS + ref);
  }

  /** The first word of a thread's slot. */
  slot(thread: number): number {
    return SLOTS + (thread - 1) * THREAD_SLOT_WORDS;
  }
}
