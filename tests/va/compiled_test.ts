/**
 * What is compiled and its twin in TypeScript, on the same arena seen twice: with its memory, and with the buffer alone.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  BindQueue,
  type OperationList,
  RangeTree,
  VaError,
  VaManager,
} from "../../mod.ts";
import { MappingFlag } from "../../src/va/mod.ts";
import { treesOf } from "../../src/va/header.ts";
import { EXACT, VaState } from "../../src/va/va_state.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { scribbled } from "../scribble.ts";
import { PAGE, VaMirror } from "./mirror.ts";
import { assertSame, pages, randomRequest, spec } from "./worlds.ts";

interface Twins {
  readonly arena: Arena;
  /** Runs compiled loops. */
  readonly compiled: VaManager;
  /** Runs none. */
  readonly plain: VaManager;
}

function twins(
  options: Partial<Parameters<typeof VaManager.create>[1]> = {},
): Twins {
  const arena = scribbled(Arena.create({ byteLength: 2 ** 22 }));
  const compiled = VaManager.create(arena, { range: 2 ** 52, ...options });
  const plain = VaManager.attach(Arena.attach(arena.buffer), compiled.ref);
  return { arena, compiled, plain };
}

/** Both find the same at an address. */
function assertAlike({ compiled, plain }: Twins, address: number): void {
  assertEquals(compiled.lookup(address), plain.lookup(address));
  assertEquals(compiled.translate(address), plain.translate(address));
}

/** As both find addresses one by one, they find them together. */
function assertAlikeTogether(
  { compiled, plain }: Twins,
  addresses: readonly number[],
): void {
  const mappings = addresses.map((address) => plain.lookup(address));
  const places = addresses.map((address) => plain.translate(address));
  for (const vm of [compiled, plain]) {
    assertEquals(vm.lookupMany(addresses), mappings);
    assertEquals([...vm.translateMany(addresses)], places);
  }
}

const NO_ADDRESSES = [-1, 2 ** 53, -Infinity, Infinity, NaN];

Deno.test("VaManager.lookup() and translate(), and what does so for many, find the same compiled, for every kind of mapping and beside it", () => {
  const world = twins({ reserved: { start: 0x10000, range: 0x4000 } });
  const requests = [
    pages(1, 2, 7, 3),
    spec({ start: 3 * PAGE, range: PAGE, flags: MappingFlag.SPARSE }),
    spec({
      start: 0x20000,
      range: 0x8000,
      object: 2 ** 32 - 1,
      repeat: 0x2000,
    }),
    spec({
      start: 0x28000,
      range: 0x7000,
      object: 5,
      offset: 0x5000,
      repeat: 0x3000,
      phase: 0x1000,
      flags: 0xffff_ff00,
    }),
    // No multiple of anything, and as large as can be.
    spec({
      start: 2 ** 51 + 1,
      range: 2 ** 51 - 1,
      object: 1,
      offset: 2 ** 52 + 1,
      repeat: 3,
      phase: 2,
    }),
    spec({ start: 2 ** 50, range: 2 ** 49, object: 3, offset: 2 ** 52 }),
  ];
  for (const request of requests) world.compiled.insert(request);
  world.compiled.invalidate(world.compiled.lookup(PAGE)!);
  const addresses = [0, 2 ** 53 - 1, ...NO_ADDRESSES];
  for (
    const { start, range } of [...requests, { start: 0x10000, range: 0x4000 }]
  ) {
    const end = start + range;
    const inside = [start, start + 1, start + 0.5, end - 1, end - 0.5];
    addresses.push(start - 1, ...inside, end, end + 1);
  }
  for (const address of addresses) assertAlike(world, address);
  for (const count of [0, 1, 15, 16, 17, addresses.length]) {
    assertAlikeTogether(world, addresses.slice(0, count));
    assertAlikeTogether(world, addresses.slice(-count));
  }
  assertEquals(world.compiled.lookup(PAGE)?.flags, MappingFlag.INVALIDATED);
  assertEquals(world.compiled.translate(0x28000), 0x6000);
  assertEquals(world.compiled.translate(0x2b000), 0x6000);
  assertEquals(world.compiled.translate(0x2a800), 0x5800);
});

