import { assert, assertEquals, assertThrows } from "@std/assert";
import { spy, stub } from "@std/testing/mock";
import {
  Arena,
  BindQueue,
  ExternalLock,
  LockdepError,
  type Mapping,
  MappingFlag,
  Slabs,
  StaleOperationsError,
  VaError,
  VaManager,
  type VaManagerOptions,
  VaNotFoundError,
  VaRangeError,
} from "../../mod.ts";
import { spinLockOwner } from "../../src/sync/spin_lock.ts";
import { killManager, outerLockIndex } from "../../src/va/header.ts";
import { rng, seeds } from "../seed.ts";
import { PAGE } from "./mirror.ts";
import { objectsInUse, pages } from "./worlds.ts";

function world(options: Partial<Parameters<typeof VaManager.create>[1]> = {}) {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  return { arena, vm: VaManager.create(arena, { range: 2 ** 47, ...options }) };
}

/** All that a copy of a mapping can be used for. */
const USES: Record<string, (vm: VaManager, mapping: Mapping) => unknown> = {
  remove: (vm, mapping) => vm.remove(mapping),
  setFlags: (vm, mapping) => vm.setFlags(mapping, MappingFlag.USER),
  invalidate: (vm, mapping) => vm.invalidate(mapping),
  link: (vm, mapping) => vm.obtainBo(mapping.object).link(mapping),
};

function stateOf(vm: VaManager): unknown {
  vm.tree.validate();
  return [
    [...vm.mappings()],
    vm.count,
    [1, 2, 6].map((object) => vm.bo(object)?.mappings()),
  ];
}

for (const [name, use] of Object.entries(USES)) {
  Deno.test(`VaManager refuses to ${name} a mapping that was removed, also when its memory is another mapping's, and changes nothing`, () => {
    const { arena, vm } = world({ link: "driver" });
    for (const object of [1, 2]) vm.obtainBo(object);
    const stale = vm.insert(pages(0, 8, 1));
    vm.remove(stale);
    for (let reused = false; !reused;) {
      const before = stateOf(vm);
      const error = assertThrows(() => use(vm, stale), VaNotFoundError);
      assertEquals([error.code, stateOf(vm)], ["ENOENT", before]);
      // Free it and take it again, at the same address.
      arena.rcu.barrier();
      const next = vm.insert(pages(0, 2, 1));
      reused = next.ref === stale.ref;
      if (!reused) vm.remove(next);
    }
    vm.insert(pages(2, 6, 2));
    const before = stateOf(vm);
    assertThrows(() => use(vm, stale), VaNotFoundError);
    assertEquals(stateOf(vm), before);
    vm.bo(1)!.unlink(stale);
    assertEquals(stateOf(vm), before);
  });

  Deno.test(`VaManager refuses to ${name} by a copy that says something else than the mapping`, () => {
    const { vm } = world({ link: "driver" });
    for (const object of [1, 2]) vm.obtainBo(object);
    const mapping = vm.insert({ ...pages(4, 4, 1, 3), repeat: 2 * PAGE });
    vm.insert(pages(8, 4, 2));
    const before = stateOf(vm);
    for (
      const change of [
        { range: 8 * PAGE },
        { range: PAGE },
        { start: 0, range: 8 * PAGE },
        { start: 5 * PAGE },
        { start: NaN },
        { start: -1 },
        { object: 2 },
        { offset: 0 },
        { repeat: 4 * PAGE },
        { phase: PAGE },
        { ref: 0 },
        { ref: mapping.ref + 1 },
      ]
    ) {
      assertThrows(() => use(vm, { ...mapping, ...change }), VaNotFoundError);
      assertEquals(stateOf(vm), before);
    }
    use(vm, { ...mapping, flags: 0 });
  });
}

