import {
  assert,
  assertEquals,
  assertFalse,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { Arena } from "../../src/memory/mod.ts";
import {
  ExternalLock,
  type LockMode,
  MAX_INDEX,
  RangeTree,
  type RangeTreeOptions,
} from "../../src/range_tree/mod.ts";
import { LockdepError } from "../../src/sync/mod.ts";
import { cacheOf, digest, points } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

const MODES: RangeTreeOptions[] = [
  {},
  { rcu: true },
  { lock: "external" },
  { lock: "external", rcu: true },
  { lock: "none" },
  { lock: "none", rcu: true },
];
const NO_INDICES = [
  -1,
  0.5,
  NaN,
  Infinity,
  MAX_INDEX + 1,
  "1" as unknown as number,
];
const NO_VALUES = [-1, 0.5, NaN, 2 ** 32, "1" as unknown as number];

function arenaOf(byteLength = 2 ** 20): Arena {
  return Arena.create({ byteLength });
}

/** Runs a test in every mode. */
function testModes(
  name: string,
  body: (tree: RangeTree, arena: Arena) => void,
): void {
  for (const options of MODES) {
    const { lock = "internal", rcu = false } = options;
    Deno.test(`${name} (lock ${lock}, rcu ${rcu})`, () => {
      const arena = arenaOf();
      body(RangeTree.create(arena, options), arena);
    });
  }
}

/** Three ranges with gaps before, between and behind. */
function fillThree(tree: RangeTree): void {
  tree.storeRange(10, 19, 1);
  tree.storeRange(20, 20, 2);
  tree.storeRange(40, 59, 3);
}

const FIRST = { first: 10, last: 19, value: 1 };
const SECOND = { first: 20, last: 20, value: 2 };
const THIRD = { first: 40, last: 59, value: 3 };

testModes("RangeTree of no entries answers that there is nothing", (tree) => {
  for (const index of [0, 1, MAX_INDEX]) {
    assertEquals(tree.load(index), 0);
    assertEquals(tree.find(index), undefined);
    assertEquals(tree.findAfter(index), undefined);
    assertEquals(tree.next(index), undefined);
    assertEquals(tree.prev(index), undefined);
    assertEquals(tree.erase(index), 0);
  }
  assertEquals([...tree], []);
  assertEquals([tree.count, tree.height], [0, 0]);
  assertEquals(tree.stats(), {
    height: 0,
    entries: 0,
    nodes: 0,
    leaves: 0,
    fill: 0,
  });
  tree.eraseRange(0, MAX_INDEX);
  tree.clear();
  tree.bulkLoad([]);
  tree.validate();
  assertEquals(tree.height, 0);
});

testModes(
  "RangeTree.load() answers for every index of a range and none beside",
  (tree) => {
    fillThree(tree);
    const loaded = [0, 9, 10, 19, 20, 21, 39, 40, 59, 60, MAX_INDEX].map((
      index,
    ) => tree.load(index));
    assertEquals(loaded, [0, 0, 1, 1, 2, 0, 0, 3, 3, 0, 0]);
    assertEquals([tree.count, tree.height], [3, 1]);
  },
);

testModes("RangeTree.storeRange() overwrites, cuts and splits", (tree) => {
  tree.storeRange(0, 99, 1);
  tree.storeRange(10, 19, 2);
  tree.storeRange(15, 29, 3);
  tree.store(29, 4);
  tree.storeRange(0, 4, 0);
  tree.validate();
  assertEquals([...tree], [
    { first: 5, last: 9, value: 1 },
    { first: 10, last: 14, value: 2 },
    { first: 15, last: 28, value: 3 },
    { first: 29, last: 29, value: 4 },
    { first: 30, last: 99, value: 1 },
  ]);
  assertEquals(tree.count, 5);
});

testModes("RangeTree keeps neighbours with equal entries apart", (tree) => {
  tree.store(1, 7);
  tree.store(2, 7);
  assertEquals([...tree], [{ first: 1, last: 1, value: 7 }, {
    first: 2,
    last: 2,
    value: 7,
  }]);
});

testModes(
  "RangeTree stores the smallest and largest indices and entries",
  (tree) => {
    tree.store(0, 1);
    tree.store(MAX_INDEX, 0xffff_fffe);
    tree.storeRange(1, MAX_INDEX - 1, 0x8000_0000);
    assertEquals(
      [0, 1, MAX_INDEX - 1, MAX_INDEX].map((index) => tree.load(index)),
      [
        1,
        0x8000_0000,
        0x8000_0000,
        0xffff_fffe,
      ],
    );
    assertEquals(tree.next(1), {
      first: MAX_INDEX,
      last: MAX_INDEX,
      value: 0xffff_fffe,
    });
    assertEquals(tree.next(MAX_INDEX), undefined);
    assertEquals(tree.prev(0), undefined);
    tree.storeRange(0, MAX_INDEX, 5);
    assertEquals([...tree], [{ first: 0, last: MAX_INDEX, value: 5 }]);
    tree.eraseRange(0, MAX_INDEX);
    assertEquals(tree.height, 0);
    tree.validate();
  },
);

testModes("RangeTree.insertRange() stores only where all is empty", (tree) => {
  fillThree(tree);
  const before = digest(tree);
  for (
    const [first, last] of [[0, 10], [19, 19], [20, 30], [21, 40], [
      0,
      MAX_INDEX,
    ], [59, 70]]
  ) {
    assertFalse(tree.insertRange(first, last, 9));
    assertEquals(digest(tree), before);
  }
  assert(tree.insertRange(21, 39, 8));
  assert(tree.insert(9, 7));
  assertFalse(tree.insert(9, 6));
  tree.validate();
  assertEquals([tree.load(9), tree.load(21), tree.load(39), tree.count], [
    7,
    8,
    8,
    5,
  ]);
});

testModes(
  "RangeTree.erase() removes the whole range that contains an index",
  (tree) => {
    fillThree(tree);
    assertEquals(tree.erase(39), 0);
    assertEquals(tree.erase(50), 3);
    assertEquals(tree.erase(50), 0);
    assertEquals([...tree], [FIRST, SECOND]);
    assertEquals(tree.erase(10), 1);
    assertEquals(tree.erase(20), 2);
    assertEquals([tree.count, tree.height], [0, 0]);
  },
);

testModes("RangeTree.eraseRange() cuts what sticks out", (tree) => {
  fillThree(tree);
  tree.eraseRange(15, 49);
  assertEquals([...tree], [{ first: 10, last: 14, value: 1 }, {
    first: 50,
    last: 59,
    value: 3,
  }]);
  tree.validate();
});

testModes(
  "RangeTree.find() finds what contains or follows an index and begins in time",
  (tree) => {
    fillThree(tree);
    assertEquals(tree.find(0), FIRST);
    assertEquals(tree.find(15), FIRST);
    assertEquals(tree.find(21), THIRD);
    assertEquals(tree.find(60), undefined);
    assertEquals(tree.find(21, 39), undefined);
    assertEquals(tree.find(21, 40), THIRD);
    assertEquals(tree.find(0, 9), undefined);
  },
);

testModes("RangeTree.findAfter() goes on behind an index", (tree) => {
  fillThree(tree);
  assertEquals(tree.findAfter(10), FIRST);
  assertEquals(tree.findAfter(19), SECOND);
  assertEquals(tree.findAfter(20), THIRD);
  assertEquals(tree.findAfter(20, 39), undefined);
  assertEquals(tree.findAfter(59), undefined);
  assertEquals(tree.findAfter(MAX_INDEX), undefined);
});

testModes(
  "RangeTree.next() and prev() step over the range that contains an index",
  (tree) => {
    fillThree(tree);
    assertEquals(tree.next(0), FIRST);
    assertEquals(tree.next(10), SECOND);
    assertEquals(tree.next(20), THIRD);
    assertEquals(tree.next(25, 39), undefined);
    assertEquals(tree.next(40), undefined);
    assertEquals(tree.prev(MAX_INDEX), THIRD);
    assertEquals(tree.prev(45), SECOND);
    assertEquals(tree.prev(20), FIRST);
    assertEquals(tree.prev(40, 21), undefined);
    assertEquals(tree.prev(40, 20), SECOND);
    assertEquals(tree.prev(19), undefined);
  },
);

testModes(
  "RangeTree.clear() empties the tree, which goes on working",
  (tree, arena) => {
    for (let i = 0; i < 500; i++) tree.store(i * 2, 1);
    tree.clear();
    assertEquals([...tree], []);
    assertEquals([tree.count, tree.height], [0, 0]);
    arena.rcu.barrier();
    assertEquals(bothOf(arena).stats().objects, 0);
    assertEquals(bothOf(arena, false).stats().objects, 0);
    fillThree(tree);
    assertEquals([...tree], [FIRST, SECOND, THIRD]);
  },
);

testModes(
  "RangeTree refuses indices, ranges and entries that are none, and stays as it was",
  (tree) => {
    fillThree(tree);
    const before = digest(tree);
    const uses: ((index: number) => unknown)[] = [
      (index) => tree.load(index),
      (index) => tree.store(index, 1),
      (index) => tree.storeRange(index, MAX_INDEX, 1),
      (index) => tree.storeRange(0, index, 1),
      (index) => tree.insert(index, 1),
      (index) => tree.insertRange(0, index, 1),
      (index) => tree.erase(index),
      (index) => tree.eraseRange(index, MAX_INDEX),
      (index) => tree.eraseRange(0, index),
      (index) => tree.find(index),
      (index) => tree.find(0, index),
      (index) => tree.findAfter(index),
      (index) => tree.findAfter(0, index),
      (index) => tree.next(index),
      (index) => tree.next(0, index),
      (index) => tree.prev(index),
      (index) => tree.prev(0, index),
      (index) => tree.entries(index),
      (index) => tree.entries(0, index),
    ];
    for (const use of uses) {
      for (const index of NO_INDICES) {
        assertThrows(
          () => use(index),
          RangeError,
          "Cannot use index",
          use.toString(),
        );
      }
    }
    for (const value of NO_VALUES) {
      assertThrows(
        () => tree.store(5, value),
        RangeError,
        `Cannot store ${value}`,
      );
      assertThrows(
        () => tree.insertRange(5, 6, value),
        RangeError,
        `Cannot store ${value}`,
      );
    }
    assertThrows(
      () => tree.insert(5, 0),
      RangeError,
      "the entry 0 means empty",
    );
    assertThrows(
      () => tree.storeRange(6, 5, 1),
      RangeError,
      "Cannot use range [6, 5]",
    );
    assertThrows(
      () => tree.insertRange(6, 5, 1),
      RangeError,
      "Cannot use range [6, 5]",
    );
    assertThrows(
      () => tree.eraseRange(6, 5),
      RangeError,
      "Cannot use range [6, 5]",
    );
    assertEquals(digest(tree), before);
    tree.validate();
    // Nothing was left locked.
    tree.store(5, 1);
  },
);

testModes(
  "RangeTree says of every use that it was destroyed",
  (tree, arena) => {
    for (let i = 0; i < 100; i++) tree.store(i * 2, 1);
    const started = tree.entries();
    started.next();
    tree.destroy();
    const uses: (() => unknown)[] = [
      () => tree.load(0),
      () => tree.store(0, 1),
      () => tree.storeRange(0, 1, 1),
      () => tree.insert(0, 1),
      () => tree.erase(0),
      () => tree.eraseRange(0, 1),
      () => tree.find(0),
      () => tree.findAfter(0),
      () => tree.next(0),
      () => tree.prev(0),
      () => tree.entries().next(),
      () => started.next(),
      () => tree.height,
      () => tree.rcu,
      () => tree.bulkLoad(points(1)),
      () => tree.clone(),
      () => tree.clear(),
      () => tree.destroy(),
      () => tree.setRcu(true),
      () => tree.stats(),
      () => tree.validate(),
      () => tree.dump(),
    ];
    for (const use of uses) {
      assertThrows(
        use,
        Error,
        "it was destroyed",
        use.toString(),
      );
    }
    assertThrows(
      () => RangeTree.attach(arena, tree.ref),
      Error,
      "there is none at",
    );
    arena.rcu.barrier();
    const headers = cacheOf(arena, "range_tree");
    for (const cache of [bothOf(arena), bothOf(arena, false), headers]) {
      assertEquals(cache.stats().objects, 0);
    }
    assertEquals(arena.rcu.depth, 0);
  },
);

Deno.test("RangeTree that was destroyed stays so when its header is used again", () => {
  const arena = arenaOf();
  const old = RangeTree.create(arena);
  old.destroy();
  arena.rcu.barrier();
  const tree = RangeTree.create(arena);
  tree.store(1, 7);
  assertThrows(() => old.load(1), Error, "it was destroyed");
  assertThrows(() => old.store(1, 8), Error, "it was destroyed");
  assertThrows(() => old.destroy(), Error, "it was destroyed");
  assertEquals(tree.load(1), 7);
});

Deno.test("RangeTree.attach() opens a tree by name or by ref, from any attachment", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena, { name: "vm", rcu: true });
  const other = Arena.attach(arena.buffer);
  for (const root of ["vm", tree.ref]) {
    const attached = RangeTree.attach(other, root);
    assertEquals([attached.ref, attached.lockMode, attached.rcu], [
      tree.ref,
      "internal",
      true,
    ]);
    attached.store(attached.count, 5);
    assertEquals(tree.count, attached.count);
  }
  assertEquals([...tree], [{ first: 0, last: 0, value: 5 }, {
    first: 1,
    last: 1,
    value: 5,
  }]);
  other.leave();
});

