import { assert, assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { type Entry, MAX_INDEX, RangeTree } from "../../src/range_tree/mod.ts";
import {
  compiledFor,
  type CompiledStores,
} from "../../src/range_tree/compiled.ts";
import { countOf, heightOf, heldSlotOf } from "../../src/range_tree/node.ts";
import { assertSucceeds } from "../compiler_program.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { failAfter, throwsOutOfMemory } from "./failures.ts";
import { Mirror } from "./mirror.ts";
import {
  assertSame,
  assertSameHeld,
  digest,
  nodesOf,
  points,
} from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** Bytes of an arena: more than any of these trees takes. */
const ARENA = { byteLength: 2 ** 21, maxThreads: 4 };
const STEPS = 1000;
/** The scratch word that says how many nodes were taken for a store that lacks others; behind it stand the nodes. */
const LEFT_COUNT = 624;

/** What compiled stores answered, by how often. */
class Answers {
  done = 0;
  notMine = 0;
  noLeaves = 0;
  noInner = 0;

  /** Counts from now on what the compiled stores of an arena answer. */
  constructor(arena: Arena) {
    const compiled = compiledFor(arena);
    assert(compiled !== undefined, "this arena has compiled stores");
    const watch = (name: keyof CompiledStores) => {
      const original = compiled[name] as (...numbers: number[]) => number;
      compiled[name] = (...numbers: number[]) => {
        const answer = original(...numbers);
        if (answer === -1) this.notMine++;
        else if (answer === -2) this.noLeaves++;
        else if (answer === -3) this.noInner++;
        else this.done++;
        return answer;
      };
    };
    watch("storeRange");
    watch("insertRange");
    watch("erase");
    watch("enterStoreRange");
    watch("enterInsertRange");
    watch("enterErase");
  }
}

/** All of a tree but where its nodes lie: what every node holds, unused pivots included. */
function shapeOf(arena: Arena, tree: RangeTree): unknown[] {
  const { words, doubles } = arena;
  return nodesOf(arena, tree).map((node) => {
    const height = heightOf(words, node), count = countOf(words, node);
    const pivots = tree.gaps && height > 0 ? 12 : 20;
    const held = height > 0
      ? []
      : Array.from({ length: count }, (_, at) => heldSlotOf(words, node, at));
    return [
      height,
      count,
      ...doubles.subarray(node * 8 + 1, node * 8 + 1 + pivots),
      ...held,
    ];
  });
}

/** One change, to be made of a tree and of what it is compared with. */
type Change = (to: Pick<Mirror, "storeRange" | "insertRange" | "erase">) =>
  | void
  | boolean
  | number;

/** A change near the bounds of what there is, of ranges that touch, in a space so large. */
function changeOf(random: Rng, space: number): Change {
  const base = random.pick([0, MAX_INDEX - space]);
  const at = base + random.pick([0, space, random.int(space)]);
  const first = Math.min(at, MAX_INDEX);
  const longest = random.pick([1, 4, 12, 60]);
  const last = random.int(100) === 0
    ? MAX_INDEX
    : Math.min(first + random.int(longest), MAX_INDEX);
  const value = random.pick([0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe]);
  return random.pick<Change>([
    (to) => to.storeRange(first, last, value),
    (to) => to.insertRange(first, last, Math.max(value, 1)),
    (to) => to.erase(first),
  ]);
}

/** Two trees that are alike: one that compiled stores change, and one whose arena is attached to by its buffer. */
class Twins {
  readonly arena: Arena;
  readonly tree: RangeTree;
  readonly other: Arena;
  readonly mirror = new Mirror();
  readonly answers: Answers;
  readonly #plainArena: Arena;
  readonly #plain: RangeTree;

  constructor(modes: { rcu: boolean; gaps: boolean }, entries: Entry[]) {
    this.arena = Arena.create(ARENA);
    this.other = Arena.attach(this.arena.shared);
    this.#plainArena = Arena.attach(Arena.create(ARENA).buffer);
    this.tree = RangeTree.create(this.arena, modes);
    this.#plain = RangeTree.create(this.#plainArena, modes);
    RangeTree.attach(this.other, this.tree.ref);
    this.tree.bulkLoad(entries);
    this.#plain.bulkLoad(entries);
    this.mirror.entries = entries;
    this.answers = new Answers(this.arena);
  }

  /** Makes a change of all, and compares them. */
  step(change: Change): void {
    const answer = change(this.tree);
    assertEquals(answer, change(this.#plain));
    assertEquals(answer, change(this.mirror));
    this.#compare();
  }

  /** Makes a change with so many nodes to be had at the most: it changes all, or fails and changes nothing. */
  stepOrFail(change: Change, allocations: number): void {
    const before = shapeOf(this.arena, this.tree);
    {
      using _failing = failAfter(bothOf(this.arena), allocations);
      let answer: ReturnType<Change>;
      if (throwsOutOfMemory(() => answer = change(this.tree))) {
        assertEquals(shapeOf(this.arena, this.tree), before);
        return;
      }
      assertEquals(answer!, change(this.#plain));
      assertEquals(answer!, change(this.mirror));
    }
    this.#compare();
  }

  #compare(): void {
    assertSame(this.tree, this.mirror);
    assertEquals(
      shapeOf(this.arena, this.tree),
      shapeOf(this.#plainArena, this.#plain),
    );
  }

  /** All nodes are in the tree, or deferred, or at hand: with the tree gone none is left. */
  end(): void {
    this.tree.destroy();
    this.arena.rcu.barrier();
    const nodes = bothOf(this.arena);
    nodes.giveBack();
    nodes.validate();
    assertEquals(nodes.usage().objects, 0);
  }
}

/** Lets another thread take what this one has deferred, or has at hand; or less be there than the thread believes. */
function disturb(random: Rng, { arena, other }: Twins): void {
  const nodes = bothOf(arena), { words, stocks } = arena;
  random.pick([
    () => other.rcu.barrier(),
    () => bothOf(other).shrink(),
    () => nodes.giveBack(),
    () => {
      // As if another thread took the rest of the chain after the first looks of a store at it.
      const { stockIndex } = random.pick(nodes.all);
      words[stockIndex + stocks.size] += 2;
    },
    () => arena.rcu.flush(),
  ])();
}

for (const gaps of [false, true]) {
  for (const rcu of [true, false]) {
    for (const dense of [true, false]) {
      const test =
        `Compiled stores build the trees that the others build, gaps ${gaps}, rcu ${rcu}, full leaves at first ${dense}`;
      Deno.test(test, () => {
        for (const seed of seeds(test)) {
          const random = rng(seed);
          const twins = new Twins({ rcu, gaps }, dense ? points(500, 2) : []);
          const space = dense ? 1000 : random.pick([40, 300, 1500]);
          for (let step = 0; step < STEPS; step++) {
            const change = changeOf(random, space);
            if (random.int(30) === 0) disturb(random, twins);
            if (random.int(20) === 0) twins.stepOrFail(change, random.int(4));
            else twins.step(change);
          }
          const { done, notMine, noLeaves, noInner } = twins.answers;
          assert(done > STEPS / 2 && notMine > 0 && noLeaves + noInner > 0);
          twins.end();
        }
      });
    }
  }
}

for (const gaps of [false, true]) {
  Deno.test(`Compiled stores over the bound of two full leaves do what the others do, gaps ${gaps}`, () => {
    let done = 0;
    // Slots of one index and of three by turns, so the first leaf ends at 40.
    for (let first = 33; first <= 41; first++) {
      for (let last = 41; last <= 50; last++) {
        for (const value of [0, 9]) {
          const twins = new Twins({ rcu: true, gaps }, points(500, 4));
          twins.step((to) => to.storeRange(first, last, value));
          done += twins.answers.done;
        }
      }
    }
    assert(done > 100);
  });
}

Deno.test("Compiled stores free the nodes that they took before another thread took the rest", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(200, 4));
  const nodes = bothOf(arena);
  // In the middle of a full leaf: it is split, which takes two leaves and a node above them.
  for (let atHand = 0; atHand <= 5; atHand++) {
    const used = () => nodes.stats().objects - arena.rcu.pending;
    const before = used() - tree.stats().nodes;
    const left = [atHand % 3, atHand < 3 ? 0 : 1];
    for (const [i, cache] of nodes.all.entries()) {
      cache.stockUp();
      for (let at = 16; at > left[i]; at--) cache.free(cache.tryAllocate());
      arena.words[cache.stockIndex + arena.stocks.size] = 16;
    }
    tree.store(102 + 84 * atHand, 9);
    assertEquals(used() - tree.stats().nodes, before);
    tree.validate();
  }
});

Deno.test("Compiled stores free nothing that a thread with the same number had taken before it died", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(200, 4));
  const nodes = nodesOf(arena, tree);
  const victim = Arena.attach(arena.shared);
  // As if it had died before it freed the node, which has come to be in the tree since.
  victim.words.set([1, nodes[1]], victim.scratchIndex + LEFT_COUNT);
  arena.reap(victim.thread);
  const next = Arena.attach(arena.shared);
  assertEquals(next.thread, victim.thread);
  // There are no nodes at hand yet.
  RangeTree.attach(next, tree.ref).storeRange(401, 402, 9);
  tree.validate();
  next.rcu.barrier();
  bothOf(next).giveBack();
  assertEquals(bothOf(arena).usage().objects, tree.stats().nodes);
});

Deno.test("Compiled stores serve a writer that holds an external lock, and trees without a lock", () => {
  const arena = Arena.create(ARENA);
  const answers = new Answers(arena);
  const tree = RangeTree.create(arena, { lock: "none", rcu: true });
  const mirror = new Mirror();
  const random = rng(1);
  for (let step = 0; step < STEPS; step++) {
    const change = changeOf(random, 500);
    assertEquals(change(tree), change(mirror));
    assertSameHeld(arena, tree, mirror);
  }
  assert(answers.done > STEPS / 2);
  assertEquals(digest(tree).split(" ").length - 1, mirror.entries.length);
});

Deno.test("Arena.reap() recovers from a thread that dies before any write of a compiled store", () => {
  assertSucceeds(new URL("./compiled_deaths.ts", import.meta.url));
});

Deno.test("Compiled functions have no call and no loop where no thread may be terminated", () => {
  assertSucceeds(new URL("./compiled_stretches.ts", import.meta.url));
});
