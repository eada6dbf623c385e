import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { rng, seeds } from "../seed.ts";
import { contradiction, type Operation } from "./linearizability.ts";
import { runLinearizability } from "./linearizability_run.ts";

const NAME = "Histories of workers on small trees are linearizable";
Deno.test(NAME, async () => {
  const [seed] = seeds(NAME);
  const result = await runLinearizability({ seed, millis: 0 });
  assertEquals(result.wrong, []);
  assert(result.overlapping > 100, "the operations did not overlap");
  assert(result.moves > 100, "hardly anything was moved");
});

type Answer = [
  name: Operation["name"],
  cells: number | [first: number, last: number],
  value: number | undefined,
  ...found: number[],
];

/** An operation of a thread between two stamps. */
function at(
  thread: number,
  invoked: number,
  responded: number,
  [name, cells, value, ...found]: Answer,
): Operation {
  const [first, last] = typeof cells === "number" ? [cells, cells] : cells;
  return { thread, invoked, responded, name, first, last, value, found };
}

const LEGAL: Record<string, Operation[]> = {
  "no operation": [],
  "a load while a store is under way may see it": [
    at(0, 0, 9, ["store", 0, 5]),
    at(1, 1, 2, ["load", 0, undefined, 5]),
  ],
  "or not": [
    at(0, 0, 9, ["store", 0, 5]),
    at(1, 1, 2, ["load", 0, undefined, 0]),
    at(1, 3, 4, ["load", 0, undefined, 5]),
  ],
  "two stores at once, in the order that the later load tells": [
    at(0, 0, 5, ["store", 0, 5]),
    at(1, 1, 6, ["store", 0, 6]),
    at(0, 7, 8, ["load", 0, undefined, 5]),
  ],
  "of two inserts at once one stores": [
    at(0, 0, 5, ["insert", 0, 5, 0]),
    at(1, 1, 6, ["insert", 0, 6, 1]),
    at(0, 7, 8, ["erase", 0, undefined, 6]),
    at(1, 9, 10, ["load", 0, undefined, 0]),
  ],
  "a range store, seen after its invocation by one and later by another": [
    at(0, 0, 9, ["store", [0, 3], 5]),
    at(1, 1, 2, ["load", 2, undefined, 0]),
    at(1, 3, 4, ["load", 3, undefined, 5]),
    at(2, 5, 6, ["snapshot", [0, 3], undefined, 5, 5, 5, 5]),
  ],
  "a first choice that turns out wrong is undone": [
    at(0, 0, 20, ["store", [0, 1], 5]),
    at(1, 1, 21, ["store", 1, 6]),
    at(2, 2, 22, ["store", 1, 7]),
    at(3, 23, 24, ["snapshot", [0, 1], undefined, 5, 6]),
  ],
};

const ILLEGAL: Record<string, Operation[]> = {
  "a stale read": [
    at(0, 0, 1, ["store", 0, 5]),
    at(0, 2, 3, ["store", 0, 6]),
    at(1, 4, 5, ["load", 0, undefined, 5]),
  ],
  "a read that goes back while both stores are under way": [
    at(0, 0, 9, ["store", 0, 5]),
    at(1, 1, 2, ["load", 0, undefined, 5]),
    at(1, 3, 4, ["load", 0, undefined, 0]),
  ],
  "two readers that disagree about the order of two stores": [
    at(0, 0, 20, ["store", 0, 5]),
    at(1, 1, 21, ["store", 0, 6]),
    at(2, 2, 3, ["load", 0, undefined, 5]),
    at(2, 4, 5, ["load", 0, undefined, 6]),
    at(3, 6, 7, ["load", 0, undefined, 5]),
  ],
  "a lost update": [
    at(0, 0, 1, ["store", 0, 5]),
    at(1, 2, 3, ["load", 0, undefined, 0]),
  ],
  "two inserts that both store": [
    at(0, 0, 5, ["insert", 0, 5, 1]),
    at(1, 1, 6, ["insert", 0, 6, 1]),
  ],
  "an insert that is refused where nothing can be": [
    at(0, 0, 1, ["erase", 0, undefined, 0]),
    at(1, 2, 3, ["insert", 0, 6, 0]),
  ],
  "an entry that is erased twice": [
    at(0, 0, 1, ["store", 0, 5]),
    at(0, 2, 5, ["erase", 0, undefined, 5]),
    at(1, 3, 6, ["erase", 0, undefined, 5]),
  ],
  "an entry that nobody stored": [at(0, 0, 1, ["load", 0, undefined, 9])],
  "an answer before the store was invoked": [
    at(1, 0, 1, ["load", 0, undefined, 5]),
    at(0, 2, 3, ["store", 0, 5]),
  ],
  "a torn range store: each cell alone would be legal": [
    at(0, 0, 9, ["store", [0, 3], 5]),
    at(1, 1, 2, ["load", 0, undefined, 5]),
    at(1, 3, 4, ["load", 3, undefined, 0]),
  ],
  "a snapshot of half a range store": [
    at(0, 0, 9, ["store", [0, 3], 5]),
    at(1, 1, 2, ["snapshot", [2, 3], undefined, 5, 0]),
  ],
  "two range stores mixed": [
    at(0, 0, 5, ["store", [0, 2], 5]),
    at(1, 1, 6, ["store", [1, 3], 6]),
    at(0, 7, 8, ["snapshot", [0, 3], undefined, 5, 5, 6, 6]),
  ],
  "something wrong in one cell of many": [
    at(0, 0, 1, ["store", 0, 5]),
    at(0, 2, 3, ["store", 3, 6]),
    at(1, 4, 5, ["load", 0, undefined, 5]),
    at(1, 6, 7, ["load", 3, undefined, 0]),
  ],
};