Deno.test("RangeTree names the type of an index or an entry that is no number", () => {
  const tree = RangeTree.create(arenaOf());
  const untyped = (value: unknown) => value as number;
  for (
    const [use, message] of [
      [() => tree.load(untyped(1n)), "Cannot use index 1 (a bigint): it is no"],
      [
        () => tree.load(untyped("1")),
        "Cannot use index 1 (a string): it is no",
      ],
      [() => tree.load(untyped(undefined)), "Cannot use index undefined: it"],
      [
        () => tree.store(1, untyped("7")),
        "Cannot store 7 (a string): an entry",
      ],
      [() => tree.store(1, untyped(7n)), "Cannot store 7 (a bigint): an entry"],
      [() => tree.store(1, -1), "Cannot store -1: an entry is an integer in"],
    ] as const
  ) assertThrows(use, RangeError, message);
});

Deno.test("RangeTree.attach() refuses what is no tree", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena, { name: "vm" });
  tree.store(1, 1);
  // An object of another kind is none either that looks like one.
  const node = bothOf(arena).allocate();
  arena.words.copyWithin(node * 16, tree.ref * 16, tree.ref * 16 + 32);
  for (
    const root of ["no", "", 0, 1, tree.ref + 1, tree.ref + 2, node, 2 ** 31]
  ) {
    assertThrows(
      () => RangeTree.attach(arena, root),
      Error,
      `there is none at ${JSON.stringify(root)}`,
    );
  }
  for (const root of [NaN, -1, 1.5, 1n, null, {}] as unknown[]) {
    assertThrows(
      () => RangeTree.attach(arena, root as number),
      Error,
      `there is none at ${String(root)}`,
    );
  }
});

