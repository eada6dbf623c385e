import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  BindQueue,
  ExternalLock,
  RangeTree,
  SlabCache,
  Slabs,
  Timeline,
  VaError,
  VaManager,
} from "../../mod.ts";
import { compiledFor as treesFor } from "../../src/range_tree/compiled.ts";
import { compiledFor as managersFor } from "../../src/va/compiled.ts";
import { outerLockIndex } from "../../src/va/header.ts";
import { BoTable } from "../../src/va/vm_bo.ts";
import { assertSucceeds } from "../compiler_program.ts";
import { cacheOf } from "../range_tree/worlds.ts";
import { dyingAfter, dyingAfterCalls, Killed } from "../stress/dying.ts";
import { settle } from "../stress/lost.ts";
import {
  assertInOrder,
  assertReaped,
  picture,
  replaceSome,
  worldOf,
} from "./reaped.ts";
import { objectsInUse } from "./worlds.ts";

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

/** All that is compiled for a thread. */
function compiledOf(arena: Arena): object[] {
  return [arena.words.inline!, treesFor(arena)!, managersFor(arena)!];
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
      assertReaped(arena, vm, victim.thread, [before, after], `at ${step}`);
    }
  });
}

const ONE_BY_ONE = "an unmap of an object";

/** The pictures from one to another, if mappings go one after the other. */
function oneByOne(before: string, after: string): string[] {
  const there = before.split(" ");
  const going = there.filter((each) => !after.split(" ").includes(each));
  return [0, ...going.map((_, i) => i + 1)].map((gone) =>
    there.filter((each) => !going.slice(0, gone).includes(each)).join(" ")
  );
}

/** What is done under the driver's lock. */
const UNDER_DRIVERS_LOCK: typeof OPERATIONS = {
  ...OPERATIONS,
  "a map of one mapping and parts of two": (vm) =>
    void vm.bind({ start: 450, range: 200, object: 3 }),
  "a map in a hole": (vm) => void vm.bind({ start: 2000, range: 9, object: 1 }),
  "an insertion": (vm) => void vm.insert({ start: 50, range: 9, object: 2 }),
  "an unmap of a mapping": (vm) => vm.unbind({ start: 300, range: 100 }),
  "a removal": (vm) => vm.remove(vm.lookup(500)!),
  [ONE_BY_ONE]: (vm) => vm.commit(vm.unmapObjectOps(1)),
};

for (const [name, run] of Object.entries(UNDER_DRIVERS_LOCK)) {
  for (const by of ["buffer", "shared"] as const) {
    for (const order of ["before", "after"] as const) {
      Deno.test(`VaManager finishes ${name} that a thread died of under the driver's lock, ${order} that is reaped, ${by}`, () => {
        const whole = worldOf("driver").vm;
        const before = picture(whole);
        run(whole);
        const after = picture(whole);
        const pictures = name === ONE_BY_ONE
          ? oneByOne(before, after)
          : [before, after];
        for (let step = 0, died = true; died; step++) {
          const { arena, vm } = worldOf("driver");
          const victim = Arena.attach(arena[by]);
          const theirs = VaManager.attach(victim, "vm");
          const compiled = by === "shared" ? compiledOf(victim) : undefined;
          died = diesAt(step, () => run(theirs), compiled);
          if (!died) break;
          const message = `at ${step}`;
          // Nobody gets past a lock that it holds.
          const isReapedFirst = order === "after" || victim.lockdep.held > 0;
          if (isReapedFirst) arena.reap(victim.thread);
          assertWorksOn(vm, pictures, true, message);
          if (!isReapedFirst) arena.reap(victim.thread);
          assertNothingLost(arena, vm, message);
          for (const cache of Slabs.of(arena).all()) cache.validate();
        }
      });
    }
  }
}

