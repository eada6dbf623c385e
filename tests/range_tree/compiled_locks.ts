/**
 * What another thread does at the moment when it matters: while a compiled call, or the compiled mover, takes a lock, a node that is at
 * hand, or releases the lock. The sources are compiled anew with a call there that does it. Run by `compiled_calls_test.ts`, since
 * the compiler needs a permission more; exits 1 if anything is wrong.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { Arena } from "../../src/memory/mod.ts";
import { bindTo, compiledFor } from "../../src/range_tree/compiled.ts";
import { lockIndexOf, rootOf } from "../../src/range_tree/header.ts";
import { RangeTree } from "../../src/range_tree/mod.ts";
import { setParent } from "../../src/range_tree/node.ts";
import { compile } from "../../tools/assemble.ts";
import { bothOf } from "./both_caches.ts";

/** The bit that a sleeper sets in the word of a lock. */
const CONTENDED = 0x4000_0000;
const IMPORTS = `
// @ts-ignore: a decorator of AssemblyScript
@external("env", "beforeTaking")
declare function beforeTaking(): void;
// @ts-ignore: a decorator of AssemblyScript
@external("env", "beforeReleasing")
declare function beforeReleasing(): void;
// @ts-ignore: a decorator of AssemblyScript
@external("env", "beforeTakingNode")
declare function beforeTakingNode(): void;
`;

/** What happens once, at these places. */
interface Meanwhile {
  beforeTaking?: () => void;
  beforeReleasing?: () => void;
  beforeTakingNode?: () => void;
}

/** Calls before what takes a lock and what releases it, or before what takes a node that is at hand. */
function withCalls(source: string): string {
  const places = source.includes("export function take(")
    ? ["beforeTakingNode"]
    : ["beforeTaking", "beforeReleasing"];
  const calls = source.replace(
    /^ *\w.*(HEADER_LOCK|\(word, .*|\(head, ref, .*)\)/gm,
    (line) => `${places.shift()}();\n${line}`,
  );
  assertEquals(places, []);
  return calls + IMPORTS;
}

const module = new WebAssembly.Module(
  await compile(
    "src/range_tree/assembly/mod.ts",
    (name, text) =>
      /assembly\/(lock|mover|supply)\.ts$/.test(name) ? withCalls(text) : text,
  ),
);

/** A tree with two entries, in an arena whose compiled calls let that happen meanwhile. */
function treeOf(meanwhile: Meanwhile, rcu: boolean) {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const happen = (place: keyof Meanwhile) => {
    const what = meanwhile[place];
    delete meanwhile[place];
    what?.();
  };
  const { exports } = new WebAssembly.Instance(module, {
    env: {
      memory: arena.memory!,
      beforeTaking: () => happen("beforeTaking"),
      beforeReleasing: () => happen("beforeReleasing"),
      beforeTakingNode: () => happen("beforeTakingNode"),
    },
  });
  bindTo(Object.assign(compiledFor(arena)!, exports), arena);
  const tree = RangeTree.create(arena, { rcu });
  tree.storeRange(5, 9, 1);
  tree.storeRange(20, 29, 3);
  bothOf(arena).stockUp();
  return { arena, tree, lock: lockIndexOf(tree.ref) };
}

const load = (tree: RangeTree): unknown => tree.load(5);
const changes = [
  (tree: RangeTree) => tree.storeRange(5, 9, 2),
  (tree: RangeTree) => tree.insert(7, 2),
  (tree: RangeTree) => tree.erase(20),
  (tree: RangeTree) => tree.storeMany([5], [9], [4]),
];

for (const rcu of [false, true]) {
  // Readers of a tree in RCU mode take no lock.
  for (const operation of rcu ? changes : [load, ...changes]) {
    // Somebody begins to sleep on the lock: it is released all the same, and they are woken.
    const meanwhile: Meanwhile = {};
    const { arena, tree, lock } = treeOf(meanwhile, rcu);
    meanwhile.beforeReleasing = () => arena.words[lock] |= CONTENDED;
    operation(tree);
    assertEquals(meanwhile, {}, `${operation} is compiled`);
    assertEquals([arena.words[lock], arena.lockdep.held], [0, 0]);
    tree.validate();
  }
}

for (const operation of [load, ...changes]) {
  // The tree is destroyed after the first look at it: then what was taken is released.
  const meanwhile: Meanwhile = {};
  const { arena, tree, lock } = treeOf(meanwhile, false);
  const theirs = RangeTree.attach(Arena.attach(arena.shared), tree.ref);
  meanwhile.beforeTaking = () => theirs.destroy();
  assertThrows(() => operation(tree), Error, "it was destroyed");
  assertEquals([arena.words[lock], arena.lockdep.held], [0, 0]);
}

{
  // Somebody begins to sleep on the lock while a node is moved, or can't be: the mover counts it or not, and wakes them.
  const meanwhile: Meanwhile = {};
  const { arena, tree, lock } = treeOf(meanwhile, true);
  const { leaves } = bothOf(arena);
  const mover = NodeMover.of(arena, leaves);
  // So that the mover knows the tree.
  assertEquals(mover.relocate(rootOf(arena.words, tree.ref)), "moved");
  const stray = leaves.allocate();
  setParent(arena.words, stray, 0);
  for (
    const [node, moved] of [[rootOf(arena.words, tree.ref), 1], [stray, 0]]
  ) {
    meanwhile.beforeReleasing = () => arena.words[lock] |= CONTENDED;
    arena.rcu.readLock();
    mover.prepare([node]);
    assertEquals(mover.relocateRun([node], 0), moved);
    arena.rcu.readUnlock();
    assertEquals(meanwhile, {});
    assertEquals([arena.words[lock], arena.lockdep.held], [0, 0]);
    tree.validate();
  }
}

{
  // Another thread takes all that is at hand when a store has found a node there: it is that one's, and the store gets others.
  const meanwhile: Meanwhile = {};
  const { arena, tree } = treeOf(meanwhile, true);
  const other = Arena.attach(arena.shared);
  meanwhile.beforeTakingNode = () => bothOf(other).shrink();
  tree.storeRange(7, 7, 5);
  assertEquals(meanwhile, {});
  tree.storeRange(25, 25, 5);
  tree.validate();
  arena.rcu.barrier();
  bothOf(arena).giveBack();
  assertEquals(bothOf(arena).usage().objects, tree.stats().nodes);
}
