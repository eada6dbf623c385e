/**
 * What a cursor can do, carried out on it and on its mirror.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Cursor } from "../../src/range_tree/mod.ts";
import type { CursorMirror } from "./cursor_mirror.ts";

/** Does a thing to both; their answers must be equal. */
export type Step<Choice> = (
  cursor: Cursor,
  mirror: CursorMirror,
  choice: Choice,
) => [found: unknown, expected: unknown];

/** What changes nothing but the cursor. Up to a bound: the highest index that a search goes to, or the lowest. */
export const SEARCHES: Record<string, Step<{ bound: number }>> = {
  "walk()": (cursor, mirror) => [cursor.walk(), mirror.walk()],
  "find()": (cursor, mirror, { bound }) => [
    cursor.find(bound),
    mirror.find(bound, true),
  ],
  "findRange()": (cursor, mirror, { bound }) => [
    cursor.findRange(bound),
    mirror.find(bound, false),
  ],
  "findReverse()": (cursor, mirror, { bound }) => [
    cursor.findReverse(bound),
    mirror.findReverse(bound, true),
  ],
  "findRangeReverse()": (cursor, mirror, { bound }) => [
    cursor.findRangeReverse(bound),
    mirror.findReverse(bound, false),
  ],
  "next()": (cursor, mirror, { bound }) => [
    cursor.next(bound),
    mirror.next(bound, true),
  ],
  "nextRange()": (cursor, mirror, { bound }) => [
    cursor.nextRange(bound),
    mirror.next(bound, false),
  ],
  "prev()": (cursor, mirror, { bound }) => [
    cursor.prev(bound),
    mirror.prev(bound, true),
  ],
  "prevRange()": (cursor, mirror, { bound }) => [
    cursor.prevRange(bound),
    mirror.prev(bound, false),
  ],
  "pause()": (cursor, mirror) => [cursor.pause(), mirror.pause()],
  "reset()": (cursor, mirror) => [cursor.reset(), mirror.reset()],
};

/** What a change is about: an entry, or so many indices in a window. */
export interface Change {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly size: number;
}

/** What changes the tree, or prepares it, over the cursor's range. */
export const CHANGES: Record<string, Step<Change>> = {
  "store()": (cursor, mirror, { value }) => [
    cursor.store(value),
    mirror.store(value),
  ],
  "store(0)": (cursor, mirror) => [cursor.store(0), mirror.store(0)],
  "storeBlocking()": (cursor, mirror, { value }) => [
    cursor.storeBlocking(value),
    mirror.store(value),
  ],
  "insert()": (cursor, mirror, { value }) => [
    cursor.insert(value),
    mirror.insert(value),
  ],
  "erase()": (cursor, mirror) => [cursor.erase(), mirror.erase()],
  // Whether it is for the store that comes next, or for another one.
  "preallocate()": (cursor, _, { value }) => [
    cursor.preallocate(value),
    undefined,
  ],
  "destroy()": (cursor) => [cursor.destroy(), undefined],
};

/** What looks for room, in trees that track gaps. */
export const ROOM: Record<string, Step<Change>> = {
  "emptyArea()": (cursor, mirror, { min, max, size }) => [
    cursor.emptyArea(min, max, size),
    mirror.emptyArea(min, max, size, false),
  ],
  "emptyAreaReverse()": (cursor, mirror, { min, max, size }) => [
    cursor.emptyAreaReverse(min, max, size),
    mirror.emptyArea(min, max, size, true),
  ],
};

/** The cursor is where its mirror is. */
export function assertAlike(
  cursor: Cursor,
  mirror: CursorMirror,
  why: string,
): void {
  if (
    cursor.index === mirror.index && cursor.last === mirror.last &&
    cursor.state === mirror.state
  ) return;
  assertEquals(
    [cursor.index, cursor.last, cursor.state],
    [mirror.index, mirror.last, mirror.state],
    why,
  );
}