Deno.test("VaManager.destroy() frees what a thread that died under the driver's lock has taken out and not freed", () => {
  for (const order of ["before", "after"]) {
    for (let step = 0, died = true; died; step++) {
      const { arena, vm } = worldOf("driver");
      const victim = Arena.attach(arena.buffer);
      const theirs = VaManager.attach(victim, "vm");
      died = diesAt(step, () => {
        theirs.bind({ start: 450, range: 200, object: 3 });
      });
      if (!died) break;
      // Nobody gets past a lock that it holds.
      const isReapedFirst = order === "after" || victim.lockdep.held > 0;
      if (isReapedFirst) arena.reap(victim.thread);
      vm.destroy();
      if (!isReapedFirst) arena.reap(victim.thread);
      assertNothingLeft(arena, `at ${step}, ${order} it is reaped`);
    }
  }
});

for (const order of ["first", "second"] as const) {
  Deno.test(`VaManager finishes a change under the driver's lock that a second thread died of finishing, the ${order} reaped before`, () => {
    for (const at of ["store", "unlink"] as const) {
      for (let step = 0, died = true; died; step++) {
        const { arena, vm } = worldOf("driver");
        const [first, second] = [1, 2].map(() => Arena.attach(arena.buffer));
        const theirs = VaManager.attach(first, "vm");
        dieAt(at, theirs, () => {
          // One mapping goes, two are cut.
          theirs.bind({ start: 450, range: 200, object: 3 });
        });
        const next = VaManager.attach(second, "vm");
        died = diesAt(step, () => void next.obtainBo(9));
        if (!died) break;
        // Nobody gets past a lock, or a read section, that it is in.
        const isInTheWay = second.lockdep.held > 0 ||
          arena.words[second.rcu.readerIndex] !== 0;
        const gone = order === "first" && !isInTheWay
          ? [first, second]
          : [second, first];
        for (const { thread } of gone) arena.reap(thread);
        const message = `${at}, at ${step}`;
        vm.unbind({ start: 5000, range: 10 });
        vm.tree.validate();
        assertInOrder(vm, message);
        assertNothingLost(arena, vm, message);
      }
    }
  });
}

Deno.test("Arena.reap() takes the lock that a manager offers over also where that goes, under the driver's lock, in the same moment", () => {
  const { arena, vm } = worldOf("driver");
  const victim = Arena.attach(arena.buffer);
  VaManager.attach(victim, "vm").lock();
  const reaper = Arena.attach(arena.buffer);
  VaManager.attach(reaper, "vm");
  const lock = outerLockIndex(vm.ref);
  const { compareExchange } = Atomics;
  let takeovers = 0;
  {
    using _destroying = stub(
      Atomics,
      "compareExchange",
      ((words: Int32Array, at: number, expected: number, value: number) => {
        const was = compareExchange(words, at, expected, value);
        if (at === lock && was === victim.thread && takeovers++ === 0) {
          vm.destroy();
        }
        return was;
      }) as typeof compareExchange,
    );
    reaper.reap(victim.thread);
  }
  assertEquals(takeovers, 1);
  reaper.leave();
  assertNothingLeft(arena, "destroyed");
});

/** Nothing is in use but what is mapped, and once the manager is destroyed nothing at all. */
function assertNothingLost(arena: Arena, vm: VaManager, message: string): void {
  settle(arena);
  assertEquals(objectsInUse(arena).va_mapping, vm.tree.count, message);
  vm.destroy();
  assertNothingLeft(arena, message);
}

function assertNothingLeft(arena: Arena, message: string): void {
  settle(arena);
  const left = Object.entries(objectsInUse(arena))
    .filter(([, count]) => count > 0);
  assertEquals(left, [], message);
}

