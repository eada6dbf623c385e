import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  Compactor,
  LockdepError,
  MappingFlag,
  MissingCallbackError,
  StaleOperationsError,
  type VaCallbacks,
  VaError,
  VaExistsError,
  VaManager,
  type VaManagerOptions,
  VaNotFoundError,
  VaRangeError,
} from "../../mod.ts";
import { rng, seeds } from "../seed.ts";
import { PAGE, VaMirror } from "./mirror.ts";
import {
  assertSame,
  CACHES,
  objectsInUse,
  pages,
  randomRequest,
  spec,
} from "./worlds.ts";

function world(options: Partial<Parameters<typeof VaManager.create>[1]> = {}) {
  const arena = Arena.create({ byteLength: 2 ** 22 });
  return { arena, vm: VaManager.create(arena, { range: 2 ** 47, ...options }) };
}

Deno.test("VaManager agrees with the mirror for every request over every two mappings of a small world", () => {
  const { vm } = world();
  const spans: [number, number][] = [];
  for (let first = 0; first < 6; first++) {
    for (let end = first + 1; end <= 6; end++) {
      spans.push([first, end - first]);
    }
  }
  for (const a of spans) {
    for (const b of spans) {
      for (const request of spans) {
        const mirror = new VaMirror();
        vm.commit(vm.unmapOps(pages(0, 8)));
        for (
          const step of [
            pages(...a, 1, a[0]),
            pages(...b, 2, b[0]),
            pages(...request, 1, request[0]),
          ]
        ) {
          vm.commit(vm.mapOps(step));
          mirror.map(step);
        }
        const text = [...vm.mappings()].map((each) =>
          `${each.start / PAGE}+${each.range / PAGE}:${each.object}@${
            each.offset / PAGE
          }`
        ).join(" ");
        const expected = mirror.mappings.map((each) =>
          `${each.start / PAGE}+${each.range / PAGE}:${each.object}@${
            each.offset / PAGE
          }`
        ).join(" ");
        if (text !== expected) assertEquals(text, expected);
      }
    }
  }
});

for (const how of ["commit", "apply", "callbacks", "bind"] as const) {
  const name =
    `VaManager agrees with the mirror after every random request, ${how}`;
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, () => {
      const random = rng(seed);
      const { arena, vm } = world();
      const compactor = new Compactor(arena);
      const mirror = new VaMirror();
      const window = random.pick([8, 40, 400]);
      const step: VaCallbacks = {
        map: (op) => vm.apply(op),
        remap: (op) => vm.apply(op),
        unmap: (op) => vm.apply(op),
      };
      for (let i = 0; i < 400; i++) {
        const request = randomRequest(random, window, window / 4 + 1);
        const isMap = random.int(3) > 0;
        if (how === "callbacks") {
          if (isMap) vm.map(request, step);
          else vm.unmap(request, step);
        } else if (how === "bind") {
          if (isMap) vm.bind(request);
          else vm.unbind(request);
        } else {
          const list = isMap ? vm.mapOps(request) : vm.unmapOps(request);
          if (random.int(10) === 0) compactor.run();
          if (how === "commit") vm.commit(list);
          else for (const op of list) vm.apply(op, list);
        }
        if (isMap) mirror.map(request);
        else mirror.unmap(request);
        assertSame(vm, mirror);
        const address = random.int(window) * PAGE + random.int(PAGE);
        const found = vm.lookup(address);
        assertEquals(found === undefined, mirror.at(address) === "nothing");
        if (found !== undefined && found.object !== 0) {
          assertEquals(
            `${found.object}@${vm.translate(address)}`,
            mirror.at(address),
          );
        }
      }
      vm.destroy();
      const inUse = objectsInUse(arena);
      assertEquals(CACHES.map((name) => inUse[name]), CACHES.map(() => 0));
    });
  }
}