Deno.test("VaManager.lookupMany() and translateMany() find nothing at what is no address, whatever was in the memory of the nodes before", () => {
  const arena = Arena.create({ byteLength: 2 ** 24 });
  const vm = VaManager.create(arena, { range: 2 ** 53 - 1 });
  for (let page = 0; page < 400; page++) {
    if (page % 100 === 0) {
      // Entries that lead out of the memory, if they are taken for refs of nodes.
      const dirty = RangeTree.create(arena, { rcu: true });
      for (let i = 0; i < 600; i++) {
        dirty.storeRange(10 * i, 10 * i + 9, 0x03ff_fff0 - i % 5);
      }
      dirty.destroy();
      arena.rcu.barrier();
    }
    vm.bind(pages(page, 1, 7));
    assertEquals(
      vm.lookupMany(NO_ADDRESSES),
      NO_ADDRESSES.map(() => undefined),
    );
    assertEquals(
      [...vm.translateMany(NO_ADDRESSES)],
      NO_ADDRESSES.map(() => -1),
    );
  }
});

Deno.test("VaManager.lookupMany() and translateMany() find the same in a list that looks up and stores while it is read", () => {
  const world = twins();
  const addresses = Array.from({ length: 40 }, (_, page) => page * PAGE);
  for (const address of addresses) {
    world.compiled.bind({ start: address, range: PAGE, object: 1 + address });
  }
  for (const vm of [world.compiled, world.plain]) {
    const list = new Proxy(addresses, {
      get(target, key) {
        vm.lookupMany([5 * PAGE, 6 * PAGE, 7 * PAGE]);
        vm.tree.storeMany([2 ** 52], [2 ** 52], [0]);
        return Reflect.get(target, key);
      },
    });
    const mappings = addresses.map((address) => vm.lookup(address));
    assertEquals(vm.lookupMany(list), mappings);
    assertEquals([...vm.translateMany(list)], addresses.map(() => 0));
  }
});

Deno.test("VaManager.lookupMany() and translateMany() refuse what is no list of numbers", () => {
  const { compiled, plain } = twins();
  for (const vm of [compiled, plain]) {
    const bad = [5, "12", null, {}, { length: -1 }, { length: 1.5 }];
    for (const list of bad as unknown as number[][]) {
      assertThrows(() => vm.lookupMany(list), RangeError, "Cannot use");
      assertThrows(() => vm.translateMany(list), RangeError, "Cannot use");
    }
  }
});

Deno.test("VaManager.lookupMany() leaves nothing in the scratch words that a store takes for its own", () => {
  const { arena, compiled } = twins();
  for (const offset of [4198401, 2 ** 32 + 2 ** 22 + 1, 2 ** 34 + 4096]) {
    for (let page = 0; page < 16; page++) {
      compiled.bind({ start: page * PAGE, range: PAGE, object: 1, offset });
    }
    const starts = Array.from({ length: 16 }, (_, page) => page * PAGE);
    assertEquals(compiled.lookupMany(starts)[15]?.offset, offset);
    // Nothing compiled stores into an empty tree.
    const tree = RangeTree.create(arena);
    tree.store(1, 1);
    assertEquals(tree.load(1), 1);
    assertEquals(arena.lockdep.held, 0);
  }
});

Deno.test("VaManager.lookup() and translate() work the same within a read section", () => {
  const { arena, compiled } = twins();
  compiled.insert(pages(1, 1, 7));
  {
    using _section = arena.rcu.read();
    assertEquals(compiled.lookup(PAGE)?.object, 7);
    assertEquals(compiled.translate(PAGE + 5), 5);
    assertEquals(compiled.translate(0), -1);
    assertEquals(arena.rcu.depth, 1);
  }
  assertEquals(arena.rcu.depth, 0);
  // Nothing holds a grace period up.
  arena.rcu.synchronize(0);
});

Deno.test("VaManager.lookup() and translate() of a manager that was destroyed are errors, also where another one lies", () => {
  const { arena, compiled, plain } = twins();
  compiled.insert(pages(1, 1, 7));
  compiled.destroy();
  const check = () => {
    for (const vm of [compiled, plain]) {
      assertThrows(() => vm.lookup(PAGE), VaError, "VaManager.lookup");
      assertThrows(
        () => vm.lookupMany([PAGE]),
        VaError,
        "VaManager.lookupMany",
      );
      assertThrows(
        () => vm.translateMany([PAGE]),
        VaError,
        "VaManager.translateMany",
      );
      assertThrows(() => vm.translate(PAGE), VaError, "VaManager.translate");
    }
    assertEquals(arena.rcu.depth, 0);
    arena.rcu.synchronize(0);
  };
  check();
  arena.rcu.barrier();
  const next = VaManager.create(arena, { range: 2 ** 47 });
  assertEquals(next.ref, compiled.ref);
  next.insert(pages(1, 1, 8));
  check();
  assertEquals(next.translate(PAGE), 0);
});