Deno.test("RangeTree takes no other argument for an arena, or for options, of which it would read nothing", () => {
  const arena = arenaOf();
  for (const other of [arena.shared, undefined, 7] as unknown[]) {
    for (
      const use of [
        () => RangeTree.create(other as Arena),
        () => RangeTree.attach(other as Arena, "vm"),
        () => ExternalLock.create(other as Arena),
      ]
    ) {
      assertThrows(use, TypeError, `Cannot use ${other} `);
    }
  }
  const tree = RangeTree.create(arena, { gaps: true });
  for (const other of [1024, "vm", null, 5n] as unknown[]) {
    const options = other as Record<string, never>;
    for (
      const use of [
        () => RangeTree.create(arena, options),
        () => ExternalLock.create(arena, options),
        () => tree.clone(options),
        () => tree.allocRange(1, 7, options),
        () => tree.allocRangeReverse(1, 7, options),
        () => tree.allocCyclic(7, options),
      ]
    ) {
      assertThrows(use, TypeError, `Cannot read options from ${other}`);
    }
  }
  assertEquals(tree.count, 0);
  assertEquals(cacheOf(arena, "range_tree").stats().objects, 1);
  assertThrows(
    () => RangeTree.create(arena, { name: 5 as unknown as string }),
    RangeError,
    "name 5 is no string",
  );
  assertEquals(cacheOf(arena, "range_tree").stats().objects, 1);
});

