/**
 * What a VA manager and a bind queue refuse, as typed errors. Each carries the code that the kernel's functions return for
 * it, and none of them leaves anything half done.
 *
 * @module
 */

/** The kernel's name for the kind of a failure. */
export type VaErrorCode =
  | "EINVAL"
  | "EEXIST"
  | "ENOENT"
  | "ENOSPC"
  | "ESTALE"
  | "ETIME"
  | "ECANCELED";

/** Something that a VA manager refuses; nothing was changed. */
export class VaError extends Error {
  /** The name of this class of errors. */
  override name = "VaError";
  /** What the kernel's functions return for it. */
  readonly code: VaErrorCode;

  /** Refuses with a code. */
  constructor(code: VaErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Why a range can't be used. */
export type BadRange =
  /** It is empty, or its start or its length is no integer from 0 on. */
  | "empty"
  /** It ends behind the largest index. */
  | "overflow"
  /** It is not inside of the VM. */
  | "outside"
  /** It overlaps the reserved node. */
  | "reserved"
  /** It is in no region, or crosses the boundary of one. */
  | "region";

/** A range that can't be used (`EINVAL`). */
export class VaRangeError extends VaError {
  /** The name of this class of errors. */
  override name = "VaRangeError";
  /** What is wrong with it. */
  readonly reason: BadRange;

  /** Refuses a range. */
  constructor(reason: BadRange, message: string) {
    super("EINVAL", message);
    this.reason = reason;
  }
}

/** A mapping or a region is in the way (`EEXIST`). */
export class VaExistsError extends VaError {
  /** The name of this class of errors. */
  override name = "VaExistsError";

  /** Refuses what overlaps. */
  constructor(message: string) {
    super("EEXIST", message);
  }
}

/** What was named is not there (`ENOENT`). */
export class VaNotFoundError extends VaError {
  /** The name of this class of errors. */
  override name = "VaNotFoundError";

  /** Refuses what names nothing. */
  constructor(message: string) {
    super("ENOENT", message);
  }
}

/** A callback that the steps of an operation need was not given (`EINVAL`). */
export class MissingCallbackError extends VaError {
  /** The name of this class of errors. */
  override name = "MissingCallbackError";

  /** Names the callback. */
  constructor(callback: string, what: string) {
    super(
      "EINVAL",
      `Cannot ${what}: the callback "${callback}" is missing`,
    );
  }
}

/** Operations that were made from another state of the tree than it is in now (`ESTALE`). */
export class StaleOperationsError extends VaError {
  /** The name of this class of errors. */
  override name = "StaleOperationsError";

  /** Refuses operations that no longer fit. */
  constructor(message: string) {
    super("ESTALE", message);
  }
}
