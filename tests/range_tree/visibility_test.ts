import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import { rootOf } from "../../src/range_tree/header.ts";
import {
  countOf,
  heightOf,
  lookup,
  slotOf,
} from "../../src/range_tree/node.ts";
import { RcuStallError } from "../../src/sync/mod.ts";
import { rng, seeds } from "../seed.ts";
import { TestWorker } from "../sync/workers.ts";
import type { GenerationsCommand } from "./generations_worker.ts";
import { Mirror } from "./mirror.ts";
import { chooseEntries, chooseRun, doOne } from "./sequences.ts";
import { insideSection, nodesOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** Meta, pivots and slots: the words of a node that readers look at. */
const READ_FROM = 1;
const READ_TO = 63;

/**
 * Does an operation and counts the words that it changed, of all those that readers could see before it: in the header the
 * root, in each node all but its parent and link. A reader must be inside a section, so that nothing is freed.
 */
function visibleChanges(
  arena: Arena,
  tree: RangeTree,
  operation: () => void,
): number {
  const nodes = nodesOf(arena, tree);
  const root = rootOf(arena.words, tree.ref);
  const before = nodes.map((node) =>
    arena.words.slice(node * 16 + READ_FROM, node * 16 + READ_TO)
  );
  operation();
  let changes = rootOf(arena.words, tree.ref) === root ? 0 : 1;
  nodes.forEach((node, i) => {
    const seen = before[i], words = arena.words, start = node * 16 + READ_FROM;
    for (let word = 0; word < seen.length; word++) {
      if (words[start + word] !== seen[word]) changes++;
    }
  });
  return changes;
}

const ONE_STORE =
  "RangeTree shows every change to readers by one store of one word";
Deno.test(ONE_STORE, () => {
  for (const seed of seeds(ONE_STORE)) {
    for (const window of [40, 400, 3000]) {
      const random = rng(seed * 10_000 + window);
      const arena = Arena.create({ byteLength: 2 ** 22 });
      const tree = RangeTree.create(arena, { rcu: true });
      using _reader = insideSection(arena);
      const mirror = new Mirror();
      const run = chooseRun(random, window);
      mirror.entries = chooseEntries(random, run);
      // Clearing and refilling at once would be two changes.
      const operations = run.operations.filter((name) => name !== "refill");
      assertEquals(
        visibleChanges(arena, tree, () => tree.bulkLoad(mirror.entries)),
        1,
      );
      for (let step = 0; step < 60; step++) {
        const generation = arena.words[tree.ref * 16 + 17];
        const changes = visibleChanges(
          arena,
          tree,
          () => doOne(tree, mirror, random, { ...run, operations }),
        );
        assert(changes <= 1, `${changes} words changed`);
        const changed = arena.words[tree.ref * 16 + 17] !== generation;
        // A store of the entry that is there already is a change that nobody can see.
        assert(changed || changes === 0);
      }
      assert(visibleChanges(arena, tree, () => tree.clear()) <= 1);
      assertEquals([...tree], []);
    }
  }
});

/** How many entries hang below a node, and their sum. */
function sumBelow(
  arena: Arena,
  node: number,
): { entries: number; sum: number } {
  let entries = 0, sum = 0;
  for (let slot = 0; slot < countOf(arena.words, node); slot++) {
    const held = slotOf(arena.words, node, slot);
    if (heightOf(arena.words, node) > 0) {
      const below = sumBelow(arena, held);
      entries += below.entries;
      sum += below.sum;
    } else if (held !== 0) {
      entries++;
      sum += held;
    }
  }
  return { entries, sum };
}

Deno.test("RangeTree.storeRange() over a million entries is one store, and a reader that began before it sees them all", () => {
  const count = 1_000_000;
  const arena = Arena.create({ byteLength: 2 ** 25 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(count));
  {
    using section = insideSection(arena);
    const reader = section.arena;
    const root = rootOf(reader.words, tree.ref);
    assertEquals(
      visibleChanges(arena, tree, () => tree.storeRange(1, count - 2, 7)),
      1,
    );

    assertEquals(tree.count, 3);
    assertEquals([
      tree.load(0),
      tree.load(1),
      tree.load(count - 2),
      tree.load(count - 1),
    ], [1, 7, 7, count]);
    for (let index = 0; index < count; index += 499) {
      assertEquals(
        lookup(reader.words, reader.doubles, root, index),
        index + 1,
      );
    }
    assertEquals(sumBelow(reader, root), {
      entries: count,
      sum: count * (count + 1) / 2,
    });
    // Whoever waits for the reader would wait in vain; when it has left, all is freed.
    assertThrows(
      () => arena.rcu.barrier(0),
      RcuStallError,
      `thread ${reader.thread}`,
    );
    assertEquals(sumBelow(reader, root).entries, count);
  }
  arena.rcu.barrier();
  assertEquals(bothOf(arena).stats().objects, 1);
  tree.validate();
});

Deno.test("RangeTree keeps what a reader is inside of from being reused, in a debug arena", () => {
  const arena = Arena.create({ byteLength: 2 ** 22, debug: true });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(2000));
  const root = rootOf(arena.words, tree.ref);
  {
    using section = insideSection(arena);
    tree.eraseRange(0, MAX_INDEX);
    for (let i = 0; i < 500; i++) tree.store(i * 2, 9);
    tree.destroy();
    assertEquals(sumBelow(section.arena, root), {
      entries: 2000,
      sum: 2000 * 2001 / 2,
    });
  }
  arena.rcu.barrier();
  // Freed objects are poisoned: here the reader would have read them.
  assertEquals(arena.words[root * 16 + 1], 0x6b6b6b6b);
});

Deno.test("RangeTree's replaced nodes are freed although a thread that opened no tree has left meanwhile", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const tree = RangeTree.create(arena, { rcu: true });
  const visitor = Arena.attach(arena.buffer);
  tree.bulkLoad(points(500));
  tree.clear();
  visitor.leave();
  arena.rcu.barrier();
  assertEquals(bothOf(arena).stats().objects, 0);
});

