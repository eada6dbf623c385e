import { assert, assertEquals, assertThrows } from "@std/assert";
import { SpinLock, type Words } from "../../src/sync/mod.ts";
import { stub } from "@std/testing/mock";
import { spinLockOwner, spinTryLockFor } from "../../src/sync/spin_lock.ts";
import { dyingAfter, Killed } from "../stress/dying.ts";
import type { SpinLockCommand } from "./spin_lock_worker.ts";
import { TestWorker } from "./workers.ts";

const WORKER = new URL("./spin_lock_worker.ts", import.meta.url);

/** Set in the word while a thread may be asleep on the lock. */
const CONTENDED = 0x4000_0000;

/** Lets the workers go that wait. */
function openGate(words: Words): void {
  Atomics.store(words, 8, 1);
  Atomics.notify(words, 8);
}

function sharedWords(): Words {
  return new Int32Array(new SharedArrayBuffer(256));
}

function startWorker(command: SpinLockCommand): TestWorker {
  const worker = new TestWorker(WORKER);
  worker.send(command);
  return worker;
}

/** Runs `mistake`, which must throw and leave every word as it was. */
function assertRefused(
  words: Words,
  mistake: () => void,
  message: string,
): void {
  const before = words.slice();
  assertThrows(mistake, Error, message);
  assertEquals(words.slice(), before);
}

Deno.test("SpinLock names its owner while it is held", () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 7);
  const other = new SpinLock(words, 0, 8);
  assertEquals([lock.owner, other.owner], [0, 0]);
  lock.lock();
  assertEquals([lock.owner, other.owner], [7, 7]);
  lock.unlock();
  assertEquals([lock.owner, other.owner], [0, 0]);
});

Deno.test("SpinLock.lock() by the owner throws and changes nothing", () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 7);
  lock.lock();
  assertRefused(
    words,
    () => lock.lock(),
    "Cannot lock: thread 7 holds this lock already",
  );
  lock.unlock();
  assertEquals(lock.owner, 0);
});

Deno.test("SpinLock.unlock() by a stranger throws and changes nothing", () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 7);
  const stranger = new SpinLock(words, 0, 8);
  assertRefused(
    words,
    () => stranger.unlock(),
    "thread 8 is not the owner, nobody holds it",
  );
  lock.lock();
  assertRefused(
    words,
    () => stranger.unlock(),
    "thread 8 is not the owner, thread 7 holds it",
  );
  assertEquals(lock.owner, 7);
  lock.unlock();
  assertRefused(
    words,
    () => lock.unlock(),
    "thread 7 is not the owner, nobody holds it",
  );
});

Deno.test("SpinLock.tryLock() takes the lock only where it is free", () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 7);
  const other = new SpinLock(words, 0, 8);
  assert(lock.tryLock());
  const held = words.slice();
  assert(!other.tryLock());
  assert(!lock.tryLock());
  assertEquals(words.slice(), held);
  lock.unlock();
  assert(other.tryLock());
  other.unlock();
});

Deno.test("SpinLock.guard() releases at the end of the block, also when it throws", () => {
  const lock = new SpinLock(sharedWords(), 0, 7);
  {
    using _guard = lock.guard();
    assertEquals(lock.owner, 7);
  }
  assertEquals(lock.owner, 0);
  assertThrows(
    () => {
      using _guard = lock.guard();
      throw new Error("from within");
    },
    Error,
    "from within",
  );
  assertEquals(lock.owner, 0);
});

Deno.test("SpinLock touches its own word alone", () => {
  const words = sharedWords().fill(-1);
  words[5] = 0;
  const lock = new SpinLock(words, 5, 7);
  lock.lock();
  lock.unlock();
  assertEquals([...words], [...words].map((_, i) => i === 5 ? 0 : -1));
});

Deno.test("SpinLock takes no owner id that the word can't hold", () => {
  for (const owner of [0, -1, 0.5, NaN, 2 ** 30, Infinity]) {
    assertThrows(
      () => new SpinLock(sharedWords(), 0, owner),
      RangeError,
      `owner id ${owner} is outside`,
    );
  }
  const lock = new SpinLock(sharedWords(), 0, 2 ** 30 - 1);
  lock.lock();
  assertEquals(lock.owner, 2 ** 30 - 1);
  lock.unlock();
});

