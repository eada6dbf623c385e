/**
 * Letting a thread die at any of its shared accesses: by an error, which costs nothing, or asleep for ever, so that it can be
 * terminated. (A worker that is terminated while it works may go on for seconds, and nobody is told when it stopped.)
 *
 * @module
 */

import { SlabCache } from "../../mod.ts";

/** What a thread meets that is terminated: from here on it does nothing more. */
export class Killed extends Error {}

/**
 * While it lasts, the `steps`-th shared atomic access and all after it do not happen: whoever tries dies of it, and what its
 * `finally` blocks try does not happen either. (Those of the library begin with an atomic access, but for the one that chains
 * objects to defer them, which is stopped here, too: a thread that is terminated runs none of them.) `steps` counts from 0.
 */
export function dyingAfter(steps: number): Disposable & { died: boolean } {
  return endingAfter(steps, () => {
    throw new Killed();
  });
}

/**
 * As {@linkcode dyingAfter}, but instead of dying the thread stores 1 in the word and sleeps from then on. So whoever finds the 1
 * knows that the thread does nothing more, and may terminate it. (Deno may let it sleep on all the same.)
 */
export function sleepingAfter(
  steps: number,
  words: Int32Array<SharedArrayBuffer>,
  index: number,
): Disposable & { died: boolean } {
  const { store, notify, wait } = Atomics;
  return endingAfter(steps, () => {
    store(words, index, 1);
    notify(words, index);
    for (;;) wait(words, index, 1);
  });
}

function endingAfter(
  steps: number,
  end: () => never,
): Disposable & { died: boolean } {
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
  const { deferAll } = SlabCache.prototype;
  SlabCache.prototype.deferAll = function (refs) {
    if (state.died) end();
    return deferAll.call(this, refs);
  };
  names.forEach((name, i) => {
    const original = originals[i] as (...args: unknown[]) => unknown;
    atomics[name] = (...args: unknown[]) => {
      if (left-- > 0) return original.apply(Atomics, args);
      state.died = true;
      return end();
    };
  });
  return Object.assign(state, {
    [Symbol.dispose]() {
      SlabCache.prototype.deferAll = deferAll;
      names.forEach((name, i) => {
        atomics[name] = originals[i];
      });
    },
  });
}

/**
 * As {@linkcode dyingAfter}, for a thread that makes its accesses by what is compiled: the `steps`-th call of the functions of these
 * objects, and all after it, do not happen.
 */
export function dyingAfterCalls(
  steps: number,
  compiled: readonly object[],
): Disposable & { died: boolean } {
  const state = { died: false };
  let left = steps;
  const originals = compiled.map((each) => ({ ...each }));
  for (const each of compiled as Record<string, CallableFunction>[]) {
    for (const [name, call] of Object.entries(each)) {
      each[name] = (...args: unknown[]) => {
        if (left-- <= 0) {
          state.died = true;
          throw new Killed();
        }
        return call(...args);
      };
    }
  }
  return Object.assign(state, {
    [Symbol.dispose]: () =>
      compiled.forEach((each, i) => Object.assign(each, originals[i])),
  });
}
