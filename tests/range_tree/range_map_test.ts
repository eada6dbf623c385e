import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  LockdepError,
  MAX_INDEX,
  RangeMap,
  RangeTree,
} from "../../mod.ts";
import { rng, seeds } from "../seed.ts";
import { Mirror } from "./mirror.ts";
import { cacheOf, Crowd } from "./worlds.ts";

interface Owner {
  name: number;
}

function mapOf(byteLength = 2 ** 21): { arena: Arena; map: RangeMap<Owner> } {
  const arena = Arena.create({ byteLength });
  return { arena, map: RangeMap.create<Owner>(arena) };
}

Deno.test("RangeMap keeps the very values, and takes any but undefined", () => {
  const map = RangeMap.create<unknown>(Arena.create({ byteLength: 2 ** 20 }));
  const owner = { name: "kernel" };
  map.set(0, 9, owner);
  assert(map.get(5) === owner);
  for (const value of [null, 0, "", false, NaN, Symbol.iterator]) {
    map.set(20, 29, value);
    assert(Object.is(map.get(25), value));
  }
  assertEquals(map.get(15), undefined);
  assertThrows(
    () => map.set(0, 9, undefined),
    TypeError,
    "Cannot store undefined: it means empty",
  );
  assertThrows(() => map.insert(90, 99, undefined), TypeError);
  assertThrows(() => map.set(9, 0, 1), RangeError);
  assertThrows(() => map.set(0.5, 1, 1), RangeError);
  assertThrows(() => map.deleteRange(-1, 1), RangeError);
  assert(map.get(5) === owner);
  map.validate();
  assertEquals(map.size, 2);
});

const RANDOM =
  "RangeMap agrees with the mirror after every random operation, compacted now and then";
Deno.test(RANDOM, () => {
  for (const seed of seeds(RANDOM)) {
    const random = rng(seed);
    const arena = Arena.create({ byteLength: 2 ** 21 });
    const crowd = new Crowd(arena);
    const others = headersOf(arena);
    const map = RangeMap.create<Owner>(arena);
    const [ref] = headersOf(arena).filter((ref) => !others.includes(ref));
    const tree = RangeTree.attach(arena, ref);
    const mirror = new Mirror();
    const owners: Owner[] = [{ name: 0 }];
    const ownerOf = (number: number) =>
      number === 0 ? undefined : owners[number];
    const show = (entry?: { first: number; last: number; value: Owner }) =>
      entry && { ...entry, value: entry.value.name };
    for (let step = 0; step < 800; step++) {
      const first = random.int(300);
      const last = random.int(50) === 0
        ? MAX_INDEX
        : first + random.int(random.pick([1, 5, 200]));
      const number = owners.length;
      const owner = { name: number };
      owners.push(owner);
      switch (random.int(5)) {
        case 0:
        case 1:
          map.set(first, last, owner);
          mirror.storeRange(first, last, number);
          break;
        case 2:
          assertEquals(
            map.insert(first, last, owner),
            mirror.insertRange(first, last, number),
          );
          break;
        case 3:
          assert(map.delete(first) === ownerOf(mirror.erase(first)));
          break;
        case 4:
          map.deleteRange(first, last);
          mirror.storeRange(first, last, 0);
      }
      map.validate();
      assertEquals(map.size, mirror.entries.length);
      assertEquals([...map].map(show), mirror.entries);
      assertEquals(
        [...map.entriesReverse(first, last)].map(show),
        mirror.overlapping(first, last).reverse(),
      );
      assert(map.get(first) === ownerOf(mirror.load(first)));
      assertEquals(show(map.find(first, last)), mirror.find(first, last));
      assertEquals(show(map.next(first)), mirror.next(first));
      assertEquals(show(map.prev(first)), mirror.prev(first));
      if (random.int(20) === 0) crowd.compact(tree);
      if (random.int(100) === 0) {
        map.clear();
        mirror.entries = [];
      }
    }
    assert(crowd.moves > 20, `${crowd.moves} nodes of the map were moved`);
  }
});

/** The headers of all trees. */
function headersOf(arena: Arena): number[] {
  const headers = cacheOf(arena, "range_tree");
  return headers.slabs().flatMap(({ pfn }) => headers.objectsOf(pfn));
}

Deno.test("RangeMap uses handles again that no range holds, and lets their values go", () => {
  const { arena, map } = mapOf();
  for (let i = 0; i < 10_000; i++) map.set(i % 7, i % 7 + 3, { name: i });
  map.validate();
  // Seven starts, cut by each other: there are never more handles than ranges, and one to come.
  const [header] = headersOf(arena);
  const handles = [...RangeTree.attach(arena, header)].map((entry) =>
    entry.value
  );
  assertEquals(handles.length, map.size);
  assert(Math.max(...handles) <= 12, `${handles}`);
  map.destroy();
  assertThrows(() => map.get(1), Error, "it was destroyed");
  assertThrows(() => map.set(1, 2, { name: 1 }), Error, "it was destroyed");
});

Deno.test("RangeMap.set() and deleteRange() cut what ends at the last index", () => {
  const { map } = mapOf();
  const owners = [1, 2].map((name) => ({ name }));
  map.set(0, MAX_INDEX, owners[0]);
  map.set(5, MAX_INDEX, owners[1]);
  assertEquals([map.get(4), map.get(5)], owners);
  map.deleteRange(7, MAX_INDEX);
  assertEquals([map.get(6), map.get(7)], [owners[1], undefined]);
  map.validate();
});

Deno.test("RangeMap.clear() and destroy() that are refused leave all as it was", () => {
  const { arena, map } = mapOf();
  const owner = { name: 1 };
  map.set(0, 9, owner);
  {
    using _guard = RangeTree.create(arena).lock();
    assertThrows(() => map.clear(), LockdepError);
    assertThrows(() => map.destroy(), LockdepError);
  }
  assertEquals(map.get(5), owner);
  map.validate();
});

Deno.test("RangeMap.entries() refuses bad bounds at once, as a tree does", () => {
  const map = RangeMap.create<string>(Arena.create({ byteLength: 2 ** 20 }));
  map.set(0, 9, "a");
  for (const bound of [-1, 0.5, NaN, 2 ** 53]) {
    assertThrows(() => map.entries(bound), RangeError);
    assertThrows(() => map.entries(0, bound), RangeError);
    assertThrows(() => map.entriesReverse(bound), RangeError);
    assertThrows(() => map.entriesReverse(0, bound), RangeError);
  }
  assertEquals([...map.entries(3, 5)], [{ first: 0, last: 9, value: "a" }]);
  assertEquals([...map.entriesReverse(10)], []);
});

Deno.test("RangeMap is shown as one line, also once it is destroyed", () => {
  const map = RangeMap.create<string>(Arena.create({ byteLength: 2 ** 20 }));
  map.set(0, 9, "a");
  assertEquals(`${map}`, "RangeMap(1 entries, lock internal)");
  assertEquals(Deno.inspect(map), `${map}`);
  map.destroy();
  assertEquals(Deno.inspect(map), "RangeMap(destroyed)");
});
