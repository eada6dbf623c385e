/**
 * The compiled mover against the one in TypeScript: the same moves in twin arenas, of which one is seen as WebAssembly memory and the
 * other one by its buffer alone, leave all words the same.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { Arena } from "../../src/memory/mod.ts";
import { compiledFor } from "../../src/range_tree/compiled.ts";
import { setRoot } from "../../src/range_tree/header.ts";
import {
  ExternalLock,
  type LockMode,
  RangeTree,
} from "../../src/range_tree/mod.ts";
import { heightOf, setParent, setSlot } from "../../src/range_tree/node.ts";
import { spinTryLock, spinTryLockFor } from "../../src/sync/spin_lock.ts";
import { digest, nodesOf } from "../range_tree/worlds.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { type BothCaches, bothOf } from "../range_tree/both_caches.ts";

const SCRATCH_WORDS = 640;
const INDICES = 4000;

/** One of two arenas that are the same, as its mover's thread sees it, and as the thread that made it does. */
interface Twin {
  readonly arena: Arena;
  readonly tree: RangeTree;
  readonly externalLock: ExternalLock | undefined;
  readonly nodes: BothCaches;
  readonly moving: Arena;
  readonly mover: NodeMover;
}

interface Options {
  readonly gaps: boolean;
  readonly lock: LockMode;
  readonly ranges: number;
  readonly seed: number;
}

function twinOf(isCompiled: boolean, options: Options): Twin {
  const { gaps, lock, ranges, seed } = options;
  const arena = Arena.create({ byteLength: 2 ** 19 });
  const externalLock = lock === "external"
    ? ExternalLock.create(arena)
    : undefined;
  const tree = RangeTree.create(arena, { rcu: true, gaps, lock, externalLock });
  const twin = { arena, tree, externalLock };
  withLock(twin, () => storeSome(tree, rng(seed), ranges));
  const moving = Arena.attach(isCompiled ? arena.shared : arena.buffer);
  const nodes = bothOf(moving);
  return { ...twin, nodes, moving, mover: NodeMover.of(moving, nodes.leaves) };
}

/** Both twins: the compiled one first. */
function twinsOf(options: Options): readonly [Twin, Twin] {
  const twins = [twinOf(true, options), twinOf(false, options)] as const;
  assert(twins[0].moving.memory !== undefined);
  assert(twins[1].moving.memory === undefined);
  assertAlike(twins);
  return twins;
}

function storeSome(tree: RangeTree, random: Rng, ranges: number): void {
  for (let i = 0; i < ranges; i++) {
    const first = random.int(INDICES);
    tree.storeRange(first, first + random.int(3), 1 + random.int(1000));
  }
}

/** Does something under the external lock, if there is one. */
function withLock(
  { externalLock }: Pick<Twin, "externalLock">,
  section: () => void,
): void {
  using _guard = externalLock?.guard();
  section();
}

/** All words but those in which compiled loops find what they are to do, and leave what they found. */
function imageOf({ arena, moving }: Twin): Int32Array {
  const image = arena.words.slice();
  for (const { scratchIndex } of [arena, moving]) {
    image.fill(0, scratchIndex, scratchIndex + SCRATCH_WORDS);
  }
  return image;
}

/** The twins hold the same words, and their trees are sound. */
function assertAlike(twins: readonly [Twin, Twin]): void {
  const [compiled, plain] = twins.map(imageOf);
  const differs = compiled.findIndex((word, i) => word !== plain[i]);
  assertEquals(differs, -1, `word ${differs} differs`);
  for (const twin of twins) withLock(twin, () => twin.tree.validate());
}

/** Moves the nodes one by one in both, and compares them after each; returns what came of them. */
function moveEach(
  twins: readonly [Twin, Twin],
  nodes: readonly number[],
): Set<string> {
  const [compiled, plain] = twins;
  const outcomes = new Set<string>();
  for (const node of nodes) {
    const outcome = compiled.mover.relocate(node);
    assertEquals(plain.mover.relocate(node), outcome);
    outcomes.add(outcome);
    assertAlike(twins);
  }
  return outcomes;
}

/** Moves as many nodes as can be in runs, and those in the way one by one; returns what came of these. */
function sweep({ moving, mover }: Twin, nodes: readonly number[]): string[] {
  const outcomes: string[] = [];
  moving.rcu.readLock();
  mover.prepare(nodes);
  for (let at = 0; at < nodes.length; at++) {
    at += mover.relocateRun(nodes, at);
    if (at < nodes.length) outcomes.push(mover.relocate(nodes[at]));
  }
  moving.rcu.readUnlock();
  mover.finish();
  return outcomes;
}

