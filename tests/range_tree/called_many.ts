import { assert } from "@std/assert";
import type {
  Entry,
  EntryColumns,
  RangeTree,
} from "../../src/range_tree/mod.ts";

/** What the columns hold. */
export function entriesOf(
  { count, firsts, lasts, values }: EntryColumns,
): Entry[] {
  assert(count > 0 && count <= values.length, `${count} entries`);
  return Array.from({ length: count }, (_, i) => (
    { first: firsts[i], last: lasts[i], value: values[i] }
  ));
}

/** What `RangeTree.forEachMany` calls back with, one call after the other. */
export function calledMany(
  tree: RangeTree,
  from: number,
  to: number,
): Entry[] {
  const called: Entry[] = [];
  tree.forEachMany((entries) => called.push(...entriesOf(entries)), from, to);
  return called;
}