Deno.test("VaManager.mapOps({ merge: true }) leaves every page as without merging, and no two that continue each other by its own request", () => {
  for (const seed of seeds("merge")) {
    const random = rng(seed);
    const { vm } = world();
    const mirror = new VaMirror();
    for (let i = 0; i < 400; i++) {
      const request = randomRequest(random, 40, 10);
      const list = vm.mapOps(request, { merge: true });
      vm.commit(list);
      mirror.map(request);
      vm.tree.validate();
      for (let page = 0; page < 56; page++) {
        const found = vm.lookup(page * PAGE);
        const place = found === undefined
          ? "nothing"
          : found.object === 0
          ? "zero"
          : `${found.object}@${vm.translate(page * PAGE)}`;
        assertEquals(place, mirror.at(page * PAGE), `page ${page}, step ${i}`);
      }
    }
    assert(vm.count <= mirror.mappings.length);
  }
});

Deno.test("VaManager.madviseOps() cuts what has no object at both ends, and nothing else", () => {
  for (const seed of seeds("madvise")) {
    const random = rng(seed);
    const { vm } = world();
    const mirror = new VaMirror();
    for (let i = 0; i < 200; i++) {
      const request = randomRequest(random, 40, 8);
      vm.commit(vm.mapOps(request));
      mirror.map(request);
      const advice = pages(random.int(30), 1 + random.int(10));
      const before = mirror.mappings;
      for (const mapping of before) {
        const start = Math.max(mapping.start, advice.start);
        const end = Math.min(
          mapping.start + mapping.range,
          advice.start + advice.range,
        );
        const isWhole = start === mapping.start &&
          end === mapping.start + mapping.range;
        if (mapping.object !== 0 || start >= end || isWhole) continue;
        mirror.map(spec({ start, range: end - start }));
      }
      vm.commit(vm.madviseOps(advice));
      assertSame(vm, mirror);
    }
  }
});

Deno.test("VaManager.unmapObjectOps() removes an object's mappings in the order of their linking, and no others", () => {
  const { vm } = world();
  for (const at of [9, 3, 6, 1]) vm.insert(pages(at, 1, 7, at));
  vm.insert(pages(4, 2, 8));
  const list = vm.unmapObjectOps(7);
  assertEquals(
    [...list].map((op) => op.kind === "unmap" && op.mapping.start / PAGE),
    [9, 3, 6, 1],
  );
  vm.commit(list);
  assertEquals([...vm.mappings()].map((each) => each.object), [8]);
  assertEquals(vm.bo(7)?.count, 0);
  assertEquals(vm.unmapObjectOps(99).length, 0);
});

Deno.test("VaManager refuses operations that were made before another change, and changes nothing", () => {
  const { vm } = world();
  vm.insert(pages(0, 8, 1));
  const stale = vm.mapOps(pages(2, 2, 2));
  vm.insert(pages(20, 1, 1));
  const before = vm.info().toString();
  assertThrows(() => vm.commit(stale), StaleOperationsError, "generation");
  for (const op of stale) {
    assertThrows(() => vm.apply(op, stale), StaleOperationsError);
  }
  assertEquals(vm.info().toString(), before);
});

Deno.test("VaManager refuses operations that were made for other regions than there are now, and changes nothing", () => {
  for (const change of ["insertRegion", "removeRegion"] as const) {
    for (const merge of [false, true]) {
      const { vm } = world({ regions: true });
      vm.insertRegion(pages(0, 8));
      vm.insertRegion(pages(20, 4));
      const stale = vm.mapOps(pages(0, 4, 1), { merge });
      vm[change](change === "insertRegion" ? pages(8, 4) : pages(0, 8));
      assertThrows(() => vm.commit(stale), StaleOperationsError, "regions");
      const apply = () => vm.apply(stale.at(0)!, stale);
      assertThrows(apply, StaleOperationsError, "regions");
      assertEquals(vm.count, 0);
    }
  }
});

Deno.test("VaManager copies what it makes operations of: what becomes of the caller's objects is no concern of a list", () => {
  for (
    const make of ["mapOps", "unmapOps", "prefetchOps", "madviseOps"] as const
  ) {
    const { arena, vm } = world();
    const mirror = new VaMirror();
    for (const each of [pages(0, 1, 1), pages(4, 1, 2), pages(8, 8)]) {
      vm.bind(each);
      mirror.map(each);
    }
    const request = { ...pages(make === "madviseOps" ? 10 : 0, 1, 0) };
    const wanted = { ...request };
    const list = vm[make](request);
    request.start = 4 * PAGE;
    request.range = 2 * PAGE;
    vm.commit(list);
    if (make === "unmapOps") mirror.unmap(wanted);
    else if (make !== "prefetchOps") mirror.map(wanted);
    assertEquals([list.span.start, list.span.range], [wanted.start, PAGE]);
    assertSame(vm, mirror);
    assertEquals(objectsInUse(arena).va_mapping, vm.count);
  }
});