for (const [name, history] of Object.entries(LEGAL)) {
  Deno.test(`contradiction() finds none: ${name}`, () => {
    assertEquals(contradiction(history, [0, 0, 0, 0]), undefined);
  });
}

for (const [name, history] of Object.entries(ILLEGAL)) {
  Deno.test(`contradiction() finds ${name}`, () => {
    assertMatch(
      contradiction(history, [0, 0, 0, 0])!,
      /^with the cells at .*, none of these can be next: thread \d \[/,
    );
  });
}

Deno.test("contradiction() begins with what the cells held", () => {
  const history = [at(0, 0, 1, ["load", 1, undefined, 8])];
  assertEquals(contradiction(history, [0, 8]), undefined);
  assert(contradiction(history, [8, 0]) !== undefined);
});

Deno.test("contradiction() refuses a thread that does two things at once", () => {
  const history = [
    at(0, 0, 2, ["store", 0, 5]),
    at(0, 1, 3, ["store", 0, 6]),
  ];
  assertThrows(() => contradiction(history, [0]), Error, "out of its thread");
});

/** Stamps at random, but one thread's operations one after the other, and the answers of an order within them. */
function madeUp(seed: number): Operation[] {
  const random = rng(seed);
  const cells = [0, 0, 0];
  const free = [0, 0, 0];
  const history: Operation[] = [];
  for (let step = 0; step < 12; step++) {
    // Everything happens at `now`, within stamps that reach as far as the thread's own order allows.
    const now = step * 100 + 50;
    const thread = random.int(3);
    const invoked = Math.max(free[thread] + 1, now - random.int(300));
    const responded = now + 1 + random.int(40);
    free[thread] = responded;
    const [a, b] = [random.int(3), random.int(3)];
    const [first, last] = [Math.min(a, b), Math.max(a, b)];
    if (random.int(2) === 0) {
      cells.fill(step + 1, first, last + 1);
      history.push(at(thread, invoked, responded, [
        "store",
        [first, last],
        step + 1,
      ]));
    } else {
      const found = cells.slice(first, last + 1);
      history.push(at(thread, invoked, responded, [
        "snapshot",
        [first, last],
        undefined,
        ...found,
      ]));
    }
  }
  return history;
}

/** The definition, hopelessly slow: whether any order of all operations will do. */
function hasLegalOrder(
  left: readonly Operation[],
  cells: readonly number[],
): boolean {
  return left.length === 0 || left.some((one) => {
    if (left.some(({ responded }) => responded < one.invoked)) return false;
    const { name, first, last, value, found } = one;
    const after = [...cells];
    if (name === "store") after.fill(value!, first, last + 1);
    else if (found.join() !== after.slice(first, last + 1).join()) return false;
    return hasLegalOrder(left.filter((other) => other !== one), after);
  });
}

const AS_DEFINED =
  "contradiction() agrees with the definition about made-up histories, spoiled or not";
Deno.test(AS_DEFINED, () => {
  for (const seed of seeds(AS_DEFINED)) {
    let spoiled = 0;
    for (let turn = 0; turn < 100; turn++) {
      const history = madeUp(seed * 1000 + turn);
      assertEquals(contradiction(history, [0, 0, 0]), undefined);
      const random = rng(seed * 1000 + turn);
      const i = random.int(history.length);
      // Another answer, or what was stored is another.
      const { found, value } = history[i];
      history[i] = value === undefined
        ? { ...history[i], found: found.with(0, random.int(12)) }
        : { ...history[i], value: random.int(12) };
      const isLegal = hasLegalOrder(history, [0, 0, 0]);
      assertEquals(contradiction(history, [0, 0, 0]) === undefined, isLegal);
      if (!isLegal) spoiled++;
    }
    assert(spoiled > 20 && spoiled < 100, `${spoiled} were spoiled`);
  }
});
