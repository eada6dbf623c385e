import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  Arena,
  type Cursor,
  ExternalLock,
  OutOfMemoryError,
  RangeTree,
} from "../../mod.ts";
import { docsOf, LOCK_WORDS, saidIn, splatOf } from "./rules.ts";
import { cacheOf, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

// What `docs/lock-modes.md` and the functions' own documentation say about each, proved by misusing it.

/** What a function says of itself. */
interface Rule {
  /** Needs the tree's lock, or that or a read section, or takes what it needs itself, or needs nothing. */
  readonly lock: "held" | "reading" | "own" | "own read" | "none";
  /** Whether it may need nodes. */
  readonly memory: boolean;
  /** Calls it so that it needs all that it ever does. */
  readonly call: (tree: RangeTree, cursor: Cursor) => unknown;
}

const held = (memory: boolean, call: Rule["call"]): Rule => {
  return { lock: "held", memory, call };
};
const reading = (call: Rule["call"]): Rule => {
  return { lock: "reading", memory: false, call };
};
const own = (memory: boolean, call: Rule["call"]): Rule => {
  return { lock: "own", memory, call };
};
const ownRead = (call: Rule["call"]): Rule => {
  return { lock: "own read", memory: false, call };
};
const none = (call: Rule["call"]): Rule => {
  return { lock: "none", memory: false, call };
};

/** Every function of a tree and a cursor. The tree holds points 0, 4, … 3996; the cursor is set to 501 … 700. */
const RULES: Record<string, Rule> = {
  "RangeTree.load": ownRead((tree) => tree.load(4)),
  "RangeTree.loadMany": ownRead((tree) => tree.loadMany([4, 8])),
  "RangeTree.find": ownRead((tree) => tree.find(4)),
  "RangeTree.findAfter": ownRead((tree) => tree.findAfter(4)),
  "RangeTree.next": ownRead((tree) => tree.next(4)),
  "RangeTree.prev": ownRead((tree) => tree.prev(4)),
  "RangeTree.entries": ownRead((tree) => [...tree.entries(4, 40)]),
  "RangeTree.entriesReverse": ownRead((
    tree,
  ) => [...tree.entriesReverse(4, 40)]),
  "RangeTree.forEach": ownRead((tree) => tree.forEach(() => {}, 4, 40)),
  "RangeTree.forEachMany": ownRead((tree) => tree.forEachMany(() => {}, 4, 40)),
  "RangeTree.countIn": ownRead((tree) => tree.countIn(4, 40)),
  "RangeTree.toString": none((tree) => tree.toString()),
  "RangeTree.height": ownRead((tree) => tree.height),
  "RangeTree.count": none((tree) => tree.count),
  "RangeTree.rcu": none((tree) => tree.rcu),
  "RangeTree.cursor": none((tree) => tree.cursor(4)),
  "RangeTree.store": own(true, (tree) => tree.store(5, 9)),
  "RangeTree.storeRange": own(true, (tree) => tree.storeRange(5, 99, 9)),
  "RangeTree.storeMany": own(true, (tree) => tree.storeMany([5], [99], [9])),
  "RangeTree.storeBlocking": own(true, (tree) => tree.storeBlocking(5, 9, 9)),
  "RangeTree.insert": own(true, (tree) => tree.insert(5, 9)),
  "RangeTree.insertRange": own(true, (tree) => tree.insertRange(5, 5, 9)),
  "RangeTree.reserve": own(true, (tree) => tree.reserve(5, 5)),
  "RangeTree.erase": own(true, (tree) => tree.erase(4)),
  "RangeTree.eraseRange": own(true, (tree) => tree.eraseRange(4, 99)),
  "RangeTree.allocRange": own(true, (tree) => tree.allocRange(2, 9)),
  "RangeTree.allocRangeReverse": own(
    true,
    (tree) => tree.allocRangeReverse(3, 9),
  ),
  "RangeTree.allocCyclic": own(
    true,
    (tree) => tree.allocCyclic(9, { min: 4000 }),
  ),
  "RangeTree.clone": own(true, (tree) => tree.clone()),
  "RangeTree.clear": own(false, (tree) => tree.clear()),
  "RangeTree.destroy": own(false, (tree) => tree.destroy()),
  "RangeTree.setRcu": own(false, (tree) => tree.setRcu(false)),
  "RangeTree.stats": own(false, (tree) => tree.stats()),
  "RangeTree.validate": own(false, (tree) => tree.validate()),
  "RangeTree.dump": own(false, (tree) => tree.dump()),
  "RangeTree.lock": own(false, (tree) => tree.lock()[Symbol.dispose]()),

  "Cursor.walk": reading((_, cursor) => cursor.walk()),
  "Cursor.find": reading((_, cursor) => cursor.find()),
  "Cursor.findRange": reading((_, cursor) => cursor.findRange()),
  "Cursor.findReverse": reading((_, cursor) => cursor.findReverse()),
  "Cursor.findRangeReverse": reading((_, cursor) => cursor.findRangeReverse()),
  "Cursor.next": reading((_, cursor) => cursor.next()),
  "Cursor.nextRange": reading((_, cursor) => cursor.nextRange()),
  "Cursor.prev": reading((_, cursor) => cursor.prev()),
  "Cursor.prevRange": reading((_, cursor) => cursor.prevRange()),
  "Cursor.store": held(true, (_, cursor) => cursor.store(9)),
  "Cursor.storeBlocking": held(true, (_, cursor) => cursor.storeBlocking(9)),
  "Cursor.insert": held(true, (_, cursor) => {
    cursor.setRange(5);
    cursor.insert(9);
  }),
  "Cursor.erase": held(true, (_, cursor) => {
    cursor.setRange(504);
    cursor.erase();
  }),
  "Cursor.preallocate": held(true, (_, cursor) => cursor.preallocate(9)),
  "Cursor.emptyArea": held(false, (_, cursor) => cursor.emptyArea(0, 99, 1)),
  "Cursor.emptyAreaReverse": held(
    false,
    (_, cursor) => cursor.emptyAreaReverse(0, 99, 1),
  ),
  "Cursor.setRange": none((_, cursor) => cursor.setRange(1, 2)),
  "Cursor.reset": none((_, cursor) => cursor.reset()),
  "Cursor.pause": none((_, cursor) => cursor.pause()),
  "Cursor.destroy": none((_, cursor) => cursor.destroy()),
  "Cursor.toString": none((_, cursor) => cursor.toString()),
};

/** What may drop the lock. */
const DROPS_LOCK = [
  "storeBlocking",
  "storeMany",
  "loadMany",
  "entries",
  "entriesReverse",
  "forEach",
  "forEachMany",
];

/** What has no rule of its own: fields, and what makes or wraps others. */
const NO_RULE = [
  "constructor",
  "tryLock", // does not wait: tested below
  "bulkLoad", // has the lock twice: tested below
  "index",
  "last",
  "state",
];

/** The rows of the last table of `docs/lock-modes.md`, by function. */
function rowsOf(owner: string): Map<string, string[]> {
  const text = Deno.readTextFileSync(
    new URL("../../docs/lock-modes.md", import.meta.url),
  );
  const rows = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [, names = "", ...rest] = line.split("|").map((cell) => cell.trim());
    const isCursor = names.startsWith("`Cursor`:");
    if (rest.length < 4 || isCursor !== (owner === "Cursor")) continue;
    for (const [, name] of names.matchAll(/`(\w+)`/g)) {
      if (name !== "Cursor") rows.set(name, rest);
    }
  }
  return rows;
}

