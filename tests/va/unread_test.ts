/**
 * Lists of operations say what was there when they were made, whenever somebody looks at them first.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  BindQueue,
  type OperationList,
  StaleOperationsError,
  VaManager,
} from "../../mod.ts";
import { retirementsIndex } from "../../src/va/header.ts";
import type { Mapping } from "../../src/va/mod.ts";
import { VaState } from "../../src/va/va_state.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { dyingAfter } from "../stress/dying.ts";
import { PAGE } from "./mirror.ts";
import { pages, randomRequest } from "./worlds.ts";

/** Pages that are mapped at random. */
const WINDOW = 60;

interface World {
  readonly arena: Arena;
  readonly vm: VaManager;
}

/** A manager, compiled or not. */
function worldIn(by: "shared" | "buffer"): World {
  const whole = Arena.create({ byteLength: 2 ** 22 });
  const arena = by === "shared" ? whole : Arena.attach(whole.buffer);
  return { arena, vm: VaManager.create(arena, { range: 2 ** 40 }) };
}

function textOf(list: OperationList): string {
  return JSON.stringify([list.kind, list.length, ...list]);
}

/** A request that most often is exactly what is there, or lies in it. */
function likelyRequest(random: Rng, vm: VaManager) {
  const request = randomRequest(random, WINDOW, 8);
  const there = vm.lookup(request.start);
  if (there === undefined || random.int(4) === 0) return request;
  const { start, range } = there;
  const first = start / PAGE, count = range / PAGE;
  const object = random.int(4);
  if (random.int(3) > 0) return pages(first, count, object, random.int(9));
  const from = random.int(count);
  return pages(first + from, 1 + random.int(count - from), object);
}

/** What may happen to a manager between the making of a list and the first look at it. */
const CHANGES: ((
  world: World,
  random: Rng,
  list: OperationList,
) => void)[] = [
  ({ vm }, random) => vm.bind(likelyRequest(random, vm)),
  ({ vm }, random) => vm.unbind(likelyRequest(random, vm)),
  ({ vm }, random) => vm.commit(vm.mapOps(likelyRequest(random, vm))),
  ({ vm }, random) => {
    const mapping = vm.lookup(likelyRequest(random, vm).start);
    if (mapping === undefined) return;
    if (random.int(2) === 0) vm.invalidate(mapping);
    else vm.setFlags(mapping, 256 << random.int(8));
  },
  ({ vm }, random) => {
    const list = vm.mapOps(likelyRequest(random, vm));
    for (const op of list) vm.apply(op, list);
  },
  ({ vm }, random) => vm.commit(vm.unmapObjectOps(1 + random.int(3))),
  ({ vm }, random) => {
    const op = { ...likelyRequest(random, vm), op: "map" } as const;
    new BindQueue(vm).submit([op, op], { sync: true });
  },
  ({ vm }) => void vm.bo(1)?.mappings(),
  ({ arena }) => arena.rcu.barrier(),
  ({ vm }, _, list) => {
    // Stale, unless nothing has changed.
    try {
      vm.commit(list);
    } catch (error) {
      assert(error instanceof StaleOperationsError, String(error));
    }
  },
];

for (const by of ["shared", "buffer"] as const) {
  for (const seed of seeds("unread lists")) {
    Deno.test(`OperationList says what was there when it was made, whatever happened before it is looked at, ${by}, seed ${seed}`, () => {
      const random = rng(seed), world = worldIn(by), { arena, vm } = world;
      /** Lists that nobody has looked at, and what they must say. */
      const lists: [OperationList, string][] = [];
      for (let step = 0; step < 1500; step++) {
        const request = likelyRequest(random, vm);
        const list = vm.mapOps(request);
        // The same, looked at at once.
        lists.push([list, textOf(vm.mapOps(request))]);
        if (random.int(3) > 0) vm.commit(list);
        for (let more = random.int(3); more > 0; more--) {
          random.pick(CHANGES)(world, random, random.pick(lists)[0]);
        }
        while (lists.length > random.int(20)) {
          const at = random.int(lists.length);
          const [[looked, expected]] = lists.splice(at, 1);
          assertEquals(textOf(looked), expected, `step ${step}`);
        }
      }
      const last = lists.map(([list]) => list);
      vm.destroy();
      arena.rcu.barrier();
      assertEquals(last.map(textOf), lists.map(([, expected]) => expected));
    });
  }
}

/** What a list says of the mapping that its first operation removes or cuts. */
function oldOf(list: OperationList): Mapping {
  const op = list.at(0)!;
  assert(op.kind === "unmap" || op.kind === "remap");
  return op.kind === "unmap" ? op.mapping : op.unmap.mapping;
}

