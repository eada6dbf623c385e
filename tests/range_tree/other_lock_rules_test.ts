import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Arena, ExternalLock, RangeMap, RangeTree } from "../../mod.ts";
import { failAfter, throwsOutOfMemory } from "./failures.ts";
import { docsOf, LOCK_WORDS, type Said, saidIn, splatOf } from "./rules.ts";
import { cacheOf } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// What the functions of RangeMap and ExternalLock say of themselves, proved as in `lock_rules_test.ts`.

type Map = RangeMap<string>;

const RANGES = 300;

/** What each function of a map does about the lock of its tree. The map holds 0 … 3, 10 … 13, … 2990 … 2993. */
const MAP_RULES: Record<
  string,
  { lock: "own" | "none"; call: (map: Map, arena: Arena) => unknown }
> = {
  "RangeMap.create": {
    lock: "none",
    call: (_, arena) => RangeMap.create(arena),
  },
  "RangeMap.size": { lock: "none", call: (map) => map.size },
  "RangeMap.get": { lock: "own", call: (map) => map.get(10) },
  "RangeMap.set": { lock: "own", call: (map) => map.set(105, 2000, "new") },
  "RangeMap.insert": {
    lock: "own",
    call: (map) => forAll((i) => map.insert(i * 10 + 5, i * 10 + 6, "new")),
  },
  "RangeMap.delete": {
    lock: "own",
    call: (map) => forAll((i) => map.delete(i * 10)),
  },
  "RangeMap.deleteRange": {
    lock: "own",
    call: (map) => map.deleteRange(105, 2000),
  },
  "RangeMap.find": { lock: "own", call: (map) => map.find(5) },
  "RangeMap.next": { lock: "own", call: (map) => map.next(5) },
  "RangeMap.prev": { lock: "own", call: (map) => map.prev(5) },
  "RangeMap.entries": { lock: "own", call: (map) => [...map.entries(0, 50)] },
  "RangeMap.entriesReverse": {
    lock: "own",
    call: (map) => [...map.entriesReverse(0, 50)],
  },
  "RangeMap.clear": { lock: "own", call: (map) => map.clear() },
  "RangeMap.destroy": { lock: "own", call: (map) => map.destroy() },
  "RangeMap.validate": { lock: "own", call: (map) => map.validate() },
  "RangeMap.toString": { lock: "none", call: (map) => map.toString() },
};

/** For each range of a map. */
function forAll(act: (i: number) => unknown): void {
  for (let i = 0; i < RANGES; i++) act(i);
}

/** What a function says of itself. */
function saidOf(name: string): Said {
  const [owner, method] = name.split(".");
  return saidIn(docsOf(owner).get(method)!, name);
}

function mapOf(): { arena: Arena; map: Map; other: RangeTree } {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const map = RangeMap.create<string>(arena);
  forAll((i) => map.set(i * 10, i * 10 + 3, `${i}`));
  return { arena, map, other: RangeTree.create(arena) };
}

Deno.test("Every function of RangeMap and ExternalLock has a rule here", () => {
  const { map, arena } = mapOf();
  const lock = ExternalLock.create(arena);
  for (
    const { constructor, rules } of [
      { constructor: map.constructor, rules: MAP_RULES },
      { constructor: lock.constructor, rules: LOCK_RULES },
    ]
  ) {
    const names = Object.getOwnPropertyNames(constructor.prototype).concat(
      ["create", "attach"].filter((name) => name in constructor),
    ).filter((name) => name !== "constructor");
    assertEquals(
      names.map((name) => `${constructor.name}.${name}`).sort(),
      Object.keys(rules).sort(),
    );
  }
});

