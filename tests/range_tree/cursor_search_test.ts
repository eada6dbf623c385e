import { assert, assertEquals, assertThrows } from "@std/assert";
import { Arena, MAX_INDEX, RangeTree, RESERVED } from "../../mod.ts";
import { CursorMirror } from "./cursor_mirror.ts";
import { Mirror } from "./mirror.ts";
import { assertAlike, SEARCHES } from "./cursor_steps.ts";
import { points } from "./worlds.ts";

Deno.test("Cursor agrees with the mirror after every 3 searches from every index of a small tree, with every bound", () => {
  const entries = [
    { first: 0, last: 0, value: 1 },
    { first: 2, last: 3, value: 2 },
    { first: 4, last: 4, value: RESERVED },
  ];
  for (const held of [entries, entries.slice(1, 2), []]) {
    const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
    tree.bulkLoad(held);
    const mirror = new Mirror();
    mirror.entries = held;
    const bounds = [0, 1, 3, 5, MAX_INDEX];
    const moves = Object.entries(SEARCHES).flatMap(([name, step]) =>
      (/find|next|prev/.test(name) ? bounds : [0])
        .map((bound) => ({ name, step, bound }))
    );
    using _guard = tree.lock();
    const cursor = tree.cursor();
    for (const start of [0, 1, 3, 4, 6]) {
      for (const one of moves) {
        for (const two of moves) {
          for (const three of moves) {
            const model = new CursorMirror(mirror, start, start);
            cursor.setRange(start);
            for (const { name, step, bound } of [one, two, three]) {
              const [found, expected] = step(cursor, model, { bound });
              if (
                found === expected && cursor.index === model.index &&
                cursor.last === model.last && cursor.state === model.state
              ) continue;
              const why = [one, two, three].map((move) =>
                `${move.name} ${move.bound}`
              ).join(", ") + `: ${name} from ${start}`;
              assertEquals(found, expected, why);
              assertAlike(cursor, model, why);
            }
          }
        }
      }
    }
  }
});

Deno.test("Cursor sees reserved ranges, and erases them", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.reserve(10, 19);
  using _guard = tree.lock();
  const cursor = tree.cursor(12);
  assertEquals([cursor.walk(), cursor.index, cursor.last], [RESERVED, 10, 19]);
  assertEquals(cursor.erase(), RESERVED);
  assertEquals([cursor.index, cursor.last], [10, 19]);
  assertEquals(cursor.find(), 0);
});

Deno.test("Cursor.insert() stores only where all is free, and stays", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.storeRange(10, 19, 1);
  tree.reserve(30, 39);
  using _guard = tree.lock();
  const cursor = tree.cursor(15, 25);
  assertEquals(cursor.insert(2), false);
  assertEquals([cursor.index, cursor.last], [15, 25]);
  cursor.setRange(25, 35);
  assertEquals(cursor.insert(2), false);
  cursor.setRange(20, 29);
  assertEquals(cursor.insert(2), true);
  assertEquals([cursor.index, cursor.last], [20, 29]);
  assertThrows(() => cursor.insert(0), RangeError, "means empty");
  assertEquals(cursor.next(), RESERVED);
  assertEquals(cursor.prev(), 2);
});

Deno.test("Cursor.store() returns what was at the index, and the search goes on behind what was stored", () => {
  const tree = RangeTree.create(Arena.create({ byteLength: 2 ** 20 }));
  tree.bulkLoad(points(100, 10));
  using _guard = tree.lock();
  const cursor = tree.cursor(20, 45);
  assertEquals(cursor.store(7), 3);
  assertEquals([cursor.index, cursor.last, cursor.state], [20, 45, "active"]);
  assertEquals(cursor.next(), 6);
  assertEquals(cursor.prev(), 7);
  assertEquals(cursor.store(0), 7);
  assertEquals(cursor.next(), 6);
  assertEquals(cursor.prevRange(), 0);
  assertEquals([cursor.index, cursor.last], [11, 49]);
});

Deno.test("Cursor changes entries in the middle of an iteration, with a pause now and then", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { rcu: true });
  tree.bulkLoad(points(500, 3));
  const cursor = tree.cursor(300, 300);
  let pauses = 0;
  for (let found = -1; found !== 0;) {
    using _guard = tree.lock();
    // Tags all entries of a range, 20 under one hold of the lock.
    for (let i = 0; i < 20 && (found = cursor.find(899)) !== 0; i++) {
      cursor.store(found + 10_000);
    }
    cursor.pause();
    pauses++;
  }
  assert(pauses > 9);
  tree.validate();
  const tagged = [...tree].filter(({ value }) => value > 10_000);
  assertEquals(
    tagged.map(({ first }) => first),
    points(200, 3, 300).map(({ first }) => first),
  );
});

Deno.test("Cursor stores several times under one hold of the lock: other threads see all or nothing once they hold it", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena);
  const other = RangeTree.attach(Arena.attach(arena.buffer), tree.ref);
  {
    using _guard = tree.lock();
    const cursor = tree.cursor();
    for (let i = 0; i < 50; i++) {
      cursor.setRange(i * 10, i * 10 + 4);
      cursor.store(i + 1);
      assertEquals(other.tryLock(), undefined);
    }
  }
  assertEquals([...other].length, 50);
});

Deno.test("Cursor.emptyArea() goes to free indices, and storing there fills them", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { gaps: true });
  tree.bulkLoad(points(200, 10));
  using _guard = tree.lock();
  const cursor = tree.cursor();
  assertEquals(cursor.emptyArea(500, 700, 5), true);
  assertEquals([cursor.index, cursor.last], [501, 505]);
  cursor.store(7);
  assertEquals(cursor.emptyAreaReverse(500, 700, 5), true);
  assertEquals([cursor.index, cursor.last], [695, 699]);
  assertEquals(cursor.emptyArea(500, 700, 10), false);
  assertEquals([cursor.index, cursor.last], [695, 699]);
  assertThrows(() => cursor.emptyArea(5, 7, 4), RangeError);
  assertThrows(
    () => {
      const plain = RangeTree.create(arena, { lock: "none" });
      plain.cursor().emptyArea(0, 9, 1);
    },
    Error,
    "Cannot find room in Cursor.emptyArea: the tree does not track gaps",
  );
});

Deno.test("Cursor of a destroyed tree is an error", () => {
  const arena = Arena.create({ byteLength: 2 ** 20 });
  const tree = RangeTree.create(arena, { lock: "none" });
  tree.store(1, 1);
  const cursor = tree.cursor();
  cursor.find();
  tree.destroy();
  assertThrows(
    () => cursor.find(),
    Error,
    "Cannot use the tree in Cursor.find: it was destroyed",
  );
  assertThrows(() => cursor.store(1), Error, "it was destroyed");
});