interface World {
  arena: Arena;
  tree: RangeTree;
  cursor: Cursor;
}

function worldOf(rcu: boolean): World {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { rcu, gaps: true });
  tree.bulkLoad(points(1000, 4));
  return { arena, tree, cursor: tree.cursor(501, 700) };
}

Deno.test("Every function's documentation says which lock it needs, whether it needs memory and whether it may drop the lock", () => {
  for (const owner of ["RangeTree", "Cursor", "RangeMap", "ExternalLock"]) {
    const docs = docsOf(owner);
    assert(docs.size > 7, owner);
    for (const [name, doc] of docs) {
      const ATTRIBUTES = ["constructor", "index", "last", "state", "ref"];
      if (ATTRIBUTES.includes(name)) continue;
      const { lock, memory, drops } = saidIn(doc, `${owner}.${name}`);
      const rule = RULES[`${owner}.${name}`];
      if (rule === undefined) continue;
      assert(LOCK_WORDS[rule.lock].test(lock), `${owner}.${name}: ${lock}`);
      assertEquals(memory !== "no", rule.memory, `${owner}.${name}`);
      const may = DROPS_LOCK.includes(name);
      assertEquals(drops === "yes", may, `${owner}.${name}`);
    }
  }
});

Deno.test("lock-modes.md says of every function what its own documentation says", () => {
  for (const owner of ["RangeTree", "Cursor"]) {
    const rows = rowsOf(owner);
    for (const name of docsOf(owner).keys()) {
      if (["constructor", "index", "last", "state"].includes(name)) continue;
      const row = rows.get(name);
      assert(row !== undefined, `${owner}.${name} has no row`);
      const rule = RULES[`${owner}.${name}`];
      if (rule === undefined) continue;
      const [lock, memory, drops] = row;
      assert(LOCK_WORDS[rule.lock].test(lock), `${owner}.${name}: ${lock}`);
      assertEquals(memory !== "no", rule.memory, `${owner}.${name}`);
      const may = DROPS_LOCK.includes(name);
      assertEquals(/yes/.test(drops), may, `${owner}.${name}: ${drops}`);
    }
  }
});

