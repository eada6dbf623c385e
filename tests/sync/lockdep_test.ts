import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import {
  Lockdep,
  LockdepError,
  SpinLock,
  type Words,
} from "../../src/sync/mod.ts";
import { LOCKDEP_WORDS } from "../../src/sync/lockdep.ts";
import { rng, seeds } from "../seed.ts";

const BASE = 32;

function sharedWords(): Words {
  return new Int32Array(new SharedArrayBuffer(4 * (BASE + LOCKDEP_WORDS + 16)));
}

/** Two threads that share one table, with classes `a`, `b` and `c`. */
function twoThreads(): {
  one: Lockdep;
  two: Lockdep;
  a: number;
  b: number;
  c: number;
} {
  const words = sharedWords();
  const one = new Lockdep(words, BASE, 1, true);
  const two = new Lockdep(words, BASE, 2, true);
  const [a, b, c] = ["class a", "class b", "class c"].map((name) =>
    one.lockClass(name)
  );
  return { one, two, a, b, c };
}

/** Takes locks of these classes in order, releases them in reverse; the key of class n is 100 + n. */
function chain(lockdep: Lockdep, ...classes: number[]): void {
  for (const id of classes) {
    lockdep.acquire(id, 100 + id, `chain of ${classes}`);
  }
  for (const id of classes.toReversed()) lockdep.release(100 + id);
}

Deno.test("Lockdep.lockClass() gives a name one number in all threads", () => {
  const words = sharedWords();
  const one = new Lockdep(words, BASE, 1, true);
  const two = new Lockdep(words, BASE, 2, true);
  assertEquals(one.lockClass("tree"), 0);
  assertEquals(two.lockClass("cache"), 1);
  assertEquals([one.lockClass("cache"), two.lockClass("tree")], [1, 0]);
  assertEquals(words[BASE], 0, "the table's lock is free");
});

Deno.test("Lockdep.lockClass() takes names of 1 to 24 bytes", () => {
  const { one } = twoThreads();
  assertThrows(
    () => one.lockClass(""),
    RangeError,
    "takes 0 bytes, not 1 to 24",
  );
  assertThrows(
    () => one.lockClass("x".repeat(25)),
    RangeError,
    "takes 25 bytes",
  );
  assertThrows(
    () => one.lockClass("ö".repeat(13)),
    RangeError,
    "takes 26 bytes",
  );
  assertEquals(one.lockClass("ö".repeat(12)), 3);
  assertEquals(one.lockClass("x".repeat(24)), 4);
  assertEquals(one.lockClass("x".repeat(23)), 5);
});

Deno.test("Lockdep.lockClass() says when the table is full, and stays usable", () => {
  const words = sharedWords();
  const lockdep = new Lockdep(words, BASE, 1, true);
  for (let id = 0; id < 31; id++) {
    assertEquals(lockdep.lockClass(`class ${id}`), id);
  }
  assertThrows(
    () => lockdep.lockClass("one more"),
    RangeError,
    "all 31 classes are taken",
  );
  assertEquals(lockdep.lockClass("class 30"), 30);
  assertEquals(
    [...words.subarray(BASE + LOCKDEP_WORDS)],
    new Array(16).fill(0),
  );
  // The last class is a bit as good as the others.
  chain(lockdep, 30, 0);
  assertThrows(() => chain(lockdep, 0, 30), LockdepError, "circular");
});

Deno.test("Lockdep finds an order that another thread inverts", () => {
  const { one, two, a, b } = twoThreads();
  chain(one, a, b);
  two.acquire(b, 201, "Two.first");
  const error = assertThrows(
    () => two.acquire(a, 202, "Two.second"),
    LockdepError,
    "WARNING: possible circular locking dependency detected",
  );
  assertMatch(
    error.message,
    /thread 2 is trying to acquire lock:\n {2}class a \(word 202\), at Two\.second/,
  );
  assertMatch(
    error.message,
    /already holding lock:\n {2}class b \(word 201\), taken at Two\.first/,
  );
  assertMatch(error.message, /class a -> class b/);
  assertMatch(
    error.message,
    /1 lock held by thread 2:\n #0: class b \(word 201\), taken at Two\.first/,
  );
  assertEquals(two.held, 1, "what was refused is not held");
  two.release(201);
  chain(two, a, b);
});

Deno.test("Lockdep finds an inversion over a third class", () => {
  const { one, two, a, b, c } = twoThreads();
  chain(one, a, b);
  chain(two, b, c);
  const error = assertThrows(() => chain(one, c, a), LockdepError, "circular");
  assertMatch(error.message, /class a -> class b -> class c/);
});

Deno.test("Lockdep learns from every held lock, not from the last alone", () => {
  const { one, two, a, b, c } = twoThreads();
  chain(one, a, b, c);
  assertThrows(() => chain(two, c, a), LockdepError, "circular");
});

