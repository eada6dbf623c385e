import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  BackgroundCompactor,
  type CompactionPolicy,
  Compactor,
  policies,
  RangeTree,
} from "../../mod.ts";
import { fewestMoves, slabsByOccupancy } from "../../src/defrag/planner.ts";
import { SlabAges, slabWorldOf } from "../../src/defrag/slab_world.ts";
import {
  contiguityOf,
  mostBlocks,
  type WindowMemory,
} from "../../src/defrag/windows.ts";
import type { PolicyWorld } from "../../src/defrag/policies.ts";
import { type Slab, Slabs } from "../../src/slab/mod.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { digest, points } from "../range_tree/worlds.ts";
import { bothOf } from "../range_tree/both_caches.ts";

const { addressOrder, alignedWindows, costBenefit, greedy, random } = policies;
const ALL = [
  greedy,
  alignedWindows(2),
  costBenefit,
  addressOrder,
  random(7),
];

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** A small memory: each page is free, a slab, or somebody else's. */
function memoryOf(random: Rng, pages: number, isWhole = false): WindowMemory {
  const free: [number, number][] = [];
  const slabs: Slab[] = [];
  for (let pfn = 0; pfn < pages; pfn++) {
    const kind = isWhole ? 5 : random.int(9);
    if (kind < 3) free.push([pfn, 0]);
    else if (kind < 8) slabs.push({ pfn, inUse: random.int(5) });
  }
  return { pages, free, slabs, beside: [], capacity: 4 };
}

function freeableOf({ slabs, capacity }: WindowMemory): number {
  return slabs.length - Math.ceil(sum(slabs.map((s) => s.inUse)) / capacity);
}

function worldOf(memory: WindowMemory, slabsWanted?: number): PolicyWorld {
  const freeableSlabs = freeableOf(memory);
  return {
    capacity: memory.capacity,
    freeableSlabs,
    slabsWanted: slabsWanted ?? freeableSlabs,
    emptiest: (count) =>
      memory.slabs.toSorted((a, b) => a.inUse - b.inUse).slice(0, count)
        .map(({ pfn }) => pfn),
    slabs: () => memory.slabs.map((slab) => ({ ...slab, age: 1 })),
    memory: () => memory,
  };
}

/** Tries every set of windows that can be emptied together: the most blocks, and the fewest moves for so many. */
function bestWindows(
  memory: WindowMemory,
  order: number,
): { blocks: number; moves: number } {
  const size = 2 ** order;
  const windows: Slab[][] = [];
  for (let first = 0; first + size <= memory.pages; first += size) {
    const inside = (pfn: number) => pfn >= first && pfn < first + size;
    const slabs = memory.slabs.filter(({ pfn }) => inside(pfn));
    const free = memory.free.filter(([pfn]) => inside(pfn));
    if (slabs.length > 0 && slabs.length + free.length === size) {
      windows.push(slabs);
    }
  }
  let best = { blocks: 0, moves: 0 };
  for (let set = 1; set < 2 ** windows.length; set++) {
    const chosen = windows.filter((_, i) => set >> i & 1);
    const slabs = chosen.flat();
    const moves = sum(slabs.map(({ inUse }) => inUse));
    const room = sum(
      memory.slabs.filter((slab) => !slabs.includes(slab))
        .map(({ inUse }) => memory.capacity - inUse),
    );
    if (moves > room) continue;
    const blocks = chosen.length;
    if (
      blocks > best.blocks || (blocks === best.blocks && moves < best.moves)
    ) best = { blocks, moves };
  }
  return best;
}

const WINDOWS =
  "policies.alignedWindows() makes as many blocks as any choice of windows, and of windows that are all slabs with the fewest moves";