Deno.test("VaManager refuses to change the reserved node by a copy of it, whatever flags that has", () => {
  const { vm } = world({ reserved: { start: 0, range: PAGE } });
  const reserved = vm.findFirst(0, 1)!;
  for (const use of [USES.remove, USES.setFlags, USES.invalidate]) {
    for (const flags of [0, reserved.flags]) {
      const error = assertThrows(
        () => use(vm, { ...reserved, flags }),
        VaRangeError,
      );
      assertEquals(error.reason, "reserved");
    }
  }
  assertEquals(vm.findFirst(0, 1), reserved);
});

{
  const name =
    "VaManager takes copies of mappings that are there, and refuses all others, in random order";
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, () => {
      const random = rng(seed);
      const { arena, vm } = world();
      const copies: Mapping[] = [];
      const there = new Map<number, Mapping>();
      let refused = 0, taken = 0;
      for (let i = 0; i < 3000; i++) {
        const page = random.int(24);
        if (random.int(2) === 0 || copies.length === 0) {
          const request = pages(page, 1, 1 + random.int(2), random.int(2));
          if (there.has(page)) continue;
          const mapping = vm.insert(request);
          there.set(page, mapping);
          copies.push(mapping);
        } else {
          const copy = random.pick(copies);
          const at = copy.start / PAGE, now = there.get(at);
          const isThere = now?.ref === copy.ref && now.object === copy.object &&
            now.offset === copy.offset;
          if (isThere) {
            vm.invalidate(copy);
            vm.remove(copy);
            there.delete(at);
            taken++;
          } else {
            assertThrows(() => vm.invalidate(copy), VaNotFoundError);
            assertThrows(() => vm.remove(copy), VaNotFoundError);
            refused++;
          }
        }
        if (random.int(4) === 0) arena.rcu.barrier();
        assertEquals(vm.count, there.size);
      }
      assert(refused > 100 && taken > 100);
      assertEquals(objectsInUse(arena).va_mapping, there.size);
    });
  }
}

Deno.test("VaManager refuses what no mapping, no object and no flags can be, in every way to ask for it", () => {
  const { vm } = world();
  const good = pages(1, 2, 1);
  const requests: Record<string, unknown>[] = [
    ...[-1, 1.5, NaN, 2 ** 32 + 5, Infinity].map((object) => ({ object })),
    ...[2 ** 60, -PAGE, NaN, Infinity, 0.5, 2 ** 53 - PAGE].map((offset) => ({
      offset,
    })),
    ...[-1, 1.5, NaN, 2 ** 32, MappingFlag.RESERVED, MappingFlag.SPARSE].map(
      (flags) => ({ flags }),
    ),
    ...[16, 32, 64, 128, 0xf0 | MappingFlag.USER].map((flags) => ({ flags })),
    ...[-1, 0.5, NaN].map((repeat) => ({ repeat })),
    ...[5, PAGE, -1, NaN].map((phase) => ({ phase })),
    ...[-1, 0.5, NaN, PAGE].map((phase) => ({ repeat: PAGE, phase })),
    ...[-PAGE, NaN, 0.5, 2 ** 60].map((start) => ({ start })),
    ...[-PAGE, NaN, 0.5, 0, 2 ** 60].map((range) => ({ range })),
  ];
  for (const change of requests) {
    const request = { ...good, ...change };
    for (
      const ask of [
        () => vm.mapOps(request),
        () => vm.mapOps(request, { merge: true }),
        () => vm.madviseOps(request),
        () => vm.insert(request),
        () => vm.bind(request),
      ]
    ) {
      const error = assertThrows(
        ask,
        VaError,
        "Cannot",
        JSON.stringify(change),
      );
      assertEquals(error.code, "EINVAL");
    }
  }
  assertEquals([vm.count, vm.bo(1)], [0, undefined]);
  vm.insert({ ...good, object: 0, flags: MappingFlag.SPARSE });
});

