import { assert, assertEquals } from "@std/assert";
import { Arena, PageTable, VaManager } from "../../mod.ts";
import { phaseBehind } from "../../src/va/mapping.ts";
import { rng, seeds } from "../seed.ts";
import { PAGE } from "./mirror.ts";

/** As {@linkcode phaseBehind}, in integers of any size. */
function truth(phase: number, addresses: number, repeat: number): number {
  return Number((BigInt(phase) + BigInt(addresses)) % BigInt(repeat));
}

const LARGE = [2 ** 53 - 1, 2 ** 53 - 2, 2 ** 52 + 1, 2 ** 52, 2 ** 52 - 1, 3];

{
  const name = "phaseBehind() is exact for blocks and addresses of any size";
  for (const seed of seeds(name)) {
    Deno.test(`${name}, seed ${seed}`, () => {
      const random = rng(seed);
      const below = (limit: number) =>
        random.int(3) > 0
          ? Math.max(0, limit - 1 - random.int(5))
          : random.int(2 ** 31) * 2 ** 22 % limit;
      for (let i = 0; i < 5000; i++) {
        const repeat = random.int(3) === 0
          ? 1 + random.int(9)
          : random.pick(LARGE) - random.int(3);
        const phase = below(repeat), addresses = below(2 ** 53);
        assertEquals(
          phaseBehind(phase, addresses, repeat),
          truth(phase, addresses, repeat),
          `${phase} + ${addresses} in ${repeat}`,
        );
      }
    });
  }
}

Deno.test("VaManager leads every address of a repeated block to the same place, whatever its size, also once it is cut or merged", () => {
  for (const by of ["shared", "buffer"] as const) {
    const arena = Arena.create({ byteLength: 2 ** 21 });
    const created = VaManager.create(arena, { range: 2 ** 53 - 1 });
    const vm = VaManager.attach(Arena.attach(arena[by]), created.ref);
    for (const repeat of LARGE.slice(1)) {
      for (const phase of [0, 1, 2 ** 51 + 1, repeat - 3, repeat - 1]) {
        if (phase < 0 || phase >= repeat) continue;
        const range = 2 ** 53 - 2;
        const whole = { start: 0, range, object: 1, repeat, phase };
        vm.bind(whole);
        const cuts = [5, 2 ** 52 + 2, range - 9];
        const addresses = [0, 1, ...cuts.flatMap((cut) => [cut - 1, cut + 1])];
        addresses.push(range - 1);
        const assertTrue = (when: string) => {
          for (const address of addresses) {
            assertEquals(
              vm.translate(address),
              truth(phase, address, repeat),
              `${address}, ${phase} in ${repeat}, ${when}`,
            );
          }
        };
        assertTrue("whole");
        for (const cut of cuts) vm.unbind({ start: cut, range: 1 });
        assertTrue("cut");
        for (const cut of cuts) {
          const start = cut, at = truth(phase, cut, repeat);
          vm.commit(
            vm.mapOps({ ...whole, start, range: 1, phase: at }, {
              merge: true,
            }),
          );
        }
        assertEquals(vm.count, 1, `${phase} in ${repeat}`);
        assertTrue("merged");
        vm.unbind({ start: 0, range });
      }
    }
  }
});

Deno.test("PageTable maps the pages of a repeated block, whatever its size", () => {
  const repeat = 2 ** 52 + PAGE, phase = 2 ** 52, start = 2 ** 53 - 4 * PAGE;
  const table = new PageTable();
  table.apply({
    kind: "map",
    mapping: {
      start,
      range: 2 * PAGE,
      object: 1,
      offset: 0,
      flags: 0,
      repeat,
      phase,
    },
  });
  for (const into of [0, PAGE]) {
    assertEquals(table.read(start + into)?.offset, truth(phase, into, repeat));
  }
});

Deno.test("VaManager gives 0 for what was -0 in a request", () => {
  const arena = Arena.create({ byteLength: 2 ** 21 });
  const vm = VaManager.create(arena, { range: 2 ** 47 });
  const zeros = { start: -0, object: 1, offset: -0, phase: -0 };
  for (const repeat of [-0, PAGE]) {
    const request = { ...zeros, range: PAGE, repeat };
    const inserted = vm.insert(request);
    const found = [inserted, vm.lookup(0), vm.lookupMany([-0])[0]];
    vm.bind(request);
    found.push(vm.lookup(0), [...vm.mappings()][0]);
    for (const mapping of found) {
      for (const value of Object.values(mapping!)) {
        assert(!Object.is(value, -0));
      }
    }
    assert(Object.is(vm.translate(0), 0));
    vm.unbind({ start: -0, range: PAGE });
  }
});
