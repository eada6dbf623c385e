/**
 * Regions: ranges of addresses that do not overlap, in a range tree of their own. What they mean is up to who inserts them: a
 * manager can require that a mapping lies in one; a bind queue makes them the sparse ones.
 *
 * @module
 */
import { MAX_INDEX } from "../range_tree/mod.ts";
import { settling } from "./apply.ts";
import { VaExistsError, VaNotFoundError } from "./errors.ts";
import type { VaSpan } from "./operations.ts";
import { lastOfWindow } from "./request.ts";
import { REGIONS_REQUIRED } from "./header.ts";
import type { VaState } from "./va_state.ts";

/**
 * The first region that overlaps a range. From any thread, without a lock.
 *
 * @throws {VaError} If the manager was destroyed.
 */
export function findRegion(
  state: VaState,
  start: number,
  range: number,
): VaSpan | undefined {
  const last = lastOfWindow(start, range);
  return last < 0 ? undefined : firstRegion(state, start, last);
}

/** All regions, in order: each was there when it was given out. As {@linkcode findRegion}. */
export function* allRegions(state: VaState): Generator<VaSpan> {
  for (let from = 0; from <= MAX_INDEX;) {
    const region = firstRegion(state, from, MAX_INDEX);
    if (region === undefined) return;
    from = region.start + region.range;
    yield region;
  }
}

function firstRegion(
  state: VaState,
  first: number,
  last: number,
): VaSpan | undefined {
  try {
    const found = state.regions.find(first, last);
    return found && { start: found.first, range: found.last - found.first + 1 };
  } catch (error) {
    // The tree goes with its manager.
    state.assertLive("a search for regions");
    throw error;
  }
}

/** Inserts a region. As {@linkcode VaManager.insertRegion}. */
export function insertRegion(state: VaState, span: VaSpan): void {
  const { start, range } = span;
  state.assertRange(span, "insert region");
  state.reserve.admit();
  const insert = () => state.regions.insertRange(start, start + range - 1, 1);
  if (settling(state, insert)) return;
  throw new VaExistsError(
    `Cannot insert region [${start}, +${range}): another overlaps it`,
  );
}

/** Removes a region. As {@linkcode VaManager.removeRegion}. */
export function removeRegion(state: VaState, { start, range }: VaSpan): void {
  const found = findRegion(state, start, range);
  if (found?.start !== start || found.range !== range) {
    throw new VaNotFoundError(
      `Cannot remove region [${start}, +${range}): there is none of exactly that range`,
    );
  }
  settling(state, () => state.regions.erase(start));
}

/** Whether a range, which is no empty one, lies inside of another. */
export function encloses(outer: VaSpan, inner: VaSpan): boolean {
  return outer.start <= inner.start &&
    outer.start + outer.range >= inner.start + inner.range;
}

/**
 * Checks that a range lies in one region, if the manager requires that.
 *
 * @throws {VaRangeError} If it does not.
 */
export function assertRegion(
  state: VaState,
  span: VaSpan,
  what: string,
): void {
  if ((state.flags & REGIONS_REQUIRED) === 0) return;
  const region = findRegion(state, span.start, span.range);
  assertInRegion(state, span, region, what);
}

/** As {@linkcode assertRegion}, where the first region that overlaps the range is known. */
export function assertInRegion(
  state: VaState,
  span: VaSpan,
  region: VaSpan | undefined,
  what: string,
): void {
  if ((state.flags & REGIONS_REQUIRED) === 0) return;
  if (region === undefined || !encloses(region, span)) {
    state.refuse("region", span, what);
  }
}

/** Whether no region's boundary lies between two addresses. */
export function isSameRegion(state: VaState, a: number, b: number): boolean {
  return findRegion(state, a, 1)?.start === findRegion(state, b, 1)?.start;
}
