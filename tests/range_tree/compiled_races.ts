/**
 * Has another thread store at the one moment of a walk when it matters: behind a leaf, before the way on leads over the root anew.
 * Compiled loops can't be stopped, so the sources are compiled anew with a call there. Exits 1 if a range is copied that never was in
 * the tree, or a search finds what it is to pass. Run by `compiled_test.ts`, since the compiler needs a permission more.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import {
  type Cursor,
  type Entry,
  RangeTree,
} from "../../src/range_tree/mod.ts";
import { bindTo, compiledFor } from "../../src/range_tree/compiled.ts";
import { flagsOf, generationOf } from "../../src/range_tree/header.ts";
import { CopiedEntries, Walk } from "../../src/range_tree/walk.ts";
import { compile } from "../../tools/assemble.ts";

const RANGES = 600;
const WIDTH = 10;
const END = RANGES * WIDTH - 1;
/** What the other thread stores, over the bound of two leaves. */
const OTHER = 1_000_000;
const INTERFERE = `
// @ts-ignore: a decorator of AssemblyScript
@external("env", "interfere")
declare function interfere(bound: f64): void;
`;

function withInterference(name: string, text: string): string {
  if (!name.endsWith("range_tree/assembly/walk.ts")) return text;
  return text
    .replace(/^( *)(toNextLeaf\(header\);)/m, "$1interfere(max); $2")
    .replace(/^( *)(toPreviousLeaf\(header\);)/m, "$1interfere(min - 1); $2")
    .replace("walkTo(header, last + 1);", "interfere(last); $&")
    .replace("walkTo(header, first - 1);", "interfere(first - 1); $&")
    .replace("walkTo(header, end + 1);", "interfere(end); $&")
    .replace("walkTo(header, begin - 1);", "interfere(begin - 1); $&") +
    INTERFERE;
}

/** The copied entries, in the order in which they were copied. */
function entriesOf({ count, firsts, lasts, values }: CopiedEntries): Entry[] {
  return Array.from({ length: count }, (_, i) => (
    { first: firsts[i], last: lasts[i], value: values[i] }
  ));
}

function isSame(a: Entry, b: Entry): boolean {
  return a.first === b.first && a.last === b.last && a.value === b.value;
}

const bytes = await compile(
  "src/range_tree/assembly/mod.ts",
  withInterference,
);
const arena = Arena.create({ byteLength: 2 ** 20 });
const tree = RangeTree.create(arena, { name: "tree", rcu: true });
const restore = (at: number) =>
  tree.storeRange(at * WIDTH, at * WIDTH + WIDTH - 1, at + 1);
for (let at = 0; at < RANGES; at++) restore(at);
assert(tree.height > 2, "some leaves are the last ones under their parents");

/** The last index of a leaf over whose end was stored; -1 if it was not since it was looked at. */
let bound = -1;
/** How far before and behind that it stores: over the ranges on both sides and a bit more, … */
const WIDE = [WIDTH + 2, WIDTH + 2] as const;
/** … or over all but a bit of the one that a search for an index in its middle comes from. */
const FROM_LEFT = [WIDTH - 2, 2] as const, FROM_RIGHT = [2, WIDTH - 2] as const;
let [before, behind]: readonly [number, number] = WIDE;
function interfere(at: number): void {
  if (bound >= 0) return;
  bound = at;
  tree.storeRange(at - before, at + behind, OTHER);
}
/** Has the tree as it was before that; what was in it before and after is returned. */
function restoreBoth(before: readonly Entry[]): Entry[] {
  const were = [...before, ...tree];
  const last = Math.floor(bound / WIDTH);
  for (let at = last - 1; at <= last + 2; at++) restore(at);
  return were;
}
function assertWas(range: Entry, were: readonly Entry[]): void {
  assert(
    were.some((entry) => isSame(entry, range)),
    `${JSON.stringify(range)} was never in the tree`,
  );
}

const reader = Arena.attach(arena.shared);
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
  env: { memory: reader.memory!, interfere },
});
bindTo(Object.assign(compiledFor(reader)!, exports), reader);
const walk = new Walk(reader), copied = new CopiedEntries();
const flags = flagsOf(reader.words, tree.ref);