Deno.test(WINDOWS, () => {
  for (const seed of seeds(WINDOWS)) {
    const chance = rng(seed);
    for (let round = 0; round < 300; round++) {
      const isWhole = chance.int(2) === 0;
      const memory = memoryOf(chance, 3 + chance.int(22), isWhole);
      const most = mostBlocks(memory);
      for (const order of [1, 2, 3]) {
        const best = bestWindows(memory, order);
        assertEquals(most[order], best.blocks, `order ${order}`);
        const chosen = alignedWindows(order).choose(worldOf(memory));
        const blocks = new Set(chosen.map((pfn) => pfn >> order)).size;
        assertEquals(blocks, best.blocks);
        // Whole windows and nothing else.
        for (const { pfn } of memory.slabs) {
          assertEquals(
            chosen.includes(pfn),
            chosen.some((other) => other >> order === pfn >> order),
          );
        }
        if (!isWhole) continue;
        const inUse = new Map(memory.slabs.map((s) => [s.pfn, s.inUse]));
        assertEquals(sum(chosen.map((pfn) => inUse.get(pfn)!)), best.moves);
      }
      assertEquals(most[0], freeableOf(memory));
    }
  }
});

const BOUNDS =
  "Every policy chooses slabs of the world once each, and greedy never more objects than another one";
Deno.test(BOUNDS, () => {
  for (const seed of seeds(BOUNDS)) {
    const chance = rng(seed);
    for (let round = 0; round < 200; round++) {
      const memory = memoryOf(chance, 3 + chance.int(22));
      const world = worldOf(memory);
      const inUse = new Map(memory.slabs.map((s) => [s.pfn, s.inUse]));
      for (const policy of ALL) {
        const chosen = policy.choose(world);
        assert(chosen.length <= world.freeableSlabs, policy.name);
        assertEquals(new Set(chosen).size, chosen.length);
        assert(chosen.every((pfn) => inUse.has(pfn)));
        const moves = sum(chosen.map((pfn) => inUse.get(pfn)!));
        const fewest = fewestMoves(
          slabsByOccupancy(memory.slabs),
          chosen.length,
        );
        assert(moves >= fewest);
        if (policy.name.startsWith("windows")) continue;
        assertEquals(chosen.length, world.freeableSlabs, policy.name);
        if (policy === greedy) {
          assertEquals(moves, fewest);
        }
      }
    }
  }
});

Deno.test("policies.alignedWindows() takes a whole window also where a pass wants fewer slabs, and no more then", () => {
  const slabs = Array.from({ length: 16 }, (_, pfn) => ({ pfn, inUse: 1 }));
  const memory = { pages: 16, free: [], slabs, beside: [], capacity: 4 };
  const chosen = alignedWindows(2).choose(worldOf(memory, 1));
  assertEquals(chosen, [0, 1, 2, 3]);
  for (const order of [-1, 1.5, 11]) {
    assertThrows(() => alignedWindows(order), RangeError, `order ${order}`);
  }
});

Deno.test("policies.addressOrder goes down from the last page; random() follows from its seed and differs from look to look", () => {
  const slabs = Array.from({ length: 64 }, (_, i) => ({ pfn: i, inUse: 1 }));
  const memory = { pages: 64, free: [], slabs, beside: [], capacity: 4 };
  const world = worldOf(memory, 10);
  assertEquals(addressOrder.choose(world), [
    63,
    62,
    61,
    60,
    59,
    58,
    57,
    56,
    55,
    54,
  ]);
  const [one, two] = [random(3), random(3)];
  const first = one.choose(world);
  assertEquals(first, two.choose(world));
  const second = one.choose(world);
  assert(first.join() !== second.join());
  assertEquals(second, two.choose(world));
  assert(random(4).choose(world).join() !== first.join());
  // Impartial: over many looks each slab is chosen about as often as any other.
  const often = new Uint32Array(64);
  for (let i = 0; i < 3000; i++) {
    for (const pfn of one.choose(world)) often[pfn]++;
  }
  assert(often.every((count) => count > 350 && count < 600), `${often}`);
});