Deno.test("Every function of RangeTree and Cursor has a rule", () => {
  for (const owner of [RangeTree, worldOf(false).cursor.constructor]) {
    const names = Object.getOwnPropertyNames(owner.prototype);
    const missing = names.filter((name) =>
      !NO_RULE.includes(name) && RULES[`${owner.name}.${name}`] === undefined
    );
    assertEquals(missing, []);
  }
});

for (const [name, { lock, call }] of Object.entries(RULES)) {
  Deno.test(`${name} needs the lock as it says: ${lock}`, () => {
    const bare = worldOf(true);
    const splat = splatOf(() => call(bare.tree, bare.cursor));
    if (lock === "held" || lock === "reading") {
      assert(splat !== undefined, "it runs without the lock");
      const wording = lock === "held"
        ? "rcu_dereference_protected"
        : "rcu_dereference_check";
      assertStringIncludes(splat, `${name}: suspicious ${wording}() usage`);
      assertStringIncludes(splat, "no locks held by thread 1");
      using _section = bare.arena.rcu.read();
      const inSection = splatOf(() => call(bare.tree, bare.cursor));
      // Waiting inside a read section is what `storeBlocking` complains of first.
      assertEquals(inSection === undefined, lock === "reading");
    } else assertEquals(splat, undefined);

    const locked = worldOf(false);
    using _guard = locked.tree.lock();
    const nested = splatOf(() => call(locked.tree, locked.cursor));
    if (lock === "own" || lock === "own read") {
      assert(nested !== undefined, "it runs under the lock that it takes");
      assertStringIncludes(
        nested,
        name.endsWith("storeBlocking")
          ? "illegal wait for a grace period while holding a lock"
          : "possible recursive locking",
      );
      assertNames(nested, name);
      assertStringIncludes(nested, "taken at RangeTree.lock");
    } else assertEquals(nested, undefined);
  });

  Deno.test(`${name} keeps the lock that it is called under, and gives back what it takes`, () => {
    const { arena, tree, cursor } = worldOf(true);
    {
      using _guard = lock === "held" || lock === "reading"
        ? tree.lock()
        : undefined;
      const { held } = arena.lockdep;
      const stamp = stampOf(tree, arena);
      call(tree, cursor);
      assertEquals(arena.lockdep.held, held);
      assertEquals(stampOf(tree, arena), stamp);
    }
    assertEquals([arena.lockdep.held, arena.rcu.depth], [0, 0]);
  });
}

/** The splat names the function that was called. */
function assertNames(splat: string, name: string): void {
  const pattern = `(at |^)${name.replace(".", "\\.")}( would wait|:|$)`;
  assert(new RegExp(pattern, "m").test(splat), splat);
}

for (const rcu of [false, true]) {
  for (const [name, { lock, call }] of Object.entries(RULES)) {
    // Taking the lock is what this one is for.
    if (name === "RangeTree.lock") continue;
    Deno.test(`${name} needs the external lock as it says, rcu ${rcu}: ${lock}`, () => {
      const arena = Arena.create({ byteLength: 2 ** 20 });
      const externalLock = ExternalLock.create(arena);
      const tree = RangeTree.create(arena, {
        lock: "external",
        externalLock,
        gaps: true,
        rcu,
      });
      {
        using _guard = externalLock.guard();
        tree.bulkLoad(points(1000, 4));
      }
      const text = tree.toString();
      const cursor = tree.cursor(501, 700);
      const splat = splatOf(() => call(tree, cursor));
      if (lock === "none" || (lock === "own read" && rcu)) {
        assertEquals(splat, undefined);
      } else {
        assert(splat !== undefined, "it runs without the lock");
        assertNames(splat, name);
        assertStringIncludes(splat, "suspicious rcu_dereference_");
        assertEquals(tree.toString(), text);
      }
      using _guard = externalLock.guard();
      assertEquals(splatOf(() => call(tree, cursor)), undefined);
      assertEquals(arena.lockdep.held, 1);
    });
  }
}

function stampOf(tree: RangeTree, arena: Arena): number {
  return arena.lockdep.stampOf(tree.ref * 16 + 16);
}

for (const [name, { lock, memory, call }] of Object.entries(RULES)) {
  Deno.test(`${name} needs memory as it says: ${memory ? "yes" : "no"}`, () => {
    const { arena, tree, cursor } = worldOf(true);
    let wanted = 0;
    using stubs = new DisposableStack();
    for (const cache of bothOf(arena).all) {
      cache.giveBack();
      stubs.use(stub(cache, "tryAllocate", () => {
        wanted++;
        return 0;
      }));
      stubs.use(stub(cache, "stockUp", () => false));
      stubs.use(stub(cache, "allocateInto", () => {
        wanted++;
      }));
    }
    using _guard = lock === "held" || lock === "reading"
      ? tree.lock()
      : undefined;
    let failed = false;
    try {
      call(tree, cursor);
    } catch (error) {
      assert(error instanceof OutOfMemoryError, String(error));
      failed = true;
    }
    assertEquals([failed, wanted > 0], [memory, memory]);
  });
}