for (const strategy of ["submit", "run"] as const) {
  Deno.test(`BindQueue ends a job also where a thread died of a change and there is no room to finish it, strategy ${strategy}`, async () => {
    const { arena, vm } = worldOf("driver");
    const victim = Arena.attach(arena.buffer);
    const theirs = VaManager.attach(victim, "vm");
    const queue = new BindQueue(vm, { strategy, pageSize: 100 });
    const [ready, done] = [new Timeline(), new Timeline()];
    const job = queue.submit([{
      op: "map",
      start: 5000,
      range: 100,
      object: 1,
    }], {
      inFences: [{ timeline: ready, value: 1 }],
      outFences: [{ timeline: done, value: 1 }],
    });
    dieAt("store", theirs, () => {
      theirs.bind({ start: 450, range: 200, object: 3 });
    });
    const before = picture(vm);
    const taken = takeAll(arena);
    ready.signal(1);
    await done.reach(1);
    // What changed the tree at submit has only to write the page table.
    assertEquals(job.state, strategy === "submit" ? "done" : "failed");
    if (strategy === "run") {
      const error = await assertRejects(() => job.ended, VaError);
      assertEquals(error.code, "ESTALE");
    }
    assertEquals(picture(vm), before);
    assertEquals(queue.pending, 0);
    giveBack(arena, taken);
    arena.reap(victim.thread);
    vm.unbind({ start: 5000, range: 100 });
    assertInOrder(vm, strategy);
    queue.trim();
    assertNothingLost(arena, vm, strategy);
  });
}

/** Takes all pages, and all mappings that there is room for in those that there are. */
function takeAll(arena: Arena): { pages: number[]; mappings: number[] } {
  const mappings = cacheOf(arena, "va_mapping");
  const taken = { pages: [] as number[], mappings: [] as number[] };
  for (let pfn; (pfn = arena.pages.tryAllocate(0, "movable")) >= 0;) {
    taken.pages.push(pfn);
  }
  for (let ref; (ref = mappings.tryAllocate()) !== 0;) taken.mappings.push(ref);
  return taken;
}

function giveBack(arena: Arena, taken: ReturnType<typeof takeAll>): void {
  for (const ref of taken.mappings) cacheOf(arena, "va_mapping").free(ref);
  for (const pfn of taken.pages) arena.pages.free(pfn);
}

/** Does something that dies before its second store into the tree of mappings, or before it takes a mapping off its list. */
function dieAt(at: "store" | "unlink", vm: VaManager, act: () => void): void {
  let stores = 0;
  const { tree } = vm;
  const storeRange = tree.storeRange.bind(tree);
  if (at === "store") {
    tree.storeRange = (...range) => {
      if (stores++ === 1) throw new Killed();
      storeRange(...range);
    };
    return void assertThrows(act, Killed);
  }
  using _dying = stub(BoTable.prototype, "unlink", () => {
    throw new Killed();
  });
  assertThrows(act, Killed);
}

/** What a driver does to the lists of a manager whose mappings it links by hand. */
const LISTS: Record<string, [keyof BoTable, (vm: VaManager) => void]> = {
  "a link": ["link", (vm) => vm.bo(2)!.link(vm.lookup(100)!)],
  "an unlink": ["unlink", (vm) => vm.bo(2)!.unlink(vm.lookup(400)!)],
  "an eviction": ["setFlag", (vm) => vm.bo(2)!.evicted = true],
  "the end of an eviction": ["setFlag", (vm) => vm.bo(1)!.evicted = false],
  "a sharing": ["setFlag", (vm) => vm.bo(2)!.external = true],
};