Deno.test("VaManager refuses to apply a list or an operation twice, or one of another list", () => {
  const { vm } = world();
  const list = vm.mapOps(pages(2, 2, 2));
  vm.commit(list);
  assertThrows(() => vm.commit(list), StaleOperationsError, "already");

  const steps = vm.mapOps(pages(3, 2, 1));
  const [remap, map] = steps;
  vm.apply(remap, steps);
  assertThrows(() => vm.apply(remap, steps), StaleOperationsError, "already");
  assertThrows(() => vm.commit(steps), StaleOperationsError, "already");
  const other = vm.mapOps(pages(9, 1, 1));
  assertThrows(() => vm.apply(map, other), StaleOperationsError, "not in");
  vm.apply(map, steps);
  assertThrows(() => vm.apply(map), VaError, "no list was given");
});

Deno.test("VaManager.commit() of a list that a compaction came between is not stale", () => {
  const { arena, vm } = world();
  const other = VaManager.create(arena, { range: 2 ** 40 });
  for (let i = 0; i < 600; i++) {
    vm.insert(pages(2 * i, 1, 1, i));
    other.insert(pages(2 * i, 1, 1, i));
  }
  other.destroy();
  const list = vm.unmapOps(pages(0, 100));
  assert(new Compactor(arena).run().moves > 0, "nothing was moved");
  vm.commit(list);
  assertEquals(vm.count, 550);
});

Deno.test("VaManager.map() stops at once when a callback fails, and nothing is changed but what was applied", () => {
  const { vm } = world();
  for (let i = 0; i < 4; i++) vm.insert(pages(i, 1, 1, 8 * i));
  const seen: string[] = [];
  assertThrows(
    () =>
      vm.map(pages(0, 4, 2), {
        map: () => seen.push("map"),
        remap: () => seen.push("remap"),
        unmap: (op) => {
          seen.push(`unmap ${op.mapping.start / PAGE}`);
          if (seen.length === 2) throw new Error("no");
          vm.apply(op);
        },
      }),
    Error,
    "no",
  );
  assertEquals(seen, ["unmap 0", "unmap 1"]);
  assertEquals([...vm.mappings()].map((each) => each.start / PAGE), [1, 2, 3]);
});

Deno.test("VaManager.map() and unmap() refuse missing callbacks before any is called", () => {
  const { vm } = world();
  vm.insert(pages(0, 4, 1));
  const never = () => assert(false, "it was called");
  const all = { map: never, remap: never, unmap: never };
  for (const name of ["map", "remap", "unmap"] as const) {
    for (const callback of [undefined, null, 5]) {
      const callbacks = { ...all, [name]: callback } as VaCallbacks;
      const error = assertThrows(
        () => vm.map(pages(1, 1, 2), callbacks),
        MissingCallbackError,
        `"${name}"`,
      );
      assertEquals(error.code, "EINVAL");
      if (name !== "map") {
        assertThrows(
          () => vm.unmap(pages(1, 1), callbacks),
          MissingCallbackError,
        );
      }
    }
  }
  const none = null as unknown as VaCallbacks;
  assertThrows(() => vm.map(pages(1, 1, 2), none), MissingCallbackError);
});