for (const by of ["shared", "buffer"] as const) {
  Deno.test(`OperationList says what a mapping was whose memory is another's by now, ${by}`, () => {
    const goings: Record<string, (world: World, list: OperationList) => void> =
      {
        "so many binds that the first is freed": ({ vm }, list) => {
          vm.commit(list);
          for (let i = 0; i < 7; i++) vm.bind(pages(2, 1, 7, i));
        },
        "an unmap": ({ vm }) => vm.unbind(pages(1, 1)),
        "its manager's end": ({ arena, vm }) => {
          vm.destroy();
          arena.rcu.barrier();
        },
      };
    for (const [how, go] of Object.entries(goings)) {
      const world = worldIn(by), { arena, vm } = world;
      vm.bind(pages(1, 1, 7, 3));
      vm.bind(pages(2, 1, 7, 3));
      const list = vm.mapOps(pages(1, 1, 7, 4));
      go(world, list);
      arena.rcu.barrier();
      // All that is free is used again.
      const next = VaManager.create(arena, { range: 2 ** 40 });
      for (let i = 0; i < 300; i++) next.bind(pages(i, 1, 1, 100));
      assertEquals(oldOf(list).offset, 3 * PAGE, how);
    }
  });
}

Deno.test("OperationList refuses the first look also where another manager lies in the place of one that is destroyed", () => {
  const { arena, vm } = worldIn("shared");
  vm.bind(pages(1, 1, 7));
  const list = vm.mapOps(pages(1, 1));
  const index = retirementsIndex(vm.ref), count = arena.words[index];
  VaManager.attach(arena, vm.ref).destroy();
  arena.rcu.barrier();
  const next = VaManager.create(arena, { range: 2 ** 40 });
  assertEquals(next.ref, vm.ref);
  next.bind(pages(1, 1, 8));
  assertEquals(arena.words[index], count);
  assertEquals(list.read(), false);
  assertThrows(
    () => list.at(0),
    StaleOperationsError,
    "another object has changed",
  );
});

/** What a thread does that dies of it. */
const CHANGED_BY_THE_DEAD: Record<string, (vm: VaManager) => void> = {
  "an unmap": (vm) => vm.unbind(pages(1, 4)),
  "a removal": (vm) => vm.remove(vm.lookup(PAGE)!),
  "a cut": (vm) => vm.bind(pages(2, 1, 0)),
  "a map over it": (vm) => vm.bind(pages(1, 4, 0)),
};

for (const [name, change] of Object.entries(CHANGED_BY_THE_DEAD)) {
  Deno.test(`OperationList says what was, or refuses, where a thread died of ${name} at any step, and was reaped`, () => {
    const answers = new Set<string>();
    for (const object of [0, 7]) {
      for (let step = 0, died = true; died; step++) {
        const { arena, vm } = worldIn("buffer");
        vm.bind(pages(1, 4, object, 3));
        const list = vm.mapOps(pages(1, 4, object, 5));
        const victim = Arena.attach(arena.buffer);
        const theirs = VaManager.attach(victim, vm.ref);
        {
          using killing = dyingAfter(step);
          try {
            change(theirs);
          } catch (error) {
            assert(killing.died, String(error));
          }
          died = killing.died;
        }
        arena.reap(victim.thread);
        arena.rcu.barrier();
        const next = VaManager.create(arena, { range: 2 ** 40 });
        for (let i = 0; i < 100; i++) next.bind(pages(i, 1, 1, 100));
        answers.add(list.read() ? `${oldOf(list).offset}` : "refused");
      }
    }
    assertEquals(answers, new Set([`${3 * PAGE}`, "refused"]));
  });
}

Deno.test("OperationList looks whether it is too late, and reads, in one read section", () => {
  const { arena, vm } = worldIn("buffer");
  vm.bind(pages(1, 1, 7));
  const list = vm.mapOps(pages(1, 1));
  const index = retirementsIndex(vm.ref), { load } = Atomics;
  const sections: number[] = [];
  {
    using _looking = stub(
      Atomics,
      "load",
      ((words: Int32Array, at: number) => {
        if (at === index) {
          assertEquals(arena.rcu.depth, 1);
          sections.push(arena.rcu.section);
        }
        return load(words, at);
      }) as typeof load,
    );
    assert(list.read());
  }
  const { section } = arena.rcu;
  // Before it reads, and behind.
  assertEquals(sections, [section, section]);
});

