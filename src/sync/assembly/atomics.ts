/**
 * The atomic accesses of `src/sync/atomics.ts`, in WebAssembly, by the index of a word. (AssemblyScript; `deno task assemble`.)
 *
 * The memory model is the one of ECMAScript: accesses of either kind to the same word are in one sequentially consistent order.
 */

/** Reads a word. */
export function loadWord(index: i32): i32 {
  return atomic.load<i32>(<usize>index << 2);
}

/** Writes a word. */
export function storeWord(index: i32, value: i32): void {
  atomic.store<i32>(<usize>index << 2, value);
}

/** Writes a word and returns what it held. */
export function exchangeWord(index: i32, value: i32): i32 {
  return atomic.xchg<i32>(<usize>index << 2, value);
}

/** Writes `replacement` where the word holds `expected`; returns what it held. */
export function compareExchangeWord(
  index: i32,
  expected: i32,
  replacement: i32,
): i32 {
  return atomic.cmpxchg<i32>(<usize>index << 2, expected, replacement);
}

/** Adds to a word and returns what it held before. */
export function addToWord(index: i32, value: i32): i32 {
  return atomic.add<i32>(<usize>index << 2, value);
}