Deno.test("policies.costBenefit weighs how empty a slab is against how long it has been so", () => {
  const ages = new SlabAges();
  const look = (inUse: number[]) =>
    ages.look(inUse.map((inUse, pfn) => ({ pfn, inUse })));
  look([4, 9, 1]);
  look([4, 9, 2]);
  const aged = look([4, 9, 4]);
  assertEquals(aged.map(({ age }) => age), [3, 3, 1]);
  const choose = (slabs: typeof aged) =>
    costBenefit.choose({
      ...worldOf({ pages: 3, free: [], slabs, beside: [], capacity: 16 }, 3),
      slabs: () => slabs,
    });
  // (16 - 4) * 3 / 4 = 9; (16 - 9) * 3 / 9 = 2.3; (16 - 4) * 1 / 4 = 3
  assertEquals(choose(aged), [0, 2, 1]);
  // A slab that is gone is forgotten; an empty one is the best there is.
  look([4, 9]);
  assertEquals(look([4, 9, 4]).map(({ age }) => age), [5, 5, 1]);
  assertEquals(
    choose([...aged.slice(0, 2), { pfn: 2, inUse: 0, age: 1 }])[0],
    2,
  );
});

Deno.test("alignedWindows begins no window that the other cache can't finish, after one that it has to itself", () => {
  // Inner nodes at pages 0 and 3, one of which can be emptied; leaves at 2 and 4. Page 1 is free, page 5 is none of these.
  const inner = [0, 3].map((pfn) => ({ pfn, inUse: 1 }));
  const leaves = [2, 4].map((pfn) => ({ pfn, inUse: 1 }));
  const free: [number, number][] = [[1, 0]];
  const choose = (slabs: typeof leaves, beside: typeof leaves) =>
    alignedWindows(1).choose(
      worldOf({ pages: 6, free, slabs, beside, capacity: 4 }, 2),
    );
  assertEquals(choose(leaves, inner), []);
  assertEquals(choose(inner, leaves), [0]);
});

Deno.test("alignedWindows begins no window for which the others have no room, also where slabs could be freed that it does not see", () => {
  // Two full slabs; those that somebody else has isolated, and that could be freed, are not among them.
  const slabs = [0, 2].map((pfn) => ({ pfn, inUse: 4 }));
  const free: [number, number][] = [[1, 0], [3, 0]];
  const memory = { pages: 4, free, slabs, beside: [], capacity: 4 };
  const world = { ...worldOf(memory), freeableSlabs: 2, slabsWanted: 2 };
  assertEquals(alignedWindows(1).choose(world), []);
});

/** An arena with slabs a quarter full. */
function fragmented(): { arena: Arena; trees: RangeTree[] } {
  const arena = Arena.create({ byteLength: 2 ** 23 });
  const all = Array.from({ length: 400 }, () => RangeTree.create(arena));
  const chance = rng(5);
  for (const tree of all) tree.bulkLoad(points(20 + chance.int(60), 2));
  const trees = all.filter((tree) =>
    chance.int(4) === 0 || (tree.destroy(), false)
  );
  return { arena, trees };
}

for (const policy of ALL) {
  Deno.test(`Compactor.run() under policy ${policy.name} changes no tree, and is measured against the optimum`, () => {
    const { arena, trees } = fragmented();
    const before = trees.map(digest);
    const compactor = new Compactor(arena, { policy });
    const plan = compactor.plan();
    const free = arena.pages.freePages;
    const result = compactor.run();
    assertEquals(trees.map(digest), before);
    assertEquals([result.policy, result.plan], [policy.name, plan]);
    assertEquals(arena.pages.freePages, free + result.freedSlabs);
    assertEquals(result.yield, result.freedSlabs / plan.freeableSlabs);
    assert(result.moveEfficiency > 0 && result.moveEfficiency <= 1);
    if (!policy.name.startsWith("windows")) assertEquals(result.yield, 1);
    assertEquals(result.contiguity.map(({ order }) => order), [
      ...Array(11).keys(),
    ]);
    for (const { order, made, most, yield: reached } of result.contiguity) {
      assert(made <= most, `order ${order}: ${made} of ${most}`);
      assertEquals(reached, most === 0 ? 1 : made / most);
    }
    assertEquals(result.contiguity[0].made, result.freedSlabs);
    assertEquals(bothOf(arena).isolatedSlabs(), []);
    for (const tree of trees) tree.validate();
    arena.pages.validate();
  });

  Deno.test(`BackgroundCompactor under policy ${policy.name} frees slabs, and changes no tree`, () => {
    const { arena, trees } = fragmented();
    const before = trees.map(digest);
    const compactor = new BackgroundCompactor(arena, { policy, stopAbove: 1 });
    for (let i = 0; i < 200; i++) compactor.slice();
    compactor.stop();
    assert(compactor.totals().freedSlabs > 10);
    assertEquals(trees.map(digest), before);
    bothOf(arena).validate();
    assertEquals(bothOf(arena).isolatedSlabs(), []);
  });
}

