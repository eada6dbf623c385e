/**
 * Map requests: what a caller says, and what it means.
 *
 * @module
 */
import { MAX_INDEX } from "../range_tree/mod.ts";
import { VaError, VaRangeError } from "./errors.ts";
import { MappingFlag, type MappingSpec } from "./mapping.ts";
import type { VaSpan } from "./operations.ts";

/** What is to be mapped where. */
export interface MapRequest extends VaSpan {
  /**
   * The object's id, 1 to 2^32 − 1; 0 = none.
   *
   * @default {0}
   */
  readonly object?: number;
  /**
   * Where in the object the mapping begins.
   *
   * @default {0}
   */
  readonly offset?: number;
  /**
   * {@linkcode MappingFlag} and user bits.
   *
   * @default {0}
   */
  readonly flags?: number;
  /**
   * The size of a block of the object that is repeated over the range; 0 = none is. The range must be a multiple of it,
   * unless a phase is given.
   *
   * @default {0}
   */
  readonly repeat?: number;
  /** How far into the block the mapping begins; by default at its begin. 0 where none is repeated. */
  readonly phase?: number;
}

/** Flags that a caller can't set: the manager's, but for the one that says what `repeat` says, and those that mean nothing. */
const NOT_THE_CALLERS = ~(MappingFlag.SPARSE | MappingFlag.INVALIDATED |
  MappingFlag.REPEAT | -MappingFlag.USER);

/** Whether a number can be an address. */
export function isAddress(address: number): boolean {
  return Number.isSafeInteger(address) && address >= 0;
}

/** Why that is no range of addresses; undefined if it is one. */
export function whyNoRange(
  start: number,
  range: number,
): "empty" | "overflow" | undefined {
  if (
    isAddress(start) && Number.isSafeInteger(range) && range > 0 &&
    Number.isSafeInteger(start + range)
  ) return undefined;
  const isWhole = (number: number) =>
    Number.isInteger(number) || number === Infinity;
  return isWhole(start) && start >= 0 && isWhole(range) && range > 0
    ? "overflow"
    : "empty";
}

/** Whether a number can be the id of an object, or 0 for none. */
export function isObject(object: number): boolean {
  return object >>> 0 === object;
}

/**
 * The last address of a window that is looked at, -1 if it is empty. A window may reach beyond everything.
 *
 * @throws {VaRangeError} If it begins at no address, or its length is no number of addresses.
 */
export function lastOfWindow(start: number, range: number): number {
  if (!isAddress(start) || !(Number.isInteger(range) && range >= 0)) {
    throw new VaRangeError(
      "empty",
      `Cannot look at [${start}, +${range}): that is no range of addresses`,
    );
  }
  return range === 0 ? -1 : Math.min(start + range - 1, MAX_INDEX);
}

/**
 * A request with all its fields; its range, and the place in the object, are not yet checked.
 *
 * @throws {VaError} If the range does not fit the block that is to be repeated.
 */
export function specOf(request: MapRequest): MappingSpec {
  const { start, range, object = 0, offset = 0, repeat = 0 } = request;
  let { flags = 0 } = request;
  const { phase } = request;
  if (
    repeat !== 0 || (flags & MappingFlag.REPEAT) !== 0 ||
    (phase !== undefined && phase !== 0)
  ) {
    assertRepeat(start, range, repeat, phase);
    // What are no flags stay so, and are refused as such.
    if (flags >>> 0 === flags) flags = (flags | MappingFlag.REPEAT) >>> 0;
  }
  return {
    start,
    range,
    object,
    offset,
    flags,
    repeat,
    phase: repeat === 0 ? 0 : phase ?? 0,
  };
}

function assertRepeat(
  start: number,
  range: number,
  repeat: number,
  phase: number | undefined,
): void {
  const isSize = Number.isSafeInteger(repeat) && repeat > 0;
  const fits = phase === undefined
    ? range % repeat === 0
    : Number.isSafeInteger(phase) && phase >= 0 && phase < repeat;
  if (isSize && fits) return;
  throw new VaError(
    "EINVAL",
    `Cannot map [${start}, +${range}): it is no multiple of the block of ${repeat} that is to be repeated, or begins outside of it`,
  );
}

/**
 * Checks the object, the place in it, and the flags of a mapping whose range is good.
 *
 * @throws {VaError} If there can be no such place, or the flags are not the caller's to set.
 */
export function assertPlace(spec: MappingSpec): void {
  const { object, offset, repeat } = spec;
  const used = repeat === 0 ? spec.range : repeat;
  if (
    !isObject(object) || !isAddress(offset) || offset > MAX_INDEX + 1 - used
  ) refusePlace(spec);
  assertFlags(spec, spec.flags);
}

/**
 * Checks flags that a caller gives to a mapping.
 *
 * @throws {VaError} If they are no flags, or not the caller's to set.
 */
export function assertFlags(spec: MappingSpec, flags: number): void {
  if (flags === 0) return;
  if (
    flags >>> 0 !== flags || (flags & NOT_THE_CALLERS) !== 0 ||
    ((flags & MappingFlag.SPARSE) !== 0 && spec.object !== 0)
  ) refuseFlags(spec, flags);
}

function refusePlace({ start, range, object, offset }: MappingSpec): never {
  throw new VaError(
    "EINVAL",
    `Cannot map [${start}, +${range}): ${offset} in object ${object} is no place in an object`,
  );
}

function refuseFlags(
  { start, range, object }: VaSpan & { object: number },
  flags: number,
): never {
  throw new VaError(
    "EINVAL",
    `Cannot map [${start}, +${range}) of object ${object}: flags ${flags} are no 32 bits, or not the caller's to set`,
  );
}
