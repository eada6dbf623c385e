import { assertEquals, assertThrows } from "@std/assert";
import { Arena, ExternalLock, LockdepError, RangeTree } from "../../mod.ts";
import { NodeMover } from "../../src/defrag/relocate.ts";
import { nodesOf } from "./worlds.ts";
import { bothOf } from "./both_caches.ts";

/** The most locks that lockdep keeps in mind. */
const MAX_HELD = 16;

Deno.test("A lock that is tried while too many are held stays free", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const externalLock = ExternalLock.create(arena);
  const tree = RangeTree.create(arena);
  tree.store(1, 1);
  const mover = NodeMover.of(arena, bothOf(arena).leaves);
  const [node] = nodesOf(arena, tree);
  // The place that it would move the node to.
  mover.prepare([node]);
  const lockClass = arena.lockdep.lockClass("many");
  for (let lock = -1; lock >= -MAX_HELD; lock--) {
    arena.lockdep.tryAcquire(lockClass, lock, "a test");
  }
  for (
    const [site, tryIt] of [
      ["RangeTree.tryLock", () => tree.tryLock()],
      ["ExternalLock.tryLock", () => externalLock.tryLock()],
      ["NodeMover.relocate", () => mover.relocate(node)],
    ] as const
  ) {
    const message = `more than ${MAX_HELD} locks held\nat ${site}`;
    assertThrows(tryIt, LockdepError, message);
    assertEquals(arena.lockdep.held, MAX_HELD);
  }
  const other = Arena.attach(arena.buffer);
  RangeTree.attach(other, tree.ref).store(2, 2);
  using _guard = ExternalLock.attach(other, externalLock.ref).guard();
});