for (const isReverse of [false, true]) {
  let copies = 0, brokenOff = 0;
  for (let at = 0; at < RANGES; at++) {
    bound = -1;
    const before = [...tree];
    const wasCopied = isReverse
      ? walk.copyBackward(tree.ref, 0, at * WIDTH, 6, flags, copied)
      : walk.copyForward(tree.ref, at * WIDTH, END, 6, flags, copied);
    assert(wasCopied, "another mode");
    if (bound < 0) continue;
    copies++;
    const now = generationOf(reader.words, tree.ref);
    assertNotEquals(copied.generation, now, "nobody knows that it is old");
    const were = restoreBoth(before);
    const ranges = entriesOf(copied);
    for (const range of ranges) assertWas(range, were);
    const end = ranges[ranges.length - 1];
    // All ranges adjoin here.
    assertEquals(copied.reached, isReverse ? end.first : end.last);
    if (isReverse ? end.first === bound + 1 : end.last === bound) brokenOff++;
  }
  assert(
    brokenOff > 0 && brokenOff < copies,
    `${brokenOff} of ${copies} copies ended where the other thread stored`,
  );
}

/** How often a walk went down by a call of TypeScript, where that counts: from the second time on another thread stores before. */
const { to } = Walk.prototype;
let descents = -Infinity;
Walk.prototype.to = function (header, index) {
  if (descents++ > 0) interfere(index > this.last ? index - 1 : index);
  to.call(this, header, index);
};

/** What is found beside the range that contains an index: behind it, or before it. */
type Search = (view: RangeTree, index: number) => Entry | undefined;

type CursorStep = Extract<
  keyof Cursor,
  "find" | "findReverse" | "next" | "nextRange" | "prev" | "prevRange"
>;

function byCursor(step: CursorStep, isThere = true): Search {
  return (view, index) => {
    const cursor = view.cursor(index);
    if (isThere) cursor.walk();
    const value = cursor[step]();
    return { first: cursor.index, last: cursor.last, value };
  };
}

/** Those that come from the index, and those that come from a range that was found. */
const BEHIND: Record<"index" | "range", Search[]> = {
  index: [(view, index) => view.next(index), byCursor("next", false)],
  range: [byCursor("find"), byCursor("next"), byCursor("nextRange")],
};
const BEFORE: Record<"index" | "range", Search[]> = {
  index: [(view, index) => view.prev(index), byCursor("prev", false)],
  range: [byCursor("findReverse"), byCursor("prev"), byCursor("prevRange")],
};

function assertBeside(
  arena: Arena,
  search: Search,
  index: number,
  isBehind: boolean,
): boolean {
  const view = RangeTree.attach(arena, "tree");
  const before = [...tree];
  bound = -1;
  descents = 0;
  arena.rcu.readLock();
  const found = search(view, index)!;
  arena.rcu.readUnlock();
  descents = -Infinity;
  if (bound < 0) return false;
  assertWas(found, restoreBoth(before));
  assert(
    isBehind ? found.first > index : found.last < index,
    `${search}: ${JSON.stringify(found)} is not beside ${index}`,
  );
  return true;
}

function assertAllBeside(
  arena: Arena,
  search: Search,
  isBehind: boolean,
  margins: readonly [number, number],
): void {
  [before, behind] = margins;
  let met = 0;
  for (let index = 15; index < END - 15; index += WIDTH) {
    if (assertBeside(arena, search, index, isBehind)) met++;
  }
  assert(met > 0, `${search} never left a leaf`);
}

for (const arena of [reader, Arena.attach(reader.buffer)]) {
  for (const isBehind of [true, false]) {
    const { index, range } = isBehind ? BEHIND : BEFORE;
    for (const search of [...index, ...range]) {
      assertAllBeside(arena, search, isBehind, WIDE);
    }
    for (const search of index) {
      assertAllBeside(
        arena,
        search,
        isBehind,
        isBehind ? FROM_LEFT : FROM_RIGHT,
      );
    }
  }
}
