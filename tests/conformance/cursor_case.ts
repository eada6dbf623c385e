/**
 * The recorded operations on cursors, as types, and how they are read.
 *
 * @module
 */

import { CaseError, type Fields, requireTexts } from "./fields.ts";
import { toIndex, type Token, toToken } from "./values.ts";

/** What is called on a cursor. */
export type CursorCall =
  | { readonly name: "walk" | "erase" | "pause" | "reset" | "destroy" }
  | {
    readonly name: "find" | "findRange" | "next" | "nextRange";
    readonly max: number;
  }
  | {
    readonly name: "findReverse" | "findRangeReverse" | "prev" | "prevRange";
    readonly min: number;
  }
  | {
    readonly name: "store" | "storeBlocking" | "preallocate";
    readonly token: Token | null;
  }
  | {
    readonly name: "emptyArea" | "emptyAreaReverse";
    readonly min: number;
    readonly max: number;
    readonly size: number;
    readonly found: boolean;
  }
  | { readonly name: "setRange"; readonly range: Range }
  | {
    readonly name: "forEach" | "forEachReverse";
    readonly from: number;
    readonly to: number;
    readonly entries: readonly (readonly [...Range, Token])[];
  };

/** First and last index. */
export type Range = readonly [first: number, last: number];

/** An operation on a cursor, and what came of it. */
export interface CursorAction {
  /** What tells it from other actions. */
  readonly kind: "cursor";
  /** The number of the cursor. */
  readonly cursor: number;
  /** What is called. */
  readonly call: CursorCall;
  /** The cursor's range before. */
  readonly before?: Range;
  /** What came back, if that was recorded. */
  readonly expected?: Token | null;
  /** The cursor's range after, where it tells something. */
  readonly after?: Range;
}

/** An operation that is passed over. */
export interface Skip {
  /** What tells it from other actions. */
  readonly kind: "skip";
  /** Why. */
  readonly reason: string;
}

/** An operation that ran out of memory on purpose. */
export const NO_MEMORY = "failed for want of memory in the reference";
/** An operation that has no meaning for another implementation. */
export const REFERENCE_ONLY = "concerns the reference's own memory";

type Read = (fields: Fields) => CursorAction | Skip;

function cursor(
  readCall: (fields: Fields) => CursorCall,
  returnsEntry = false,
): Read {
  return (fields) => {
    const [before] = readPosition(fields, "pre");
    const [after, state] = readPosition(fields, "post");
    // What ran out of memory leaves its cursor in this state, and the tree as it was.
    if (state === "error") return { kind: "skip", reason: NO_MEMORY };
    const call = readCall(fields);
    const action = {
      kind: "cursor",
      cursor: fields.integer("mas"),
      call,
      before,
    };
    if (!returnsEntry) return { ...action, kind: "cursor" };
    const expected = fields.token("expect");
    return {
      ...action,
      kind: "cursor",
      expected,
      after: expected === null ? undefined : after,
    };
  };
}

function readPosition(
  fields: Fields,
  name: string,
): [range: Range | undefined, state: string] {
  if (!fields.has(name)) return [undefined, ""];
  const [first, last, state] = requireTexts(fields.list(name), 3);
  return [[toIndex(first), toIndex(last)], state];
}

const forward = (name: "find" | "findRange" | "next" | "nextRange") =>
  cursor((fields) => ({ name, max: fields.index("max") }), true);

const back = (
  name: "findReverse" | "findRangeReverse" | "prev" | "prevRange",
) => cursor((fields) => ({ name, min: fields.index("min") }), true);

const plain = (name: "pause" | "reset" | "destroy") => cursor(() => ({ name }));

const setRange = cursor((fields) => {
  const first = fields.index("index");
  const last = fields.has("last") ? fields.index("last") : first;
  return { name: "setRange", range: [first, last] };
});

const emptyArea =
  (name: "emptyArea" | "emptyAreaReverse"): Read => (fields) => {
    const found = fields.integer("expect") === 0;
    const [after] = readPosition(fields, "post");
    const read = cursor(() => ({
      name,
      min: fields.index("min"),
      max: fields.index("max"),
      size: fields.integer("size"),
      found,
    }));
    const action = read(fields);
    return action.kind === "skip" || !found ? action : { ...action, after };
  };

const forEach = (name: "forEach" | "forEachReverse") =>
  cursor((fields) => ({
    name,
    from: fields.index("index"),
    to: fields.index(name === "forEach" ? "max" : "min"),
    entries: fields.list("expect").map((entry) => {
      const [first, last, token] = requireTexts(entry, 3);
      return [toIndex(first), toIndex(last), toToken(token)];
    }),
  }));

const value = (name: "store" | "storeBlocking" | "preallocate") =>
  cursor((fields) => ({ name, token: fields.token("value") }));

/** Emptying may widen the reference's range, so only the entry that was there before is compared. */
const storeReturning: Read = (fields) => {
  const action = value("store")(fields);
  return action.kind === "skip"
    ? action
    : { ...action, expected: fields.token("expect") };
};

/** The reference may sleep for memory here. */
const storeBlocking: Read = (fields) => {
  const result = fields.integer("expect");
  if (result === 0) return value("storeBlocking")(fields);
  if (result === -12) return { kind: "skip", reason: NO_MEMORY };
  throw new CaseError(`"expect" is ${result}`);
};

const skipReferenceOnly: Read = () => ({
  kind: "skip",
  reason: REFERENCE_ONLY,
});

/** How each operation on a cursor is read. */
export const CURSOR_READERS: Readonly<Record<string, Read>> = {
  mas_walk: cursor(() => ({ name: "walk" }), true),
  mas_find: forward("find"),
  mas_find_range: forward("findRange"),
  mas_find_rev: back("findReverse"),
  mas_find_range_rev: back("findRangeReverse"),
  mas_next: forward("next"),
  mas_next_range: forward("nextRange"),
  mas_prev: back("prev"),
  mas_prev_range: back("prevRange"),
  mas_for_each: forEach("forEach"),
  mas_for_each_rev: forEach("forEachReverse"),
  mas_store: storeReturning,
  mas_store_gfp: storeBlocking,
  mas_store_prealloc: value("store"),
  mas_preallocate: value("preallocate"),
  mas_erase: cursor(() => ({ name: "erase" }), true),
  mas_empty_area: emptyArea("emptyArea"),
  mas_empty_area_rev: emptyArea("emptyAreaReverse"),
  mas_pause: plain("pause"),
  mas_reset: plain("reset"),
  mas_destroy: plain("destroy"),
  mas_set: setRange,
  mas_set_range: setRange,
  mas_set_subrange: setRange,
  mas_expected_entries: skipReferenceOnly,
  mas_nomem: skipReferenceOnly,
};
