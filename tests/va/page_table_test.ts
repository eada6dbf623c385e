import { assertEquals, assertThrows } from "@std/assert";
import {
  Arena,
  type OperationList,
  PageTable,
  VaError,
  VaManager,
  type VaOp,
} from "../../mod.ts";
import { remapToUnmapRange, type VaSpan } from "../../src/va/mod.ts";
import { type Rng, rng, seeds } from "../seed.ts";
import { PAGE, VaMirror } from "./mirror.ts";
import { pages, randomRequest } from "./worlds.ts";

const BIG = 16, HUGE = 512;

function placeAt(table: PageTable, address: number): string {
  const entry = table.read(address);
  if (entry === undefined) return "nothing";
  return entry.object === 0 ? "zero" : `${entry.object}@${entry.offset}`;
}

function assertSamePages(
  table: PageTable,
  mirror: VaMirror,
  count: number,
): void {
  for (let page = 0; page < count; page++) {
    const found = placeAt(table, page * PAGE);
    const expected = mirror.at(page * PAGE);
    if (found !== expected) assertEquals(found, expected, `page ${page}`);
  }
}

/** A request whose ends often lie at boundaries of leaves, and whose offset often fits them. */
function request(random: Rng, window: number) {
  const unit = random.pick([1, 1, BIG, HUGE]);
  const units = Math.ceil(window / unit);
  const first = random.int(units);
  const count = 1 + random.int(Math.min(units - first, 40));
  const object = random.int(3);
  const offset = random.int(3) === 0 ? random.int(99) : first * unit;
  return pages(first * unit, count * unit, object, object === 0 ? 0 : offset);
}

/** What an operation of a list leaves standing. */
function standing(op: VaOp): VaSpan[] {
  if (op.kind === "unmap") return op.keep ? [op.mapping] : [];
  if (op.kind !== "remap") return [];
  const kept = op.unmap.keep ? [remapToUnmapRange(op)] : [];
  return [op.prev, op.next].filter((part) => part !== undefined).concat(
    kept as never[],
  );
}

function executeWatching(table: PageTable, list: OperationList): void {
  const watched = [...list].flatMap(standing);
  const before = watched.map((span) => look(table, span));
  for (const op of list) {
    table.apply(op);
    for (const [i, span] of watched.entries()) {
      const found = look(table, span);
      if (found !== before[i]) assertEquals(found, before[i], "a hole showed");
    }
  }
  table.flush();
}

function look(table: PageTable, { start, range }: VaSpan): string {
  let text = "";
  for (let at = start; at < start + range; at += PAGE) {
    text += placeAt(table, at) + " ";
  }
  return text;
}

{
  const name =
    "PageTable equals the page-by-page truth after every request, and shows no hole";
  for (const seed of seeds(name)) {
    for (const merge of [false, true]) {
      Deno.test(`${name}, merge ${merge}, seed ${seed}`, () => {
        const random = rng(seed);
        const vm = VaManager.create(Arena.create({ byteLength: 2 ** 21 }), {
          range: 2 ** 47,
        });
        const table = new PageTable();
        const mirror = new VaMirror();
        const window = random.pick([40, 2 * HUGE + 40]);
        for (let i = 0; i < 150; i++) {
          const wanted = random.int(2) === 0
            ? request(random, window)
            : randomRequest(random, window, 60);
          const isMap = random.int(3) > 0;
          const list = isMap
            ? vm.mapOps(wanted, { merge })
            : vm.unmapOps(wanted);
          executeWatching(table, list);
          vm.commit(list);
          if (isMap) mirror.map(wanted);
          else mirror.unmap(wanted);
          assertSamePages(table, mirror, window + 64);
        }
        table.execute([vm.unmapOps(pages(0, 2 ** 30))]);
        assertEquals(table.stats().leaves, [0, 0, 0]);
        assertEquals(table.stats().tables, 1);
      });
    }
  }
}

Deno.test("PageTable uses the largest leaves that the place in the object allows", () => {
  const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), {
    range: 2 ** 47,
  });
  const table = new PageTable();
  const map = (first: number, count: number, offset: number) => {
    const list = vm.mapOps(pages(first, count, 1, offset));
    vm.commit(list);
    table.execute([list]);
    return table.stats().leaves;
  };
  assertEquals(map(0, HUGE, 0), [0, 0, 1]);
  assertEquals(map(HUGE, HUGE, BIG), [0, HUGE / BIG, 1]);
  assertEquals(map(2 * HUGE, BIG, 1), [BIG, HUGE / BIG, 1]);
  // A page of the 2 MiB leaf: 31 leaves of 64 KiB, 15 + 1 of 4 KiB.
  assertEquals(map(5, 1, 99), [BIG + 16, HUGE / BIG + 31, 0]);
});

Deno.test("PageTable writes nothing and flushes nothing for what is kept", () => {
  const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), {
    range: 2 ** 47,
  });
  const table = new PageTable();
  const run = (list: OperationList) => {
    vm.commit(list);
    table.execute([list]);
    const { writes, flushes } = table.stats();
    return [writes, flushes];
  };
  const [writes] = run(vm.mapOps(pages(0, 3, 1)));
  assertEquals(run(vm.mapOps(pages(0, 3, 1))), [writes, 0]);
  assertEquals(run(vm.mapOps(pages(1, 1, 1, 1))), [writes, 0]);
  // Without keep it is taken away and written again.
  assertEquals(run(vm.mapOps(pages(1, 1, 2, 1))), [writes + 2, 1]);
});

