import { assertEquals, assertThrows } from "@std/assert";
import { Arena, RangeMap, RangeTree, Slabs, VaManager } from "../../mod.ts";
import { digest, points } from "../range_tree/worlds.ts";

const LEFT = "Cannot use the arena: this thread has left it";

/** What a thread may still try with a tree that it had opened. */
function usesOf(tree: RangeTree): Record<string, () => unknown> {
  const cursor = tree.cursor(4);
  return {
    load: () => tree.load(4),
    loadMany: () => tree.loadMany([4, 5]),
    find: () => tree.find(4),
    prev: () => tree.prev(4),
    entries: () => [...tree],
    countIn: () => tree.countIn(0, 9),
    store: () => tree.store(4, 9),
    storeMany: () => tree.storeMany([4], [4], [9]),
    insert: () => tree.insert(7, 9),
    erase: () => tree.erase(4),
    clear: () => tree.clear(),
    destroy: () => tree.destroy(),
    lock: () => tree.lock(),
    tryLock: () => tree.tryLock(),
    walk: () => cursor.walk(),
    cursorStore: () => cursor.store(9),
  };
}

/** And with the arena. */
function usesOfArena(arena: Arena): Record<string, () => unknown> {
  return {
    create: () => RangeTree.create(arena),
    attach: () => RangeTree.attach(arena, "vm").load(4),
    readLock: () => arena.rcu.readLock(),
    barrier: () => arena.rcu.barrier(),
    flush: () => arena.rcu.flush(),
    allocPages: () => arena.allocPages(0),
    root: () => arena.roots.get("vm"),
    addRoot: () => arena.roots.add("other", 64),
    removeRoot: () => arena.roots.remove(arena.pageRef(0)),
    names: () => arena.roots.names(),
    caches: () => Slabs.of(arena).all(),
    cache: () =>
      Slabs.of(arena).cache({ name: "mine", objectBytes: 64, link: 0 }),
    lockClass: () => arena.lockdep.lockClass("mine"),
    reap: () => arena.reap(arena.threads[0]),
  };
}

for (const kind of ["shared", "buffer"] as const) {
  for (const lockdep of [true, false]) {
    for (const rcu of [true, false]) {
      Deno.test(`Arena.leave() has trees and the arena refuse what that thread does (${kind}, lockdep ${lockdep}, rcu ${rcu})`, () => {
        const arena = Arena.create({ byteLength: 2 ** 20, lockdep });
        const tree = RangeTree.create(arena, { name: "vm", rcu });
        tree.bulkLoad(points(100, 2));
        const before = digest(tree);
        const gone = Arena.attach(arena[kind]);
        const stale = RangeTree.attach(gone, "vm");
        for (let i = 0; i < 3; i++) stale.load(i);
        // Without lockdep a cursor counts on its user.
        const { walk, cursorStore, ...others } = usesOf(stale);
        const uses = { ...others, ...usesOfArena(gone) };
        gone.leave();
        const next = Arena.attach(arena.shared);
        assertEquals(next.thread, gone.thread);
        for (const [name, use] of Object.entries(uses)) {
          assertThrows(use, Error, LEFT, name);
        }
        if (lockdep) {
          for (const use of [walk, cursorStore]) assertThrows(use);
        }
        assertThrows(() => gone.leave(), Error, "has left already");
        assertEquals(digest(tree), before);
        tree.validate();
        // Nobody is inside a section, and no lock is held.
        RangeTree.attach(next, "vm").store(4, 9);
        arena.rcu.synchronize(1000);
        next.leave();
        assertEquals(tree.load(4), 9);
      });
    }
  }
}

Deno.test("Arena.leave() has maps and VA managers refuse what that thread does", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const gone = Arena.attach(arena.shared);
  const map = RangeMap.create<string>(gone);
  map.set(0, 9, "x");
  const vm = VaManager.create(gone, { range: 2 ** 40 });
  const { object } = vm.obtainBo(1);
  const request = { start: 0x1000, range: 0x1000, object, offset: 0 };
  vm.bind(request);
  gone.leave();
  for (
    const use of [
      () => map.get(1),
      () => map.set(1, 1, "y"),
      () => vm.lookup(0x1000),
      () => vm.translate(0x1000),
      () => vm.translateMany([0x1000]),
      () => vm.find(0x1000, 0x1000),
      () => vm.bind(request),
      () => vm.unbind(request),
    ]
  ) assertThrows(use, Error, LEFT, use.toString());
});
