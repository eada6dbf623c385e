import { assert, assertEquals } from "@std/assert";
import { Arena, Slabs, VaManager } from "../../mod.ts";
import { compiledFor as treesFor } from "../../src/range_tree/compiled.ts";
import { compiledFor as managersFor } from "../../src/va/compiled.ts";
import { dyingAfter, dyingAfterCalls } from "../stress/dying.ts";
import { lostIn, settle } from "../stress/lost.ts";
import { cacheOf } from "../range_tree/worlds.ts";

/** What is done to a manager, under its outer lock, by a thread that dies of it. */
const OPERATIONS: Record<string, (vm: VaManager) => void> = {
  "a map over the middle of a mapping": (vm) =>
    vm.commit(vm.mapOps({ start: 120, range: 60, object: 3, offset: 0 })),
  "a map of an object that has no VmBo": (vm) =>
    vm.commit(vm.mapOps({ start: 150, range: 400, object: 9, offset: 0 })),
  "a map at once": (vm) =>
    void vm.bind({ start: 100, range: 100, object: 2, offset: 5 }),
  "an unmap of the middle of a mapping": (vm) =>
    vm.commit(vm.unmapOps({ start: 340, range: 20 })),
  "an unmap over many": (vm) =>
    vm.commit(vm.unmapOps({ start: 150, range: 700 })),
  "releasing a VmBo": (vm) => vm.releaseBo(7),
};

function worldOf(): { arena: Arena; vm: VaManager } {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const vm = VaManager.create(arena, {
    range: 2 ** 30,
    outerLock: "manager",
    name: "vm",
  });
  {
    using _guard = vm.lock();
    for (let i = 1; i <= 10; i++) {
      const object = 1 + i % 3;
      vm.bind({ start: 100 * i, range: 100, object, offset: 1000 * i });
    }
    for (const object of [1, 3, 7]) vm.obtainBo(object).external = true;
    for (const object of [2, 7]) vm.obtainBo(object).evicted = true;
  }
  return { arena, vm };
}

/** All that is compiled for a thread. */
function compiledOf(arena: Arena): object[] {
  return [arena.words.inline!, treesFor(arena)!, managersFor(arena)!];
}

/** What a manager maps, as text. */
function picture(vm: VaManager): string {
  return [...vm.mappings()].map(({ start, range, object, offset }) =>
    `${start}+${range}:${object}@${offset}`
  ).join(" ");
}

/** Every entry is the whole of a mapping, and the VmBos link exactly what is mapped. */
function assertInOrder(vm: VaManager, message: string): void {
  const linked = new Map<number, number[]>();
  for (const { first, last, value } of vm.tree) {
    const mapping = vm.findFirst(first, 1)!;
    assertEquals(
      [mapping.ref, mapping.start, mapping.range],
      [value, first, last - first + 1],
      message,
    );
    const refs = linked.get(mapping.object) ?? [];
    linked.set(mapping.object, [...refs, mapping.ref]);
  }
  const flagged = { external: new Set<number>(), evicted: new Set<number>() };
  for (const object of [1, 2, 3, 7, 9]) {
    const bo = vm.bo(object);
    const refs = bo?.mappings().map(({ ref }) => ref) ?? [];
    const expected = linked.get(object) ?? [];
    assertEquals(refs.toSorted(), expected.toSorted(), message);
    assertEquals(bo?.count ?? 0, expected.length, message);
    if (bo?.external) flagged.external.add(object);
    if (bo?.evicted) flagged.evicted.add(object);
  }
  const objects = (bos: { object: number }[]) =>
    new Set(bos.map(({ object }) => object));
  assertEquals(objects(vm.externalBos()), flagged.external, message);
  assertEquals(objects(vm.evictedBos()), flagged.evicted, message);
}

for (
  const [[name, run], by] of Object.entries(OPERATIONS).flatMap((each) =>
    (["buffer", "shared"] as const).map((by) => [each, by] as const)
  )
) {
  const steps = by === "buffer" ? "step" : "call of what is compiled";
  Deno.test(`Arena.reap() recovers a VA manager whose writer dies at any ${steps} of ${name}`, () => {
    const whole = worldOf().vm;
    const before = picture(whole);
    {
      using _guard = whole.lock();
      run(whole);
    }
    const after = picture(whole);
    for (let step = 0, died = true; died; step++) {
      const { arena, vm } = worldOf();
      const victim = Arena.attach(arena[by]);
      const theirs = VaManager.attach(victim, "vm");
      {
        using killing = by === "buffer"
          ? dyingAfter(step)
          : dyingAfterCalls(step, compiledOf(victim));
        try {
          const guard = theirs.lock();
          run(theirs);
          guard[Symbol.dispose]();
        } catch (error) {
          assert(killing.died, String(error));
        }
        died = killing.died;
      }
      if (!died) {
        assertEquals(picture(vm), after);
        break;
      }
      arena.reap(victim.thread);
      const message = `died at access ${step}`;
      {
        using _guard = vm.lock();
        const now = picture(vm);
        assert(now === before || now === after, `${message}: ${now}`);
        assertInOrder(vm, message);
        // It works on.
        vm.bind({ start: 5000, range: 10, object: 9, offset: 0 });
        assertInOrder(vm, message);
      }
      settle(arena);
      assertEquals(lostIn(arena), { nodes: 0, headers: 0, pages: 0 }, message);
      const inUse = (cache: string) => cacheOf(arena, cache).stats().objects;
      assertEquals(inUse("va_mapping"), vm.tree.count, message);
      using _guard = vm.lock();
      const bos = [1, 2, 3, 7, 9].filter((object) => vm.bo(object)).length;
      assertEquals(inUse("va_bo"), bos, message);
      for (const cache of Slabs.of(arena).all()) cache.validate();
    }
  });
}

Deno.test("Arena.reap() on a thread that has opened no manager releases its outer lock", () => {
  const { arena, vm } = worldOf();
  const victim = Arena.attach(arena.buffer);
  VaManager.attach(victim, "vm").lock();
  Arena.attach(arena.buffer).reap(victim.thread);
  using _guard = vm.lock();
  assertInOrder(vm, "reaped");
});

Deno.test("Arena.reap() gives a part that remains of a mapping no object that another manager maps", () => {
  for (let step = 0, died = true; died; step++) {
    const arena = Arena.create({ byteLength: 2 ** 21 });
    const victim = Arena.attach(arena.buffer);
    const [left, right] = [1, 2].map(() =>
      VaManager.create(arena, { range: 2 ** 30, outerLock: "manager" })
    );
    const [cut, other] = [left, right].map(({ ref }) =>
      VaManager.attach(victim, ref)
    );
    {
      using _guard = other.lock();
      // The second is found before the part that is made for the left of the mapping that is cut, and looks like it.
      other.bind({ start: 5000, range: 40, object: 1, offset: 1 });
      other.bind({ start: 100, range: 40, object: 1, offset: 7777 });
    }
    {
      using _guard = cut.lock();
      cut.bind({ start: 100, range: 100, object: 1, offset: 1000 });
    }
    {
      using killing = dyingAfter(step);
      try {
        using _guard = cut.lock();
        cut.commit(cut.mapOps({ start: 140, range: 20, object: 2 }));
      } catch (error) {
        assert(killing.died, String(error));
      }
      died = killing.died;
    }
    if (!died) break;
    arena.reap(victim.thread);
    assertEquals(left.lookup(100)!.offset, 1000, `died at access ${step}`);
    assertEquals(right.lookup(100)!.offset, 7777, `died at access ${step}`);
    assert(left.lookup(100)!.ref !== right.lookup(100)!.ref);
  }
});