for (const [name, [change, act]] of Object.entries(LISTS)) {
  Deno.test(`VaManager repairs the lists that a thread was about to change by ${name} as it died, under the driver's lock`, () => {
    const arena = Arena.create({ byteLength: 2 ** 21 });
    const vm = VaManager.create(arena, {
      name: "vm",
      range: 2 ** 20,
      link: "driver",
    });
    for (let i = 1; i <= 4; i++) {
      vm.insert({ start: 100 * i, range: 100, object: 2 });
    }
    const bo = vm.obtainBo(2);
    for (const start of [200, 300, 400]) bo.link(vm.lookup(start)!);
    vm.obtainBo(3).evicted = true;
    vm.obtainBo(1).evicted = true;
    vm.obtainBo(3).external = true;
    const lists = () => [
      bo.mappings().map(({ start }) => start),
      vm.evictedBos().map(({ object }) => object).toSorted(),
      vm.externalBos().map(({ object }) => object).toSorted(),
    ];
    const before = lists();

    const victim = Arena.attach(arena.buffer);
    const theirs = VaManager.attach(victim, "vm");
    const { words } = victim, evicted = vm.evictedBos();
    {
      // It dies with the lists in disorder.
      using _dying = stub(BoTable.prototype, change, () => {
        const base = bo.ref * 16;
        words[base + 1] = words[base + 2] = words[base + 3] = 0;
        for (const { ref } of evicted) words[ref * 16 + 7] = 0;
        throw new Killed();
      });
      assertThrows(() => act(theirs), Killed);
    }
    arena.reap(victim.thread);
    vm.bind({ start: 5000, range: 1 });
    assertEquals(lists(), before);
  });
}

Deno.test("Arena.reap() frees nothing that another thread finds and frees at the same time, under the driver's lock", () => {
  const acts: Record<string, (vm: VaManager) => void> = {
    bind: (vm) => vm.bind({ start: 5000, range: 1 }),
    destroy: (vm) => vm.destroy(),
  };
  for (const [name, act] of Object.entries(acts)) {
    for (const when of ["isAllocated", "claimant"] as const) {
      const { arena, vm } = worldOf("driver");
      const victim = Arena.attach(arena.buffer);
      const theirs = VaManager.attach(victim, "vm");
      dieAt("unlink", theirs, () => theirs.unbind({ start: 200, range: 700 }));
      const reaper = Arena.attach(arena.buffer);
      Slabs.of(reaper);
      VaManager.attach(reaper, "vm");
      const cache = cacheOf(
        reaper,
        when === "isAllocated" ? "va_bo" : "va_mapping",
      );
      const original = cache[when].bind(cache) as (ref: number) => never;
      let isDone = false;
      // In the middle of the reaper's look at the first mapping.
      cache[when] = (ref: number) => {
        if (when === "isAllocated" && !isDone) {
          isDone = true;
          act(vm);
        }
        const answer = original(ref);
        if (when === "claimant" && !isDone) {
          isDone = true;
          act(vm);
        }
        return answer;
      };
      reaper.reap(victim.thread);
      assert(isDone);
      if (name === "bind") vm.destroy();
      settle(arena);
      const left = Object.entries(objectsInUse(arena))
        .filter(([, count]) => count > 0);
      assertEquals(left, [], `${name} at ${when}`);
      for (const cache of Slabs.of(arena).all()) cache.validate();
    }
  }
});

for (const at of [1, 2]) {
  Deno.test(`VaManager finishes a cut before the thread is reaped that died before its store ${at}`, () => {
    const { arena, vm } = worldOf("driver");
    const before = picture(vm);
    const victim = Arena.attach(arena.shared);
    const theirs = VaManager.attach(victim, "vm");
    const { tree } = theirs;
    const storeRange = tree.storeRange.bind(tree);
    let stores = 0;
    tree.storeRange = (...range) => {
      if (stores++ === at) throw new Killed();
      storeRange(...range);
    };
    assertThrows(
      () => theirs.bind({ start: 120, range: 60, object: 3 }),
      Killed,
    );
    assert(hasParts(vm));
    // Who only looks is given the parts as what they are, in order.
    assertEquals(
      picture(vm).split(" ").slice(0, 3),
      ["100+20:2@1000", "120+60:3@0", "180+20:2@1080"],
    );
    const done = before.replace(
      "100+100:2@1000",
      "100+20:2@1000 120+60:3@0 180+20:2@1080",
    );
    assertWorksOn(vm, [done], true, "not reaped");
    arena.reap(victim.thread);
    settle(arena);
    assertEquals(
      cacheOf(arena, "va_mapping").stats().objects,
      vm.tree.count,
    );
    assertWorksOn(vm, [done], true, "reaped");
  });
}

