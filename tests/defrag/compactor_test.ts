import { assert, assertEquals, assertThrows } from "@std/assert";
import { type CompactionResult, Compactor } from "../../src/defrag/mod.ts";
import { Evacuation, movableOf } from "../../src/defrag/evacuation.ts";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { Arena, OutOfMemoryError } from "../../src/memory/mod.ts";
import { type LockMode, RangeTree } from "../../src/range_tree/mod.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { Mirror } from "../range_tree/mirror.ts";
import { chooseEntries, chooseRun, doOne } from "../range_tree/sequences.ts";
import {
  assertSame,
  assertSameAt,
  digest,
  nodesOf,
  points,
} from "../range_tree/worlds.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { TestWorker } from "../sync/workers.ts";
import type { ReadersCommand } from "./reader_worker.ts";
import { bothOf } from "../range_tree/both_caches.ts";

/** Trees of many sizes, of which a part is destroyed again: what is left lies scattered over the slabs. */
function fragment(
  arena: Arena,
  random: Rng,
  lock: LockMode = "internal",
): RangeTree[] {
  const trees: RangeTree[] = [];
  const count = 20 + random.int(60);
  for (let i = 0; i < count; i++) {
    const tree = RangeTree.create(arena, { lock, rcu: random.int(2) === 0 });
    const entries = random.pick([1, 20, 60, 500]);
    for (let entry = 0; entry < entries; entry++) {
      tree.store(random.int(entries * 4), 1 + random.int(100));
    }
    trees.push(tree);
  }
  const ended = random.pick([2, 5, 9]);
  const left = trees.filter(() => random.int(10) >= ended);
  for (const tree of trees) if (!left.includes(tree)) tree.destroy();
  for (const tree of left) {
    if (random.int(4) === 0) {
      tree.eraseRange(random.int(100), 100 + random.int(1000));
    }
  }
  return left;
}

function assertOptimal(result: CompactionResult): void {
  assertEquals([result.yield, result.moveEfficiency], [1, 1]);
  assertEquals(result.freedSlabs, result.plan.freeableSlabs);
  assertEquals(result.moves, result.plan.fewestMoves);
  assertEquals([result.pinned, result.busy], [0, 0]);
}

/** What holds after every run: sound caches and pages, nothing isolated, and as few nodes as the trees have. */
function assertSound(arena: Arena, trees: readonly RangeTree[]): void {
  for (const tree of trees) tree.validate();
  let objects = 0;
  for (const cache of [bothOf(arena), bothOf(arena, false)]) {
    cache.validate();
    assertEquals(cache.isolatedSlabs(), []);
    objects += cache.stats().objects;
  }
  arena.pages.validate();
  assertEquals(
    objects,
    trees.reduce((sum, tree) => sum + tree.stats().nodes, 0),
  );
  assertEquals([arena.lockdep.held, arena.rcu.depth, arena.rcu.pending], [
    0,
    0,
    0,
  ]);
}

Deno.test("Compactor.run() in an arena without trees wins nothing", () => {
  const result = new Compactor(Arena.create({ byteLength: 2 ** 20 })).run();
  assertOptimal(result);
  assertEquals(result.plan, {
    slabs: 0,
    objects: 0,
    freeableSlabs: 0,
    fewestMoves: 0,
  });
  assertEquals(result.lockHoldNanos, { p50: 0, p99: 0, max: 0 });
});

const OPTIMAL =
  "Compactor.run() reaches the optimum in slabs and moves where nothing is pinned, and no tree changes";
Deno.test(OPTIMAL, () => {
  for (const seed of seeds(OPTIMAL)) {
    let freed = 0;
    for (let round = 0; round < 8; round++) {
      const arena = Arena.create({ byteLength: 2 ** 22 });
      const trees = fragment(arena, rng(seed * 100 + round));
      const before = trees.map(digest);
      const stats = trees.map((tree) => tree.stats());
      const compactor = new Compactor(arena);
      const plan = compactor.plan();
      const pages = arena.pages.freePages;
      const result = compactor.run();
      assertEquals(result.plan, plan);
      assertOptimal(result);
      assertEquals(trees.map(digest), before);
      assertEquals(trees.map((tree) => tree.stats()), stats);
      assertSound(arena, trees);
      // Each slab that was freed is a page that anybody can have now.
      assertEquals(arena.pages.freePages, pages + result.freedSlabs);
      const { slabs, slabsAtBest } = bothOf(arena).usage();
      assertEquals(slabs, slabsAtBest);
      freed += result.freedSlabs;

      const again = compactor.run();
      assertOptimal(again);
      assertEquals([again.freedSlabs, again.moves], [0, 0]);
      assertEquals(arena.pages.freePages, pages + result.freedSlabs);
    }
    assert(freed > 40, `${freed} slabs`);
  }
});

