/**
 * Stocks: a few free objects of a cache that one thread keeps at hand for its next allocations.
 *
 * A store in RCU mode retires a node and allocates one. The retired ones come back in batches after a grace period, when
 * their memory is still in the processor's cache; so the thread that gets them back keeps some and uses them next, instead
 * of returning them to slabs all over the arena and taking cold objects from others. (Measured: a random build of 1 000 000
 * ranges takes a fifth less time.) To the slabs an object in a stock is in use.
 *
 * A stock is a chain through the objects' link words, whose head is a word of the thread's own. Only the owner makes that word
 * other than 0, so it knows without a look what the word holds: what it stored last, or 0 if another thread has taken the
 * chain, which is done whole, by an exchange with 0. The owner takes the first object by a compare-exchange of the head with
 * the object behind it. If that succeeds, nobody has taken the chain meanwhile, so the link that was read before was the
 * owner's alone. If it fails, the chain is somebody else's, the link that was read may be anything, and is thrown away. No
 * other thread ever puts the head back, so there is no ABA.
 *
 * Others take chains under the cache's lock, and the owner adds to its own under it. So while the owner adds, the head stays
 * as it is. If it dies then, its lock is taken over, and what it added is told from a note that it made before: the head that
 * it was about to store.
 *
 * @module
 */
import {
  compareExchange,
  exchange,
  load,
  store,
  type Words,
} from "../sync/atomics.ts";

/** The most that a thread keeps: as many as gather while the next batch waits for its grace period. */
const MAX_STOCK = 128;
const GRANULE_WORDS = 16;

/** Where the stocks of a cache are. */
export interface StockOptions {
  /** The head of thread 1's stock. */
  first: number;
  /** From one thread's head to that of the next. */
  stride: number;
  /** How many threads there may be. */
  threads: number;
  /** This thread's id, from 1. */
  thread: number;
  /** The word of an object that a chain may use. */
  link: number;
  /** The word where the owner of the cache's lock notes the head that it is about to store. */
  keeping: number;
  /** What the link word of an object in this thread's hands says. */
  hands: number;
}

/**
 * One thread's stock of one cache, and the way to those of the others.
 *
 * Thread contract: an object belongs to one thread; the heads are shared.
 */
export class Stock {
  readonly #words: Words;
  readonly #options: StockOptions;
  readonly #head: number;
  readonly #link: number;
  /** What the owner stored in the head last: what is there, unless another thread took it. */
  #top = 0;
  /** How many are in the chain from there on. */
  #size = 0;

  /** Binds the stock of a cache to one thread. It is empty: a thread that leaves, or is reaped, keeps nothing. */
  constructor(words: Words, options: StockOptions) {
    this.#words = words;
    this.#options = options;
    this.#link = options.link;
    this.#head = options.first + (options.thread - 1) * options.stride;
  }

  /** How many more may be kept. */
  get room(): number {
    return MAX_STOCK - this.#size;
  }

  /** Keeps free objects that nobody else can see. Under the cache's lock. */
  keep(refs: readonly number[]): void {
    if (refs.length === 0) return;
    const words = this.#words;
    // Pairs with the exchange of whoever took the chain.
    let head = load(words, this.#head) >>> 0;
    this.#size = (head === 0 ? 0 : this.#size) + refs.length;
    for (const ref of refs) {
      words[ref * GRANULE_WORDS + this.#link] = head;
      head = ref;
    }
    this.#top = head;
    words[this.#options.keeping] = head;
    // Pairs with the exchange of whoever takes the chain.
    store(words, this.#head, head);
    words[this.#options.keeping] = 0;
  }

  /** Takes one object; 0 if there is none. */
  take(): number {
    const ref = this.#top;
    if (ref === 0) return 0;
    const words = this.#words;
    const rest = words[ref * GRANULE_WORDS + this.#link];
    // Pairs with the exchange of whoever takes the chain.
    const isOurs = compareExchange(words, this.#head, ref | 0, rest) ===
      (ref | 0);
    this.#top = isOurs ? rest >>> 0 : 0;
    this.#size = isOurs ? this.#size - 1 : 0;
    return isOurs ? ref : 0;
  }

  /** Takes all that any thread keeps, but for what its owner has in hand. Under the cache's lock. */
  takeAll(): number[] {
    const refs: number[] = [];
    for (let thread = 1; thread <= this.#options.threads; thread++) {
      this.#takeChain(thread, refs);
    }
    return refs;
  }

  /** As {@linkcode Stock.takeAll}, what this thread keeps. */
  takeOwn(): number[] {
    const refs = this.takeFrom(this.#options.thread);
    this.#top = this.#size = 0;
    return refs;
  }

  /** As {@linkcode Stock.takeAll}, what another thread keeps. */
  takeFrom(thread: number): number[] {
    const refs: number[] = [];
    this.#takeChain(thread, refs);
    return refs;
  }

  /** A thread is gone that held the cache's lock, and this one has taken it over: what that was about to keep it keeps. */
  recover(gone: number): void {
    const { first, stride, keeping } = this.#options;
    const words = this.#words;
    if (words[keeping] === 0) return;
    store(words, first + (gone - 1) * stride, words[keeping]);
    words[keeping] = 0;
  }

  #takeChain(thread: number, refs: number[]): void {
    const { first, stride, hands } = this.#options;
    const words = this.#words, head = first + (thread - 1) * stride;
    // The look saves an exchange where there is nothing, which is nearly everywhere.
    if (load(words, head) === 0) return;
    // Pairs with the store or compare-exchange of the owner.
    for (let ref = exchange(words, head, 0) >>> 0; ref !== 0;) {
      const link = ref * GRANULE_WORDS + this.#link;
      refs.push(ref);
      ref = words[link] >>> 0;
      words[link] = hands;
    }
  }
}