Deno.test("VaManager looks only at ranges of addresses", () => {
  const { vm } = world();
  vm.insert(pages(0, 8, 1));
  vm.insertRegion(pages(0, 8));
  for (const start of [NaN, -5, 0.5, Infinity, 2 ** 60]) {
    for (
      const look of [
        () => vm.findFirst(start, 1),
        () => vm.find(start, 1),
        () => vm.intervalEmpty(start, 1),
        () => vm.findRegion(start, 1),
        () => vm.mappings({ start, range: 1 }),
        () => vm.prefetchOps({ start, range: 1 }),
        () => vm.removeRegion({ start, range: 1 }),
      ]
    ) assertThrows(look, VaRangeError, "no range of addresses");
    assertEquals(vm.rangeValid(start, 1), false);
    assertEquals(vm.findPrev(start), undefined);
    assertEquals(vm.findNext(start), undefined);
  }
  for (const range of [NaN, -5, 0.5, Infinity]) {
    assertThrows(() => vm.findFirst(0, range), VaRangeError);
    assertThrows(() => vm.prefetchOps({ start: 0, range }), VaRangeError);
  }
  assertEquals(vm.findFirst(0, 0), undefined);
  assertEquals(vm.findFirst(8 * PAGE - 1, 2 ** 60)?.start, 0);
  for (const object of [0, -1, 1.5, NaN, 2 ** 32]) {
    for (
      const ask of [
        () => vm.bo(object),
        () => vm.obtainBo(object),
        () => vm.releaseBo(object),
        () => vm.unmapObjectOps(object),
      ]
    ) assertThrows(ask, VaError, "no id of an object");
  }
});

Deno.test("VaManager.setFlags() keeps the flags that the manager sets", () => {
  const { vm } = world();
  const mapping = vm.insert({ ...pages(0, 4, 1), repeat: PAGE });
  vm.setFlags(mapping, MappingFlag.USER);
  assertEquals(vm.lookup(0)?.flags, MappingFlag.USER | MappingFlag.REPEAT);
  for (const flags of [MappingFlag.RESERVED, MappingFlag.SPARSE, 16, -1, NaN]) {
    assertThrows(() => vm.setFlags(mapping, flags), VaError);
  }
  const top = vm.insert({
    ...pages(9, 1),
    flags: 2 ** 31 + MappingFlag.SPARSE,
  });
  assertEquals(vm.lookup(top.start)?.flags, 2 ** 31 + MappingFlag.SPARSE);
});

Deno.test("VaManager gives what remains of a mapping the flags that it has when the operations are applied", () => {
  for (const way of ["commit", "apply", "madvise"]) {
    const { vm } = world();
    const mapping = vm.insert(pages(0, 8, 0));
    const list = way === "madvise"
      ? vm.madviseOps(pages(2, 2))
      : vm.unmapOps(pages(2, 2));
    vm.invalidate(mapping);
    if (way === "apply") { for (const op of list) vm.apply(op, list); }
    else vm.commit(list);
    const at = (page: number) => vm.lookup(page * PAGE)?.flags;
    assertEquals([at(0), at(4)], [2, 2], way);
    assertEquals(at(2), way === "madvise" ? 0 : undefined);
  }
});

Deno.test("VaManager.madviseOps() moves on in the object, and in the block, from mapping to mapping", () => {
  const { vm } = world();
  vm.insert(pages(0, 4));
  vm.insert(pages(6, 4));
  const advice = pages(2, 6, 3, 16);
  vm.commit(vm.madviseOps(advice));
  const at = (page: number) => vm.translate(page * PAGE) / PAGE;
  assertEquals([at(2), at(3), at(6), at(7)], [16, 17, 20, 21]);
  vm.commit(vm.unmapOps(pages(0, 20)));
  vm.insert(pages(0, 4));
  vm.insert(pages(5, 5));
  vm.commit(vm.madviseOps({ ...advice, repeat: 2 * PAGE }));
  assertEquals([at(2), at(3), at(5), at(6)], [16, 17, 17, 16]);
});

Deno.test("VaManager refuses operations of another manager that is at the same generation", () => {
  const { arena, vm } = world();
  const other = VaManager.create(arena, { range: 2 ** 47 });
  vm.insert(pages(0, 8, 1));
  other.insert(pages(0, 8, 1));
  const list = other.unmapOps(pages(2, 2));
  assertThrows(() => vm.commit(list), StaleOperationsError, "another manager");
  assertThrows(() => vm.apply(list.at(0)!, list), StaleOperationsError);
  const attached = VaManager.attach(arena, other.ref);
  attached.commit(list);
  assertEquals([vm.count, other.count], [1, 2]);
});

