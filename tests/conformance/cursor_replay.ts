/**
 * Replays what a case does with cursors.
 *
 * Each operation takes the lock anew, since the tree is compacted between any two, and brings the cursor where it was.
 *
 * @module
 */

import type { Cursor, CursorState, RangeTree } from "../../mod.ts";
import type { CursorAction, CursorCall, Range } from "./cursor_case.ts";
import { fail } from "./mismatch.ts";
import type { Token, ValueTable } from "./values.ts";

/** A cursor, and where the last operation left it. */
interface Held {
  readonly cursor: Cursor;
  readonly tree: RangeTree;
  range: Range;
  state: CursorState;
}

/** The cursors of a case, by number. */
export class CursorReplayer {
  readonly #values: ValueTable;
  readonly #held = new Map<number, Held>();

  /** Stores and finds the entries of that table. */
  constructor(values: ValueTable) {
    this.#values = values;
  }

  /**
   * Carries out one operation.
   *
   * @throws {MismatchError} If it departs from the record.
   */
  carryOut(action: CursorAction, tree: RangeTree): void {
    const held = this.#cursor(action.cursor, tree);
    using _guard = tree.lock();
    restore(held, action.before);
    const { cursor } = held;
    const { name } = action.call;
    const found = this.#call(cursor, action.call);
    if (action.expected !== undefined) {
      this.#expectValue(name, action.expected, found);
    }
    held.range = [cursor.index, cursor.last];
    held.state = cursor.state;
    if (action.after === undefined) return;
    expectRange(name, action.after, held.range);
  }

  /** A tree is gone: its cursors start anew. */
  forget(tree: RangeTree): void {
    for (const [number, held] of this.#held) {
      if (held.tree !== tree) continue;
      held.cursor.destroy();
      this.#held.delete(number);
    }
  }

  #cursor(number: number, tree: RangeTree): Held {
    const known = this.#held.get(number);
    if (known?.tree === tree) return known;
    known?.cursor.destroy();
    const cursor = tree.cursor();
    const held: Held = { cursor, tree, range: [0, 0], state: "start" };
    this.#held.set(number, held);
    return held;
  }

  #call(cursor: Cursor, call: CursorCall): number {
    switch (call.name) {
      case "walk":
      case "erase":
        return cursor[call.name]();
      case "pause":
      case "reset":
      case "destroy":
        cursor[call.name]();
        return 0;
      case "find":
      case "findRange":
      case "next":
      case "nextRange":
        return cursor[call.name](call.max);
      case "findReverse":
      case "findRangeReverse":
      case "prev":
      case "prevRange":
        return cursor[call.name](call.min);
      case "store":
      case "storeBlocking":
        return cursor[call.name](this.#values.valueOf(call.token));
      case "preallocate":
        cursor.preallocate(this.#values.valueOf(call.token));
        return 0;
      case "setRange":
        cursor.setRange(...call.range);
        return 0;
      case "emptyArea":
      case "emptyAreaReverse": {
        const found = cursor[call.name](call.min, call.max, call.size);
        if (found !== call.found) fail(call.name, call.found, found);
        return 0;
      }
      case "forEach":
      case "forEachReverse":
        return this.#forEach(cursor, call);
    }
  }

  #forEach(
    cursor: Cursor,
    call: Extract<CursorCall, { name: "forEach" | "forEachReverse" }>,
  ): number {
    cursor.setRange(call.from);
    const find = () =>
      call.name === "forEach"
        ? cursor.find(call.to)
        : cursor.findReverse(call.to);
    for (const [first, last, token] of call.entries) {
      this.#expectValue(`${call.name} at ${first}`, token, find());
      expectRange(call.name, [first, last], [cursor.index, cursor.last]);
    }
    this.#expectValue(`${call.name}, in the end`, null, find());
    return 0;
  }

  #expectValue(what: string, expected: Token | null, found: number): void {
    if (found === this.#values.valueOf(expected)) return;
    fail(what, expected ?? "nothing", this.#values.nameOf(found));
  }
}

/** Brings a cursor where the last operation left it, or to the recorded range if that is another one. */
function restore(held: Held, before: Range | undefined): void {
  const { cursor, range, state } = held;
  if (before !== undefined && String(before) !== String(range)) {
    // The reference lets its fields be set one by one, also to an end before the beginning.
    const [first, last] = before;
    return cursor.setRange(first, Math.max(first, last));
  }
  cursor.setRange(...range);
  if (state === "start") return;
  if (state === "paused") return cursor.pause();
  cursor.walk();
  if (state === "overflow") cursor.next(cursor.last);
  if (state === "underflow") cursor.prev(cursor.index);
}

function expectRange(what: string, expected: Range, found: Range): void {
  if (String(expected) === String(found)) return;
  fail(`range of ${what}`, expected, found);
}
