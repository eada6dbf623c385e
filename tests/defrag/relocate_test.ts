import {
  assert,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena } from "../../src/memory/mod.ts";
import { rootOf, setRoot } from "../../src/range_tree/header.ts";
import { type LockMode, RangeTree } from "../../src/range_tree/mod.ts";
import {
  heightOf,
  lookup,
  parentOf,
  setParent,
  setSlot,
} from "../../src/range_tree/node.ts";
import {
  digest,
  insideSection,
  nodesOf,
  points,
} from "../range_tree/worlds.ts";
import { type BothCaches, bothOf } from "../range_tree/both_caches.ts";

interface World {
  arena: Arena;
  tree: RangeTree;
  nodes: BothCaches;
  mover: ReturnType<BothCaches["mover"]>;
}

/** A tree of three levels, and a mover of its nodes. */
function worldOf(
  { debug = false, lock = "internal" as LockMode, count = 700 } = {},
): World {
  const arena = Arena.create({ byteLength: 2 ** 21, debug });
  const tree = RangeTree.create(arena, { rcu: true, lock });
  tree.bulkLoad(points(count, 2, 3));
  const nodes = bothOf(arena, lock === "internal");
  return { arena, tree, nodes, mover: nodes.mover() };
}

/** What stays as it is when nothing is moved: the root, and all words of all nodes. */
function imageOf({ arena, tree }: World): unknown {
  const nodes = nodesOf(arena, tree);
  return [
    rootOf(arena.words, tree.ref),
    nodes,
    nodes.map((node) => arena.words.slice(node * 16, node * 16 + 64)),
  ];
}

/** No object is left over: places that were prepared are given back, and moved nodes are freed. */
function assertTidy({ arena, tree, nodes, mover }: World): void {
  mover.finish();
  arena.rcu.barrier();
  assertEquals(nodes.stats().objects, tree.stats().nodes);
  nodes.validate();
  assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
}

for (const debug of [false, true]) {
  Deno.test(`NodeMover.relocate() moves the root, an inner node, a leaf: any node, and the tree stays the same, debug ${debug}`, () => {
    const world = worldOf({ debug });
    const { arena, tree, mover } = world;
    const before = digest(tree);
    const stats = tree.stats();
    const heights = new Set<number>();
    for (let i = 0; i < stats.nodes; i++) {
      const node = nodesOf(arena, tree)[i];
      heights.add(heightOf(arena.words, node));
      assertEquals(mover.relocate(node), "moved");
      assert(!nodesOf(arena, tree).includes(node));
      assertEquals(parentOf(arena.words, node), node); // dead
      tree.validate();
      assertEquals(digest(tree), before);
    }
    assertEquals(heights, new Set([2, 1, 0]));
    assertEquals(tree.stats(), stats);
    tree.store(4, 9);
    tree.validate();
    if (debug) world.nodes.shrink();
    mover.finish();
    arena.rcu.barrier();
    world.nodes.shrink();
    assertEquals(world.nodes.stats().objects, tree.stats().nodes);
  });
}

Deno.test("NodeMover.relocate() moves the root leaf of a tree", () => {
  const world = worldOf({ count: 5 });
  const before = digest(world.tree);
  const root = rootOf(world.arena.words, world.tree.ref);
  assertEquals(world.mover.relocate(root), "moved");
  assertNotEquals(rootOf(world.arena.words, world.tree.ref), root);
  assertEquals(digest(world.tree), before);
  world.tree.validate();
  assertTidy(world);
});

Deno.test("NodeMover.relocate() takes its places from slabs that are not isolated", () => {
  const world = worldOf();
  const { nodes, tree, arena } = world;
  const before = digest(tree);
  const isolated = nodes.all.map((cache) => {
    const [{ pfn }] = cache.slabs();
    assert(cache.isolate(pfn));
    return pfn;
  });
  const objects = isolated.flatMap((pfn) => nodes.objectsOf(pfn));
  world.mover.prepare(objects);
  for (const node of objects) assertEquals(world.mover.relocate(node), "moved");
  for (const node of nodesOf(arena, tree)) {
    assert(!isolated.includes(arena.pfnOf(node)));
  }
  assertEquals(digest(tree), before);
  tree.validate();
  assertTidy(world);
  assertEquals(nodes.isolatedSlabs(), []);
  for (const pfn of isolated) assertEquals(nodes.objectsOf(pfn), []);
});

