/**
 * What debug mode knows of every object: a page beside each slab keeps each object's state and its last events, so the
 * history survives the thread that wrote it. Freed objects are filled with poison, stay in a quarantine of the freeing
 * thread for a while, and are checked when they leave it and when they are allocated again. For all other threads what is
 * there is in use, until the thread frees more, shrinks the cache, or leaves.
 *
 * Everything here runs under the cache's lock, but for {@linkcode ObjectTracker.deferred}, whose caller is the only one
 * that may still free the object, and what is asked for a thread that is gone ({@linkcode ObjectTracker.lost},
 * {@linkcode ObjectTracker.isFreedBy}): of that thread's objects nobody else changes anything.
 *
 * @module
 */
import type { Arena } from "../memory/arena.ts";
import type { SlabLists } from "./slab_lists.ts";

/** Kernel's POISON_FREE, in every byte. */
const POISON = 0x6b6b6b6b;
/** How many freed objects of a cache a thread keeps from being reused. */
const QUARANTINE = 64;
const PAGE_WORDS = 1024;

// An object's record: its state, how many events there were, then the last seven as pairs (event and thread, number).
const RECORD_WORDS = 16;
const STATE = 0;
const EVENTS = 1;
const FIRST_EVENT = 2;
const KEPT_EVENTS = 7;

const NEVER_USED = 0;
const ALLOCATED = 1;
const DEFERRED = 2;
const FREED = 3;
const EVENT_NAMES = ["", "allocated", "deferred", "freed"];

/** Keeps the history of a cache's objects. */
export class ObjectTracker {
  readonly #arena: Arena;
  readonly #name: string;
  readonly #objectWords: number;
  readonly #lists: SlabLists;
  readonly #quarantine: number[] = [];

  /** Tracks the objects of a cache. */
  constructor(
    arena: Arena,
    cache: { readonly name: string; readonly objectBytes: number },
    lists: SlabLists,
  ) {
    this.#arena = arena;
    this.#name = cache.name;
    this.#objectWords = cache.objectBytes / 4;
    this.#lists = lists;
  }

  /** Prepares the page that tracks a new slab. */
  open(page: number): void {
    const start = this.#arena.pageRef(page) * 16;
    this.#arena.words.fill(0, start, start + PAGE_WORDS);
  }

  /** Notes an allocation; the object must still be poisoned. It is handed out zeroed. */
  allocated(ref: number): void {
    if (this.#arena.words[this.#record(ref) + STATE] === FREED) {
      this.checkPoison(ref);
    }
    this.#fill(ref, 0);
    this.#note(ref, ALLOCATED);
  }

  /** Notes a deferred free. */
  deferred(ref: number): void {
    this.#assertState(ref, ALLOCATED);
    this.#note(ref, DEFERRED);
  }

  /** Notes that what a thread that is gone had in its hands is deferred, whatever that one had noted before. */
  lost(ref: number): void {
    this.#arena.words[this.#record(ref) + STATE] = ALLOCATED;
  }

  /** Whether the last that happened to an object is that a thread freed it. Under no lock: for a thread that is gone. */
  isFreedBy(gone: number, ref: number): boolean {
    const words = this.#arena.words, record = this.#record(ref);
    const last = (words[record + EVENTS] - 1) % KEPT_EVENTS;
    return words[record + STATE] === FREED &&
      words[record + FIRST_EVENT + 2 * last] === (FREED | gone << 8);
  }

  /**
   * Notes a free and puts the object in quarantine; returns the object that leaves it, or 0.
   *
   * @param wasDeferred Whether it is a deferred free that is carried out.
   */
  freed(ref: number, wasDeferred: boolean): number {
    this.#assertState(ref, wasDeferred ? DEFERRED : ALLOCATED);
    this.#note(ref, FREED);
    this.#fill(ref, POISON);
    this.#quarantine.push(ref);
    return this.#quarantine.length > QUARANTINE ? this.#quarantine.shift()! : 0;
  }

  /** Empties the quarantine. */
  drain(): number[] {
    return this.#quarantine.splice(0);
  }

  /** An object's last events as text, oldest first. */
  history(ref: number): string {
    const words = this.#arena.words;
    const record = this.#record(ref);
    const events = words[record + EVENTS];
    const lines = [];
    for (
      let event = Math.max(0, events - KEPT_EVENTS);
      event < events;
      event++
    ) {
      const at = record + FIRST_EVENT + 2 * (event % KEPT_EVENTS);
      lines.push(
        `  event ${words[at + 1]}: ${EVENT_NAMES[words[at] & 0xff]} by thread ${
          words[at] >>> 8
        }`,
      );
    }
    return `\nhistory of the object:\n${lines.join("\n")}`;
  }

  #assertState(ref: number, expected: number): void {
    const state = this.#arena.words[this.#record(ref) + STATE];
    if (state === expected) return;
    const cannot = `Cannot free object ${ref} of "${this.#name}"`;
    if (state === NEVER_USED) {
      throw new Error(`${cannot}: it was never allocated`);
    }
    throw new Error(
      `${cannot}: it is ${EVENT_NAMES[state]} already` +
        this.history(ref),
    );
  }

  /**
   * Checks that nobody wrote to a freed object.
   *
   * @throws {Error} With the object's history.
   */
  checkPoison(ref: number): void {
    const words = this.#arena.words;
    const start = ref * 16;
    for (let i = 0; i < this.#objectWords; i++) {
      const found = words[start + i];
      if (found === POISON) continue;
      // Poisoned anew, so that it is reported once.
      this.#fill(ref, POISON);
      throw new Error(
        `Object ${ref} of "${this.#name}" was used after it was freed: word ${i} is ` +
          `0x${(found >>> 0).toString(16)}, not 0x${POISON.toString(16)}` +
          this.history(ref),
      );
    }
  }

  #fill(ref: number, word: number): void {
    this.#arena.words.fill(word, ref * 16, ref * 16 + this.#objectWords);
  }

  #note(ref: number, event: number): void {
    const words = this.#arena.words;
    const record = this.#record(ref);
    const events = words[record + EVENTS]++;
    const at = record + FIRST_EVENT + 2 * (events % KEPT_EVENTS);
    words[record + STATE] = event;
    words[at] = event | (this.#arena.thread << 8);
    words[at + 1] = events;
  }

  #record(ref: number): number {
    return this.#arena.pageRef(this.#lists.trackingPage(ref)) * 16 +
      this.#lists.indexOf(ref) * RECORD_WORDS;
  }
}