Deno.test("OperationList refuses flags that another thread sets while it reads", () => {
  const { arena, vm } = worldIn("buffer");
  vm.bind(pages(1, 1, 7));
  const list = vm.mapOps(pages(1, 1));
  const other = VaManager.attach(Arena.attach(arena.buffer), vm.ref);
  const mapping = vm.lookup(PAGE)!, { load } = Atomics;
  let looks = 0;
  {
    using _setting = stub(
      Atomics,
      "load",
      ((words: Int32Array, at: number) => {
        // The word of the flags.
        if (at === mapping.ref * 16 + 11 && looks++ === 0) {
          other.setFlags(mapping, 512);
        }
        return load(words, at);
      }) as typeof load,
    );
    assertEquals(list.read(), false);
  }
  assert(looks > 0);
});

Deno.test("A list does not fit where a thread has died of taking its mapping out, also if nobody can tell that from the tree", () => {
  for (let step = 0, died = true; died; step++) {
    const arena = Arena.create({ byteLength: 2 ** 22 });
    const vm = VaManager.create(arena, { range: 2 ** 40, lock: "none" });
    vm.bind(pages(1, 4, 0, 3));
    const list = vm.mapOps(pages(2, 1, 0, 5));
    assert(list.read());
    const victim = Arena.attach(arena.buffer);
    const theirs = VaManager.attach(victim, vm.ref);
    died = false;
    {
      using killing = dyingAfter(step);
      try {
        theirs.unbind(pages(1, 4));
      } catch (error) {
        assert(killing.died, String(error));
        died = true;
      }
    }
    if (vm.lookup(PAGE) !== undefined) continue;
    // What would have caught the death ended the change.
    if (died) new VaState(arena, vm.ref).isChanging = true;
    arena.reap(victim.thread);
    assertThrows(() => vm.commit(list), StaleOperationsError);
  }
});

/** Two objects of one manager, in the same thread or in two. */
const OTHERS: Record<string, (world: World) => VaManager> = {
  "another object": ({ arena, vm }) => VaManager.attach(arena, vm.ref),
  "another thread": ({ arena, vm }) =>
    VaManager.attach(Arena.attach(arena.shared), vm.ref),
};

for (const [who, otherOf] of Object.entries(OTHERS)) {
  Deno.test(`OperationList refuses the first look once ${who} has let mappings go, and none that was looked at`, () => {
    const goings: Record<string, (vm: VaManager) => void> = {
      // So many that the first are freed.
      bind: (vm) => {
        for (let i = 0; i < 8; i++) vm.bind(pages(1, 1, 7, i));
      },
      unbind: (vm) => vm.unbind(pages(1, 1)),
      cut: (vm) => vm.bind(pages(0, 2, 9)),
      flags: (vm) => vm.setFlags(vm.lookup(PAGE)!, 512),
      destroy: (vm) => vm.destroy(),
    };
    for (const [how, go] of Object.entries(goings)) {
      const world = worldIn("shared"), { vm } = world;
      const other = otherOf(world);
      vm.bind(pages(1, 1, 7));
      const [list, read, looked] = [1, 2, 3].map(() => vm.mapOps(pages(1, 1)));
      assert(read.read());
      const text = textOf(looked);
      go(other);
      assertEquals(list.length, 2, how);
      assertThrows(
        () => list.at(0),
        StaleOperationsError,
        "another object has changed",
      );
      assertThrows(
        () => [...list],
        StaleOperationsError,
        "another object has changed",
      );
      assertEquals(list.read(), false, how);
      for (const each of [read, looked]) assertEquals(textOf(each), text, how);
    }
  });

  Deno.test(`OperationList is committed also where ${who} has let other mappings go before`, () => {
    const cuts = pages(2, 1, 7), whole = pages(1, 4, 7, 9);
    for (const request of [cuts, whole]) {
      const world = worldIn("shared"), { vm } = world;
      const other = otherOf(world);
      vm.bind(pages(1, 4, 7, 3));
      vm.bind(pages(9, 1, 7));
      vm.bind(pages(9, 1, 7));
      const list = vm.mapOps(request);
      // What is noted is settled: nothing is changed.
      assertEquals(other.bo(7)?.count, 2);
      vm.commit(list);
      assertEquals(vm.lookup(2 * PAGE)?.offset, request.offset);
      assertEquals(oldOf(list).offset, 3 * PAGE);
    }
  });

  Deno.test(`OperationList can be looked at after ${who} has committed it`, () => {
    const world = worldIn("shared"), { arena, vm } = world;
    const other = otherOf(world);
    vm.bind(pages(1, 1, 7, 3));
    const list = vm.mapOps(pages(1, 1, 7, 4));
    other.commit(list);
    for (let i = 0; i < 20; i++) other.bind(pages(1, 1, 7, i));
    arena.rcu.barrier();
    assertEquals(oldOf(list).offset, 3 * PAGE);
  });
}
