/**
 * Map requests: what a caller says, and what it means.
 *
 * @module
 */
import { VaError } from "./errors.ts";
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
  /** How far into the block the mapping begins; by default at its begin. */
  readonly phase?: number;
}

/**
 * A request with all its fields; its range is not yet checked.
 *
 * @throws {VaError} If the range does not fit the block that is to be repeated.
 */
export function specOf(request: MapRequest): MappingSpec {
  const { start, range, object = 0, offset = 0, repeat = 0 } = request;
  let { flags = 0 } = request;
  const { phase } = request;
  if (repeat !== 0 || (flags & MappingFlag.REPEAT) !== 0) {
    assertRepeat(start, range, repeat, phase);
    flags |= MappingFlag.REPEAT;
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
 * Checks the object and the place in it.
 *
 * @throws {VaError} If there can be no such place.
 */
export function assertPlace(
  { start, range, object, offset }: MappingSpec,
): void {
  if (object >>> 0 === object && Number.isSafeInteger(offset) && offset >= 0) {
    return;
  }
  throw new VaError(
    "EINVAL",
    `Cannot map [${start}, +${range}): ${offset} in object ${object} is no place in an object`,
  );
}
