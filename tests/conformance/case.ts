/**
 * Recorded cases: their operations as types, and the reader that turns a case file into them.
 *
 * @module
 */

import {
  CURSOR_READERS,
  type CursorAction,
  NO_MEMORY,
  REFERENCE_ONLY,
} from "./cursor_case.ts";
import { CaseError, Fields, type Json, requireTexts } from "./fields.ts";
import {
  IndexOutOfReachError,
  toIndex,
  toIndexBefore,
  type Token,
  toToken,
} from "./values.ts";

/** A range and what is, or is to be, stored there. */
export interface RecordedRange {
  /** First index. */
  readonly first: number;
  /** Last index. */
  readonly last: number;
  /** The entry; `null` = empty. */
  readonly token: Token | null;
}

/** The same operation many times over, from one range on, each a `step` of indices and a `tokenStep` of entries further. */
export interface Run extends RecordedRange {
  /** How many ranges. */
  readonly count: number;
  /** From the start of one range to the start of the next. */
  readonly step: number;
  /** From the entry of one range to the entry of the next. */
  readonly tokenStep: number;
}

/** What an operation does. */
export type Action =
  | { readonly kind: "init" | "destroy" | "validate" }
  | {
    readonly kind: "store" | "insert";
    readonly range: RecordedRange;
    readonly result: number;
    readonly count?: number;
  }
  | {
    readonly kind: "erase";
    readonly index: number;
    readonly expected: Token | null;
    readonly count?: number;
  }
  | {
    readonly kind: "load";
    readonly index: number;
    readonly expected: Token | null;
  }
  | {
    readonly kind: "load_run" | "store_run" | "insert_run" | "expect_run";
    readonly run: Run;
  }
  | {
    readonly kind: "find";
    readonly index: number;
    readonly max: number;
    readonly expected: Token | null;
    readonly last: number;
  }
  | {
    readonly kind: "for_each";
    readonly index: number;
    readonly max: number;
    readonly expected: readonly { last: number; token: Token | null }[];
  }
  | { readonly kind: "duplicate"; readonly into: number }
  | { readonly kind: "set_rcu"; readonly on: boolean }
  | {
    readonly kind: "expect_contents";
    readonly entries: readonly RecordedRange[];
  }
  | {
    readonly kind: "expect_same";
    readonly count: number;
    readonly other?: number;
  }
  | {
    readonly kind: "alloc" | "alloc_reverse";
    readonly size: number;
    readonly min: number;
    readonly max: number;
    readonly token: Token | null;
    readonly result: number;
    /** Where room was found. */
    readonly expected?: number;
  }
  | {
    readonly kind: "alloc_cyclic";
    readonly min: number;
    readonly max: number;
    readonly next: number;
    readonly token: Token | null;
    readonly expected: number;
    readonly wrapped: boolean;
    /** Where the next search is to begin; 0 behind the last index. */
    readonly nextAfter: number;
  }
  | CursorAction
  | { readonly kind: "skip"; readonly reason: string };

/** One operation of a case. */
export interface Operation {
  /** The recorded name. */
  readonly name: string;
  /** The number of the tree it works on. */
  readonly tree: number;
  /** What to do, and what must come of it. */
  readonly action: Action;
}

/** A recorded case. */
export interface Case {
  /** Its name. */
  readonly name: string;
  /** Its operations, in order. */
  readonly operations: readonly Operation[];
  /** Whether one of them looks for room. */
  readonly needsGaps: boolean;
}

/** What the recorded results mean. */
export const Result = {
  done: 0,
  noMemory: -12,
  busy: -16,
  exists: -17,
  invalid: -22,
} as const;

const REFUSED = "refused by the reference for what is no error here";

const INDEX_FIELDS = ["index", "last", "min", "max", "start", "next"];

type ReadAction = (fields: Fields) => Action;

/**
 * Reads a case from the text of its file.
 *
 * @throws {CaseError} If the text is no case; the message names the operation and the field.
 * @throws {IndexOutOfReachError} If the case uses an index that a range tree has no place for.
 */
export function readCase(text: string): Case {
  const record = parseRecord(text);
  const { name, ops } = record;
  if (typeof name !== "string" || !Array.isArray(ops)) {
    throw new CaseError('Cannot read case: "name" or "ops" is missing');
  }
  const operations = ops.map(readOperation);
  const needsGaps = operations.some(({ action }) => looksForRoom(action));
  return { name, operations, needsGaps };
}

function looksForRoom(action: Action): boolean {
  return action.kind === "alloc" || action.kind === "alloc_reverse" ||
    action.kind === "alloc_cyclic" ||
    (action.kind === "cursor" && action.call.name.startsWith("emptyArea"));
}