Deno.test("RangeTree.create() under a name that is taken creates nothing", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena, { name: "vm" });
  tree.store(1, 1);
  const headers = cacheOf(arena, "range_tree").stats().objects;
  assertThrows(
    () => RangeTree.create(arena, { name: "vm" }),
    Error,
    `"vm" is taken`,
  );
  assertThrows(() => tree.clone({ name: "vm" }), Error, `"vm" is taken`);
  assertThrows(
    () => RangeTree.create(arena, { name: "" }),
    RangeError,
    'name "" takes 0 bytes, not 1 to 56',
  );
  // The copy that was given up is freed as every tree is: after a grace period.
  arena.rcu.barrier();
  assertEquals(cacheOf(arena, "range_tree").stats().objects, headers);
  assertEquals(arena.roots.names(), ["vm"]);
  tree.destroy();
  assertEquals(arena.roots.names(), []);
  RangeTree.create(arena, { name: "vm" });
});

Deno.test("RangeTree.create() refuses a lock mode that is none, and creates nothing", () => {
  const arena = arenaOf();
  RangeTree.create(arena);
  const headers = cacheOf(arena, "range_tree").stats().objects;
  for (const lock of ["nne", "", "Internal", 1, null]) {
    assertThrows(
      () => RangeTree.create(arena, { name: "vm", lock: lock as LockMode }),
      RangeError,
      `lock ${JSON.stringify(lock)} is none of internal, external, none`,
    );
  }
  assertEquals(cacheOf(arena, "range_tree").stats().objects, headers);
  assertEquals(arena.roots.names(), []);
});