/** How many turns the writer makes, each beside at least one pass of every reader. */
const TURNS = 60;

for (const rcu of [true, false]) {
  Deno.test(`RangeTree.storeRange() over many leaves is all or nothing for readers in other threads, rcu ${rcu}`, async () => {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const tree = RangeTree.create(arena, { name: "generations", rcu });
    const signals = new Int32Array(new SharedArrayBuffer(64));
    const first = 100, last = 1899;
    tree.storeRange(0, first - 1, 0xffff_fffe);
    tree.storeRange(last + 1, 3000, 0xffff_fffe);
    tree.storeRange(first, last, 1);
    using readers = new DisposableStack();
    const workers = [1, 2].map((reader) => {
      const worker = readers.use(
        new TestWorker(new URL("./generations_worker.ts", import.meta.url)),
      );
      const command: GenerationsCommand = {
        buffer: arena.buffer,
        signals,
        reader,
        first,
        last,
      };
      worker.send(command);
      return worker;
    });
    for (const worker of workers) {
      assertEquals(await worker.answer(), "reading");
    }
    const random = rng(1);
    for (let generation = 2; generation < 2 + TURNS; generation++) {
      tree.storeRange(first, last, generation);
      // Cuts the range to pieces again: the same entry everywhere, but in many leaves.
      for (let cut = 0; cut < 300; cut++) {
        tree.store(first + random.int(last - first + 1), generation);
      }
      assert(tree.height >= 2);
      for (const reader of [1, 2]) {
        const passes = Atomics.load(signals, reader);
        assert(
          Atomics.wait(signals, reader, passes, 30_000) !== "timed-out",
          `reader ${reader} stands still`,
        );
      }
    }
    Atomics.store(signals, 0, 1);
    for (const worker of workers) {
      const { newest, generations } = await worker.answer<
        { newest: number; generations: number }
      >();
      assertEquals(newest, TURNS + 1);
      assert(generations > TURNS / 2, `saw ${generations} generations`);
    }
    tree.validate();
  });
}
