/**
 * Three ways of choosing which slabs to empty, on one and the same fragmented memory: an image of the arena is loaded for each.
 * Prints how many slabs were freed, with how many moves, and how many free blocks of 64 KiB there are then.
 *
 * ```sh
 * deno run docs/examples/policies.ts
 * ```
 *
 * @module
 */
import {
  Arena,
  type CompactionPolicy,
  Compactor,
  policies,
  RangeTree,
} from "@pollard/pollard";

/** Blocks of 2^4 pages. */
const ORDER = 4;

/** Trees that outlive each other are in each other's slabs: then half of them go. */
function fragmented(): Uint8Array {
  const arena = Arena.create({ byteLength: 440 * 4096 });
  const trees = Array.from({ length: 8 }, () => RangeTree.create(arena));
  for (let i = 0; i < 40_000; i++) {
    trees[i * 7 % 8].storeRange(i * 64, i * 64 + 31, 1 + i);
  }
  for (const [i, tree] of trees.entries()) if (i % 2 === 0) tree.destroy();
  arena.rcu.barrier();
  return arena.save();
}

/** A policy of your own: the slabs at the end of the memory, as many as are wanted. */
const fromTheEnd: CompactionPolicy = {
  name: "from the end",
  choose: (world) =>
    world.slabs().map(({ pfn }) => pfn).sort((a, b) => b - a)
      .slice(0, Math.min(world.slabsWanted, world.freeableSlabs)),
};

const image = fragmented();
for (
  const policy of [policies.greedy, policies.alignedWindows(ORDER), fromTheEnd]
) {
  const arena = Arena.load(image);
  const { freedSlabs, moves } = new Compactor(arena, { policy }).run();
  const blocks = arena.pages.freeBlocks()
    .reduce((sum, [, order]) => sum + Math.floor(2 ** order / 2 ** ORDER), 0);
  console.log(
    `${policy.name}: ${freedSlabs} slabs freed with ${moves} moves, ${blocks} free blocks of 64 KiB`,
  );
}
