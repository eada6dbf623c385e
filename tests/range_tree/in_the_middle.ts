/**
 * Letting another thread act in the middle of a call: the test's own thread does it for that one, since shared memory can't tell.
 *
 * @module
 */

/** An atomic access that something can come after. */
type Access = "load" | "store" | "add";

/**
 * While it lasts, `act` is done once: right after the `count`-th atomic access of these kinds, which count from 1. What is compiled
 * makes its accesses unseen, so whoever is interrupted must have an arena for debugging, or one attached by its `buffer`.
 */
export function inTheMiddle(
  count: number,
  act: () => void,
  kinds: readonly Access[] = ["load"],
): Disposable & { readonly came: boolean } {
  const atomics = Atomics as unknown as Record<Access, unknown>;
  const originals = kinds.map((kind) => Atomics[kind]);
  const state = { came: false };
  let accesses = 0;
  kinds.forEach((kind, i) => {
    const original = originals[i] as (...args: unknown[]) => unknown;
    atomics[kind] = (...args: unknown[]) => {
      const found = original.apply(Atomics, args);
      if (++accesses === count) {
        state.came = true;
        act();
      }
      return found;
    };
  });
  return Object.assign(state, {
    [Symbol.dispose]() {
      kinds.forEach((kind, i) => {
        atomics[kind] = originals[i];
      });
    },
  });
}