/** Gives back what was prepared and frees what was moved; then nothing is left over. */
function assertTidy(twins: readonly [Twin, Twin]): void {
  for (const { mover, moving } of twins) {
    mover.finish();
    moving.rcu.barrier();
  }
  assertAlike(twins);
  for (const twin of twins) {
    const { nodes, tree } = twin;
    nodes.validate();
    withLock(twin, () => {
      assertEquals(nodes.stats().objects, tree.stats().nodes);
    });
  }
}

for (const gaps of [false, true]) {
  for (const lock of ["internal", "external"] as const) {
    const name =
      `NodeMover moves each node of a tree as its twin in TypeScript does, gaps ${gaps}, lock ${lock}`;
    for (const seed of seeds(name)) {
      Deno.test(`${name} (seed ${seed})`, () => {
        for (const [at, ranges] of [1, 6, 700].entries()) {
          const twins = twinsOf({ gaps, lock, ranges, seed });
          const [{ arena, tree }] = twins;
          const before = digestOf(twins[0]);
          const heights = new Set<number>();
          for (let i = nodesOf(arena, tree).length; i-- > 0;) {
            const node = nodesOf(arena, tree)[i];
            heights.add(heightOf(arena.words, node));
            assertEquals(moveEach(twins, [node]), new Set(["moved"]));
            assertEquals(moveEach(twins, [node]), new Set(["gone"]));
            assertEquals(twins.map(digestOf), [before, before]);
          }
          assert(heights.has(0) && heights.size === [1, 1, 3][at]);
          assertTidy(twins);
        }
      });
    }
  }
}

function digestOf(twin: Twin): string {
  let text = "";
  withLock(twin, () => text = digest(twin.tree));
  return text;
}

const RUNS = "NodeMover.relocateRun() moves as many nodes as relocate() does";
for (const seed of seeds(RUNS)) {
  Deno.test(`${RUNS} (seed ${seed})`, () => {
    for (const gaps of [false, true]) {
      const twins = twinsOf({ gaps, lock: "internal", ranges: 900, seed });
      const [compiled, plain] = twins;
      const random = rng(seed);
      const before = digestOf(compiled);
      let alone = 0, all = 0;
      for (let round = 0; round < 40; round++) {
        const nodes = nodesOf(compiled.arena, compiled.tree)
          .filter(() => random.int(4) === 0).slice(0, 1 + random.int(80));
        // In between there are such as are in no tree, and such as were moved already.
        for (let i = random.int(4); i > 0; i--) {
          const stray = compiled.nodes.allocate();
          assertEquals(plain.nodes.allocate(), stray);
          const parent = random.pick([0, stray, compiled.tree.ref + 1, 4]);
          for (const { arena } of twins) setParent(arena.words, stray, parent);
          nodes.splice(random.int(nodes.length), 0, stray);
        }
        if (round % 3 === 0) nodes.push(nodes[0]);
        const outcomes = sweep(compiled, nodes);
        alone += outcomes.length;
        all += nodes.length;
        const moved = (outcome: string) => outcome !== "moved";
        assertEquals(
          sweep(plain, nodes).filter(moved),
          outcomes.filter(moved),
        );
        assertAlike(twins);
        assertEquals(digestOf(compiled), before);
        for (const { arena, nodes: cache, moving } of twins) {
          const held = new Set(nodesOf(arena, compiled.tree));
          moving.rcu.barrier();
          for (const ref of cache.objects()) {
            if (!held.has(ref) && nodes.includes(ref)) cache.free(ref);
          }
        }
      }
      // A few nodes may well be all such as are moved alone, but not so many.
      assert(alone < all / 2, `${alone} of ${all} nodes were moved alone`);
      assertTidy(twins);
    }
  });
}

Deno.test("NodeMover.relocateRun() stops where the tree's lock is held, and goes on later", () => {
  const twins = twinsOf({ gaps: true, lock: "internal", ranges: 700, seed: 5 });
  const [{ arena, tree }] = twins;
  const nodes = nodesOf(arena, tree);
  // So that the mover knows the tree.
  assertEquals(moveEach(twins, [nodes[9]]), new Set(["moved"]));
  for (const twin of twins) {
    using _guard = twin.tree.lock();
    twin.moving.rcu.readLock();
    twin.mover.prepare(nodes);
    assertEquals(twin.mover.relocateRun(nodes, 0), 0);
    assertEquals(twin.mover.relocate(nodes[0]), "busy");
    assertEquals(twin.mover.relocateRun(nodes, 0), 0);
    twin.moving.rcu.readUnlock();
  }
  assertAlike(twins);
  const later = nodesOf(arena, tree);
  for (const twin of twins) sweep(twin, later);
  assertTidy(twins);
});