Deno.test("RangeTree.bulkLoad() builds without the lock, and takes it to publish", () => {
  const { arena, tree } = worldOf(false);
  const empty = RangeTree.create(arena);
  // So the entries may come from another tree.
  empty.bulkLoad(tree.entries());
  assertEquals(empty.count, 1000);
  empty.clear();
  const objects = bothOf(arena).stats().objects;
  using _guard = tree.lock();
  const splat = splatOf(() => empty.bulkLoad(points(100)));
  assertStringIncludes(splat!, "possible recursive locking");
  assertNames(splat!, "RangeTree.bulkLoad");
  assertEquals(bothOf(arena).stats().objects, objects);
  assertEquals(empty.count, 0);
});

Deno.test("RangeTree.bulkLoad() into a tree that holds something, or is gone, asks for no entry and builds nothing", () => {
  const { arena, tree } = worldOf(false);
  const gone = RangeTree.create(arena);
  gone.destroy();
  const objects = bothOf(arena).stats().objects;
  using allocate = stub(bothOf(arena).leaves, "allocateInto", () => {});
  let asked = 0;
  const entries = {
    *[Symbol.iterator]() {
      asked++;
      yield* points(100);
    },
  };
  assertThrows(
    () => tree.bulkLoad(entries),
    Error,
    "Cannot bulk-load: the tree is not empty, its count is 1000",
  );
  assertThrows(() => gone.bulkLoad(entries), Error, "it was destroyed");
  assertEquals([asked, allocate.calls.length], [0, 0]);
  assertEquals(bothOf(arena).stats().objects, objects);
});

Deno.test("RangeTree.bulkLoad() looks again once it has built: another writer may have come between", () => {
  const { arena } = worldOf(false);
  const tree = RangeTree.create(arena);
  const objects = bothOf(arena).stats().objects;
  const entries = {
    *[Symbol.iterator]() {
      yield* points(100);
      tree.store(7, 7);
    },
  };
  assertThrows(
    () => tree.bulkLoad(entries),
    Error,
    "Cannot bulk-load: the tree is not empty, its count is 1",
  );
  assertEquals([...tree], [{ first: 7, last: 7, value: 7 }]);
  assertEquals(bothOf(arena).stats().objects, objects + 1);
});

Deno.test("RangeTree.clone() under the tree's own lock is an error, and leaves nothing behind", () => {
  const { arena, tree } = worldOf(false);
  const counts = () =>
    [bothOf(arena), cacheOf(arena, "range_tree")]
      .map((cache) => cache.stats().objects);
  const before = counts();
  using _guard = tree.lock();
  const splat = splatOf(() => tree.clone({ name: "copy" }));
  assertNames(splat!, "RangeTree.clone");
  assertEquals(counts(), before);
  assertEquals(arena.roots.names(), []);
});

Deno.test("RangeTree.tryLock() under the lock gives nothing, and splats never", () => {
  const { arena, tree } = worldOf(false);
  {
    using _guard = tree.lock();
    assertEquals(tree.tryLock(), undefined);
    assertEquals(arena.lockdep.held, 1);
  }
  using guard = tree.tryLock();
  assert(guard !== undefined);
});

Deno.test("RangeTree.setRcu() under the lock that guards the tree changes how it is read", () => {
  const { arena, tree } = worldOf(false);
  tree.setRcu(true);
  {
    using _section = arena.rcu.read();
    assertEquals(tree.cursor(4).walk(), 2);
  }
  using _guard = tree.lock();
  assertEquals(tree.load(4), 2); // needs no lock, so it is no error under it
});

Deno.test("RangeTree.setRcu() of one handle changes how every other one reads", () => {
  const { arena, tree } = worldOf(false);
  const other = RangeTree.attach(Arena.attach(arena.buffer), tree.ref);
  assertEquals(other.load(4), 2);
  for (let turn = 0; turn < 3; turn++) {
    tree.setRcu(true);
    {
      using _guard = tree.lock();
      assertEquals([other.load(4), other.rcu], [2, true]); // would wait for ever
    }
    tree.setRcu(false);
    const splat = splatOf(() => {
      using _guard = other.lock();
      other.load(4);
    });
    assertStringIncludes(splat!, "possible recursive locking");
    assertEquals([other.load(4), other.rcu], [2, false]);
  }
});
