import { assert, assertThrows } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { RangeTree, TreeInvariantError } from "../../src/range_tree/mod.ts";
import { rootOf } from "../../src/range_tree/header.ts";
import {
  countOf,
  heightOf,
  setGap,
  slotOf,
} from "../../src/range_tree/node.ts";
import { nodesOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// Where a node keeps what is broken here, in words and (pivots) in doubles of the node: see the table in `node.ts`.
const PARENT = 0;
const META = 1;
const PIVOTS = 1;
const SLOTS = 42;
/** Where a header keeps the number of entries. */
const COUNT = 18;

/** What a test breaks: a tree of three levels, its root, and an inner node and a leaf that are no first ones. */
interface World {
  arena: Arena;
  tree: RangeTree;
  root: number;
  inner: number;
  leaf: number;
}

function worldOf(count: number): World {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(count, 2, 3));
  const nodes = nodesOf(arena, tree);
  const ofHeight = (height: number) =>
    nodes.filter((node) => heightOf(arena.words, node) === height);
  return {
    arena,
    tree,
    root: nodes[0],
    inner: ofHeight(1)[1] ?? 0,
    leaf: ofHeight(0)[1] ?? nodes[0],
  };
}

/** Writes the meta word of a node. */
function setMeta(
  { arena }: World,
  node: number,
  height: number,
  count: number,
): void {
  arena.words[node * 16 + META] = height | (count << 8);
}

/** Each invariant: how it is broken, which node is to be named, and the rule. */
const BREAKS: Record<string, (world: World) => [node: number, rule: string]> = {
  "a node that was freed": ({ arena, leaf }) => {
    bothOf(arena).free(leaf);
    return [leaf, 'it is no allocated object of "range_node"'];
  },
  "a height that does not fit": (world) => {
    setMeta(world, world.leaf, 1, countOf(world.arena.words, world.leaf));
    return [world.leaf, "its height says 1"];
  },
  "a leaf that names another parent": ({ arena, root, inner, leaf }) => {
    arena.words[leaf * 16 + PARENT] = inner;
    assert(slotOf(arena.words, root, 1) === inner);
    return [
      leaf,
      `its parent word is ${inner}, not ${slotOf(arena.words, root, 0)}`,
    ];
  },
  "a root that is marked dead": ({ arena, tree, root }) => {
    arena.words[root * 16 + PARENT] = root;
    return [root, `its parent word is ${root}, not ${tree.ref + 1}`];
  },
  "a leaf without slots": (world) => {
    setMeta(world, world.leaf, 0, 0);
    return [world.leaf, "it uses 0 slots"];
  },
  "a node with more slots than there are": (world) => {
    setMeta(world, world.inner, 1, 22);
    return [world.inner, "it uses 22 slots"];
  },
  "a leaf under a third full": (world) => {
    setMeta(world, world.leaf, 0, 6);
    return [world.leaf, "it uses 6 slots, under a third"];
  },
  "an inner node under a third full": (world) => {
    setMeta(world, world.inner, 1, 6);
    return [world.inner, "it uses 6 slots, under a third"];
  },
  "a root of one child": (world) => {
    setMeta(world, world.root, 2, 1);
    return [world.root, "a root above leaves has one child"];
  },
  "pivots out of order": ({ arena, leaf }) => {
    const pivots = leaf * 8 + PIVOTS;
    const before = arena.doubles[pivots + 2];
    arena.doubles[pivots + 3] = before - 1;
    return [leaf, `pivot 3 is ${before - 1}, below ${before + 1}`];
  },
  "a slot without a child": ({ arena, inner }) => {
    arena.words[inner * 16 + SLOTS + 4] = 0;
    return [inner, "slot 4 has no child"];
  },
  "empty slots side by side": ({ arena, leaf }) => {
    const at = slotOf(arena.words, leaf, 4) === 0 ? 5 : 4;
    arena.words[leaf * 16 + SLOTS + at] = 0;
    return [leaf, `slot ${at} and the one before it are both empty`];
  },
  "a leaf that ends too early": ({ arena, leaf }) => {
    // One slot fewer, in a leaf that is full and so does not store its last pivot.
    const last = arena.doubles[leaf * 8 + PIVOTS + 19];
    arena.words[leaf * 16 + META] = 20 << 8;
    return [leaf, `its last pivot is ${last}`];
  },
};

for (const [what, breakIt] of Object.entries(BREAKS)) {
  Deno.test(`RangeTree.validate() finds ${what}, and names the node and the rule`, () => {
    const world = worldOf(600);
    world.tree.validate();
    const [node, rule] = breakIt(world);
    const error = assertThrows(
      () => world.tree.validate(),
      TreeInvariantError,
      rule,
    );
    assert(error.message.startsWith(`Node ${node} [`), error.message);
    // Nothing was left locked.
    assertThrows(() => world.tree.validate(), TreeInvariantError);
  });
}

Deno.test("RangeTree.validate() finds a root leaf that holds nothing", () => {
  const { arena, tree, root } = worldOf(1);
  arena.words.fill(0, root * 16 + SLOTS, root * 16 + SLOTS + 21);
  setMeta({ arena } as World, root, 0, 1);
  arena.doubles[root * 8 + PIVOTS] = Number.MAX_SAFE_INTEGER;
  assertThrows(
    () => tree.validate(),
    TreeInvariantError,
    `Node ${root} [0, ${Number.MAX_SAFE_INTEGER}] of height 0: a root leaf holds nothing`,
  );
});

Deno.test("RangeTree.validate() finds a wrong number of entries", () => {
  const { arena, tree } = worldOf(600);
  arena.words[tree.ref * 16 + COUNT]--;
  assertThrows(
    () => tree.validate(),
    TreeInvariantError,
    `Tree ${tree.ref}: it holds 600 entries, 599 are counted`,
  );
});

Deno.test("RangeTree.validate() finds a gap that is not the largest free run below its slot", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { gaps: true });
  tree.bulkLoad(points(100, 10));
  const root = rootOf(arena.words, tree.ref);
  tree.validate();
  setGap(arena.doubles, root, 4, 8);
  assertThrows(
    () => tree.validate(),
    TreeInvariantError,
    "gap 4 is 8, below it is one of 9",
  );
});