Deno.test("Compactor.run() reaches the optimum in a debug arena too, and finds no object that was used after it was freed", () => {
  for (let seed = 1; seed <= 4; seed++) {
    const arena = Arena.create({ byteLength: 2 ** 22, debug: true });
    const trees = fragment(arena, rng(seed));
    const before = trees.map(digest);
    const result = new Compactor(arena).run();
    assertEquals(trees.map(digest), before);
    for (const tree of trees) tree.validate();
    assertOptimal(result);
  }
});

Deno.test("Compactor.run() works in an arena that is full", () => {
  const arena = Arena.create({ byteLength: 2 ** 19 });
  const trees: RangeTree[] = [];
  try {
    for (;;) {
      const tree = RangeTree.create(arena);
      trees.push(tree);
      for (let i = 0; i < 50; i++) tree.store(i * 2, 1);
    }
  } catch {
    // Full.
  }
  const left = trees.filter((tree, i) =>
    i % 2 === 0 || (tree.destroy(), false)
  );
  const before = left.map(digest);
  const result = new Compactor(arena).run();
  assertOptimal(result);
  assert(result.freedSlabs > 10);
  assertEquals(left.map(digest), before);
  assertSound(arena, left);
});

for (const lock of ["external", "none"] as const) {
  Deno.test(`Compactor.run() never touches trees of lock mode ${lock}, and counts their nodes as pinned`, () => {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const trees = fragment(arena, rng(7), lock);
    const image = () =>
      trees.map((tree) =>
        nodesOf(arena, tree).map((
          node,
        ) => [node, arena.words.slice(node * 16, node * 16 + 63)])
      );
    const before = image();
    const pages = new Compactor(arena).plan() && arena.pages.freePages;
    const result = new Compactor(arena).run();
    assertEquals(image(), before);
    assert(result.plan.freeableSlabs > 0);
    assertEquals([result.freedSlabs, result.moves, result.yield, result.busy], [
      0,
      0,
      0,
      0,
    ]);
    assertEquals(result.pinned, result.plan.fewestMoves);
    assertEquals(arena.pages.freePages, pages);
    assertSound(arena, trees);
  });
}

Deno.test("Compactor.run() compacts the movable trees beside pinned ones as well as if these were not there", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const random = rng(11);
  const pinned = fragment(arena, random, "none");
  const movable = fragment(arena, random);
  const trees = [...pinned, ...movable];
  const before = trees.map(digest);
  const compactor = new Compactor(arena);
  compactor.plan();
  const result = compactor.run();
  assertEquals(trees.map(digest), before);
  const { slabs, slabsAtBest } = bothOf(arena).usage();
  assertEquals(slabs, slabsAtBest);
  assert(result.freedSlabs > 0 && result.pinned > 0 && result.yield < 1);
  assertEquals(result.moveEfficiency, 1);
  assertSound(arena, trees);
});

Deno.test("Compactor.run() reports a tree whose lock is held as busy, moves all others, and puts the slabs back that it could not empty", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  // A node each, 16 a slab, and two of three go: every slab can be emptied, and the tree that is held lies in one.
  const all = Array.from({ length: 16 * 30 }, (_, i) => {
    const tree = RangeTree.create(arena);
    tree.store(i, i + 1);
    return tree;
  });
  const trees = all.filter((tree, i) => i % 3 === 0 || tree.destroy());
  const compactor = new Compactor(arena);
  const plan = compactor.plan();
  assertEquals(plan, {
    slabs: 30,
    objects: 160,
    freeableSlabs: 20,
    fewestMoves: plan.fewestMoves,
  });
  const [emptiest] = bothOf(arena).slabs();
  const held = trees.find((tree) =>
    arena.pfnOf(nodesOf(arena, tree)[0]) === emptiest.pfn
  )!;
  const [place] = nodesOf(arena, held);
  const before = trees.map(digest);
  const other = Arena.attach(arena.buffer);
  {
    using _guard = RangeTree.attach(other, held.ref).lock();
    const result = compactor.run();
    assertEquals([result.busy, result.pinned, result.freedSlabs], [1, 0, 19]);
    assertEquals(result.yield, 19 / 20);
    // All but the one node were moved, in vain for its neighbours.
    assertEquals(result.moves, plan.fewestMoves - 1);
    assert(result.moveEfficiency < 1);
  }
  assertEquals(nodesOf(arena, held), [place]);
  assertEquals(bothOf(arena).objectsOf(emptiest.pfn), [place]);
  assertEquals(trees.map(digest), before);
  assertSound(arena, trees);
  const again = compactor.run();
  assertOptimal(again);
  assertEquals([again.freedSlabs, again.moves], [1, 1]);
  assertEquals(trees.map(digest), before);
  assertSound(arena, trees);
  other.leave();
});

