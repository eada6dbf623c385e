import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  Arena,
  Compactor,
  ExternalLock,
  LockdepError,
  RangeTree,
} from "../../mod.ts";
import { spinLockOwner } from "../../src/sync/spin_lock.ts";
import { bothOf } from "./both_caches.ts";
import { inTheMiddle } from "./in_the_middle.ts";
import { cacheOf, digest, insideSection, points } from "./worlds.ts";

function worldOf(rcu = false): {
  arena: Arena;
  externalLock: ExternalLock;
  create: () => RangeTree;
} {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const externalLock = ExternalLock.create(arena, { name: "vm lock" });
  const create = () =>
    RangeTree.create(arena, { lock: "external", externalLock, rcu });
  return { arena, externalLock, create };
}

/** Trees under one external lock, most of whose slabs are nearly empty. */
function fragmented(create: () => RangeTree, lock: ExternalLock): RangeTree[] {
  using _guard = lock.guard();
  const trees = Array.from({ length: 200 }, create);
  for (const tree of trees) tree.bulkLoad(points(60, 2));
  return trees.filter((tree, i) => {
    if (i % 4 === 0) return true;
    tree.destroy();
    return false;
  });
}

Deno.test("Compactor.run() moves the nodes of trees with a registered external lock, as it does those with their own", () => {
  const { arena, externalLock, create } = worldOf(true);
  const trees = fragmented(create, externalLock);
  const before = trees.map(digest);
  const result = new Compactor(arena).run();
  assert(result.plan.freeableSlabs > 5);
  assertEquals([result.yield, result.moveEfficiency, result.pinned], [1, 1, 0]);
  assertEquals(trees.map(digest), before);
  using _guard = externalLock.guard();
  for (const tree of trees) tree.validate();
});

Deno.test("Compactor.run() reports trees as busy while their external lock is held", () => {
  const { arena, externalLock, create } = worldOf(true);
  const trees = fragmented(create, externalLock);
  const other = Arena.attach(arena.buffer);
  ExternalLock.attach(other, "vm lock").lock();
  const result = new Compactor(arena).run();
  assertEquals([result.moves, result.pinned], [0, 0]);
  assert(result.busy > 0);
  ExternalLock.attach(other, "vm lock").unlock();
  assert(new Compactor(arena).run().moves > 0);
  assert(trees[0].count > 0);
});

Deno.test("RangeTree with a registered external lock asserts that it is held", () => {
  const { externalLock, create } = worldOf();
  const tree = create();
  for (
    const use of [
      () => tree.store(1, 1),
      () => tree.load(1),
      () => tree.find(1),
      () => [...tree],
      () => tree.cursor().walk(),
      () => tree.cursor().store(1),
      () => tree.setRcu(true),
      () => tree.clone(),
      () => tree.destroy(),
    ]
  ) {
    const error = assertThrows(
      use,
      LockdepError,
      "suspicious rcu_dereference_",
    );
    assertStringIncludes(error.message, "external lock");
  }
  using _guard = externalLock.guard();
  tree.store(1, 1);
  assertEquals(tree.load(1), 1);
  const copy = tree.clone();
  assertEquals([copy.load(1), copy.lockMode], [1, "external"]);
  assertEquals(externalLock.trees, 2);
  copy.destroy();
  assertEquals(externalLock.trees, 1);
});

Deno.test("RangeTree.lock() takes the registered external lock, and is an error where there is none", () => {
  const { arena, externalLock, create } = worldOf();
  const tree = create();
  {
    using _guard = tree.lock();
    assertEquals(externalLock.tryLock(), false);
    tree.store(1, 1);
    assertEquals(tree.cursor(1).walk(), 1);
    // It is no lock of a tree's own, beside which there may be none.
    const own = RangeTree.create(arena);
    own.store(1, 1);
    assertEquals(own.load(1), 1);
  }
  assert(externalLock.tryLock());
  externalLock.unlock();
  for (const lock of ["external", "none"] as const) {
    const bare = RangeTree.create(arena, { lock });
    assertThrows(
      () => bare.lock(),
      Error,
      `Cannot lock in RangeTree.lock: the tree has lock mode "${lock}"`,
    );
    assertThrows(() => bare.tryLock(), Error, "Cannot lock in RangeTree");
  }
});

Deno.test("RangeTree in RCU mode with an external lock is read without it, and written with it", () => {
  const { externalLock, create } = worldOf(true);
  const tree = create();
  {
    using _guard = externalLock.guard();
    tree.storeRange(5, 9, 1);
  }
  assertEquals(tree.load(7), 1);
  assertEquals([...tree].length, 1);
  assertThrows(() => tree.store(1, 1), LockdepError);
});