Deno.test("VaManager refuses ranges that can't be mapped, and says why", () => {
  const { vm } = world({
    start: PAGE,
    range: 100 * PAGE,
    reserved: { start: 50 * PAGE, range: 10 * PAGE },
  });
  for (
    const [start, range, reason] of [
      [PAGE, 0, "empty"],
      [PAGE, NaN, "empty"],
      [0.5, PAGE, "empty"],
      [-PAGE, PAGE, "empty"],
      [PAGE, 0.5, "empty"],
      [PAGE, PAGE + 0.5, "empty"],
      [PAGE, "1" as unknown as number, "empty"],
      [PAGE, 2 ** 53, "overflow"],
      [PAGE, Infinity, "overflow"],
      [2 ** 53, PAGE, "overflow"],
      [0, 2 * PAGE, "outside"],
      [100 * PAGE, 2 * PAGE, "outside"],
      [49 * PAGE, 2 * PAGE, "reserved"],
    ] as const
  ) {
    for (
      const request of [
        () => vm.mapOps({ start, range }),
        () => vm.mapOps({ start, range }, { merge: reason !== "outside" }),
        () => vm.unmapOps({ start, range }),
        () => vm.madviseOps({ start, range }),
        () => vm.insert({ start, range }),
        () => vm.insertRegion({ start, range }),
      ]
    ) {
      const error = assertThrows(request, VaRangeError);
      assertEquals([error.reason, error.code], [reason, "EINVAL"]);
    }
    assertEquals(vm.rangeValid(start, range), false);
  }
  const odd = { start: 2 * PAGE, range: 3 * PAGE };
  assertThrows(() => vm.mapOps({ ...odd, repeat: 2 * PAGE }), VaError);
  assertThrows(() => vm.mapOps({ ...odd, flags: MappingFlag.REPEAT }), VaError);
  assertThrows(() => vm.mapOps({ ...odd, repeat: PAGE, phase: PAGE }), VaError);
  assertThrows(() => vm.mapOps({ ...pages(2, 3), object: -1 }), VaError);
  assertEquals(vm.count, 0);
});

Deno.test("VaManager.insert() refuses what overlaps, remove() what is not there", () => {
  const { vm } = world();
  const mapping = vm.insert(pages(3, 2, 1));
  const error = assertThrows(() => vm.insert(pages(4, 9, 1)), VaExistsError);
  assertEquals(error.code, "EEXIST");
  assertEquals(vm.find(mapping.start, mapping.range), mapping);
  vm.remove(mapping);
  assertEquals(vm.count, 0);
  assertEquals(assertThrows(() => vm.remove(mapping), VaError).code, "ENOENT");
});

Deno.test("VaManager.mappings() gives those of the window that it got, whatever becomes of that", () => {
  const { vm } = world();
  for (let page = 0; page < 9; page++) vm.insert(pages(page, 1));
  const window = { start: 2 * PAGE, range: 3 * PAGE };
  const mappings = vm.mappings(window);
  Object.assign(window, { start: 0, range: 9 * PAGE });
  const starts: number[] = [];
  for (const { start } of mappings) {
    starts.push(start / PAGE);
    window.range = PAGE;
  }
  assertEquals(starts, [2, 3, 4]);
});

Deno.test("VaManager.mappings() survives the removal of the current mapping", () => {
  const { vm } = world({ reserved: { start: 10 * PAGE, range: PAGE } });
  for (let i = 0; i < 40; i++) if (i !== 10) vm.insert(pages(i, 1, 1, i));
  const seen: number[] = [];
  for (const mapping of vm.mappings({ start: 5 * PAGE, range: 20 * PAGE })) {
    seen.push(mapping.start / PAGE);
    vm.remove(mapping);
  }
  assertEquals(seen, [
    5,
    6,
    7,
    8,
    9,
    ...Array.from({ length: 14 }, (_, i) => 11 + i),
  ]);
  assertEquals(vm.count, 39 - seen.length);
  assertEquals([...vm.mappings()].length, vm.count);
});

Deno.test("VaManager.attach() finds a manager of another thread, by name or ref, until it is destroyed", () => {
  const { arena, vm } = world({
    name: "gpu",
    reserved: { start: 0, range: PAGE },
  });
  vm.insert(pages(7, 2, 5, 3));
  const other = Arena.attach(arena.buffer);
  for (const root of ["gpu", vm.ref]) {
    const seen = VaManager.attach(other, root);
    assertEquals(seen.lookup(8 * PAGE + 5)?.object, 5);
    assertEquals(seen.translate(8 * PAGE + 5), 4 * PAGE + 5);
    assertEquals(seen.translate(9 * PAGE), -1);
    assertEquals([seen.span, seen.reserved], [vm.span, vm.reserved]);
    seen.insert(pages(seen.count + 20, 1, 5));
  }
  assertEquals(vm.bo(5)?.count, 3);
  const seen = VaManager.attach(other, "gpu");
  vm.destroy();
  assertThrows(() => VaManager.attach(other, "gpu"), VaNotFoundError);
  assertThrows(() => VaManager.attach(arena, vm.ref), VaNotFoundError);
  assertThrows(() => seen.insert(pages(1, 1)), VaError, "destroyed");
  other.leave();
});

