import { assertEquals } from "@std/assert";
import { Arena } from "../../src/memory/mod.ts";
import { ExternalLock, RangeTree } from "../../src/range_tree/mod.ts";
import { guardOf } from "../../src/sync/guard.ts";
import { SpinLock } from "../../src/sync/mod.ts";
import { VaManager } from "../../src/va/mod.ts";

Deno.test("guardOf() releases once, also if that fails", () => {
  let releases = 0;
  const guard = guardOf(() => {
    releases++;
    throw new Error("failed");
  });
  for (let i = 0; i < 3; i++) {
    try {
      guard[Symbol.dispose]();
    } catch {
      assertEquals(i, 0);
    }
  }
  assertEquals(releases, 1);
});

/** What takes a lock, or enters a section, and whether that is held. */
const HOLDS: Record<
  string,
  () => [take: () => Disposable, isHeld: () => boolean]
> = {
  "SpinLock.guard()": () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    const lock = new SpinLock(words, 0, 1);
    return [() => lock.guard(), () => lock.owner !== 0];
  },
  "Rcu.read()": () => {
    const { rcu } = Arena.create({ byteLength: 2 ** 20 });
    return [() => rcu.read(), () => rcu.depth > 0];
  },
  "RangeTree.lock()": () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const tree = RangeTree.create(arena);
    return [() => tree.lock(), () => arena.lockdep.held > 0];
  },
  "RangeTree.tryLock()": () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const tree = RangeTree.create(arena);
    return [() => tree.tryLock()!, () => arena.lockdep.held > 0];
  },
  "ExternalLock.guard()": () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const lock = ExternalLock.create(arena, { name: "lock" });
    return [() => lock.guard(), () => arena.lockdep.held > 0];
  },
  "VaManager.lock()": () => {
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const vm = VaManager.create(arena, { range: 4096, outerLock: "manager" });
    return [() => vm.lock(), () => arena.lockdep.held > 0];
  },
};

for (const [name, create] of Object.entries(HOLDS)) {
  Deno.test(`${name} gives a guard that ends no later hold than its own`, () => {
    const [take, isHeld] = create();
    const stale = take();
    stale[Symbol.dispose]();
    assertEquals(isHeld(), false);
    const guard = take();
    stale[Symbol.dispose]();
    assertEquals(isHeld(), true);
    guard[Symbol.dispose]();
    assertEquals(isHeld(), false);
  });
}
