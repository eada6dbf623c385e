/**
 * Lets a thread die at every step of compiled stores, which no access by `Atomics` tells: the sources are compiled anew with a
 * trap before each of their writes. Then another thread reaps it, and looks whether all of the store is there or nothing of
 * it, and whether anything is lost. Exits 1 if so. Run by `compiled_store_test.ts`, since the compiler needs a permission more.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import {
  bindTo,
  compiledFor,
  type CompiledTrees,
} from "../../src/range_tree/compiled.ts";
import { rootOf } from "../../src/range_tree/header.ts";
import { Slabs } from "../../src/slab/mod.ts";
import { compile } from "../../tools/assemble.ts";
import { rng } from "../seed.ts";
import { lostIn, NOTHING_LOST, settle } from "../stress/lost.ts";
import { Mirror } from "./mirror.ts";
import { assertSame, digest, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

const FOLDER = "src/range_tree/assembly/";
const WRITE = /^( *)(?=.*\b(v128\.store|store<|atomic\.(add|cmpxchg)<).*)/;
const TRAP = `
let stepsLeft: i32 = -1;
export function dieAfter(steps: i32): void { stepsLeft = steps; }
export function step(): void { if (stepsLeft-- == 0) unreachable(); }
`;
const IMPORT = 'import { step } from "./writer";\n';
/** What a thread dies in. */
const STORES = [
  "storeRange",
  "insertRange",
  "erase",
  "enterStoreRange",
  "enterInsertRange",
  "enterErase",
  "enterStoreMany",
] as const;
const RANGES = 1200;
const SEEDS = 24;

interface Dying extends CompiledTrees {
  dieAfter(steps: number): void;
}

function withTraps(source: string): string {
  let isTaken = false;
  const lines = source.split("\n").map((line) => {
    // Between taking an object and noting that no thread is terminated: see `take`.
    const isExempt = isTaken || line.trimStart().startsWith("//");
    isTaken = line.includes("atomic.cmpxchg<u32>(head");
    return isExempt ? line : line.replace(WRITE, "$1step(); ");
  });
  return lines.join("\n");
}

async function doomedModule(): Promise<WebAssembly.Module> {
  const bytes = await compile(`${FOLDER}mod.ts`, (name, text) => {
    if (name.endsWith("assembly/writer.ts")) return withTraps(text) + TRAP;
    if (/assembly\/(lock|path|publish|rebuild|supply)\.ts$/.test(name)) {
      return IMPORT + withTraps(text);
    }
    return name.endsWith("assembly/mod.ts")
      ? text + 'export { dieAfter } from "./writer";\n'
      : text;
  });
  return new WebAssembly.Module(bytes);
}

/** Has a thread's compiled stores be those with traps, and its atomic accesses throw once it has met one. */
function doom(victim: Arena, module: WebAssembly.Module): Dying {
  const memory = victim.memory!;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const dying = Object.assign(
    compiledFor(victim)!,
    exports as unknown as Dying,
  );
  for (const name of STORES) {
    const original = dying[name] as (...numbers: number[]) => number;
    dying[name] = (...numbers: number[]) => {
      try {
        return original(...numbers);
      } catch (error) {
        stopAtomics(victim);
        throw error;
      }
    };
  }
  bindTo(dying, victim);
  return dying;
}

function stopAtomics(victim: Arena): void {
  const inline = victim.words.inline as unknown as Record<string, unknown>;
  for (const name of Object.keys(inline)) {
    inline[name] = () => {
      throw new Error("dead");
    };
  }
}

type Change = (
  to: Pick<Mirror, "storeRange" | "insertRange" | "erase">,
) => unknown;

/** A change of a range that is there: of all of it, a part, or what it touches. */
function changeOf(seed: number): Change {
  const random = rng(seed);
  const first = random.int(RANGES) * 10;
  return random.pick<Change>([
    (to) => to.storeRange(first, first + 5, 7),
    (to) => to.storeRange(first + 2, first + 3, 7),
    // Of one range, so that all of it is there or nothing.
    (to) =>
      to instanceof RangeTree
        ? to.storeMany([first + 3], [first + 8], [7])
        : to.storeRange(first + 3, first + 8, 7),
    (to) => to.insertRange(first + 7, first + 8, 7),
    (to) => to.storeRange(first + 4, first + 24, 7),
    (to) => to.erase(first),
    (to) => to.storeRange(first, first + 39, 0),
    (to) => to.storeRange(first, first + 59, 7),
  ]);
}