Deno.test("VaManager is of no use once it was destroyed, also when another one has its place", () => {
  const { arena, vm } = world({ reserved: { start: 0, range: PAGE } });
  const mapping = vm.insert(pages(1, 4, 1));
  const bo = vm.bo(1)!;
  const list = vm.unmapOps(pages(1, 1));
  const queue = new BindQueue(vm);
  const walk = vm.mappings();
  walk.next();
  vm.insertRegion(pages(6, 1));
  vm.insertRegion(pages(8, 1));
  const regionWalk = vm.regions();
  regionWalk.next();
  vm.destroy();
  const uses: Record<string, () => unknown> = {
    tree: () => vm.tree,
    span: () => vm.span,
    noneOfMany: () => vm.lookupMany([]),
    noPlaceOfMany: () => vm.translateMany([]),
    findNothing: () => vm.find(0, 0),
    intervalEmpty: () => vm.intervalEmpty(0, 0),
    noMappings: () => vm.mappings({ start: 0, range: 0 }),
    findNext: () => vm.findNext(0),
    validate: () => vm.validate(() => {}),
    submit: () => queue.submit([]),
    count: () => vm.count,
    reserved: () => vm.reserved,
    lookup: () => vm.lookup(PAGE),
    translate: () => vm.translate(PAGE),
    lookupMany: () => vm.lookupMany([PAGE]),
    translateMany: () => vm.translateMany([PAGE]),
    find: () => vm.find(0, PAGE),
    findFirst: () => vm.findFirst(0, PAGE),
    findPrev: () => vm.findPrev(PAGE),
    mappings: () => vm.mappings(),
    next: () => walk.next(),
    nextRegion: () => regionWalk.next(),
    info: () => vm.info(),
    rangeValid: () => vm.rangeValid(0, 1),
    findRegion: () => vm.findRegion(0, 1),
    regions: () => vm.regions(),
    insert: () => vm.insert(pages(9, 1)),
    remove: () => vm.remove(mapping),
    setFlags: () => vm.setFlags(mapping, 0),
    commit: () => vm.commit(list),
    bo: () => vm.bo(1),
    boCount: () => bo.count,
    link: () => bo.link(mapping),
    lock: () => vm.lock(),
    destroy: () => vm.destroy(),
  };
  for (let reused = false;;) {
    for (const [name, use] of Object.entries(uses)) {
      if (name.startsWith("next") && reused) continue;
      assertThrows(use, VaError, "it was destroyed", name);
    }
    if (reused) break;
    while (!reused) {
      arena.rcu.barrier();
      reused = VaManager.create(arena, { range: 2 ** 30 }).ref === vm.ref;
    }
  }
});

Deno.test("VaManager.destroy() without a registered outer lock, or under a lock that it takes, is refused and changes nothing", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const externalLock = ExternalLock.create(arena);
  const external = () => externalLock.guard(), nothing = () => undefined;
  const options = { range: 2 ** 47, name: "vm" };
  const cases: [
    VaManagerOptions,
    toWrite: (vm: VaManager) => Disposable | undefined,
    whenRefused: (vm: VaManager) => Disposable | undefined,
    whenDone: (vm: VaManager) => Disposable | undefined,
  ][] = [
    [
      { ...options, lock: "external", externalLock },
      external,
      nothing,
      external,
    ],
    [
      { ...options, outerLock: "manager" },
      (vm) => vm.lock(),
      (vm) => vm.lock(),
      nothing,
    ],
    [options, nothing, (vm) => vm.tree.lock(), nothing],
  ];
  for (const [options, toWrite, whenRefused, whenDone] of cases) {
    const vm = VaManager.create(arena, options);
    {
      using _guard = toWrite(vm);
      vm.bind(pages(0, 4, 1));
      vm.bind(pages(0, 4, 2));
      vm.insertRegion(pages(0, 9));
    }
    const seen = () => [
      [...vm.mappings()],
      [...vm.regions()],
      objectsInUse(arena),
      arena.roots.names(),
    ];
    const whole = seen();
    {
      using _guard = whenRefused(vm);
      const { held } = arena.lockdep;
      assertThrows(() => vm.destroy(), LockdepError);
      assertEquals(arena.lockdep.held, held);
    }
    assertEquals(seen(), whole);
    {
      using _guard = whenDone(vm);
      vm.destroy();
    }
    assertEquals(arena.lockdep.held, 0);
    const left = Object.entries(objectsInUse(arena)).filter(([, n]) => n > 0);
    assertEquals(left, [["external_lock", 1]]);
    assertEquals(arena.roots.names(), []);
  }
});