Deno.test("RangeTree names its lock mode and puts pinned nodes into a cache of their own", () => {
  for (const lock of ["internal", "external", "none"] as const) {
    const arena = arenaOf();
    const tree = RangeTree.create(arena, { lock });
    tree.store(1, 1);
    assertEquals(tree.lockMode, lock);
    const nodes = [true, false].map((movable) =>
      bothOf(arena, movable).stats().objects
    );
    assertEquals(nodes, lock === "internal" ? [1, 0] : [0, 1]);
  }
});

testModes(
  "RangeTree.setRcu() switches what readers need and nothing else",
  (tree) => {
    fillThree(tree);
    const before = digest(tree);
    for (const on of [true, false, true]) {
      tree.setRcu(on);
      assertEquals(tree.rcu, on);
      assertEquals(digest(tree), before);
      tree.store(1000, 1);
      tree.erase(1000);
    }
  },
);

Deno.test("RangeTree.lock() keeps this thread's other operations out, as an error and not a deadlock", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena);
  const other = RangeTree.create(arena);
  tree.store(1, 1);
  {
    using _guard = tree.lock();
    assertThrows(
      () => tree.store(1, 2),
      LockdepError,
      "possible recursive locking",
    );
    assertThrows(
      () => tree.load(1),
      LockdepError,
      "possible recursive locking",
    );
    assertThrows(
      () => other.load(1),
      LockdepError,
      "possible recursive locking",
    );
    assertThrows(
      () => arena.rcu.barrier(),
      LockdepError,
      "while holding a lock",
    );
  }
  assertEquals(arena.lockdep.held, 0);
  tree.store(1, 2);
  assertEquals(tree.load(1), 2);
});

