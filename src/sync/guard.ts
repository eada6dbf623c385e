/**
 * Guards of scopes: what the caller's block releases at its end.
 *
 * @module
 */

/** A guard that releases once, however often it is disposed of: a later hold of the same lock is not its own. */
export function guardOf(release: () => void): Disposable {
  let isHeld = true;
  return {
    [Symbol.dispose]: () => {
      if (!isHeld) return;
      isHeld = false;
      release();
    },
  };
}