Deno.test("NodeMover.relocate() shows readers the old node or the copy, which hold the same", () => {
  const world = worldOf();
  const { arena, tree } = world;
  {
    using section = insideSection(arena);
    const reader = section.arena;
    const root = rootOf(reader.words, tree.ref);
    for (const node of nodesOf(arena, tree)) {
      assertEquals(world.mover.relocate(node), "moved");
    }
    for (let i = 0; i < 700; i++) {
      assertEquals(
        lookup(reader.words, reader.doubles, root, 3 + 2 * i),
        i + 1,
      );
      assertEquals(lookup(reader.words, reader.doubles, root, 4 + 2 * i), 0);
    }
  }
  assertTidy(world);
});

Deno.test("NodeMover.relocate() says of a node that was replaced that it is gone", () => {
  const world = worldOf();
  const { arena, tree, mover } = world;
  const nodes = nodesOf(arena, tree);
  using _section = insideSection(arena);
  assertEquals(mover.relocate(nodes[3]), "moved");
  tree.storeRange(4, 6, 9);
  const image = imageOf(world);
  const replaced = nodes.filter((node) => parentOf(arena.words, node) === node);
  assert(replaced.length > 1);
  for (const node of replaced) assertEquals(mover.relocate(node), "gone");
  assertEquals(imageOf(world), image);
  tree.destroy();
  for (const node of nodes) assertEquals(mover.relocate(node), "gone");
});

Deno.test("NodeMover.relocate() says of a tree whose lock is held that it is busy, and moves it later", () => {
  const world = worldOf();
  const { arena, tree, mover } = world;
  const other = Arena.attach(arena.buffer);
  const same = RangeTree.attach(other, tree.ref);
  const image = imageOf(world);
  {
    using _guard = same.lock();
    for (const node of nodesOf(arena, tree)) {
      assertEquals(mover.relocate(node), "busy");
    }
    assertEquals(imageOf(world), image);
  }
  for (const node of nodesOf(arena, tree)) {
    assertEquals(mover.relocate(node), "moved");
  }
  tree.validate();
  other.leave();
  assertTidy(world);
});

Deno.test("NodeMover.relocate() says of a node that nobody has linked yet that it is busy", () => {
  const world = worldOf();
  const node = world.nodes.allocate();
  const image = imageOf(world);
  setParent(world.arena.words, node, 0);
  assertEquals(world.mover.relocate(node), "busy");
  // What its parent word names holds it in no slot, as while a writer builds it.
  setParent(world.arena.words, node, nodesOf(world.arena, world.tree)[1]);
  assertEquals(world.mover.relocate(node), "busy");
  setParent(world.arena.words, node, world.tree.ref + 1);
  assertEquals(world.mover.relocate(node), "busy");
  assertEquals(imageOf(world), image);
  world.nodes.free(node);
  assertTidy(world);
});

/** Has another thread's mover try every node but the tree's own, each time that this thread allocates some. */
function moveOthersMeanwhile(
  { arena, tree, nodes }: World,
): Disposable & { readonly outcomes: Set<string> } {
  const other = Arena.attach(arena.buffer);
  const others = bothOf(other);
  const mover = others.mover();
  const own = new Set(nodesOf(arena, tree));
  const outcomes = new Set<string>();
  const allocateInto = nodes.leaves.allocateInto.bind(nodes.leaves);
  const stubbed = stub(nodes.leaves, "allocateInto", (refs, count) => {
    for (const { pfn } of others.slabs()) {
      for (const node of others.objectsOf(pfn)) {
        if (!own.has(node)) outcomes.add(mover.relocate(node));
      }
    }
    allocateInto(refs, count);
  });
  return {
    outcomes,
    [Symbol.dispose]() {
      stubbed.restore();
      mover.finish();
      other.leave();
    },
  };
}

const BUILDS: Record<string, (world: World) => RangeTree> = {
  "copy": ({ tree }) => tree.clone(),
  "bulk load": ({ arena }) => {
    const loaded = RangeTree.create(arena);
    loaded.bulkLoad(points(700, 2, 3));
    return loaded;
  },
};
for (const [name, build] of Object.entries(BUILDS)) {
  Deno.test(`NodeMover.relocate() moves nothing of a ${name} before it is whole`, () => {
    const world = worldOf();
    const { tree } = world;
    // Leaves parent words behind that name nodes which are used again.
    assertThrows(() => tree.bulkLoad(points(700, 2, 3)), Error, "count is 700");
    const before = digest(tree);
    {
      using meanwhile = moveOthersMeanwhile(world);
      const built = build(world);
      const { outcomes } = meanwhile;
      assert(outcomes.has("busy") && !outcomes.has("moved"));
      for (const each of [built, tree]) {
        each.validate();
        assertEquals(digest(each), before);
      }
      built.destroy();
    }
    assertTidy(world);
  });
}