Deno.test("RangeTree.tryLock() takes the lock if it is free", () => {
  const arena = arenaOf();
  const other = Arena.attach(arena.buffer);
  const tree = RangeTree.create(arena);
  const same = RangeTree.attach(other, tree.ref);
  {
    using guard = tree.tryLock();
    assert(guard !== undefined);
    assertEquals(same.tryLock(), undefined);
    assertEquals(tree.tryLock(), undefined);
    assertThrows(() => tree.store(1, 1), LockdepError, "RangeTree.tryLock");
  }
  {
    using guard = same.tryLock();
    assert(guard !== undefined);
  }
  tree.store(1, 1);
  other.leave();
});

Deno.test("RangeTree in RCU mode is read under another thread's lock", () => {
  const arena = arenaOf();
  const other = Arena.attach(arena.buffer);
  const tree = RangeTree.create(arena, { rcu: true });
  fillThree(tree);
  const same = RangeTree.attach(other, tree.ref);
  using _guard = tree.lock();
  assertEquals(same.load(10), 1);
  assertEquals(same.next(20), THIRD);
  assertEquals([...same], [FIRST, SECOND, THIRD]);
  assertEquals(same.height, 1);
  other.leave();
});

testModes(
  "RangeTree.bulkLoad() fills an empty tree as stores would, in fuller nodes",
  (tree, arena) => {
    for (const count of [1, 20, 21, 22, 28, 29, 42, 43, 441, 442, 2000]) {
      for (const step of [1, 3]) {
        const stored = RangeTree.create(arena);
        for (const { first, value } of points(count, step, 5)) {
          stored.store(first, value);
        }
        tree.bulkLoad(points(count, step, 5));
        tree.validate();
        assertEquals([...tree], points(count, step, 5));
        assertEquals(tree.count, count);
        assert(tree.stats().nodes <= stored.stats().nodes);
        tree.clear();
        stored.destroy();
      }
    }
    const edges = [{ first: 0, last: 4, value: 1 }, {
      first: 5,
      last: MAX_INDEX,
      value: 2,
    }];
    tree.bulkLoad(edges);
    assertEquals([...tree], edges);
  },
);

testModes(
  "RangeTree.bulkLoad() refuses what is out of order or bounds, and stays as it was",
  (tree, arena) => {
    const good = points(100);
    const bad: [extra: unknown, message: string][] = [
      [
        { first: 99, last: 100, value: 1 },
        "entry 100 begins at 99, the one before it ends at 99",
      ],
      [{ first: 100, last: 99, value: 1 }, "it ends before it begins"],
      [{ first: 100, last: 100, value: 0 }, "entry 100 is empty"],
      [{ first: 100, last: 100, value: -1 }, "Cannot store -1"],
      [{ first: 100, last: MAX_INDEX + 1, value: 1 }, "Cannot use index"],
    ];
    for (const [extra, message] of bad) {
      assertThrows(
        () => tree.bulkLoad([...good, extra as typeof good[0]]),
        RangeError,
        message,
      );
      assertEquals([tree.count, tree.height], [0, 0]);
      arena.rcu.barrier();
      assertEquals(
        bothOf(arena).stats().objects +
          bothOf(arena, false).stats().objects,
        0,
      );
    }
    fillThree(tree);
    const before = digest(tree);
    assertThrows(
      () => tree.bulkLoad(good),
      Error,
      "the tree is not empty, its count is 3",
    );
    assertEquals(digest(tree), before);
  },
);