Deno.test("VaManager and BindQueue leave nothing behind of what a lock that is not held refuses", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const externalLock = ExternalLock.create(arena);
  const options = { range: 2 ** 47, lock: "external", externalLock } as const;
  const vm = VaManager.create(arena, options);
  const queues = (["submit", "run"] as const).map((strategy) =>
    new BindQueue(vm, { strategy })
  );
  {
    using _guard = externalLock.guard();
    vm.bind(pages(0, 8, 1));
    vm.obtainBo(2);
  }
  const state = () => {
    for (const queue of queues) queue.trim();
    return [
      [...vm.mappings()],
      [...vm.regions()],
      [1, 2, 9].map((object) => vm.bo(object)?.count),
      objectsInUse(arena),
    ];
  };
  const before = state();
  const changes: Record<string, () => unknown> = {
    bind: () => vm.bind(pages(0, 8, 1)),
    bindCutting: () => vm.bind(pages(2, 1, 1)),
    bindNew: () => vm.bind(pages(20, 1, 9)),
    insert: () => vm.insert(pages(20, 1, 1)),
    insertNew: () => vm.insert(pages(20, 1, 9)),
    unbind: () => vm.unbind(pages(0, 8)),
    unbindCutting: () => vm.unbind(pages(2, 1)),
    remove: () => vm.remove(vm.lookup(0)!),
    commit: () => vm.commit(vm.mapOps(pages(2, 1, 9))),
    unmapObject: () => vm.commit(vm.unmapObjectOps(1)),
    obtainBo: () => vm.obtainBo(9),
    releaseBo: () => vm.releaseBo(2),
    insertRegion: () => vm.insertRegion(pages(0, 1)),
    ...Object.fromEntries(
      queues.map((
        queue,
        i,
      ) => [
        `submit${i}`,
        () => queue.submit([{ op: "map", ...pages(2, 1, 9) }], { sync: true }),
      ]),
    ),
  };
  for (const [name, change] of Object.entries(changes)) {
    assertThrows(change, LockdepError, undefined, name);
    assertEquals(state(), before, name);
  }
});

/** Does something instead of sleeping on a lock. */
function insteadOfSleeping(act: () => void): Disposable {
  return stub(Atomics, "wait", () => {
    act();
    return "ok" as const;
  });
}

/** A handle of a manager on another thread's view of its arena. */
function attached(arena: Arena, vm: VaManager): VaManager {
  return VaManager.attach(Arena.attach(arena.buffer), vm.ref);
}

Deno.test("VaManager.destroy() waits for the thread that holds the manager's own lock, and who waits for it finds no manager", () => {
  const { arena, vm } = world({ outerLock: "manager" });
  const [holder, waiter] = [attached(arena, vm), attached(arena, vm)];
  const guard = holder.lock();
  let waits = 0;
  {
    using _instead = insteadOfSleeping(() => {
      waits++;
      holder.bind(pages(vm.count, 1, 1));
      guard[Symbol.dispose]();
    });
    vm.destroy();
  }
  assertEquals([waits, arena.lockdep.held], [1, 0]);
  assertThrows(() => waiter.lock(), VaError, "it was destroyed");

  const other = VaManager.create(arena, {
    range: 2 ** 47,
    outerLock: "manager",
  });
  const late = attached(arena, other);
  const held = other.lock();
  {
    using _instead = insteadOfSleeping(() => {
      held[Symbol.dispose]();
      other.destroy();
    });
    assertThrows(() => late.lock(), VaError, "it was destroyed");
  }
});