for (const debug of [false, true]) {
  Deno.test(`Arena.reap() sweeps what was cut under a driver's lock and names a VmBo that was freed since, debug ${debug}`, () => {
    const run = OPERATIONS["a map over the middle of a mapping"];
    for (let step = 0, died = true; died; step++) {
      const arena = Arena.create({ byteLength: 2 ** 21, debug });
      const vm = VaManager.create(arena, { range: 2 ** 30, name: "vm" });
      vm.bind({ start: 100, range: 100, object: 1 });
      const victim = Arena.attach(arena.buffer);
      const theirs = VaManager.attach(victim, "vm");
      died = diesAt(step, () => run(theirs));
      if (!died) break;
      arena.reap(victim.thread);
      vm.bind({ start: 5000, range: 10, object: 5 });
      vm.destroy();
      settle(arena);
      // Whoever takes the place of the dead thread is asked for what that one had in its hands.
      const next = Arena.attach(arena.buffer);
      assertEquals(next.thread, victim.thread);
      arena.reap(next.thread);
      settle(arena);
      const { objects } = cacheOf(arena, "va_mapping").stats();
      assertEquals(objects, 0, `at ${step}`);
    }
  });
}

/** Does something that dies at a shared access, or at a call of what is compiled; says whether it came to that. */
function diesAt(
  step: number,
  act: () => void,
  compiled?: readonly object[],
): boolean {
  using killing = compiled === undefined
    ? dyingAfter(step)
    : dyingAfterCalls(step, compiled);
  try {
    act();
  } catch (error) {
    assert(killing.died, String(error));
  }
  return killing.died;
}

/** Whether what remains of a mapping that was cut has no object of its own. */
function hasParts(vm: VaManager): boolean {
  return [...vm.tree].some(({ first, last }) => {
    const { start, range } = vm.lookup(first)!;
    return start !== first || start + range - 1 !== last;
  });
}

/** The next changes leave every address where it leads; then the manager is as in one of the pictures. */
function assertWorksOn(
  vm: VaManager,
  pictures: readonly string[],
  isInOrder: boolean,
  message: string,
): void {
  const places = placesOf(vm);
  vm.bind({ start: 5000, range: 10, object: 9 });
  vm.unbind({ start: 5000, range: 10 });
  assertEquals(placesOf(vm), places, message);
  assert(pictures.includes(picture(vm)), `${message}: ${picture(vm)}`);
  if (isInOrder) assertInOrder(vm, message);
}

/** Where each of some addresses leads. */
function placesOf(vm: VaManager): string[] {
  return Array.from({ length: 120 }, (_, i) => {
    const mapping = vm.lookup(10 * i + 5);
    return `${mapping?.object}@${vm.translate(10 * i + 5)}`;
  });
}

Deno.test("VaManager.destroy() frees a mapping once of which a thread that died has left several entries", () => {
  const { arena, vm } = worldOf("driver");
  const part = vm.tree.load(200);
  vm.tree.storeRange(220, 239, vm.tree.load(500));
  assertEquals(vm.tree.load(260), part);
  vm.destroy();
  settle(arena);
  const inUse = (name: string) => cacheOf(arena, name).stats().objects;
  assertEquals([inUse("va_mapping"), inUse("va_bo")], [0, 0]);
});

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
    died = diesAt(step, () => {
      using _guard = cut.lock();
      cut.commit(cut.mapOps({ start: 140, range: 20, object: 2 }));
    });
    if (!died) break;
    arena.reap(victim.thread);
    assertEquals(left.lookup(100)!.offset, 1000, `died at access ${step}`);
    assertEquals(right.lookup(100)!.offset, 7777, `died at access ${step}`);
    assert(left.lookup(100)!.ref !== right.lookup(100)!.ref);
  }
});