Deno.test("Lockdep finds a lock of a held class", () => {
  const { one, a, b } = twoThreads();
  one.acquire(a, 101, "outer");
  one.acquire(b, 102, "middle");
  const error = assertThrows(
    () => one.acquire(a, 103, "inner"),
    LockdepError,
    "WARNING: possible recursive locking detected",
  );
  assertMatch(error.message, /class a \(word 103\), at inner/);
  assertMatch(
    error.message,
    /2 locks held by thread 1:\n #1: class b \(word 102\), taken at middle\n #0: class a \(word 101\), taken at outer/,
  );
  assertThrows(() => one.acquire(a, 101, "again"), LockdepError, "recursive");
  assertEquals(one.held, 2);
});

Deno.test("Lockdep.tryAcquire() notes a lock and learns nothing", () => {
  const { one, two, a, b } = twoThreads();
  one.acquire(a, 101, "outer");
  one.tryAcquire(b, 102, "tried");
  assertEquals(one.held, 2);
  chain(two, b, a);
  one.release(101);
  assertThrows(
    () => one.acquire(b, 103, "inner"),
    LockdepError,
    "taken at tried",
  );
});

Deno.test("Lockdep.release() finds the lock anywhere on the stack", () => {
  const { one, a, b, c } = twoThreads();
  one.acquire(a, 101, "site a");
  one.acquire(b, 102, "site b");
  one.acquire(c, 103, "site c");
  one.release(101);
  assertEquals([101, 102, 103].map((key) => one.stampOf(key) !== 0), [
    false,
    true,
    true,
  ]);
  assertMatch(
    one.splat("what", 0).message,
    /2 locks held by thread 1:\n #1: class c \(word 103\), taken at site c\n #0: class b \(word 102\), taken at site b$/,
  );
  one.release(999);
  assertEquals(one.held, 2);
  one.release(103);
  one.release(102);
  assertEquals(one.held, 0);
});

Deno.test("Lockdep.stampOf() differs each time a lock is taken", () => {
  const { one, a } = twoThreads();
  assertEquals(one.stampOf(101), 0);
  one.acquire(a, 101, "first");
  const first = one.stampOf(101);
  assertNotEquals(first, 0);
  assertEquals(one.stampOf(101), first);
  one.release(101);
  assertEquals(one.stampOf(101), 0);
  one.acquire(a, 101, "second");
  assertNotEquals(one.stampOf(101), first);
});

Deno.test("Lockdep.assertReading() wants the lock or a read section", () => {
  const { one, a, b } = twoThreads();
  const error = assertThrows(
    () => one.assertReading(101, 0, "Cursor.find"),
    LockdepError,
  );
  assertMatch(error.message, /^WARNING: suspicious RCU usage\n/);
  assertMatch(
    error.message,
    /Cursor\.find: suspicious rcu_dereference_check\(\) usage!/,
  );
  assertMatch(error.message, /the lock at word 101 or a read section/);
  assertMatch(error.message, /no locks held by thread 1$/);
  one.assertReading(101, 1, "Cursor.find");
  one.acquire(b, 102, "of another lock");
  assertThrows(
    () => one.assertReading(101, 0, "Cursor.find"),
    LockdepError,
    "taken at of another lock",
  );
  one.tryAcquire(a, 101, "of this lock");
  one.assertReading(101, 0, "Cursor.find");
});

Deno.test("Lockdep.assertHeld() wants the lock, a read section is not enough", () => {
  const { one, two, a } = twoThreads();
  const error = assertThrows(
    () => one.assertHeld(101, 2, "Cursor.store"),
    LockdepError,
  );
  assertMatch(error.message, /^WARNING: suspicious RCU usage\n/);
  assertMatch(
    error.message,
    /Cursor\.store: suspicious rcu_dereference_protected\(\) usage!/,
  );
  assertMatch(error.message, /inside 2 nested read section/);
  two.acquire(a, 101, "by another thread");
  assertThrows(() => one.assertHeld(101, 0, "Cursor.store"), LockdepError);
  one.acquire(a, 101, "by this thread");
  one.assertHeld(101, 0, "Cursor.store");
});

Deno.test("Lockdep.assertHeld() and assertReading() name the class of the lock, and how it is taken if that is known", () => {
  const { one, two, a } = twoThreads();
  const id = two.lockClass("engine", "Engine.lock()");
  const message = (act: () => void) => assertThrows(act, LockdepError).message;
  assertMatch(
    message(() => two.assertHeld(101, 0, "Engine.start", id)),
    /Needs the lock "engine" at word 101 \(Engine\.lock\(\) takes it\)$/m,
  );
  assertMatch(
    message(() => two.assertReading(101, 0, "Engine.look", id)),
    /"engine" at word 101 \(Engine\.lock\(\) takes it\) or a read section$/m,
  );
  // Each thread is told by its own code.
  assertMatch(
    message(() => one.assertHeld(101, 0, "Engine.start", id)),
    /Needs the lock "engine" at word 101$/m,
  );
  assertMatch(
    message(() => one.assertHeld(102, 0, "f", a)),
    /Needs the lock "class a" at word 102$/m,
  );
});