Deno.test("VaManager.lock() held when the manager is destroyed ends once, and no other hold with it", () => {
  const { arena, vm } = world();
  const { lockdep } = arena;
  const guard = vm.lock();
  vm.destroy();
  assertEquals(lockdep.held, 0);
  // As a manager that came to lie in the same place.
  const kind = lockdep.lockClass("va manager", "VaManager.lock()");
  lockdep.acquire(kind, outerLockIndex(vm.ref), "test");
  guard[Symbol.dispose]();
  assertEquals(lockdep.held, 1);
  lockdep.release(outerLockIndex(vm.ref));
});

Deno.test("VaManager.attach() finds no manager where it is destroyed meanwhile", () => {
  const ends: ((vm: VaManager, arena: Arena) => void)[] = [
    (vm) => vm.destroy(),
    // As whoever destroys it begins.
    (vm, arena) => killManager(arena.words, vm.ref),
  ];
  for (const [i, end] of ends.entries()) {
    const { arena, vm } = world();
    const theirs = Arena.attach(arena.buffer);
    const { load } = Atomics;
    let looks = 0;
    using _ending = stub(
      Atomics,
      "load",
      ((words: Int32Array, at: number) => {
        const found = load(words, at);
        if (at === vm.ref * 16 && looks++ === 0) end(vm, arena);
        return found;
      }) as typeof load,
    );
    assertThrows(
      () => VaManager.attach(theirs, vm.ref),
      VaNotFoundError,
      undefined,
      `${i}`,
    );
    assert(looks > 0);
  }
});

for (const when of ["before it looks", "while it sleeps"] as const) {
  Deno.test(`VaManager.lock() leaves the memory of a manager alone that was freed ${when} at the lock`, () => {
    const { arena, vm } = world({ outerLock: "manager" });
    const theirArena = Arena.attach(arena.buffer);
    const late = VaManager.attach(theirArena, vm.ref);
    const index = outerLockIndex(vm.ref), pfn = arena.pfnOf(vm.ref);
    const start = arena.pageRef(pfn) * 16, end = start + 1024;
    /** Destroys the manager, and puts its page to another use. */
    const reuse = () => {
      vm.destroy();
      arena.rcu.barrier();
      for (const cache of Slabs.of(arena).all()) cache.shrink();
      arena.rcu.barrier();
      while (arena.allocPages(0) !== pfn);
      // As a lock it would be held, by a thread 7.
      arena.words.fill(7, start, end);
    };
    let sleeps = 0;
    using notify = spy(Atomics, "notify");
    {
      const guard = when === "while it sleeps" ? vm.lock() : undefined;
      using _instead = insteadOfSleeping(() => {
        if (guard === undefined || sleeps++ > 0) throw new Error("it waits");
        guard[Symbol.dispose]();
        reuse();
      });
      using _first = guard === undefined
        ? stub(theirArena.lockdep, "acquire", reuse)
        : undefined;
      assertThrows(() => late.lock(), VaError, "it was destroyed");
    }
    assertEquals(new Set(arena.words.subarray(start, end)), new Set([7]));
    assertEquals([theirArena.lockdep.held, theirArena.rcu.depth], [0, 0]);
    // Whoever is woken and finds no manager wakes the next.
    const woken = notify.calls.filter(({ args }) => args[1] === index);
    assertEquals(woken.length, when === "while it sleeps" ? 2 : 0);
  });
}