Deno.test("NodeMover.relocateRun() releases a lock that others wait for at the end of a run", () => {
  const [{ arena, tree, moving, mover }] = twinsOf({
    gaps: false,
    lock: "internal",
    ranges: 700,
    seed: 6,
  });
  const nodes = nodesOf(arena, tree);
  assertEquals(mover.relocate(nodes[0]), "moved");
  const compiled = compiledFor(moving)!;
  const { moveRun } = compiled;
  // Somebody begins to wait behind the third move.
  using _run = stub(compiled, "moveRun", (_count, header, lock) => {
    const moved = moveRun(3, header, lock);
    assert(spinTryLock(moving.words, lock, moving.thread));
    assert(!spinTryLockFor(arena.words, lock, arena.thread, 1));
    return moved | 0x100;
  });
  moving.rcu.readLock();
  mover.prepare(nodes);
  assertEquals(mover.relocateRun(nodes, 1), 3);
  assertEquals(moving.lockdep.held, 0);
  moving.rcu.readUnlock();
  tree.lock()[Symbol.dispose]();
  tree.validate();
});

Deno.test("NodeMover leaves alone what is in no tree as its twin in TypeScript does", () => {
  const twins = twinsOf({ gaps: true, lock: "internal", ranges: 700, seed: 7 });
  const [{ arena, tree }] = twins;
  const [root, below] = nodesOf(arena, tree);
  const allocate = () => {
    const refs = twins.map(({ nodes }) => nodes.allocate());
    assertEquals(refs[0], refs[1]);
    return refs[0];
  };
  const child = allocate(), parent = allocate();
  const end = arena.pageRef(arena.pages.count);
  const nowhere = [0, 1, 2, 3, 4, -1, 0x6b6b6b6b, 0x7fff_fffc, end, end - 2];
  const around = [child, child + 1, root, below, tree.ref, tree.ref + 1];
  for (const { arena } of twins) {
    // A private parent that holds the child.
    arena.words[parent * 16 + 1] = 1 | (1 << 8);
    arena.words[child * 16 + 1] = 0 | (1 << 8);
    setSlot(arena.words, parent, 0, child);
  }
  for (const above of [...nowhere, ...around, parent]) {
    for (const { arena } of twins) {
      setParent(arena.words, parent, above);
      setParent(arena.words, child, parent);
    }
    assert(!moveEach(twins, [child]).has("moved"), `above ${above}`);
    for (const { arena } of twins) setParent(arena.words, child, above);
    assert(!moveEach(twins, [child]).has("moved"), `parent ${above}`);
    // One that is known to be of the tree comes before it: so the tree's lock is tried without a walk.
    const nodes = [nodesOf(arena, tree).pop()!, child];
    for (const twin of twins) {
      assertEquals(sweep(twin, nodes).filter((o) => o !== "moved").length, 1);
    }
    assertAlike(twins);
  }
  for (const { nodes } of twins) {
    nodes.free(child);
    nodes.free(parent);
  }
  assertTidy(twins);
});

Deno.test("NodeMover.prepare() reads no more than there is of what was freed meanwhile, whatever count stands in it", () => {
  const [{ nodes, moving, mover }] = twinsOf({
    gaps: false,
    lock: "internal",
    ranges: 1,
    seed: 9,
  });
  const freed = nodes.allocate();
  // All but the word in which allocators note whose it is.
  moving.words.fill(0x6b6b_6b6b, freed * 16, freed * 16 + 63);
  moving.rcu.readLock();
  mover.prepare([freed]);
  assert(mover.relocate(freed) !== "moved");
  moving.rcu.readUnlock();
  mover.finish();
});

Deno.test("NodeMover moves nothing of a tree that was destroyed or emptied, or made anew in its place", () => {
  const twins = twinsOf({
    gaps: false,
    lock: "internal",
    ranges: 700,
    seed: 8,
  });
  const [{ arena, tree }] = twins;
  const nodes = nodesOf(arena, tree);
  assertEquals(moveEach(twins, [nodes[5]]), new Set(["moved"]));
  const root = nodesOf(arena, tree)[0];
  for (const { arena } of twins) setRoot(arena.words, tree.ref, 0);
  const outcomes = twins.map((twin) => sweep(twin, nodes));
  assertEquals(outcomes[0], outcomes[1]);
  assert(!outcomes[0].includes("moved"));
  for (const { arena } of twins) setRoot(arena.words, tree.ref, root);
  assertAlike(twins);
  const later = twins.map(({ arena, tree, moving }) => {
    tree.destroy();
    arena.rcu.barrier();
    moving.rcu.barrier();
    // The header of the first one is used again.
    const later = RangeTree.create(arena, { rcu: true });
    assertEquals(later.ref, tree.ref);
    storeSome(later, rng(9), 700);
    return later;
  });
  const anew = nodesOf(arena, later[0]);
  assertEquals(
    twins.map((twin) => sweep(twin, anew).filter((o) => o !== "moved")),
    [[], []],
  );
  for (const tree of later) tree.validate();
  assertEquals(digest(later[0]), digest(later[1]));
  const [compiled, plain] = twins.map(imageOf);
  assertEquals(compiled.findIndex((word, i) => word !== plain[i]), -1);
});
