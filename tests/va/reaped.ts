/**
 * A VA manager whose writer is to die, and what is asked of it once that one was reaped.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Arena, Slabs, VaManager } from "../../mod.ts";
import { cacheOf } from "../range_tree/worlds.ts";
import { lostIn, NOTHING_LOST, settle } from "../stress/lost.ts";

/** A manager, with its own outer lock unless that is the driver's, and ten mappings of three objects. */
export function worldOf(
  outerLock: "manager" | "driver" = "manager",
): { arena: Arena; vm: VaManager } {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const vm = VaManager.create(arena, {
    range: 2 ** 30,
    outerLock,
    name: "vm",
  });
  {
    using _guard = outerLock === "manager" ? vm.lock() : undefined;
    for (let i = 1; i <= 10; i++) {
      const object = 1 + i % 3;
      vm.bind({ start: 100 * i, range: 100, object, offset: 1000 * i });
    }
    for (const object of [1, 3, 7]) vm.obtainBo(object).external = true;
    for (const object of [2, 7]) vm.obtainBo(object).evicted = true;
  }
  return { arena, vm };
}

/** Replaces mappings, each next to some that were replaced before on their VmBos' lists. */
export function replaceSome(vm: VaManager, count: number): void {
  using _guard = vm.lock();
  for (let i = 0; i < count; i++) {
    const start = 200 + 100 * (i * 3 % 7);
    vm.bind({ start, range: 100, object: 1 + i % 2, offset: i });
  }
}

/** What a manager maps, as text. */
export function picture(vm: VaManager): string {
  return [...vm.mappings()].map(({ start, range, object, offset }) =>
    `${start}+${range}:${object}@${offset}`
  ).join(" ");
}

/** Every entry is the whole of a mapping, and the VmBos link exactly what is mapped. */
export function assertInOrder(vm: VaManager, message: string): void {
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

/**
 * Reaps a thread. Then the manager is in order and as in one of the pictures, works on, and nothing is lost.
 */
export function assertReaped(
  arena: Arena,
  vm: VaManager,
  victim: number,
  pictures: readonly string[],
  message: string,
): void {
  arena.reap(victim);
  {
    using _guard = vm.lock();
    const now = picture(vm);
    assert(pictures.includes(now), `${message}: ${now}`);
    assertInOrder(vm, message);
    // It works on.
    vm.bind({ start: 5000, range: 10, object: 9, offset: 0 });
    assertInOrder(vm, message);
  }
  settle(arena);
  assertEquals(lostIn(arena), NOTHING_LOST, message);
  const inUse = (cache: string) => cacheOf(arena, cache).stats().objects;
  assertEquals(inUse("va_mapping"), vm.tree.count, message);
  using _guard = vm.lock();
  const bos = [1, 2, 3, 7, 9].filter((object) => vm.bo(object)).length;
  assertEquals(inUse("va_bo"), bos, message);
  for (const cache of Slabs.of(arena).all()) cache.validate();
}