Deno.test("VaManager.lock() gives a guard that never releases the lock of another manager in the same place", () => {
  for (const outerLock of ["manager", "driver"] as const) {
    const { arena, vm } = world({ outerLock });
    const theirArena = Arena.attach(arena.buffer);
    VaManager.attach(theirArena, vm.ref);
    const guard = vm.lock();
    if (outerLock === "manager") guard[Symbol.dispose]();
    vm.destroy();
    let other: VaManager;
    do {
      theirArena.rcu.barrier();
      other = VaManager.create(arena, { range: 2 ** 30, outerLock });
    } while (other.ref !== vm.ref);
    using _held = outerLock === "manager"
      ? other.lock()
      : VaManager.attach(theirArena, other.ref).lock();
    guard[Symbol.dispose]();
    using _instead = insteadOfSleeping(() => {
      throw new Error("it is held");
    });
    const third = attached(arena, other);
    assertThrows(() => third.lock(), Error, "it is held");
  }
});

Deno.test("VaManager.create() says what is wrong with its addresses", () => {
  const { arena } = world();
  const range = 2 ** 40;
  const inUse = objectsInUse(arena);
  for (
    const [options, reason] of [
      [{ range: 0 }, "empty"],
      [{ range: 0.5 }, "empty"],
      [{ range: "1" as unknown as number }, "empty"],
      [{ range: Infinity }, "overflow"],
      [{ start: 2 ** 53, range: 1 }, "overflow"],
      [{ range: NaN }, "empty"],
      [{ start: 0.5, range }, "empty"],
      [{ start: -1, range }, "empty"],
      [{ range: 2 ** 53 }, "overflow"],
      [{ range, reserved: { start: range - 1, range: 2 } }, "outside"],
      [{ range, reserved: { start: 0.5, range: 1.5 } }, "outside"],
      [{ range, reserved: { start: 5, range: 0 } }, "outside"],
    ] as const
  ) {
    const error = assertThrows(
      () => VaManager.create(arena, options),
      VaRangeError,
    );
    assertEquals(error.reason, reason, JSON.stringify(options));
  }
  assertEquals(objectsInUse(arena), inUse);
});

Deno.test("VaManager.create() leaves nothing behind where it fails, also if the external lock is not held", () => {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  const externalLock = ExternalLock.create(arena);
  ExternalLock.create(arena, { name: "taken" });
  const options = { range: 2 ** 40, lock: "external", externalLock } as const;
  const reserved = { start: 0, range: PAGE };
  const create = (more: Partial<VaManagerOptions>) =>
    VaManager.create(arena, { ...options, ...more });
  assertThrows(() => create({ name: "taken" }), Error, "is taken");
  assertThrows(() => create({ reserved }), LockdepError, "external lock");
  {
    using _guard = externalLock.guard();
    assertThrows(() => create({ reserved, name: "taken" }), Error, "is taken");
  }
  const left = Object.entries(objectsInUse(arena)).filter(([, n]) => n > 0);
  assertEquals(left, [["external_lock", 2]]);
  assertEquals(externalLock.trees, 0);
});

Deno.test("VaManager.destroy() releases the lock that the manager offers, whichever its outer lock is", () => {
  const { arena, vm } = world();
  const guard = vm.lock();
  vm.destroy();
  assertEquals(spinLockOwner(arena.words, outerLockIndex(vm.ref)), 0);
  guard[Symbol.dispose]();
});

Deno.test("BindQueue.submit() to a manager that was destroyed is an error that says so, also where its trees are freed", () => {
  // A debug arena poisons them.
  const arena = Arena.create({ byteLength: 2 ** 22, debug: true });
  const vm = VaManager.create(arena, { range: 2 ** 47 });
  const queue = new BindQueue(VaManager.attach(arena, vm.ref));
  vm.insertRegion(pages(0, 1));
  vm.destroy();
  arena.rcu.barrier();
  const ops = [{ op: "map", ...pages(0, 2, 1) }] as const;
  assertThrows(() => queue.submit([...ops]), VaError, "it was destroyed");
});

Deno.test("VaManager refuses flags of more than 32 bits also of a repeated mapping", () => {
  const { vm } = world();
  const flags = 2 ** 40 + MappingFlag.USER;
  const request = { ...pages(0, 1, 1, 0), repeat: PAGE };
  assertThrows(() => vm.bind({ ...request, flags }), VaError, "flags");
  assertEquals(vm.count, 0);
});