for (const by of ["buffer", "shared"] as const) {
  Deno.test(`Arena.reap() recovers a VA manager whose writer dies while it settles what was replaced, ${by}`, () => {
    const request = { start: 500, range: 100, object: 1, offset: 7 };
    const noted = by === "shared" ? 7 : 5;
    const whole = worldOf().vm;
    replaceSome(whole, noted);
    const before = picture(whole);
    {
      using _guard = whole.lock();
      whole.bind(request);
    }
    const after = picture(whole);
    for (let step = 0, died = true; died; step++) {
      const { arena, vm } = worldOf();
      replaceSome(vm, noted);
      const victim = Arena.attach(arena[by]);
      const theirs = VaManager.attach(victim, "vm");
      {
        using killing = by === "buffer"
          ? dyingAfter(step)
          : dyingAfterCalls(step, compiledOf(victim));
        try {
          const guard = theirs.lock();
          theirs.bind(request);
          assertEquals(theirs.bo(1)!.count, theirs.bo(1)!.mappings().length);
          guard[Symbol.dispose]();
        } catch (error) {
          assert(killing.died, String(error));
        }
        died = killing.died;
      }
      if (died) {
        const pictures = [before, after];
        assertReaped(arena, vm, victim.thread, pictures, `at ${step}`);
      } else assertEquals(picture(vm), after);
    }
  });
}

Deno.test("Arena.reap() does not free what the dead thread has mapped and another one has replaced, or the other way round", () => {
  for (const noted of [1, 4, 7]) {
    for (const isDeadLast of [false, true]) {
      const { arena, vm } = worldOf();
      const victim = Arena.attach(arena.shared);
      const theirs = VaManager.attach(victim, "vm");
      const [first, last] = isDeadLast ? [vm, theirs] : [theirs, vm];
      replaceSome(first, noted);
      {
        // Nothing is noted any more.
        using _guard = first.lock();
        first.bo(1)!.mappings();
      }
      replaceSome(last, noted);
      // It dies outside of the outer lock, so nothing is repaired.
      assertReaped(
        arena,
        vm,
        victim.thread,
        [picture(vm)],
        `${noted} noted, ${isDeadLast}`,
      );
    }
  }
});

Deno.test("Arena.reap() recovers a VA manager whose writer dies before it defers what it has taken off the lists", () => {
  for (let left = 0; left < 8; left++) {
    const { arena, vm } = worldOf();
    replaceSome(vm, 7);
    const victim = Arena.attach(arena.shared);
    const theirs = VaManager.attach(victim, "vm");
    theirs.lock();
    const before = picture(vm);
    let steps = left;
    const { defer } = SlabCache.prototype;
    const dying = cacheOf(victim, "va_mapping");
    dying.defer = (ref) => {
      if (steps-- === 0) throw new Killed();
      defer.call(dying, ref);
    };
    const request = { start: 500, range: 100, object: 1, offset: 7 };
    assertThrows(() => theirs.bind(request), Killed);
    assert(picture(vm) !== before);
    assertReaped(arena, vm, victim.thread, [picture(vm)], `${left} deferred`);
  }
});