/** Whether a thread dies of a call. */
function dies(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch (error) {
    assert(error instanceof Error, String(error));
    return true;
  }
}

/** Trees of which a store replaces the root, as the last node that it defers. */
const ROOTS: ((tree: RangeTree) => void)[] = [
  (tree) => tree.store(4, 1), // a leaf
  (tree) => tree.bulkLoad(points(40, 4)), // above full leaves
];

/**
 * Lets a thread die, so many steps into a store, of deferring a node that it has deferred before. It marked the node as where its list
 * began when it looked last, and the mark stays when a barrier of another thread frees the node: so it must say nothing about the
 * node once that is the root of a new tree.
 *
 * @param module The compiled loops with traps.
 * @param build Makes such a root.
 * @param waits Whether the node waited for its grace period already when the barrier came.
 * @returns Whether it died: not if the store takes fewer steps.
 */
function dieDeferringAgain(
  module: WebAssembly.Module,
  build: (tree: RangeTree) => void,
  waits: boolean,
  steps: number,
): boolean {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  // Who frees what others have deferred needs the caches.
  Slabs.of(arena);
  const victim = Arena.attach(arena.shared);
  const dying = doom(victim, module);
  const { words, rcu } = victim;
  const mark = waits ? rcu.deferral.waitSeen : rcu.deferral.seen;
  const first = RangeTree.create(victim, { rcu: true });
  build(first);
  bothOf(victim).stockUp();
  first.store(5, 77);
  if (waits) {
    arena.rcu.readLock();
    rcu.flush();
    arena.rcu.readUnlock();
  }
  arena.rcu.barrier();
  bothOf(victim).giveBack();
  let tree: RangeTree;
  do {
    tree = RangeTree.create(victim, { rcu: true });
    build(tree);
  } while (rootOf(words, tree.ref) !== words[mark]);
  bothOf(victim).stockUp();
  dying.dieAfter(steps);
  const died = dies(() => tree.store(5, 7));
  if (died) arena.reap(victim.thread);
  else victim.leave();
  settle(arena);
  assertEquals(lostIn(arena), NOTHING_LOST, `waits ${waits}, step ${steps}`);
  return died;
}

const module = await doomedModule();
let deaths = 0, longest = 0;
for (let seed = 1; seed <= SEEDS; seed++) {
  const change = changeOf(seed);
  let died = true;
  for (let steps = 0; died; steps++) {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const modes = { name: "tree", rcu: seed % 2 === 0, gaps: seed % 5 === 0 };
    const tree = RangeTree.create(arena, modes);
    const mirror = new Mirror();
    for (let i = 0; i < RANGES; i++) {
      mirror.entries.push({ first: 10 * i, last: 10 * i + 5, value: i + 1 });
    }
    // Lean leaves for some, full ones for others.
    if (seed % 3 === 0) tree.bulkLoad(mirror.entries);
    else {
      for (const { first, last, value } of mirror.entries) {
        tree.storeRange(first, last, value);
      }
    }
    const victim = Arena.attach(arena.shared);
    const theirs = RangeTree.attach(victim, "tree");
    const dying = doom(victim, module);
    // So that there is something at hand, and a list that something is queued in already.
    theirs.storeRange(5, 5, 0);
    mirror.storeRange(5, 5, 0);
    bothOf(victim).stockUp();
    const before = digest(tree);
    dying.dieAfter(steps);
    died = dies(() => change(theirs));
    if (!died) {
      victim.leave();
      change(mirror);
      longest = Math.max(longest, steps);
    }
    if (died) {
      deaths++;
      arena.reap(victim.thread);
      if (digest(tree) !== before) change(mirror);
    }
    assertSame(tree, mirror);
    tree.storeRange(20_000, 20_010, 5);
    mirror.storeRange(20_000, 20_010, 5);
    assertSame(tree, mirror);
    for (const cache of Slabs.of(arena).all()) cache.validate();
    arena.pages.validate();
    settle(arena);
    assertEquals(
      lostIn(arena),
      NOTHING_LOST,
      `seed ${seed}, died at step ${steps}`,
    );
  }
}

for (const build of ROOTS) {
  for (const waits of [false, true]) {
    let steps = 0;
    while (dieDeferringAgain(module, build, waits, steps)) steps++;
  }
}

// Not those of `build.ts`: it writes to nodes that nobody has seen, or to a leaf where no thread is terminated.
assert(
  deaths >= 16 * SEEDS,
  `${deaths} deaths, the longest store has ${longest} writes`,
);