Deno.test("NodeMover.relocate() leaves the nodes of a tree alone that was emptied and is not yet retired", () => {
  const world = worldOf();
  const { arena, tree, mover } = world;
  const image = imageOf(world);
  const nodes = nodesOf(arena, tree);
  const other = RangeTree.create(arena);
  other.store(1, 1);
  const root = rootOf(arena.words, tree.ref);
  for (const instead of [0, rootOf(arena.words, other.ref)]) {
    setRoot(arena.words, tree.ref, instead);
    for (const node of nodes) assertEquals(mover.relocate(node), "busy");
  }
  setRoot(arena.words, tree.ref, root);
  assertEquals(imageOf(world), image);
  other.destroy();
  assertTidy(world);
});

Deno.test("NodeMover.relocate() leaves a node alone whose way up breaks off between two levels", () => {
  const world = worldOf();
  const { arena, tree, nodes, mover } = world;
  const [root] = nodesOf(arena, tree);
  // A private parent with a private child, whose own parent word still says what its last life left there.
  const parent = nodes.allocate(), child = nodes.allocate();
  arena.words[parent * 16 + 1] = 1 | (1 << 8);
  arena.words[child * 16 + 1] = 0 | (1 << 8);
  setSlot(arena.words, parent, 0, child);
  setParent(arena.words, child, parent);
  setParent(arena.words, parent, root);
  assertEquals(mover.relocate(child), "busy");
  mover.finish();
  nodes.free(child);
  nodes.free(parent);
  assertTidy(world);
});

Deno.test("NodeMover.relocate() survives parent words that lead nowhere", () => {
  const world = worldOf();
  const { arena, nodes, mover } = world;
  const node = nodes.allocate(), other = nodes.allocate();
  for (
    const parent of [
      1,
      3,
      4,
      -1,
      0x6b6b6b6b,
      0x7fff_fffc,
      node + 1,
      2 ** 31 | 0,
    ]
  ) {
    setParent(arena.words, node, parent);
    assertEquals(mover.relocate(node), "busy", `parent ${parent}`);
  }
  // A ring.
  setParent(arena.words, node, other);
  setParent(arena.words, other, node);
  assertEquals(mover.relocate(node), "busy");
  nodes.free(node);
  nodes.free(other);
  assertTidy(world);
});

Deno.test("NodeMover.relocate() says that it is busy where there is no room for a copy", () => {
  const world = worldOf();
  const image = imageOf(world);
  {
    using stubs = new DisposableStack();
    for (const cache of world.nodes.all) {
      stubs.use(stub(cache, "allocateInto"));
    }
    for (const node of nodesOf(world.arena, world.tree)) {
      assertEquals(world.mover.relocate(node), "busy");
    }
  }
  assertEquals(imageOf(world), image);
  assertTidy(world);
});

for (const lock of ["external", "none"] as const) {
  Deno.test(`NodeMover.relocate() says of a tree of lock mode ${lock} that it is pinned, and does not touch it`, () => {
    const world = worldOf({ lock });
    const image = imageOf(world);
    for (const node of nodesOf(world.arena, world.tree)) {
      assert(world.mover.isPinned(node));
      assertEquals(world.mover.relocate(node), "pinned");
    }
    assertEquals(imageOf(world), image);
    assertTidy(world);
  });
}

Deno.test("NodeMover.isPinned() says no of a tree with a lock, and of what is in no tree", () => {
  const world = worldOf();
  const node = world.nodes.allocate();
  setParent(world.arena.words, node, 0);
  for (const ref of [node, ...nodesOf(world.arena, world.tree)]) {
    assert(!world.mover.isPinned(ref));
  }
  world.nodes.free(node);
});

Deno.test("NodeMover.finish() gives back the places that no node was moved to", () => {
  const world = worldOf();
  const objects = world.nodes.stats().objects;
  world.mover.prepare(nodesOf(world.arena, world.tree));
  assert(world.nodes.stats().objects > objects);
  assertTidy(world);
});