/** A list of operations as text. */
function textOf(list: OperationList): string {
  return JSON.stringify([list.kind, list.generation, ...list]);
}

/** A request, often exactly what is there or a hole. */
function likelyRequest(random: Rng, vm: VaManager) {
  const request = randomRequest(random, 200, 12);
  const there = random.int(2) === 0 ? vm.lookup(request.start) : undefined;
  if (there === undefined) return request;
  const { start, range } = there;
  return pages(start / PAGE, range / PAGE, request.object, random.int(9));
}

for (const seed of seeds("VA twins")) {
  Deno.test(`VaManager does the same compiled and not, by turns, seed ${seed}`, () => {
    const random = rng(seed);
    const world = twins({ reserved: { start: 2 ** 30, range: PAGE } });
    const queues = {
      compiled: new BindQueue(world.compiled),
      plain: new BindQueue(world.plain),
    };
    const mirror = new VaMirror();
    for (let step = 0; step < 600; step++) {
      const by = random.int(2) === 0 ? world.compiled : world.plain;
      const request = likelyRequest(random, by);
      assertEquals(
        textOf(world.compiled.mapOps(request)),
        textOf(world.plain.mapOps(request)),
      );
      assertEquals(
        textOf(world.compiled.unmapOps(request)),
        textOf(world.plain.unmapOps(request)),
      );
      const way = random.int(7);
      if (way < 2) by.bind(request);
      else if (way < 4) by.commit(by.mapOps(request));
      else if (way < 6) {
        // So many that what they look for is fetched in several turns.
        const ops = Array.from({ length: 20 }, () => request);
        const queue = by === world.plain ? queues.plain : queues.compiled;
        queue.submit(ops.map((each) => ({ ...each, op: "map" })), {
          sync: true,
        });
      } else by.unbind(request);
      if (way < 6) mirror.map(request);
      else mirror.unmap(request);
      assertSame(by === world.plain ? world.compiled : world.plain, mirror);
      for (let look = 0; look < 4; look++) {
        assertAlike(world, random.int(220 * PAGE));
      }
    }
  });
}

Deno.test("VaManager.mapOps() and unmapOps() name each part of a mapping that a thread was cutting when it died", () => {
  for (const by of ["compiled", "plain"] as const) {
    const world = twins(), vm = world[by], { arena } = world;
    const { tree: ref } = treesOf(arena.words, vm.ref);
    const tree = RangeTree.attach(arena, ref);
    // As it is between the store over the middle and that of the part behind it.
    vm.bind(pages(14, 2, 2, 0));
    const middle = tree.erase(14 * PAGE);
    vm.bind(pages(10, 10, 1, 0));
    tree.storeRange(14 * PAGE, 16 * PAGE - 1, middle);
    new VaState(arena, vm.ref).isChanging = true;
    const kinds = (list: OperationList) => [...list].map(({ kind }) => kind);
    assertEquals(kinds(vm.mapOps(pages(10, 10, 3, 0))), [
      "unmap",
      "unmap",
      "unmap",
      "map",
    ]);
    const ops = vm.unmapOps({ start: 5 * PAGE, range: 40 * PAGE });
    assertEquals(kinds(ops), ["unmap", "unmap", "unmap"]);
    vm.commit(ops);
    assertEquals(tree.count, 0);
    // Each was freed once.
    arena.rcu.barrier();
    arena.pages.validate();
  }
});

Deno.test("VaState.enterExact() finds the mapping of exactly a range, or a hole, as the TypeScript does", () => {
  const { arena, compiled: vm, plain } = twins();
  const states = [arena, Arena.attach(arena.buffer)]
    .map((each) => new VaState(each, vm.ref));
  for (const [start, range] of [[0, 1], [1, 1], [10, 10], [30, 1], [31, 2]]) {
    plain.bind(pages(start, range, 1, 0));
  }
  const whole: number[] = [];
  for (let start = 0; start < 35; start++) {
    for (let range = 1; range <= 12; range++) {
      const first = start * PAGE, last = first + range * PAGE - 1;
      const found = states.map((state) => {
        const ref = state.enterExact("test", first, last);
        state.treeLock.exitWriter();
        return ref;
      });
      assertEquals(found[0], found[1], `${start} +${range}`);
      const [covering, same] = states.map((s) => s.covering(first, last));
      assertEquals(covering, same, `${start} +${range}`);
      assertEquals(
        covering >= EXACT ? covering - EXACT : 0,
        Math.max(found[0], 0),
      );
      if (found[0] > 0) whole.push(start);
    }
  }
  assertEquals(whole, [0, 1, 10, 30, 31]);
});