Deno.test("PageTable reads zero in sparse ranges where nothing is mapped", () => {
  const table = new PageTable();
  table.setSparse(pages(0, 8), true);
  assertEquals(placeAt(table, 3 * PAGE), "zero");
  table.apply({ kind: "map", mapping: pages(3, 1, 5) });
  assertEquals(placeAt(table, 3 * PAGE), "5@0");
  table.apply({
    kind: "unmap",
    mapping: { ...pages(3, 1, 5), ref: 1 },
    keep: false,
  });
  assertEquals(placeAt(table, 3 * PAGE), "zero");
  table.setSparse(pages(0, 8), false);
  assertEquals(placeAt(table, 3 * PAGE), "nothing");
});

Deno.test("PageTable refuses what is not about whole pages, and executes nothing of the lists that it is in", () => {
  const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), {
    range: 2 ** 47,
  });
  const table = new PageTable();
  const commit = (list: OperationList) => {
    vm.commit(list);
    return list;
  };
  const maps = [commit(vm.mapOps(pages(0, 8, 1)))];
  maps.push(
    commit(vm.mapOps({ start: 32 * PAGE + 9, range: PAGE, object: 1 })),
  );
  const state = () => [look(table, pages(0, 40)), table.stats()];
  const before = state();
  assertThrows(() => table.execute(maps), VaError, "whole pages");
  assertEquals(state(), before);
  table.execute([maps[0]]);

  const mapped = state();
  const good = () => vm.unmapOps(pages(2, 1));
  const wrong = [
    { start: 5 * PAGE + 100, range: 100 },
    { start: 5 * PAGE, range: PAGE + 1 },
    { start: 5 * PAGE - 1, range: PAGE + 1 },
    { start: 32 * PAGE, range: 2 * PAGE },
  ].flatMap((span) => [vm.unmapOps(span), vm.mapOps({ ...span, object: 2 })]);
  for (const list of [...wrong, vm.prefetchOps(pages(32, 2))]) {
    assertThrows(() => table.execute([good(), list]), VaError, "whole page");
    const ops = [...list].filter((op) =>
      op.kind !== "map" || op.mapping.range % PAGE !== 0
    );
    for (const op of ops) assertThrows(() => table.apply(op), VaError);
    assertEquals(state(), mapped);
  }
  // What is kept is not written.
  const kept = { kind: "unmap", keep: true } as const;
  table.apply({ ...kept, mapping: { ...pages(0, 1), range: 5, ref: 1 } });
  for (
    const span of [
      { start: -5, range: NaN },
      { start: NaN, range: PAGE },
      { start: -PAGE, range: PAGE },
      { start: 0, range: 0 },
      { start: 0, range: Infinity },
      { start: 2 ** 53, range: PAGE },
      { start: 1, range: PAGE },
    ]
  ) {
    for (const on of [true, false]) {
      assertThrows(() => table.setSparse(span, on), VaError, "whole pages");
    }
    const apply = () =>
      table.apply({ kind: "map", mapping: { ...pages(0, 1, 1), ...span } });
    assertThrows(apply, VaError, "whole pages");
  }
  assertEquals(state(), mapped);
});

Deno.test("PageTable refuses repeated blocks that are not of whole pages, or begin within one", () => {
  const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), {
    range: 2 ** 47,
  });
  const table = new PageTable();
  const request = { start: 0, range: 3 * PAGE, object: 1 };
  for (
    const block of [
      { repeat: PAGE / 4 },
      { repeat: 1.5 * PAGE },
      { repeat: 2 * PAGE, phase: PAGE / 2 },
    ]
  ) {
    const list = vm.mapOps({ ...request, ...block });
    assertThrows(() => table.execute([list]), VaError, "whole pages");
    for (const op of list) {
      assertThrows(() => table.apply(op), VaError, "whole pages");
    }
    assertEquals(table.stats().writes, 0);
  }
  const list = vm.mapOps({ ...request, repeat: 2 * PAGE, phase: PAGE });
  vm.commit(list);
  table.execute([list]);
  for (let at = 0; at < 3 * PAGE; at += 100) {
    assertEquals(table.read(at)?.offset, vm.translate(at));
  }
  table.execute([vm.unmapOps(request)]);
  // What is not in the table may go from the manager.
  vm.bind({ ...request, repeat: PAGE / 4 });
  table.execute([vm.unmapOps(request)]);
});

Deno.test("PageTable.read() finds nothing at what is no address", () => {
  const table = new PageTable();
  table.apply({ kind: "map", mapping: pages(0, 1, 1) });
  table.setSparse(pages(1, 2), true);
  assertEquals([placeAt(table, 0), placeAt(table, PAGE)], ["1@0", "zero"]);
  for (const address of [2 ** 53, 2 ** 53 + PAGE, -1, 0.5, NaN, Infinity]) {
    assertEquals(table.read(address), undefined);
  }
});

Deno.test("PageTable maps the very last page", () => {
  const table = new PageTable();
  const last = { ...pages(0, 1, 1), start: 2 ** 53 - PAGE };
  table.apply({ kind: "map", mapping: last });
  assertEquals(placeAt(table, 2 ** 53 - 1), `1@${PAGE - 1}`);
});
