/**
 * What the tests of the VA manager share.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { type Arena, OutOfMemoryError, Slabs } from "../../mod.ts";
import type { MappingSpec, MapRequest, VaManager } from "../../src/va/mod.ts";
import type { Rng } from "../seed.ts";
import { PAGE, toText, type VaMirror } from "./mirror.ts";

/** The caches whose allocations a VA manager needs. */
export const CACHES = [
  "range_node",
  "range_inner",
  "range_tree",
  "va_manager",
  "va_mapping",
  "va_bo",
];

/** A request with all its fields. */
export function spec(request: MapRequest): MappingSpec {
  return { object: 0, offset: 0, flags: 0, repeat: 0, phase: 0, ...request };
}

/** A request in pages. */
export function pages(
  first: number,
  count: number,
  object = 0,
  offset = 0,
): MappingSpec {
  return spec({
    start: first * PAGE,
    range: count * PAGE,
    object,
    offset: offset * PAGE,
  });
}

/** A random request of up to `longest` pages in a window of so many. */
export function randomRequest(
  random: Rng,
  window: number,
  longest: number,
): MappingSpec {
  const first = random.int(window);
  const count = 1 + random.int(Math.min(longest, window - first));
  const object = random.int(4);
  if (object > 0 && random.int(6) === 0) {
    const block = 1 + random.int(4);
    const blocks = Math.ceil(count / block);
    return {
      ...pages(first, blocks * block, object),
      repeat: block * PAGE,
    };
  }
  // Often what continues its neighbours.
  const offset = random.int(2) === 0 ? first : random.int(64);
  return pages(first, count, object, object === 0 ? 0 : offset);
}

/** The manager is sound and holds what the mirror holds; the offsets of what has no object do not matter. */
export function assertSame(vm: VaManager, mirror: VaMirror): void {
  vm.tree.validate();
  const found = toText([...vm.mappings()].map(withoutOffset));
  const expected = toText(mirror.mappings.map(withoutOffset));
  assertEquals(found, expected);
  assertEquals(vm.count, mirror.mappings.length);
  const byObject = new Map<number, number>();
  for (const { object } of mirror.mappings) {
    byObject.set(object, (byObject.get(object) ?? 0) + 1);
  }
  for (const object of [1, 2, 3]) {
    const bo = vm.bo(object);
    assertEquals(bo?.count ?? 0, byObject.get(object) ?? 0);
    assertEquals(bo?.mappings().length ?? 0, byObject.get(object) ?? 0);
  }
}

function withoutOffset(mapping: MappingSpec): MappingSpec {
  return mapping.object === 0 ? { ...mapping, offset: 0 } : mapping;
}

/** How many objects of each cache are in use, once all that is deferred was freed. */
export function objectsInUse(arena: Arena): Record<string, number> {
  arena.rcu.barrier();
  return Object.fromEntries(
    Slabs.of(arena).all().map((cache) => [cache.name, cache.stats().objects]),
  );
}

/** Lets the caches hand out so many objects in all and none after them, until disposed of. */
export function failAfter(
  arena: Arena,
  allocations: number,
): Disposable & { failed: boolean } {
  const state = { failed: false };
  let left = allocations;
  const stubs = Slabs.of(arena).all()
    .filter((cache) => CACHES.includes(cache.name))
    .flatMap((cache) => {
      // Compiled stores find no node at hand: so all are asked for one by one.
      cache.giveBack();
      const tryAllocate = cache.tryAllocate.bind(cache);
      const setPagesAside = cache.setPagesAside.bind(cache);
      const allocateInto = cache.allocateInto.bind(cache);
      return [
        stub(cache, "tryAllocate", () => {
          if (left-- > 0) return tryAllocate();
          state.failed = true;
          return 0;
        }),
        stub(cache, "stockUp", () => false),
        stub(cache, "setPagesAside", (pfns: number[], count: number) => {
          if (left-- > 0) return setPagesAside(pfns, count);
          state.failed = true;
          return setPagesAside(pfns, count >> 1);
        }),
        stub(cache, "allocateInto", (refs: number[], count: number) => {
          if (left-- > 0) return allocateInto(refs, count);
          // Some are had, as from a cache that runs dry.
          state.failed = true;
          return allocateInto(refs, count >> 1);
        }),
      ];
    });
  return Object.assign(state, {
    [Symbol.dispose]: () => stubs.forEach((each) => each.restore()),
  });
}

/**
 * Fails each allocation of an operation in turn, until it needs no more of them: each time nothing has changed, by what
 * `look` sees and in every cache.
 *
 * @returns How many allocations the operation needs.
 */
export function failEach(
  arena: Arena,
  look: () => unknown,
  operation: () => unknown,
): number {
  const state = () => ({ seen: look(), inUse: objectsInUse(arena) });
  const before = state();
  for (let allocations = 0;; allocations++) {
    using failing = failAfter(arena, allocations);
    try {
      operation();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      assertEquals(state(), before, `allocation ${allocations} failed`);
      assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
      continue;
    }
    assertEquals(failing.failed, false, "it went on after a failed allocation");
    return allocations;
  }
}