for (const [name, { lock, call }] of Object.entries(MAP_RULES)) {
  Deno.test(`${name} needs the lock and memory as it says: ${lock}`, () => {
    const said = saidOf(name);
    assert(LOCK_WORDS[lock].test(said.lock), said.lock);
    const { arena, map, other } = mapOf();
    {
      using _guard = other.lock();
      const splat = splatOf(() => call(map, arena));
      if (lock === "none") assertEquals(splat, undefined);
      else assertStringIncludes(splat!, "possible recursive locking");
    }
    {
      // A map is made of a header; what is in it, of nodes.
      using _none = failAfter(bothOf(arena), 0);
      using _noHeader = failAfter({ all: [cacheOf(arena, "range_tree")] }, 0);
      const failed = throwsOutOfMemory(() => call(map, arena));
      assertEquals(failed, said.memory !== "no");
    }
    if (name !== "RangeMap.destroy") map.validate();
    assertEquals(arena.lockdep.held, 0);
  });
}

/** Changes of the range of that number, most of which need no node. */
const CHANGES: Record<string, (map: Map, i: number) => unknown> = {
  set: (map, i) => map.set(i * 10 + 2, i * 10 + 4, "new"),
  insert: (map, i) => map.insert(i * 10 + 5, i * 10 + 6, "new"),
  delete: (map, i) => map.delete(i * 10),
  deleteRange: (map, i) => map.deleteRange(i * 10 + 1, i * 10 + 2),
};

for (const [name, change] of Object.entries(CHANGES)) {
  Deno.test(`RangeMap.${name} changes nothing whichever of its allocations fails`, () => {
    const { arena, map } = mapOf();
    let failures = 0;
    forAll((i) => {
      const before = [...map];
      for (let allocations = 0;; allocations++) {
        using _failing = failAfter(bothOf(arena), allocations);
        if (!throwsOutOfMemory(() => change(map, i))) break;
        failures++;
        map.validate();
        assertEquals([...map], before, `allocation ${allocations}`);
      }
    });
    map.validate();
    assert(failures > 10, `${failures} allocations`);
  });
}

/** What each function of an external lock does where another one is held: is that an error? */
const LOCK_RULES: Record<
  string,
  { nests: boolean; call: (lock: ExternalLock, arena: Arena) => unknown }
> = {
  "ExternalLock.create": {
    nests: true,
    call: (_, arena) => ExternalLock.create(arena),
  },
  "ExternalLock.attach": {
    nests: true,
    call: (lock, arena) => ExternalLock.attach(arena, lock.ref),
  },
  "ExternalLock.trees": { nests: true, call: (lock) => lock.trees },
  "ExternalLock.lock": {
    nests: false,
    call: (lock) => (lock.lock(), lock.unlock()),
  },
  "ExternalLock.guard": {
    nests: false,
    call: (lock) => lock.guard()[Symbol.dispose](),
  },
  "ExternalLock.tryLock": {
    nests: true,
    call: (lock) => {
      assert(lock.tryLock());
      lock.unlock();
    },
  },
  "ExternalLock.unlock": {
    nests: true,
    call: (lock) => {
      assert(lock.tryLock());
      lock.unlock();
    },
  },
  "ExternalLock.destroy": { nests: true, call: (lock) => lock.destroy() },
  "ExternalLock.assertGuards": {
    nests: true,
    call: (lock, arena) => lock.assertGuards(arena, "here"),
  },
};

for (const [name, { nests, call }] of Object.entries(LOCK_RULES)) {
  Deno.test(`${name} under another external lock is ${nests ? "no" : "an"} error, as it says`, () => {
    const said = saidOf(name);
    assertEquals(said.lock.includes("no other external lock"), !nests);
    const arena = Arena.create({ byteLength: 2 ** 20 });
    const [lock, other] = [0, 1].map(() => ExternalLock.create(arena));
    {
      using _guard = other.guard();
      const splat = splatOf(() => call(lock, arena));
      if (nests) assertEquals(splat, undefined);
      else assertStringIncludes(splat!, `at ${name}`);
      assertEquals(arena.lockdep.held, 1);
    }
    const locks = cacheOf(arena, "external_lock");
    using _none = failAfter({ all: [locks] }, 0);
    const { objects } = locks.stats();
    const one = name === "ExternalLock.destroy" ? other : lock;
    const failed = throwsOutOfMemory(() => call(one, arena));
    assertEquals(failed, said.memory !== "no");
    if (failed) assertEquals(locks.stats().objects, objects);
  });
}