Deno.test("VaManager with its own outer lock finds what is done without it", () => {
  const { vm } = world({ outerLock: "manager" });
  assertThrows(() => vm.insert(pages(1, 1)), LockdepError);
  assertThrows(() => vm.mapOps(pages(1, 1)), LockdepError);
  {
    using _guard = vm.lock();
    vm.commit(vm.mapOps(pages(1, 1, 4)));
    assertThrows(() => vm.lock(), LockdepError);
  }
  assertEquals(vm.lookup(PAGE)?.object, 4);
});

Deno.test("VmBo lists its mappings, and the manager what is external or evicted", () => {
  const { vm } = world();
  const [a, b, c] = [1, 2, 3].map((object) => vm.obtainBo(object));
  assertEquals(vm.obtainBo(1).ref, a.ref);
  for (const bo of [a, b, c]) bo.evicted = true;
  b.evicted = true;
  a.external = true;
  c.external = true;
  assertEquals(vm.externalBos().map((bo) => bo.object), [1, 3]);
  c.external = false;
  assertEquals(vm.externalBos().map((bo) => bo.object), [1]);
  assertThrows(
    () => vm.validate((bo) => assert(bo.object !== 2, "no room")),
    Error,
    "no room",
  );
  assertEquals(vm.evictedBos().map((bo) => bo.object), [2, 3]);
  a.evicted = true;
  assertEquals(vm.evictedBos().map((bo) => bo.object), [2, 3, 1]);
  vm.validate(() => {});
  assertEquals(vm.evictedBos(), []);

  vm.insert(pages(1, 1, 2));
  assertThrows(() => vm.releaseBo(2), VaError, "1 mappings");
  a.evicted = true;
  vm.releaseBo(1);
  vm.releaseBo(1);
  assertEquals([vm.bo(1), vm.externalBos(), vm.evictedBos()], [
    undefined,
    [],
    [],
  ]);
  assertThrows(() => a.count, VaNotFoundError);
  assertThrows(() => vm.obtainBo(0), VaError);
});

Deno.test("VaManager.validate() leaves out what its callback has released or made present", () => {
  const { arena, vm } = world();
  const objects = [5, 2, 8, 1, 9];
  for (const object of objects) vm.obtainBo(object).evicted = true;
  const seen: number[] = [];
  vm.validate(({ object }) => {
    seen.push(object);
    // Itself, one before it, and ones that would come later.
    if (object === 2) { for (const each of [2, 5, 8]) vm.releaseBo(each); }
    if (object === 1) {
      vm.bo(9)!.evicted = false;
      vm.obtainBo(8).evicted = true;
    }
  });
  assertEquals(seen, [5, 2, 1]);
  assertEquals(vm.evictedBos().map(({ object }) => object), [8]);
  assertEquals(objectsInUse(arena).va_bo, 3);
});

Deno.test("VmBo.link() and unlink() are the driver's, if it wants them", () => {
  const { vm } = world({ link: "driver" });
  const mapping = vm.insert(pages(1, 4, 6));
  const bo = vm.obtainBo(6);
  assertEquals(bo.count, 0);
  bo.link(mapping);
  assertThrows(() => bo.link(mapping), VaError, "linked already");
  assertThrows(() => vm.obtainBo(7).link(mapping), VaError);
  assertEquals(bo.mappings(), [mapping]);
  bo.unlink(mapping);
  bo.unlink(mapping);
  assertEquals(bo.count, 0);
  bo.link(mapping);
  vm.remove(mapping);
  assertEquals(bo.count, 0);
});