Deno.test("Lockdep.assertMayWait() wants no lock held", () => {
  const { one, a } = twoThreads();
  one.assertMayWait("Rcu.barrier");
  one.acquire(a, 101, "RangeTree.store");
  const error = assertThrows(
    () => one.assertMayWait("Rcu.barrier"),
    LockdepError,
  );
  assertMatch(
    error.message,
    /illegal wait for a grace period while holding a lock\nRcu\.barrier/,
  );
  assertMatch(
    error.message,
    /#0: class a \(word 101\), taken at RangeTree\.store/,
  );
  one.release(101);
  one.assertMayWait("Rcu.barrier");
});

Deno.test("Lockdep reports more than 16 held locks", () => {
  const lockdep = new Lockdep(sharedWords(), BASE, 1, true);
  for (let i = 0; i < 16; i++) {
    lockdep.acquire(lockdep.lockClass(`class ${i}`), i, `site ${i}`);
  }
  const next = lockdep.lockClass("class 16");
  const error = assertThrows(
    () => lockdep.acquire(next, 16, "one more"),
    LockdepError,
  );
  assertMatch(error.message, /more than 16 locks held\nat one more/);
  assertEquals(lockdep.held, 16);
});

Deno.test("Lockdep checks nothing when it is off", () => {
  const words = sharedWords();
  const lockdep = new Lockdep(words, BASE, 1, false);
  const [a, b] = [lockdep.lockClass("class a"), lockdep.lockClass("class b")];
  chain(lockdep, a, b);
  chain(lockdep, b, a);
  lockdep.acquire(a, 1, "");
  lockdep.acquire(a, 1, "");
  lockdep.tryAcquire(a, 1, "");
  assertEquals([lockdep.held, lockdep.stampOf(1)], [0, 0]);
  lockdep.assertReading(1, 0, "");
  lockdep.assertHeld(1, 0, "");
  lockdep.assertMayWait("");
});

Deno.test("Lockdep threads that know the order already agree with a thread that comes later", () => {
  const words = sharedWords();
  const one = new Lockdep(words, BASE, 1, true);
  const [a, b] = [one.lockClass("class a"), one.lockClass("class b")];
  for (let i = 0; i < 3; i++) chain(one, a, b);
  const late = new Lockdep(words, BASE, 3, true);
  assertThrows(() => chain(late, b, a), LockdepError, "circular");
});

Deno.test("Lockdep throws before the lock is touched", () => {
  const { one, a } = twoThreads();
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 1);
  const take = () => {
    one.acquire(a, 0, "take");
    lock.lock();
  };
  take();
  // Without the check this would be the lock's own error.
  assertThrows(take, LockdepError, "recursive");
  assertEquals(lock.owner, 1);
});

const ORDER_TEST =
  "Lockdep refuses exactly what a closure of the order forbids";
for (const seed of seeds(ORDER_TEST)) {
  Deno.test(`${ORDER_TEST} (seed ${seed})`, () => {
    const random = rng(seed);
    const refusals = { circular: 0, recursive: 0 };
    for (let world = 0; world < 30; world++) {
      const words = sharedWords();
      const threads = [1, 2, 3].map((id) => new Lockdep(words, BASE, id, true));
      const classes = Array.from(
        { length: 5 },
        (_, i) => threads[0].lockClass(`class ${i}`),
      );
      const held: number[][] = threads.map(() => []);
      const before = new Set<string>();
      const leads = (
        from: number,
        to: number,
        seen = new Set<number>(),
      ): boolean =>
        from === to ||
        classes.some((via) =>
          before.has(`${from} ${via}`) && !seen.has(via) &&
          leads(via, to, seen.add(via))
        );
      for (let step = 0; step < 60; step++) {
        const who = random.int(threads.length);
        const mine = held[who];
        if (mine.length > 0 && random.int(3) === 0) {
          const [id] = mine.splice(random.int(mine.length), 1);
          threads[who].release(100 + id);
        } else {
          const id = random.pick(classes);
          let expected: "circular" | "recursive" | undefined;
          for (const outer of mine) {
            if (outer === id) expected = "recursive";
            else if (leads(id, outer)) expected = "circular";
            if (expected !== undefined) break;
            before.add(`${outer} ${id}`);
          }
          const acquire = () =>
            threads[who].acquire(id, 100 + id, `step ${step}`);
          if (expected === undefined) {
            acquire();
            mine.push(id);
          } else {
            assertThrows(acquire, LockdepError, expected);
            refusals[expected]++;
          }
        }
        assertEquals(
          threads.map((thread) => thread.held),
          held.map((locks) => locks.length),
        );
      }
    }
    assert(
      refusals.circular > 100 && refusals.recursive > 100,
      JSON.stringify(refusals),
    );
  });
}
