import { assert, assertEquals } from "@std/assert";
import { Arena, VaManager } from "../../mod.ts";
import { compiledFor as treesFor } from "../../src/range_tree/compiled.ts";
import { compiledFor as managersFor } from "../../src/va/compiled.ts";
import { dyingAfter, dyingAfterCalls } from "../stress/dying.ts";
import { assertInOrder, assertReaped, picture, worldOf } from "./reaped.ts";

/** What is done to a manager, under its outer lock, by a thread that dies of it. */
const OPERATIONS: Record<string, (vm: VaManager) => void> = {
  "a map over the middle of a mapping": (vm) =>
    vm.commit(vm.mapOps({ start: 120, range: 60, object: 3, offset: 0 })),
  "a map of an object that has no VmBo": (vm) =>
    vm.commit(vm.mapOps({ start: 150, range: 400, object: 9, offset: 0 })),
  "a map at once": (vm) =>
    void vm.bind({ start: 100, range: 100, object: 2, offset: 5 }),
  "an unmap of the middle of a mapping": (vm) =>
    vm.commit(vm.unmapOps({ start: 340, range: 20 })),
  "an unmap over many": (vm) =>
    vm.commit(vm.unmapOps({ start: 150, range: 700 })),
  "releasing a VmBo": (vm) => vm.releaseBo(7),
};

/** All that is compiled for a thread. */
function compiledOf(arena: Arena): object[] {
  return [arena.words.inline!, treesFor(arena)!, managersFor(arena)!];
}

for (
  const [[name, run], by] of Object.entries(OPERATIONS).flatMap((each) =>
    (["buffer", "shared"] as const).map((by) => [each, by] as const)
  )
) {
  const steps = by === "buffer" ? "step" : "call of what is compiled";
  Deno.test(`Arena.reap() recovers a VA manager whose writer dies at any ${steps} of ${name}`, () => {
    const whole = worldOf().vm;
    const before = picture(whole);
    {
      using _guard = whole.lock();
      run(whole);
    }
    const after = picture(whole);
    for (let step = 0, died = true; died; step++) {
      const { arena, vm } = worldOf();
      const victim = Arena.attach(arena[by]);
      const theirs = VaManager.attach(victim, "vm");
      {
        using killing = by === "buffer"
          ? dyingAfter(step)
          : dyingAfterCalls(step, compiledOf(victim));
        try {
          const guard = theirs.lock();
          run(theirs);
          guard[Symbol.dispose]();
        } catch (error) {
          assert(killing.died, String(error));
        }
        died = killing.died;
      }
      if (!died) {
        assertEquals(picture(vm), after);
        break;
      }
      assertReaped(arena, vm, victim.thread, [before, after], `at ${step}`);
    }
  });
}

Deno.test("Arena.reap() on a thread that has opened no manager releases its outer lock", () => {
  const { arena, vm } = worldOf();
  const victim = Arena.attach(arena.buffer);
  VaManager.attach(victim, "vm").lock();
  Arena.attach(arena.buffer).reap(victim.thread);
  using _guard = vm.lock();
  assertInOrder(vm, "reaped");
});

Deno.test("Arena.reap() gives a part that remains of a mapping no object that another manager maps", () => {
  for (let step = 0, died = true; died; step++) {
    const arena = Arena.create({ byteLength: 2 ** 21 });
    const victim = Arena.attach(arena.buffer);
    const [left, right] = [1, 2].map(() =>
      VaManager.create(arena, { range: 2 ** 30, outerLock: "manager" })
    );
    const [cut, other] = [left, right].map(({ ref }) =>
      VaManager.attach(victim, ref)
    );
    {
      using _guard = other.lock();
      // The second is found before the part that is made for the left of the mapping that is cut, and looks like it.
      other.bind({ start: 5000, range: 40, object: 1, offset: 1 });
      other.bind({ start: 100, range: 40, object: 1, offset: 7777 });
    }
    {
      using _guard = cut.lock();
      cut.bind({ start: 100, range: 100, object: 1, offset: 1000 });
    }
    {
      using killing = dyingAfter(step);
      try {
        using _guard = cut.lock();
        cut.commit(cut.mapOps({ start: 140, range: 20, object: 2 }));
      } catch (error) {
        assert(killing.died, String(error));
      }
      died = killing.died;
    }
    if (!died) break;
    arena.reap(victim.thread);
    assertEquals(left.lookup(100)!.offset, 1000, `died at access ${step}`);
    assertEquals(right.lookup(100)!.offset, 7777, `died at access ${step}`);
    assert(left.lookup(100)!.ref !== right.lookup(100)!.ref);
  }
});

Deno.test("Arena.reap() recovers a VA manager whose writer dies before any write of a compiled bind", () => {
  const program = new URL("./compiled_deaths.ts", import.meta.url);
  // The compiler asks whether it runs in CI.
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      "--allow-env=CI",
      program.href,
    ],
  }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
});
