/**
 * Recorded VA-manager cases, as they stand in the files, and how their numbers become those of a manager.
 *
 * @module
 */

/** A recorded mapping or range. Numbers are hex text; `end` is exclusive. */
export interface RecordedVa {
  readonly start: string;
  readonly end: string;
  readonly obj?: string | null;
  readonly offset?: string;
  readonly repeat?: string;
}

/** A recorded operation. */
export interface RecordedOp extends Partial<RecordedVa> {
  readonly op: string;
  readonly va?: RecordedVa;
  readonly keep?: boolean;
  readonly prev?: RecordedVa | null;
  readonly next?: RecordedVa | null;
  readonly unmap?: { readonly va: RecordedVa; readonly keep: boolean };
}

/** What a case's VM is made of. */
export interface RecordedVm {
  readonly start: string;
  readonly end: string;
  readonly reserved: RecordedVa | null;
  readonly regions?: readonly RecordedVa[];
}

/** A case: one request. */
export interface RecordedCase {
  readonly name: string;
  readonly variant: string;
  readonly vm: RecordedVm;
  readonly existing: readonly RecordedVa[];
  readonly request: Partial<RecordedVa> & {
    readonly op: string;
    readonly addr?: string;
    readonly is_repeat?: boolean;
  };
  readonly expected_ops?: readonly RecordedOp[];
  readonly expected_result?: unknown;
  readonly expected_error: string | null;
  readonly expected_state?: readonly RecordedVa[];
  readonly remap_unmap_ranges?: readonly RecordedVa[];
}

/** A sequence of bind jobs. */
export interface RecordedSequence {
  readonly name: string;
  readonly variant: string;
  readonly vm: RecordedVm;
  readonly bos: Readonly<Record<string, string>>;
  readonly steps: readonly {
    readonly ops: readonly RecordedOp[];
    readonly expected_error: string | null;
    readonly expected_state: {
      readonly regions: readonly RecordedVa[];
      readonly vas: readonly RecordedVa[];
    };
  }[];
}

/** The cases or sequences of a file; undefined if it holds something else. */
export function readVaFile(
  text: string,
): (RecordedCase | RecordedSequence)[] | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isOurs = Array.isArray(content) && content.length > 0 &&
    content.every((each) =>
      typeof each === "object" && each !== null && "variant" in each &&
      "vm" in each
    );
  return isOurs ? content as (RecordedCase | RecordedSequence)[] : undefined;
}

/** Whether a recorded entry is a sequence. */
export function isSequence(
  entry: RecordedCase | RecordedSequence,
): entry is RecordedSequence {
  return "steps" in entry;
}

/**
 * Maps a recorded address. The reference has 64 bits, a manager has 53: addresses up to 2^53 − 1 stay; those next to 2^57 and
 * next to 2^64 (within 2^20) become the ones next to 2^52 and to the very end, 2^53 − 1 for 2^64 − 1. So what touches an end,
 * leaves it or overflows does the same there.
 */
export function toAddress(text: string): number {
  const address = BigInt(text);
  if (address <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(address);
  for (const [from, to] of [[57n, 52n], [64n, 53n]]) {
    const apart = address - (1n << from);
    if (apart >= -(1n << 20n) && apart <= 1n << 20n) {
      return Number((1n << to) + apart);
    }
  }
  throw new AddressOutOfReachError(text);
}

/** A recorded address that a manager has no place for. */
export class AddressOutOfReachError extends Error {
  /** The class, for messages. */
  override name = "AddressOutOfReachError";

  /** Names the address that was met. */
  constructor(address: string) {
    super(`Cannot map address ${address}: it is far from every end`);
  }
}

/** Gives each named object of a case an id, and finds the name again. */
export class Objects {
  readonly #names: string[] = [];

  /** The id of an object, 0 for none. */
  id(name: string | null | undefined): number {
    if (name === null || name === undefined) return 0;
    const at = this.#names.indexOf(name);
    return at >= 0 ? at + 1 : this.#names.push(name);
  }
}

/** A mapping as one line of text; what is left out of a record is left out of the text. */
export function vaText(
  start: number,
  end: number,
  object: number,
  offset: number,
  repeat: number,
): string {
  const hex = (value: number) => value.toString(16);
  return `[${hex(start)}, ${hex(end)}) ${object}@${hex(offset)}${
    repeat === 0 ? "" : ` repeat ${hex(repeat)}`
  }`;
}

/** A recorded mapping as that text. */
export function recordedText(va: RecordedVa, objects: Objects): string {
  return vaText(
    toAddress(va.start),
    toAddress(va.end),
    objects.id(va.obj),
    Number(va.offset ?? 0),
    Number(va.repeat ?? 0),
  );
}
