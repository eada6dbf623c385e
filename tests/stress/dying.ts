/**
 * Letting a thread die at any of its shared accesses. (Deno ends a worker only when its event loop turns, so one that works
 * can't be stopped from outside in the middle of something.)
 *
 * @module
 */

/** What a thread meets that is terminated: from here on it does nothing more. */
export class Killed extends Error {}

/**
 * While it lasts, the `steps`-th shared atomic access and all after it do not happen: whoever tries dies of it, and what its
 * `finally` blocks try does not happen either. `steps` counts from 0.
 */
export function dyingAfter(steps: number): Disposable & { died: boolean } {
  const names = [
    "load",
    "store",
    "exchange",
    "compareExchange",
    "add",
    "wait",
    "notify",
  ] as const;
  const atomics = Atomics as unknown as Record<string, unknown>;
  const originals = names.map((name) => Atomics[name]);
  const state = { died: false };
  let left = steps;
  names.forEach((name, i) => {
    const original = originals[i] as (...args: unknown[]) => unknown;
    atomics[name] = (...args: unknown[]) => {
      if (left-- > 0) return original.apply(Atomics, args);
      state.died = true;
      throw new Killed();
    };
  });
  return Object.assign(state, {
    [Symbol.dispose]() {
      names.forEach((name, i) => {
        atomics[name] = originals[i];
      });
    },
  });
}
