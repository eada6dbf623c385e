import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Arena, ExternalLock, LockdepError, RangeTree } from "../../mod.ts";
import { compiledFor } from "../../src/range_tree/compiled.ts";
import { lockIndexOf } from "../../src/range_tree/header.ts";
import { spinLockOwner } from "../../src/sync/spin_lock.ts";
import { assertSucceeds } from "../compiler_program.ts";
import { nodesOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// Operations that a compiled call does as a whole, and what becomes of them where it can't.

const ARENA = { byteLength: 2 ** 20 };
/** The bit that a sleeper sets in the word of a lock. */
const CONTENDED = 0x4000_0000;

for (const lock of ["internal", "external", "none"] as const) {
  for (const memory of ["shared", "buffer"] as const) {
    Deno.test(`RangeTree.load() without RCU finds what is stored, lock ${lock}, attached by its ${memory}`, () => {
      const arena = Arena.attach(Arena.create(ARENA)[memory]);
      const externalLock = lock === "external"
        ? ExternalLock.create(arena)
        : undefined;
      const tree = RangeTree.create(arena, { lock, externalLock });
      using _guard = externalLock?.guard();
      assertEquals(tree.load(1), 0);
      tree.bulkLoad(points(100, 2));
      tree.store(7, 0xffff_fffe);
      assertEquals(tree.reserve(9, 9), true);
      assertEquals([4, 5, 7, 9].map((at) => tree.load(at)), [
        3,
        0,
        0xffff_fffe,
        0,
      ]);
      // The mode is another from here on, as this handle finds out by itself.
      RangeTree.attach(arena, tree.ref).setRcu(true);
      assertEquals(tree.load(4), 3);
      RangeTree.attach(arena, tree.ref).setRcu(false);
      assertEquals(tree.load(4), 3);
    });
  }
}

Deno.test("RangeTree.load() without RCU is an error under the tree's lock, and without its external lock", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  tree.store(1, 1);
  {
    using _guard = tree.lock();
    assertThrows(() => tree.load(1), LockdepError, "RangeTree.load");
  }
  assertEquals(tree.load(1), 1);
  const externalLock = ExternalLock.create(arena);
  const other = RangeTree.create(arena, { lock: "external", externalLock });
  assertThrows(() => other.load(1), LockdepError, "RangeTree.load");
  assertThrows(() => other.store(1, 1), LockdepError, "RangeTree.store");
});

const READS: Record<string, (tree: RangeTree) => unknown> = {
  load: (tree) => tree.load(5),
  loadMany: (tree) => tree.loadMany([5]),
  find: (tree) => tree.find(5),
  prev: (tree) => tree.prev(9),
  entries: (tree) => [...tree.entries()],
  entriesReverse: (tree) => [...tree.entriesReverse()],
};
for (const [name, read] of Object.entries(READS)) {
  Deno.test(`RangeTree.${name}() is an error without the lock that it needs, and once another thread has destroyed the tree`, () => {
    const arena = Arena.create(ARENA);
    const internal = RangeTree.create(arena);
    internal.store(5, 1);
    {
      using _guard = internal.lock();
      assertThrows(() => read(internal), LockdepError, `RangeTree.${name}`);
    }
    read(internal);
    const externalLock = ExternalLock.create(arena);
    const external = RangeTree.create(arena, {
      lock: "external",
      externalLock,
    });
    assertThrows(() => read(external), LockdepError, `RangeTree.${name}`);
    const gone = RangeTree.create(arena, { rcu: true });
    gone.store(5, 1);
    read(gone);
    const other = Arena.attach(arena.shared);
    RangeTree.attach(other, gone.ref).destroy();
    other.rcu.barrier();
    // In its place.
    const later = RangeTree.create(other, { rcu: true });
    assertEquals(later.ref, gone.ref);
    later.store(5, 2);
    assertThrows(() => read(gone), Error, "it was destroyed");
    assertEquals(arena.lockdep.held, 0);
  });
}