Deno.test("SpinLock lets one of three workers at a time touch a plain counter", async () => {
  const turns = 1_000_000;
  const words = sharedWords();
  const owners = [1, 2, 3];
  const workers = owners.map((owner) =>
    startWorker({ what: "count", buffer: words.buffer, owner, turns })
  );
  try {
    for (const worker of workers) assertEquals(await worker.answer(), "waits");
    openGate(words);
    for (const worker of workers) {
      assertEquals(await worker.answer(), "counted");
    }
  } finally {
    for (const worker of workers) worker[Symbol.dispose]();
  }
  assertEquals(words[16], turns * owners.length);
  assertEquals(words[0], 0);
});

Deno.test("SpinLock.unlock() wakes a worker that sleeps on the lock", async () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 1);
  lock.lock();
  using worker = startWorker({ what: "take", buffer: words.buffer, owner: 2 });
  assertEquals(await worker.answer(), "begins");
  // Until the worker has given up spinning and marked the word.
  while (Atomics.load(words, 0) === 1);
  assertEquals(lock.owner, 1);
  lock.unlock();
  assertEquals(await worker.answer(), "holds");
  // It can't know that nobody else sleeps.
  assertEquals(words[0], 2 | CONTENDED);
  openGate(words);
  assertEquals(await worker.answer(), "released");
  assertEquals(words[0], 0);
});

Deno.test("SpinLock.lock() comes back to a lock whose owner died between releasing it and waking who waits", async () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 1);
  lock.lock();
  using worker = startWorker({ what: "take", buffer: words.buffer, owner: 2 });
  assertEquals(await worker.answer(), "begins");
  // It is asleep when there is somebody to wake; and then it finds the lock taken and sleeps again.
  while (Atomics.notify(words, 0) === 0);
  {
    // The compare-exchange that finds the mark, the look, the store of 0; no notify.
    using killing = dyingAfter(3);
    assertThrows(() => lock.unlock(), Killed);
    assert(killing.died);
  }
  assertEquals(await worker.answer(), "holds");
  openGate(words);
  assertEquals(await worker.answer(), "released");
});

Deno.test("SpinLock.unlock() wakes all of two workers that sleep, one after the other", async () => {
  const words = sharedWords();
  openGate(words);
  const lock = new SpinLock(words, 0, 1);
  lock.lock();
  const workers = [2, 3].map((owner) =>
    startWorker({ what: "take", buffer: words.buffer, owner })
  );
  try {
    for (const worker of workers) assertEquals(await worker.answer(), "begins");
    while (Atomics.load(words, 0) === 1);
    lock.unlock();
    for (const worker of workers) {
      assertEquals(await worker.answer(), "holds");
      assertEquals(await worker.answer(), "released");
    }
  } finally {
    for (const worker of workers) worker[Symbol.dispose]();
  }
  assertEquals(words[0], 0);
});

Deno.test("SpinLock.lock() sleeps until a worker releases", async () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 1);
  using worker = startWorker({
    what: "hold until contended",
    buffer: words.buffer,
    owner: 2,
  });
  assertEquals(await worker.answer(), "begins");
  assertEquals(await worker.answer(), "holds");
  assertEquals(spinLockOwner(words, 0), 2);
  lock.lock();
  assertEquals(lock.owner, 1);
  assertEquals(await worker.answer(), "released");
  lock.unlock();
  assertEquals(words[0], 0);
});

Deno.test("SpinLock counts a contended word as held by its owner", () => {
  const words = sharedWords();
  const lock = new SpinLock(words, 0, 1);
  lock.lock();
  words[0] |= CONTENDED;
  assertEquals(lock.owner, 1);
  const stranger = new SpinLock(words, 0, 2);
  assertRefused(words, () => stranger.unlock(), "thread 1 holds it");
  assertRefused(words, () => lock.lock(), "thread 1 holds this lock already");
  lock.unlock();
  assertEquals(words[0], 0);
});

Deno.test("spinTryLockFor() takes a lock that is free, or is released while it looks, and else gives up and leaves it usable", () => {
  const words = sharedWords();
  assert(spinTryLockFor(words, 0, 7, 0));
  assertEquals(words[0], 7);
  assert(!spinTryLockFor(words, 0, 8, 100));
  // Its owner's unlock will take the long way, for whoever looks next.
  assertEquals(words[0], 7 | CONTENDED);
  assert(!spinTryLockFor(words, 0, 8, 100));
  const owner = new SpinLock(words, 0, 7);
  owner.unlock();
  assertEquals(words[0], 0);
  owner.lock();
  let looks = 0;
  const load = Atomics.load;
  {
    using _load = stub(
      Atomics,
      "load",
      ((words: Int32Array, index: number) => {
        if (++looks === 3) owner.unlock();
        return load(words, index);
      }) as typeof Atomics.load,
    );
    assert(spinTryLockFor(words, 0, 8, 10));
  }
  assertEquals(words[0], 8);
});