Deno.test("Compactor.run() leaves slabs alone that somebody else has isolated", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const trees = fragment(arena, rng(5));
  const cache = bothOf(arena).leaves;
  const fullest = cache.slabs().at(-1)!.pfn;
  assert(cache.isolate(fullest));
  const result = new Compactor(arena).run();
  assertEquals(cache.isolatedSlabs(), [fullest]);
  assertEquals(result.yield, 1);
  assert(cache.unisolate(fullest));
  assertSound(arena, trees);
});

Deno.test("Evacuation puts back no slab that another compactor has isolated in the place of one that it has emptied", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const trees = fragment(arena, rng(5));
  arena.rcu.barrier();
  const theirs = bothOf(Arena.attach(arena.buffer)).leaves;
  NodeMover.allOf(arena);
  const [leaves] = movableOf([bothOf(arena).leaves]);
  const [pfn] = leaves.emptiestSlabs(1);
  const evacuation = new Evacuation(arena, leaves, [pfn]);
  assertEquals(evacuation.step(), false);
  evacuation.finish();
  arena.rcu.barrier();
  const taken: number[] = [];
  do taken.push(theirs.allocate()); while (arena.pfnOf(taken.at(-1)!) !== pfn);
  assert(theirs.isolate(pfn));
  assertEquals(evacuation.unisolate(), 1);
  assertEquals(leaves.isolatedSlabs(), [pfn]);
  assert(theirs.unisolate(pfn));
  for (const ref of taken) theirs.free(ref);
  assertSound(arena, trees);
});

Deno.test("Compactor that fails isolates nothing for ever", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const all: RangeTree[] = [];
  const fill = () => {
    for (;;) {
      all.push(RangeTree.create(arena));
      all.at(-1)!.bulkLoad(points(60));
    }
  };
  assertThrows(fill, OutOfMemoryError);
  const trees = all.filter((_, i) => i % 4 === 0);
  for (const tree of all) if (!trees.includes(tree)) tree.destroy();
  const compactor = new Compactor(arena);
  const cache = bothOf(arena).leaves, { relocate } = cache.mover!;
  let moves = 0;
  cache.mover!.relocate = function (ref) {
    if (++moves % 2 === 0) throw new Error("damaged");
    return relocate.call(this, ref);
  };
  const order = arena.pages.largestFreeOrder + 2;
  for (const run of [() => compactor.makeBlock(order), () => compactor.run()]) {
    assertThrows(run, Error, "damaged");
    assertEquals(cache.isolatedSlabs(), []);
    arena.rcu.barrier();
    assertSound(arena, trees);
  }
  cache.mover!.relocate = relocate;
  assertOptimal(compactor.run());
  assertSound(arena, trees);
});

Deno.test("Compactor.run() is refused where it would wait for its own thread, and changes nothing", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const trees = fragment(arena, rng(3));
  const before = trees.map((tree) => nodesOf(arena, tree));
  const compactor = new Compactor(arena);
  {
    using _section = arena.rcu.read();
    assertThrows(() => compactor.run(), LockdepError, "inside a read section");
  }
  {
    using _guard = trees[0].lock();
    assertThrows(() => compactor.run(), LockdepError, "while holding a lock");
  }
  assertEquals(trees.map((tree) => nodesOf(arena, tree)), before);
  assertOptimal(compactor.run());
});

Deno.test("Compactor.run() frees what other threads have deferred, and what they left empty", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const other = Arena.attach(arena.buffer);
  const tree = RangeTree.create(arena, { name: "vm" });
  tree.bulkLoad(points(5000));
  const pages = arena.pages.freePages;
  RangeTree.attach(other, "vm").clear();
  new Compactor(arena).run();
  assertEquals(bothOf(arena).stats().slabs, 0);
  assert(arena.pages.freePages > pages);
  assertSound(arena, [tree]);
  other.leave();
});