Deno.test("RangeTree wakes who sleeps on its lock when a compiled call has done its work, and says what came of that", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  tree.store(5, 0xffff_fffe);
  bothOf(arena).stockUp();
  const index = lockIndexOf(tree.ref), { words } = arena;
  const compiled = compiledFor(arena)!;
  let slept = 0;
  for (
    const name of [
      "enterStoreRange",
      "enterInsertRange",
      "enterErase",
      "enterLookUp",
    ] as const
  ) {
    // As if somebody had begun to sleep before the lock was released.
    const original = compiled[name] as (...numbers: number[]) => number;
    compiled[name] = (...numbers: number[]) => {
      const answer = original(...numbers);
      if (answer < 0) return answer;
      assertEquals(words[index], 0);
      words[index] = arena.thread | CONTENDED;
      slept++;
      return answer + 2 ** 32;
    };
  }
  assertEquals(tree.load(5), 0xffff_fffe);
  tree.store(7, 1);
  assertEquals(tree.insert(7, 2), false);
  assertEquals(tree.insert(9, 2), true);
  assertEquals(tree.erase(5), 0xffff_fffe);
  assertEquals(slept, 5);
  assertEquals([spinLockOwner(words, index), arena.lockdep.held], [0, 0]);
});

Deno.test("Compiled calls and the compiled mover wake who began to sleep on the lock meanwhile, notice that the tree was destroyed, and take no node that another thread took", () => {
  assertSucceeds(new URL("./compiled_locks.ts", import.meta.url));
});

Deno.test("RangeTree that was destroyed and took no lock stores nothing in the one that has its header now", () => {
  const arena = Arena.create(ARENA);
  const entries = [{ first: 5, last: 9, value: 1 }];
  for (
    const store of [
      (tree: RangeTree) => tree.storeRange(5, 9, 2),
      (tree: RangeTree) => tree.insert(17, 2),
      (tree: RangeTree) => tree.erase(5),
      (tree: RangeTree) => tree.storeMany([5], [9], [4]),
    ]
  ) {
    const tree = RangeTree.create(arena, { lock: "none" });
    tree.bulkLoad(entries);
    tree.destroy();
    arena.rcu.barrier();
    const later = RangeTree.create(arena, { lock: "none", gaps: true });
    assertEquals(later.ref, tree.ref);
    later.bulkLoad(entries);
    assertThrows(() => store(tree), Error, "it was destroyed");
    assertEquals([...later], entries);
    later.destroy();
    arena.rcu.barrier();
  }
});

Deno.test("RangeTree.load() and find() leave the read section that they are called in as it is, and none of their own open", () => {
  const arena = Arena.create(ARENA);
  const section = () => arena.words[arena.rcu.readerIndex];
  const tree = RangeTree.create(arena, { rcu: true });
  tree.store(4, 9);
  arena.rcu.readLock();
  const inside = section();
  assertNotEquals(inside, 0);
  assertEquals([tree.load(4), tree.find(4)?.value], [9, 9]);
  assertEquals(section(), inside);
  arena.rcu.readUnlock();
  assertEquals([tree.load(4), tree.find(4)?.value, section()], [9, 9, 0]);
  // This handle finds out by itself that the mode is another, by then inside a section.
  RangeTree.attach(arena, tree.ref).setRcu(false);
  assertEquals([tree.load(4), section()], [9, 0]);
});

Deno.test("RangeTree that never was in RCU mode changes leaves in place, which takes no node; one that was copies them", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(30, 4));
  const nodes = () => nodesOf(arena, tree);
  const before = nodes();
  tree.storeRange(4, 9, 7);
  tree.erase(16);
  tree.validate();
  assertEquals(nodes(), before);
  tree.setRcu(true);
  tree.setRcu(false);
  tree.erase(4);
  assertNotEquals(nodes(), before);
});

Deno.test("Cursor in a read section is an error in a tree that never was in RCU mode", () => {
  const arena = Arena.create(ARENA);
  const tree = RangeTree.create(arena);
  tree.bulkLoad(points(30, 4));
  arena.rcu.readLock();
  assertThrows(() => tree.cursor(4).walk(), LockdepError, "Cursor.walk");
  arena.rcu.readUnlock();
  tree.setRcu(true);
  arena.rcu.readLock();
  assertEquals(tree.cursor(4).walk(), 2);
  arena.rcu.readUnlock();
});