Deno.test("VaManager with regions takes a mapping inside of one, and none that crosses its boundary", () => {
  const { vm } = world({ regions: true });
  vm.insertRegion(pages(0, 4));
  vm.insertRegion(pages(4, 4));
  assertThrows(() => vm.insertRegion(pages(3, 2)), VaExistsError);
  assertThrows(() => vm.removeRegion(pages(0, 3)), VaNotFoundError);
  for (const request of [pages(3, 2), pages(8, 1), pages(7, 2)]) {
    const error = assertThrows(() => vm.mapOps(request), VaRangeError);
    assertEquals(error.reason, "region");
  }
  vm.commit(vm.mapOps(pages(0, 4, 1)));
  vm.removeRegion(pages(4, 4));
  assertEquals([...vm.regions()].map((region) => region.range / PAGE), [4]);
});

Deno.test("VaManager.info() is a table", () => {
  const { vm } = world({ reserved: { start: 0, range: PAGE } });
  vm.insert(pages(1, 2, 3, 4));
  vm.insert(pages(9, 1));
  const info = vm.info();
  assertEquals([info.count, info.mapped], [2, 3 * PAGE]);
  assertEquals(
    String(info),
    `GPU VA space [0x00000000, 0x800000000000), 2 mappings of 0x00003000 in all
reserved node [0x00000000, 0x00001000)
VAs |      start |      range |        end | object | object offset
----+------------+------------+------------+--------+--------------
  1 | 0x00001000 | 0x00002000 | 0x00003000 |      3 |    0x00004000
  2 | 0x00009000 | 0x00001000 | 0x0000a000 |   none |    0x00000000`,
  );
  assert(String(vm.info(1)).endsWith("… and 1 more"));
  assertEquals(vm.info(0).mappings, []);
  assertEquals(vm.info(Infinity).mappings.length, 2);
  for (const limit of [NaN, -1, 0.5, -Infinity]) {
    assertThrows(() => vm.info(limit), RangeError, `list ${limit} mappings`);
  }
});

Deno.test("VaManager.invalidate() and setFlags() show at once, and splits keep flags", () => {
  const { vm } = world();
  const mapping = vm.insert({ ...pages(0, 4, 1), flags: MappingFlag.USER });
  vm.invalidate(mapping);
  assertEquals(vm.lookup(0)?.flags, MappingFlag.USER | MappingFlag.INVALIDATED);
  vm.commit(vm.unmapOps(pages(1, 1)));
  assertEquals(
    vm.lookup(2 * PAGE)?.flags,
    MappingFlag.USER | MappingFlag.INVALIDATED,
  );
  vm.invalidate(vm.lookup(0)!, false);
  assertEquals(vm.lookup(0)?.flags, MappingFlag.USER);
});

Deno.test("OperationList.add() puts the driver's own operations at the end, which change nothing", () => {
  const { vm } = world();
  const list = vm.mapOps(pages(1, 1, 1));
  list.add({ kind: "driver", data: "flush" });
  vm.commit(list);
  assertEquals([...list].map((op) => op.kind), ["map", "driver"]);
  assertEquals(vm.count, 1);
});

Deno.test("VaManager.create() refuses what is no address space", () => {
  const { arena } = world();
  for (
    const options of [
      { range: 0 },
      { range: 2 ** 53 },
      { start: -1, range: 5 },
      { range: 100, reserved: { start: 90, range: 20 } },
    ]
  ) assertThrows(() => VaManager.create(arena, options), VaError);
  const inUse = objectsInUse(arena);
  for (const name of ["link", "outerLock", "lock", "name"]) {
    for (const value of ["foo", "", 5, null]) {
      if (name === "name" && typeof value === "string") continue;
      const options = { range: 100, [name]: value } as VaManagerOptions;
      const error = assertThrows(
        () => VaManager.create(arena, options),
        VaError,
        name,
      );
      assertEquals(error.code, "EINVAL");
    }
  }
  for (const name of ["", "x".repeat(57)]) {
    const create = () => VaManager.create(arena, { range: 100, name });
    assertThrows(create, RangeError);
  }
  assertEquals(objectsInUse(arena), inUse);
});