for (const debug of [false, true]) {
  const name =
    `Compactor.run() between any two operations changes no answer, debug ${debug}`;
  Deno.test(name, () => {
    for (const seed of seeds(name)) {
      for (const window of [40, 400]) {
        for (const every of [1, 7]) {
          const random = rng(seed * 1000 + window + every);
          const arena = Arena.create({ byteLength: 2 ** 22, debug });
          const compactor = new Compactor(arena);
          const worlds = [false, true].map((rcu) => ({
            tree: RangeTree.create(arena, { rcu, gaps: rcu === (every === 1) }),
            mirror: new Mirror(),
            run: chooseRun(random, window),
          }));
          for (const { tree, mirror, run } of worlds) {
            mirror.entries = chooseEntries(random, run);
            tree.bulkLoad(mirror.entries);
          }
          for (let step = 0; step < 120; step++) {
            const { tree, mirror, run } = random.pick(worlds);
            const [first, last] = doOne(tree, mirror, random, run);
            if (step % every === 0) {
              const result = compactor.run();
              if (!debug) assertOptimal(result);
            }
            for (const world of worlds) assertSame(world.tree, world.mirror);
            assertSameAt(tree, mirror, first, last);
          }
          bothOf(arena).validate();
          arena.pages.validate();
        }
      }
    }
  });
}

Deno.test("Compactor.run() while an iterator is under way does not disturb it", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const trees = fragment(arena, rng(9));
  const tree = RangeTree.create(arena);
  for (const { first, value } of points(300, 2)) tree.store(first, value);
  trees.slice(1).forEach((tree) => tree.destroy());
  const compactor = new Compactor(arena);
  let at = 0;
  for (const { first, value } of tree) {
    assertEquals([first, value], [at * 2, at + 1]);
    if (at++ % 10 === 0) compactor.run();
  }
  assertEquals(at, 300);
});

/** How many times slabs are fragmented and compacted, each beside at least one pass of every reader. */
const TURNS = 40;

Deno.test("Compactor.run() beside readers in other threads changes none of their answers", async () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const random = rng(1);
  const signals = new Int32Array(new SharedArrayBuffer(64));
  const read = Array.from({ length: 8 }, (_, i) => {
    const tree = RangeTree.create(arena, {
      name: `tree ${i}`,
      rcu: i % 4 !== 0,
    });
    // Entry by entry, with others between: its nodes lie scattered.
    for (let entry = 0; entry < 300; entry++) {
      tree.storeRange(entry * 4, entry * 4 + 1, 1000 * i + entry + 1);
    }
    return tree;
  });
  const before = read.map(digest);
  using readers = new DisposableStack();
  const workers = [1, 2].map((reader) => {
    const worker = readers.use(
      new TestWorker(new URL("./reader_worker.ts", import.meta.url)),
    );
    const command: ReadersCommand = {
      buffer: arena.buffer,
      signals,
      reader,
      trees: read.length,
      entries: 300,
    };
    worker.send(command);
    return worker;
  });
  for (const worker of workers) assertEquals(await worker.answer(), "reading");
  const compactor = new Compactor(arena);
  let moves = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    // What is stored between and destroyed again leaves holes, and stores move the trees' own leaves about.
    const others = fragment(arena, random);
    for (const [i, tree] of read.entries()) {
      const entry = random.int(300);
      tree.storeRange(entry * 4 + 2, entry * 4 + 2, 9);
      tree.eraseRange(entry * 4 + 2, entry * 4 + 2);
      tree.storeRange(entry * 4, entry * 4 + 1, 1000 * i + entry + 1);
    }
    for (const tree of others) tree.destroy();
    moves += compactor.run().moves;
    for (const reader of [1, 2]) {
      const passes = Atomics.load(signals, reader);
      assert(
        Atomics.wait(signals, reader, passes, 30_000) !== "timed-out",
        `reader ${reader} stands still`,
      );
    }
  }
  Atomics.store(signals, 0, 1);
  for (const worker of workers) assert(await worker.answer<number>() >= TURNS);
  assert(moves > TURNS, `${moves} moves`);
  assertEquals(read.map(digest), before);
  assertOptimalOnceQuiet(compactor);
  assertSound(arena, read);
});

function assertOptimalOnceQuiet(compactor: Compactor): void {
  compactor.run();
  assertOptimal(compactor.run());
}
