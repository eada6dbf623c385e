/**
 * Has another thread store at the one moment of a compiled copy when it matters: behind a leaf that is the last one under its parent,
 * before the way on leads over the root anew. Compiled loops can't be stopped, so the sources are compiled anew with a call there.
 * Exits 1 if a range is copied that never was in the tree. Run by `compiled_test.ts`, since the compiler needs a permission more.
 *
 * @module
 */
import { assert, assertNotEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type Entry, RangeTree } from "../../src/range_tree/mod.ts";
import { bindTo, compiledFor } from "../../src/range_tree/compiled.ts";
import { flagsOf, generationOf } from "../../src/range_tree/header.ts";
import { CopiedRanges, Walk } from "../../src/range_tree/walk.ts";
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
    .replace(/^( *)(toPreviousLeaf\(header\);)/m, "$1interfere(min - 1); $2") +
    INTERFERE;
}

/** The copied ranges, from the first to the last one. */
function rangesOf({ bounds, count, held }: CopiedRanges, isReverse: boolean) {
  const ranges: Entry[] = [];
  for (let at = 0; at < count; at++) {
    ranges.push(
      isReverse
        ? { first: bounds[at + 1], last: bounds[at] - 1, value: held[at] }
        : { first: bounds[at] + 1, last: bounds[at + 1], value: held[at] },
    );
  }
  return ranges;
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

let bound = -1;
const reader = Arena.attach(arena.shared);
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
  env: {
    memory: reader.memory!,
    interfere(at: number) {
      bound = at;
      tree.storeRange(at - 2, at + 3, OTHER);
    },
  },
});
bindTo(Object.assign(compiledFor(reader)!, exports), reader);
const walk = new Walk(reader), copied = new CopiedRanges();
const flags = flagsOf(reader.words, tree.ref);

for (const isReverse of [false, true]) {
  let copies = 0, brokenOff = 0;
  for (let at = 0; at < RANGES; at++) {
    bound = -1;
    const were = [...tree.entries()];
    const wasCopied = isReverse
      ? walk.copyBackward(tree.ref, 0, at * WIDTH, 2, flags, copied)
      : walk.copyForward(tree.ref, at * WIDTH, END, 2, flags, copied);
    assert(wasCopied, "another mode");
    if (bound < 0) continue;
    copies++;
    were.push(...tree.entries());
    const ranges = rangesOf(copied, isReverse);
    for (const range of ranges) {
      assert(
        were.some((entry) => isSame(entry, range)),
        `${JSON.stringify(range)} was never in the tree`,
      );
    }
    const end = ranges[ranges.length - 1];
    if (isReverse ? end.first === bound + 1 : end.last === bound) brokenOff++;
    const now = generationOf(reader.words, tree.ref);
    assertNotEquals(copied.generation, now, "nobody knows that it is old");
    restore(Math.floor(bound / WIDTH));
    restore(Math.floor(bound / WIDTH) + 1);
  }
  assert(
    brokenOff > 0 && brokenOff < copies,
    `${brokenOff} of ${copies} copies ended where the other thread stored`,
  );
}