Deno.test("Compactor.run() with aligned windows makes all blocks of the order that can be made, where greedy makes fewer", () => {
  const made = (policy: CompactionPolicy) => {
    const { arena } = fragmented();
    return new Compactor(arena, { policy }).run().contiguity[4];
  };
  const windows = made(alignedWindows(4));
  assert(windows.most > 5);
  assertEquals([windows.made, windows.yield], [windows.most, 1]);
  assert(made(greedy).made < windows.made);
});

Deno.test("Compactor.run() takes no more slabs than can be freed, however many a policy wants", () => {
  const { arena, trees } = fragmented();
  const all: CompactionPolicy = {
    name: "all",
    choose: (world) => world.slabs().map(({ pfn }) => pfn),
  };
  const before = trees.map(digest);
  assertEquals(new Compactor(arena, { policy: all }).run().yield, 1);
  assertEquals(trees.map(digest), before);
});

Deno.test("Compactor and BackgroundCompactor refuse what is no policy, and leave the arena without a compactor", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const slabs = Slabs.of(arena);
  for (const untyped of ["greedy", { name: "greedy" }, 7]) {
    const policy = untyped as unknown as CompactionPolicy;
    for (
      const create of [
        () => new Compactor(arena, { policy }),
        () => new BackgroundCompactor(arena, { policy }),
      ]
    ) {
      assertThrows(
        create,
        TypeError,
        `policy ${JSON.stringify(untyped)}: it has no function "choose"`,
      );
    }
  }
  assertEquals(slabs.compact, undefined);
});

Deno.test("slabWorldOf() looks at the cache when it is asked, and gives what was looked at before", () => {
  const { arena } = fragmented();
  const cache = bothOf(arena).leaves;
  const options = { freeableSlabs: 9, slabsWanted: 5, ages: new SlabAges() };
  const slabs = cache.slabs();
  const live = slabWorldOf(arena, cache, options);
  const emptiest = live.emptiest(7);
  assertEquals(emptiest, slabs.slice(0, 7).map(({ pfn }) => pfn));
  assertEquals(live.slabs().map(({ age }) => age), slabs.map(() => 1));
  assertEquals(live.slabs().map(({ age }) => age), slabs.map(() => 2));
  assertEquals(live.memory().slabs, slabs);
  // What it has looked at once it does not look at again.
  assert(cache.isolate(slabs[0].pfn));
  assertEquals(live.emptiest(7), emptiest);
  assertEquals(slabsByOccupancy(cache.slabs()).length, 17);
  assertEquals(slabsByOccupancy(cache.slabs()), cache.slabsByOccupancy());
});

Deno.test("contiguityOf() counts aligned blocks of each order, those in larger ones included", () => {
  const slabs = [2, 3, 8, 9].map((pfn) => ({ pfn, inUse: 1 }));
  const before: WindowMemory = {
    pages: 16,
    free: [[0, 1], [4, 2]],
    slabs,
    beside: [],
    capacity: 4,
  };
  const rows = contiguityOf(before, [[0, 3]]);
  assertEquals(rows.slice(0, 5), [
    { order: 0, made: 2, most: 3, yield: 2 / 3 },
    { order: 1, made: 1, most: 1, yield: 1 },
    { order: 2, made: 1, most: 1, yield: 1 },
    { order: 3, made: 1, most: 1, yield: 1 },
    { order: 4, made: 0, most: 0, yield: 1 },
  ]);
});
