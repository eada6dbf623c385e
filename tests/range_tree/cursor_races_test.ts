import { assert, assertEquals } from "@std/assert";
import { Arena, type Cursor, RangeTree } from "../../mod.ts";
import { inTheMiddle } from "./in_the_middle.ts";
import { points } from "./worlds.ts";

// What a cursor in a read section finds while another thread stores, whichever of its loads that comes after.

interface World {
  arena: Arena;
  tree: RangeTree;
  /** The same tree, as another thread sees it. */
  writer: RangeTree;
}

function worldOf(): World {
  const arena = Arena.create({ byteLength: 2 ** 20, debug: true });
  const tree = RangeTree.create(arena, { rcu: true });
  const writer = RangeTree.attach(Arena.attach(arena.buffer), tree.ref);
  return { arena, tree, writer };
}

Deno.test("Cursor.walk() notes which tree it walks in before it walks, so that the next step sees what came meanwhile", () => {
  const { arena, tree, writer } = worldOf();
  for (let at = 1, came = true; came; at++) {
    tree.clear();
    tree.bulkLoad(points(300, 2));
    using _section = arena.rcu.read();
    const cursor = tree.cursor(100);
    {
      const store = () => writer.storeRange(101, 103, 1000);
      using middle = inTheMiddle(at, store);
      cursor.walk();
      came = middle.came;
    }
    if (came) assertEquals(cursor.next(), 1000, `stored after ${at} loads`);
  }
});

Deno.test("Cursor in an empty tree finds what is stored, whenever during the store it has walked there", () => {
  for (let at = 1, came = true; came; at++) {
    const { arena, tree, writer } = worldOf();
    using _section = arena.rcu.read();
    const cursor = tree.cursor(0);
    {
      using middle = inTheMiddle(at, () => cursor.walk(), ["store", "add"]);
      writer.store(10, 7);
      came = middle.came;
    }
    if (came) assertEquals(cursor.find(), 7, `walked after ${at} stores`);
  }
});

/** A step of a cursor that is at an index, or begins there. */
interface Step {
  readonly isBack: boolean;
  /** How many indices its range has at first. */
  readonly size?: number;
  /** Whether it has walked there. */
  readonly isThere?: boolean;
  readonly step: (cursor: Cursor) => unknown;
}

const STEPS: Record<string, Step> = {
  "next() from an index": { isBack: false, step: (cursor) => cursor.next() },
  "prev() from an index": { isBack: true, step: (cursor) => cursor.prev() },
  "prev() from a range": {
    isBack: true,
    size: 10,
    step: (cursor) => cursor.prev(),
  },
  "prevRange() from where it is": {
    isBack: true,
    isThere: true,
    step: (cursor) => cursor.prevRange(),
  },
};

for (
  const [name, { isBack, size = 1, isThere, step }] of Object.entries(STEPS)
) {
  Deno.test(`Cursor.${name} passes what has come over that meanwhile`, () => {
    const { arena, tree, writer } = worldOf();
    for (let from = 50; from < 130; from++) {
      const [first, last] = isBack
        ? [from - 45, from + 4]
        : [from - 4, from + 45];
      for (let at = 1, came = true; came; at++) {
        tree.clear();
        arena.rcu.barrier();
        tree.bulkLoad(points(100, 2));
        using _section = arena.rcu.read();
        const cursor = tree.cursor(from, from + size - 1);
        if (isThere) cursor.walk();
        {
          const store = () => writer.storeRange(first, last, 1000);
          using middle = inTheMiddle(at, store);
          step(cursor);
          came = middle.came;
        }
        assert(
          cursor.state !== "active" ||
            (isBack ? cursor.last < from : cursor.index > from),
          `${cursor} from ${from}, stored after ${at} loads`,
        );
      }
    }
  });
}