function parseRecord(text: string): Json {
  try {
    const record = JSON.parse(text);
    if (isRecord(record)) return record;
  } catch (error) {
    throw new CaseError(`Cannot read case: ${(error as Error).message}`);
  }
  throw new CaseError("Cannot read case: the file holds no object");
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readOperation(record: unknown, position: number): Operation {
  const name = isRecord(record) ? String(record.op) : "not an object";
  try {
    if (!isRecord(record)) throw new CaseError("an object is expected");
    requireReach(record);
    const fields = new Fields(record);
    return {
      name,
      tree: fields.optionalInteger("tree") ?? 0,
      action: readAction(name, fields),
    };
  } catch (error) {
    if (error instanceof IndexOutOfReachError) throw error;
    throw new CaseError(
      `Cannot read operation ${position} (${name}): ${
        (error as Error).message
      }`,
    );
  }
}

/** Meets every index of an operation, so that a case is skipped for one that only a skipped operation uses. */
function requireReach(record: Json): void {
  for (const name of INDEX_FIELDS) {
    if (typeof record[name] === "string") toIndex(record[name]);
  }
  for (const name of ["pre", "post"]) {
    if (Array.isArray(record[name])) record[name].slice(0, 2).forEach(toIndex);
  }
}

function readAction(name: string, fields: Fields): Action {
  const read = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
  if (!read) throw new CaseError("no such operation is known");
  return read(fields);
}

function readStore(kind: "store" | "insert"): ReadAction {
  return (fields) => {
    const first = fields.index("index");
    const last = fields.index("last");
    const result = fields.integer("expect");
    if (result === Result.noMemory) return skip(NO_MEMORY);
    if (result === Result.invalid && first <= last) return skip(REFUSED);
    const known = result === Result.done || result === Result.invalid ||
      (result === Result.exists && kind === "insert");
    if (!known) throw new CaseError(`"expect" is ${result}`);
    const range = { first, last, token: fields.token("value") };
    return { kind, range, result, count: fields.optionalInteger("count") };
  };
}

function readErase(fields: Fields): Action {
  return {
    kind: "erase",
    index: fields.index("index"),
    expected: fields.token("expect"),
    count: fields.optionalInteger("count"),
  };
}

function readLoadRun(fields: Fields): Action {
  const first = fields.index("index");
  const step = fields.integer("step");
  const count = Math.floor((fields.index("last") - first) / step) + 1;
  const token = fields.token("expect");
  const tokenStep = fields.integer("value_step");
  const run = { first, last: first, token, count, step, tokenStep };
  return { kind: "load_run", run: requireRun(run) };
}

function readRun(kind: "store_run" | "insert_run" | "expect_run"): ReadAction {
  return (fields) => {
    const run = {
      first: fields.index("index"),
      last: fields.index("last"),
      token: fields.token("value"),
      count: fields.integer("count"),
      step: fields.integer("step"),
      tokenStep: fields.integer("value_step"),
    };
    return { kind, run: requireRun(run) };
  };
}

function requireRun(run: Run): Run {
  if (run.step < 1) throw new CaseError(`"step" is ${run.step}`);
  if (run.tokenStep !== 0 && typeof run.token !== "number") {
    throw new CaseError(`"value_step" is ${run.tokenStep} on ${run.token}`);
  }
  return run;
}

function readFind(fields: Fields): Action {
  return {
    kind: "find",
    index: fields.index("index"),
    max: fields.index("max"),
    expected: fields.token("expect"),
    last: toIndexBefore(fields.text("index_after")),
  };
}

function readForEach(fields: Fields): Action {
  const expected = fields.list("expect").map((pair) => {
    const [after, token] = requireTexts(pair, 2);
    return { last: toIndexBefore(after), token: toToken(token) };
  });
  const index = fields.index("index");
  return { kind: "for_each", index, max: fields.index("max"), expected };
}

function readContents(fields: Fields): Action {
  const entries = fields.list("entries").map((entry) => {
    const [first, last, token] = requireTexts(entry, 3);
    return {
      first: toIndex(first),
      last: toIndex(last),
      token: toToken(token),
    };
  });
  return { kind: "expect_contents", entries };
}

function readAllocation(kind: "alloc" | "alloc_reverse"): ReadAction {
  return (fields) => {
    const result = fields.integer("expect");
    if (result === Result.noMemory) return skip(NO_MEMORY);
    return {
      kind,
      size: fields.integer("size"),
      min: fields.index("min"),
      max: fields.index("max"),
      token: fields.token("value"),
      result,
      expected: result === Result.done ? fields.index("start") : undefined,
    };
  };
}

function readCyclicAllocation(fields: Fields): Action {
  const result = fields.integer("expect");
  if (result < 0) return skip(REFUSED);
  return {
    kind: "alloc_cyclic",
    min: fields.index("min"),
    max: fields.index("max"),
    next: fields.index("next"),
    token: fields.token("value"),
    expected: fields.index("start"),
    wrapped: result === 1,
    nextAfter: fields.index("next_after"),
  };
}

function skip(reason: string): Action {
  return { kind: "skip", reason };
}

const READERS: Readonly<Record<string, ReadAction>> = {
  init: () => ({ kind: "init" }),
  destroy: () => ({ kind: "destroy" }),
  validate: () => ({ kind: "validate" }),
  store: readStore("store"),
  insert: readStore("insert"),
  erase: readErase,
  load: (fields) => ({
    kind: "load",
    index: fields.index("index"),
    expected: fields.token("expect"),
  }),
  load_run: readLoadRun,
  store_run: readRun("store_run"),
  insert_run: readRun("insert_run"),
  mt_find: readFind,
  mt_for_each: readForEach,
  dup: (fields) => ({ kind: "duplicate", into: fields.integer("new") }),
  set_rcu: (fields) => ({ kind: "set_rcu", on: fields.boolean("on") }),
  expect_contents: readContents,
  expect_contents_run: readRun("expect_run"),
  expect_same: (fields) => ({
    kind: "expect_same",
    count: fields.integer("count"),
    other: fields.optionalInteger("new"),
  }),
  set_non_kernel: () => skip(REFERENCE_ONLY),

  alloc_range: readAllocation("alloc"),
  alloc_rrange: readAllocation("alloc_reverse"),
  alloc_cyclic: readCyclicAllocation,
  mas_alloc_cyclic: readCyclicAllocation,

  ...CURSOR_READERS,
};
