/**
 * Named roots: how a thread that attaches to an arena finds the structures in it.
 *
 * A table of records in shared memory, protected by its own lock, which is held only inside this file.
 *
 * @module
 */
import { spinLock, spinTakeOver, spinUnlock } from "../sync/spin_lock.ts";
import type { Words } from "../sync/atomics.ts";
import { refuseAsLeft } from "../sync/left.ts";
import { decodeName, encodeName } from "../sync/names.ts";
import { shown } from "../sync/shown.ts";

/** How many roots an arena can name: trees, external locks and managers together. */
export const MAX_ROOTS = 64;
// A record: the ref, a word to spare, the name. A record without a name is free.
const REF = 0;
const NAME = 2;
const NAME_WORDS = 14;
const RECORD_WORDS = 16;
// The lock has a cache line of its own before the records.
const RECORDS = 16;
/** What can't be done, for errors. */
const ACTION = "Cannot take a name in the arena";

/** What the table takes, in words. */
export const ROOTS_WORDS: number = RECORDS + MAX_ROOTS * RECORD_WORDS;

/**
 * The table of an arena's named roots.
 *
 * Thread contract: an object belongs to one thread; the table is shared.
 */
export class Roots {
  readonly #words: Words;
  readonly #base: number;
  readonly #thread: number;

  /** Binds the table at word `base` to one thread. */
  constructor(words: Words, base: number, thread: number) {
    this.#words = words;
    this.#base = base;
    this.#thread = thread;
  }

  /** The ref that the name stands for; 0 if it is not taken. */
  get(name: string): number {
    return this.#locked(() => {
      const record = this.#find(name);
      return record === 0 ? 0 : this.#words[record + REF] >>> 0;
    });
  }

  /** The ref of what is named, or given by its ref; 0 where nothing can be. */
  refOf(root: string | number): number {
    if (typeof root === "string") return this.get(root);
    return Number.isInteger(root) && root > 0 ? root : 0;
  }

  /**
   * Gives a ref a name.
   *
   * @throws {RangeError} If the name is empty, longer than 56 bytes or would not come back as it is, the ref is none (0), or the table
   * is full.
   * @throws {Error} If the name is taken.
   */
  add(name: string, ref: number): void {
    const encoded = encodeName(name, NAME_WORDS, ACTION);
    // It is what `get` answers of a name that is not taken.
    if (ref >>> 0 === 0) throw new RangeError(`${ACTION}: ${ref} is no ref`);
    this.#locked(() => {
      if (this.#find(name) !== 0) {
        throw new Error(`${ACTION}: ${JSON.stringify(name)} is taken`);
      }
      const record = this.#find("");
      if (record === 0) {
        throw new RangeError(
          `${ACTION}: all ${MAX_ROOTS} are taken, ${
            JSON.stringify(name)
          } would be one more`,
        );
      }
      this.#words.set(encoded, record + NAME);
      this.#words[record + REF] = ref | 0;
    });
  }

  /** Forgets the name of a ref, if it has one. */
  remove(ref: number): void {
    this.#locked(() => {
      for (const record of this.#records()) {
        if (this.#words[record + REF] === (ref | 0)) {
          this.#words.fill(0, record, record + RECORD_WORDS);
        }
      }
    });
  }

  /** The thread has left the arena: from here on it may not take the lock, which it would take by the id of another thread. */
  leave(): void {
    this.get =
      this.add =
      this.remove =
      this.names =
        refuseAsLeft;
  }

  /** Recovers from a thread that is gone: if it held the lock, a record that it left unfinished is free again. */
  recover(gone: number): void {
    if (!spinTakeOver(this.#words, this.#base, gone, this.#thread)) return;
    for (const record of this.#records()) {
      if (this.#words[record + REF] === 0) {
        this.#words.fill(0, record, record + RECORD_WORDS);
      }
    }
    spinUnlock(this.#words, this.#base, this.#thread);
  }

  /** All names, in the order of the table. */
  names(): string[] {
    return this.#locked(() => {
      const names = [];
      for (const record of this.#records()) {
        const name = this.#name(record);
        if (name !== "") names.push(name);
      }
      return names;
    });
  }

  /** The record of that name, 0 if there is none. The empty name finds a free record. */
  #find(name: string): number {
    for (const record of this.#records()) {
      if (this.#name(record) === name) return record;
    }
    return 0;
  }

  *#records(): Generator<number> {
    for (let i = 0; i < MAX_ROOTS; i++) {
      yield this.#base + RECORDS + i * RECORD_WORDS;
    }
  }

  #name(record: number): string {
    return decodeName(this.#words, record + NAME, NAME_WORDS);
  }

  #locked<T>(section: () => T): T {
    spinLock(this.#words, this.#base, this.#thread);
    try {
      return section();
    } finally {
      spinUnlock(this.#words, this.#base, this.#thread);
    }
  }
}

/** How an error shows what names a root. */
export function shownRoot(root: unknown): string {
  return typeof root === "string" ? JSON.stringify(root) : shown(root);
}