Deno.test("ExternalLock.destroy() refuses while a tree names it or it is held, and every later use is an error", () => {
  const { arena, externalLock, create } = worldOf();
  const tree = create();
  assertThrows(
    () => externalLock.destroy(),
    Error,
    "Cannot destroy the external lock: 1 trees are registered with it",
  );
  {
    using _guard = externalLock.guard();
    tree.destroy();
    assertThrows(() => externalLock.destroy(), Error, "it is held");
  }
  const other = ExternalLock.attach(arena, "vm lock");
  externalLock.destroy();
  const uses = ["lock", "tryLock", "guard", "destroy"] as const;
  for (const use of uses) {
    assertThrows(
      () => other[use](),
      Error,
      `Cannot use the external lock in ExternalLock.${use}: it was destroyed`,
    );
  }
  assertThrows(() => create(), Error, "it was destroyed");
  assertThrows(() => ExternalLock.attach(arena, "vm lock"), Error);
  assertThrows(
    () => ExternalLock.attach(arena, other.ref),
    Error,
    "Cannot attach to an external lock",
  );
  assertEquals(arena.roots.get("vm lock"), 0);
  arena.rcu.barrier();
  assertEquals(cacheOf(arena, "external_lock").stats().objects, 0);
  const again = ExternalLock.create(arena, { name: "vm lock" });
  assertThrows(() => externalLock.lock(), Error, "it was destroyed");
  assertEquals(again.trees, 0);
});

Deno.test("ExternalLock.destroy() frees the lock once no reader can be at it any more", () => {
  const { arena, externalLock } = worldOf();
  const objects = () => cacheOf(arena, "external_lock").stats().objects;
  {
    using _section = insideSection(arena);
    externalLock.destroy();
    assertNotEquals(ExternalLock.create(arena).ref, externalLock.ref);
    assertEquals(objects(), 2);
  }
  arena.rcu.barrier();
  assertEquals(objects(), 1);
});

for (const way of ["lock", "tryLock"] as const) {
  Deno.test(`ExternalLock.${way}() looks again once it has the lock, and gives it back if it was destroyed`, () => {
    const arena = Arena.create({ byteLength: 2 ** 20, debug: true });
    const lock = ExternalLock.create(arena);
    const theirs = ExternalLock.attach(Arena.attach(arena.buffer), lock.ref);
    {
      // Once it has seen that the lock exists.
      using _middle = inTheMiddle(1, () => theirs.destroy());
      assertThrows(() => lock[way](), Error, "it was destroyed");
    }
    assertEquals(arena.lockdep.held, 0);
    assertEquals(spinLockOwner(arena.words, lock.ref * 16), 0);
  });

  Deno.test(`ExternalLock.${way}() of a lock that was destroyed does not look at the word in its place`, () => {
    const { arena, externalLock } = worldOf();
    externalLock.destroy();
    arena.words[externalLock.ref * 16] = arena.thread;
    assertThrows(() => externalLock[way](), Error, "it was destroyed");
  });
}

Deno.test("ExternalLock.tryLock() that did not take the lock holds nothing", () => {
  const { arena, externalLock } = worldOf();
  const other = Arena.attach(arena.buffer);
  using _theirs = ExternalLock.attach(other, "vm lock").guard();
  assertEquals(externalLock.tryLock(), false);
  assertEquals(arena.lockdep.held, 0);
  using _guard = ExternalLock.create(arena).guard();
});

Deno.test("ExternalLock.attach() knows a lock from a tree, and create() under a taken name creates nothing", () => {
  const { arena, externalLock } = worldOf();
  const tree = RangeTree.create(arena, { name: "tree" });
  assertThrows(() => ExternalLock.attach(arena, "tree"), Error, '"tree"');
  assertThrows(() => ExternalLock.attach(arena, tree.ref), Error);
  assertThrows(() => RangeTree.attach(arena, "vm lock"), Error, "vm lock");
  // Nor is an object of another kind a lock that looks like one.
  const node = bothOf(arena).allocate();
  arena.words.copyWithin(
    node * 16,
    externalLock.ref * 16,
    externalLock.ref * 16 + 16,
  );
  assertThrows(() => ExternalLock.attach(arena, node), Error, "there is none");
  const { objects } = cacheOf(arena, "external_lock").stats();
  assertThrows(() => ExternalLock.create(arena, { name: "vm lock" }), Error);
  assertEquals(cacheOf(arena, "external_lock").stats().objects, objects);
});

Deno.test("RangeTree.create() registers an external lock only where the lock mode says so", () => {
  const { arena, externalLock } = worldOf();
  assertThrows(
    () => RangeTree.create(arena, { externalLock }),
    TypeError,
    'the tree is to have lock mode "internal"',
  );
  assertEquals(externalLock.trees, 0);
});

Deno.test("RangeTree.create() refuses an external lock of another arena, before it changes anything", () => {
  const { arena, externalLock } = worldOf();
  const other = Arena.create({ byteLength: 2 ** 20 });
  RangeTree.create(other);
  const headers = cacheOf(other, "range_tree").stats().objects;
  const before = other.words.slice();
  assertThrows(
    () => RangeTree.create(other, { lock: "external", externalLock }),
    TypeError,
    "Cannot register the external lock in RangeTree.create: it lies in another arena",
  );
  assertEquals(cacheOf(other, "range_tree").stats().objects, headers);
  assert(before.every((word, at) => word === other.words[at]));
  assertEquals(externalLock.trees, 0);
  // Another view of the same arena is no other arena.
  const view = Arena.attach(arena.buffer);
  RangeTree.create(view, { lock: "external", externalLock });
  assertEquals(externalLock.trees, 1);
});