testModes("RangeTree.clone() is the same tree apart", (tree, arena) => {
  for (const count of [0, 1, 30, 600]) {
    tree.clear();
    for (const { first, value } of points(count, 2)) tree.store(first, value);
    const copy = tree.clone({ name: `copy ${count}` });
    copy.validate();
    tree.validate();
    assertEquals(digest(copy), digest(tree));
    assertEquals([copy.count, copy.lockMode, copy.rcu], [
      count,
      tree.lockMode,
      tree.rcu,
    ]);
    assertEquals(RangeTree.attach(arena, `copy ${count}`).ref, copy.ref);
    const before = digest(tree);
    copy.storeRange(0, MAX_INDEX, 9);
    assertEquals(digest(tree), before);
    const changed = tree.clone();
    tree.storeRange(0, 600, 8);
    assertEquals(digest(changed), before);
    tree.validate();
    changed.validate();
    changed.destroy();
  }
});

Deno.test("RangeTree.clone() has its name only once it is whole", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena, { rcu: true });
  for (const { first, value } of points(100)) tree.store(first, value);
  const other = Arena.attach(arena.buffer);
  const cache = bothOf(arena).leaves;
  const allocateInto = cache.allocateInto.bind(cache);
  const found = new Set<string>();
  let looks = 0;
  {
    using _looks = stub(cache, "allocateInto", (refs, count) => {
      looks++;
      for (const name of other.roots.names()) found.add(name);
      allocateInto(refs, count);
    });
    tree.clone({ name: "copy" });
  }
  // Whoever found it would see it empty, and lose what it stored.
  assertEquals([looks > 0, ...found], [true]);
  assertEquals(RangeTree.attach(other, "copy").count, 100);
  other.leave();
});

Deno.test("RangeTree.bulkLoad() takes the entries of another tree", () => {
  const arena = arenaOf();
  const source = RangeTree.create(arena);
  fillThree(source);
  const tree = RangeTree.create(arena);
  tree.bulkLoad(source.entries());
  assertEquals(digest(tree), digest(source));
});

Deno.test("RangeTree.dump() prints every node and entry", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena);
  assertEquals(tree.dump(), `tree ${tree.ref}: 0 entries`);
  tree.bulkLoad(points(23, 2));
  const refs = new Map<string, string>();
  const text = tree.dump().replace(
    /(tree|node|leaf) \d+/g,
    (ref, kind) => {
      if (!refs.has(ref)) {
        refs.set(ref, `${kind} ${String.fromCharCode(65 + refs.size)}`);
      }
      return refs.get(ref)!;
    },
  );
  const lines = text.split("\n");
  assertEquals(lines.slice(0, 5), [
    "tree A: 23 entries",
    `  node B [0, ${MAX_INDEX}] 3 slots`,
    "    leaf C [0, 20] 21 slots",
    "      0-0: 1",
    "      2-2: 2",
  ]);
  assertEquals(lines.filter((line) => line.includes("leaf")).length, 3);
  assertEquals(lines.length, 1 + 1 + 3 + 23);
  assertStringIncludes(text, "      44-44: 23");
});

Deno.test("RangeTree.stats() counts nodes, leaves, entries and levels", () => {
  const arena = arenaOf();
  const tree = RangeTree.create(arena);
  // Without a gap each entry is a slot; the last gap is one too.
  tree.bulkLoad(points(21 * 21 - 1));
  assertEquals(tree.stats(), {
    height: 2,
    entries: 440,
    nodes: 22,
    leaves: 21,
    fill: 1,
  });
  assertEquals([tree.height, bothOf(arena).stats().objects], [2, 22]);
});
