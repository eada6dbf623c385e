import { assert, assertEquals } from "@std/assert";
import { Arena, OutOfMemoryError, VaManager } from "../../mod.ts";
import { toText } from "./mirror.ts";
import { failAfter, failEach, objectsInUse, pages } from "./worlds.ts";

/** A manager with full leaves of mappings of four pages each, so that stores split. */
function filled(count = 3000): { arena: Arena; vm: VaManager } {
  const arena = Arena.create({ byteLength: 2 ** 24 });
  const vm = VaManager.create(arena, { name: "vm", range: 2 ** 47 });
  for (let i = 0; i < count; i++) vm.insert(pages(5 * i, 4, 1 + i % 2, 8 * i));
  return { arena, vm };
}

function stateOf(vm: VaManager): unknown {
  vm.tree.validate();
  return {
    mappings: toText(vm.mappings()),
    linked: [1, 2, 3].map((object) => vm.bo(object)?.mappings().length),
    regions: [...vm.regions()],
  };
}

const OPERATIONS: Record<string, (vm: VaManager) => unknown> = {
  "insert()": (vm) => vm.insert(pages(5 * 700 + 4, 1, 1)),
  "insert() of a new object": (vm) => vm.insert(pages(5 * 700 + 4, 1, 3)),
  "remove()": (vm) => vm.remove(vm.lookup(5 * 700 * 4096)!),
  "commit() of a map in a hole": (vm) =>
    vm.commit(vm.mapOps(pages(5 * 700 + 4, 1, 1))),
  "commit() of a map that cuts one": (vm) =>
    vm.commit(vm.mapOps(pages(5 * 700 + 1, 2, 1))),
  "commit() of a map that cuts two and covers many": (vm) =>
    vm.commit(vm.mapOps(pages(5 * 700 + 1, 3003, 3))),
  "commit() of a map that merges": (vm) =>
    vm.commit(
      vm.mapOps(pages(5 * 700 + 4, 1, 1, 8 * 700 + 4), { merge: true }),
    ),
  "commit() of a map over a mapping": (vm) =>
    vm.commit(vm.mapOps(pages(5 * 700, 4, 2))),
  "commit() of an unmap": (vm) =>
    vm.commit(vm.unmapOps(pages(5 * 700 + 1, 3003))),
  "commit() of an unmap of all": (vm) =>
    vm.commit(vm.unmapOps(pages(0, 2 ** 30))),
  "apply() of a remap": (vm) => {
    const list = vm.unmapOps(pages(5 * 700 + 1, 2));
    vm.apply(list.at(0)!, list);
  },
  "bind() in a hole": (vm) => vm.bind(pages(5 * 700 + 4, 1, 1)),
  "bind() of a new object": (vm) => vm.bind(pages(5 * 700 + 4, 1, 3)),
  "bind() over a mapping": (vm) => vm.bind(pages(5 * 700, 4, 2)),
  "bind() that cuts one": (vm) => vm.bind(pages(5 * 700 + 1, 2, 1)),
  "unbind() of a mapping": (vm) => vm.unbind(pages(5 * 700, 4)),
  "unbind() that cuts one": (vm) => vm.unbind(pages(5 * 700 + 1, 2)),
  "obtainBo()": (vm) => vm.obtainBo(3),
  "insertRegion()": (vm) => vm.insertRegion(pages(0, 8)),
};

for (const [name, operation] of Object.entries(OPERATIONS)) {
  Deno.test(`VaManager.${name} leaves all as it was when any of its allocations fails`, () => {
    const { arena, vm } = filled();
    const needed = failEach(arena, () => stateOf(vm), () => operation(vm));
    // Emptying all of the tree needs none.
    assert(needed >= 1 || vm.count === 0, `${needed} allocations`);
  });
}

Deno.test("VaManager.commit() of many operations is all or nothing when any allocation fails", () => {
  const { arena, vm } = filled(300);
  const advised = pages(5 * 300 + 2, 20);
  vm.insert(pages(5 * 300, 8));
  vm.insert(pages(5 * 300 + 18, 8));
  const advise = () => vm.commit(vm.madviseOps(advised));
  assert(failEach(arena, () => stateOf(vm), advise) >= 2);
  assertEquals(vm.count, 304);
  const unmap = () => vm.commit(vm.unmapObjectOps(2));
  assert(failEach(arena, () => stateOf(vm), unmap) >= 1);
  assertEquals(vm.count, 154);
});

Deno.test("VaManager.create() leaves nothing behind when any of its allocations fails", () => {
  const { arena } = filled(10);
  const create = () =>
    VaManager.create(arena, {
      name: "other",
      range: 2 ** 40,
      reserved: { start: 0, range: 4096 },
    });
  assertEquals(failEach(arena, () => arena.roots.names(), create), 6);
});

Deno.test("VaManager.destroy() needs no memory", () => {
  const { arena, vm } = filled(100);
  using failing = failAfter(arena, 0);
  vm.destroy();
  assertEquals(failing.failed, false);
});

Deno.test("VaManager settles what was replaced when it finds no room, whatever for", () => {
  const changes: typeof OPERATIONS = {
    ...OPERATIONS,
    // Amid holes, so that nodes are needed.
    "insert() amid a hole": (vm) => vm.insert(pages(2 ** 20, 1, 1)),
    "insertRegion() amid a hole": (vm) => vm.insertRegion(pages(20, 4)),
    "removeRegion()": (vm) => vm.removeRegion(pages(8, 8)),
    "obtainBo() amid a hole": (vm) => vm.obtainBo(9),
    "releaseBo()": (vm) => vm.releaseBo(4),
  };
  for (const [name, change] of Object.entries(changes)) {
    const { arena, vm } = filled();
    const inUse = () => objectsInUse(arena).va_mapping;
    vm.obtainBo(4);
    vm.insertRegion(pages(8, 8));
    for (let allocations = 0, failed = true; failed; allocations++) {
      for (let i = 0; i < 5; i++) vm.bind(pages(5 * 100, 4, 1, i));
      assert(inUse() > vm.count, "nothing is noted");
      using failing = failAfter(arena, allocations);
      try {
        change(vm);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        assertEquals(inUse(), vm.count, `${name}, ${allocations}`);
      }
      failed = failing.failed;
    }
  }
});
