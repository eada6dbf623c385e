/**
 * The one seam through which every shared atomic access of the TypeScript goes.
 *
 * ECMAScript gives sequential consistency for `Atomics.*` on integer views and almost nothing for plain accesses that
 * race. So a word that one thread may write while another reads it is touched only through the functions of this file,
 * and everything else is written before an atomic store that publishes it and read after an atomic load that found it.
 * No fence is missing anywhere, because every atomic access is sequentially consistent and there are no weaker ones.
 *
 * Where the words lie in a WebAssembly memory, the accesses are made by WebAssembly's atomic instructions (see `wasm.ts`):
 * the two kinds are in one order, and these take a third of the time.
 *
 * The functions are plain and small on purpose: V8 inlines them, and a model checker can replace the whole file with a
 * traced twin through an import map; its threads attach by `Arena.buffer`, so that nothing compiled runs beside it.
 *
 * @module
 */
import { WASM } from "./atomics_wasm.ts";
import { WasmModule } from "./wasm.ts";

/** The view through which all shared words are accessed. */
export interface Words extends Int32Array<SharedArrayBuffer> {
  /** Accesses by atomic instructions, where there are such. */
  readonly inline?: InlineAtomics;
}

/** What `assembly/atomics.ts` exports: see the functions of this file. */
export interface InlineAtomics {
  /** {@linkcode load} */
  loadWord(index: number): number;
  /** {@linkcode store} */
  storeWord(index: number, value: number): void;
  /** {@linkcode exchange} */
  exchangeWord(index: number, value: number): number;
  /** {@linkcode compareExchange} */
  compareExchangeWord(
    index: number,
    expected: number,
    replacement: number,
  ): number;
  /** {@linkcode add} */
  addToWord(index: number, value: number): number;
}

const inlineAtomics = new WasmModule<InlineAtomics>(WASM);

class WasmWords extends Int32Array<SharedArrayBuffer> {
  readonly inline: InlineAtomics | undefined;

  constructor(memory: WebAssembly.Memory) {
    super(memory.buffer as unknown as SharedArrayBuffer);
    this.inline = inlineAtomics.over(memory);
  }

  // What is made of these words (`subarray`, `slice`) has none.
  static get [Symbol.species](): Int32ArrayConstructor {
    return Int32Array;
  }
}

/** The words of a shared memory. */
export function wordsOf(memory: SharedArrayBuffer | WebAssembly.Memory): Words {
  return memory instanceof SharedArrayBuffer
    ? new Int32Array(memory)
    : new WasmWords(memory);
}

/** Reads a shared word. */
export function load(words: Words, index: number): number {
  const { inline } = words;
  return inline === undefined
    ? Atomics.load(words, index)
    : inline.loadWord(index);
}

/** Writes a shared word. */
export function store(words: Words, index: number, value: number): void {
  const { inline } = words;
  if (inline === undefined) Atomics.store(words, index, value);
  else inline.storeWord(index, value);
}

/** Writes a shared word and returns what it held. */
export function exchange(words: Words, index: number, value: number): number {
  const { inline } = words;
  return inline === undefined
    ? Atomics.exchange(words, index, value)
    : inline.exchangeWord(index, value);
}

/** Writes `replacement` where the word holds `expected`; returns what it held. */
export function compareExchange(
  words: Words,
  index: number,
  expected: number,
  replacement: number,
): number {
  const { inline } = words;
  return inline === undefined
    ? Atomics.compareExchange(words, index, expected, replacement)
    : inline.compareExchangeWord(index, expected, replacement);
}

/** Adds to a shared word (modulo 2^32) and returns what it held before. */
export function add(words: Words, index: number, value: number): number {
  const { inline } = words;
  return inline === undefined
    ? Atomics.add(words, index, value)
    : inline.addToWord(index, value);
}

/** Looks at a word before a thread that may not sleep gives up for this time. */
const LOOKS = 1000;
let maySleep = true;

/**
 * Sleeps while the word holds `value`, until notified or until `timeoutMillis` have passed. A thread that is not allowed to
 * sleep (a browser's main thread) looks at the word for a while instead; callers look again anyway.
 */
export function wait(
  words: Words,
  index: number,
  value: number,
  timeoutMillis?: number,
): "ok" | "not-equal" | "timed-out" {
  if (maySleep) {
    try {
      return Atomics.wait(words, index, value, timeoutMillis);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      maySleep = false;
    }
  }
  for (let look = 0; look < LOOKS; look++) {
    if (Atomics.load(words, index) !== value) return "not-equal";
    pause();
  }
  return "timed-out";
}

/** Tells the processor that this is a loop that waits, where the runtime can. */
const pause: () => void =
  (Atomics as typeof Atomics & { pause?: () => void }).pause ?? (() => {});

/** Wakes up to `count` threads that sleep on the word; returns how many woke. */
export function notify(words: Words, index: number, count?: number): number {
  return Atomics.notify(words, index, count);
}