Deno.test("Arena.reap() gives a part that remains of a mapping no object that was replaced", () => {
  for (let step = 0, died = true; died; step++) {
    const { arena, vm } = worldOf();
    const victim = Arena.attach(arena.shared);
    const theirs = VaManager.attach(victim, "vm");
    const cut = { start: 2000, range: 100, object: 1, offset: 1000 };
    {
      using _guard = theirs.lock();
      // Looks like the part that is made for the left of the mapping that is cut.
      theirs.bind({ ...cut, range: 40 });
      theirs.bind({ ...cut, range: 40, object: 2 });
      theirs.bind(cut);
    }
    const before = picture(vm);
    const after = before
      .replace("2000+100:1@1000", "2000+40:1@1000 2040+20:2@0 2060+40:1@1060");
    {
      using killing = dyingAfterCalls(step, compiledOf(victim));
      try {
        const guard = theirs.lock();
        theirs.commit(theirs.mapOps({ start: 2040, range: 20, object: 2 }));
        guard[Symbol.dispose]();
      } catch (error) {
        assert(killing.died, String(error));
      }
      died = killing.died;
    }
    if (died) {
      assertReaped(arena, vm, victim.thread, [before, after], `at ${step}`);
    } else assertEquals(picture(vm), after);
  }
});

Deno.test("VaManager.destroy() frees what was replaced, too", () => {
  for (const noted of [0, 1, 7]) {
    const { arena, vm } = worldOf();
    replaceSome(vm, noted);
    vm.destroy();
    arena.rcu.barrier();
    assertEquals(cacheOf(arena, "va_mapping").stats().objects, 0);
  }
});

Deno.test("Arena.reap() recovers a VA manager whose writer dies before any write of a compiled bind", () => {
  assertSucceeds(new URL("./compiled_deaths.ts", import.meta.url));
});

for (const lock of ["internal", "external"] as const) {
  Deno.test(`Arena.reap() leaves nothing of a VA manager whose thread dies at any step of destroying it, lock ${lock}`, () => {
    for (let step = 0, died = true; died; step++) {
      const arena = Arena.create({ byteLength: 2 ** 21 });
      const externalLock = lock === "external"
        ? ExternalLock.create(arena)
        : undefined;
      const vm = VaManager.create(arena, {
        range: 2 ** 30,
        name: "vm",
        outerLock: lock === "external" ? "driver" : "manager",
        lock,
        externalLock,
      });
      const lockFor = (on: Arena, vm: VaManager) =>
        externalLock === undefined
          ? vm.lock()
          : ExternalLock.attach(on, externalLock.ref).guard();
      {
        using _guard = lockFor(arena, vm);
        for (let i = 1; i <= 30; i++) {
          vm.bind({ start: 100 * i, range: 50, object: 1 + i % 3 });
        }
        vm.insertRegion({ start: 0, range: 2 ** 20 });
      }
      const victim = Arena.attach(arena.buffer);
      const theirs = VaManager.attach(victim, "vm");
      if (externalLock !== undefined) lockFor(victim, theirs);
      died = diesAt(step, () => theirs.destroy());
      if (!died) break;
      arena.reap(victim.thread);
      // It is whole, or there is none.
      if (arena.roots.names().includes("vm")) {
        using _guard = externalLock && lockFor(arena, vm);
        VaManager.attach(arena, "vm").destroy();
      }
      const left = Object.entries(objectsInUse(arena))
        .filter(([name, count]) => name !== "external_lock" && count > 0);
      assertEquals(left, [], `died at access ${step}`);
    }
  });
}

Deno.test("Arena.reap() leaves a tree alone that lies where one of a manager lay which the dead thread has destroyed", () => {
  const { arena, vm } = worldOf();
  const place = vm.tree.ref;
  const victim = Arena.attach(arena.buffer);
  const theirs = VaManager.attach(victim, "vm");
  const { destroy } = RangeTree.prototype;
  let left = 1;
  {
    using _dying = stub(RangeTree.prototype, "destroy", function () {
      if (left-- === 0) throw new Killed();
      destroy.call(this);
    });
    assertThrows(() => theirs.destroy(), Killed);
  }
  let tree: RangeTree;
  do {
    arena.rcu.barrier();
    tree = RangeTree.create(arena);
  } while (tree.ref !== place);
  tree.storeRange(1, 2, 3);
  arena.reap(victim.thread);
  assertEquals(tree.load(1), 3);
});
