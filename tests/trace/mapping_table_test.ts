import { assertEquals, assertThrows } from "@std/assert";
import { Attribute, type MapCall, MappingTable } from "../../src/trace/mod.ts";

const ANONYMOUS: MapCall = {
  kind: "map",
  start: 0x10000,
  length: 0x1000,
  protection: 3,
  shared: false,
  fixed: false,
  source: "",
  offset: 0,
  attributes: 0,
};
const FILE: MapCall = { ...ANONYMOUS, source: "fd 3", offset: 0x4000 };

Deno.test("MappingTable gives equal mappings equal numbers, from 1", () => {
  const table = new MappingTable();
  assertEquals(table.map(ANONYMOUS), 1);
  assertEquals(table.map({ ...ANONYMOUS, start: 0x90000 }), 1);
  assertEquals(table.map(FILE), 2);
  assertEquals(table.map({ ...FILE, start: 0x11000, offset: 0x5000 }), 2);
  assertEquals(table.map({ ...FILE, start: 0x11000 }), 3);
  assertEquals(table.count, 3);
});

Deno.test("MappingTable tells apart whatever keeps the kernel from merging", () => {
  const table = new MappingTable();
  const variants: Partial<MapCall>[] = [
    {},
    { protection: 1 },
    { shared: true, source: "line 1" },
    { shared: true, source: "line 2" },
    { source: "fd 3" },
    { source: "fd 3 /lib/libc.so.6" },
    ...Object.values(Attribute).map((attributes) => ({ attributes })),
  ];
  const ids = variants.map((variant) =>
    table.map({ ...ANONYMOUS, ...variant })
  );
  assertEquals(ids, variants.map((_, i) => i + 1));
});

Deno.test("MappingTable.protect remembers that a private mapping was writable", () => {
  const table = new MappingTable();
  const readOnly = table.map({ ...FILE, protection: 1 });
  const writable = table.protect(readOnly, 3, -1);
  const again = table.protect(writable, 1, -1);
  assertEquals(table.get(readOnly).accounted, false);
  assertEquals(table.get(again), { ...table.get(readOnly), accounted: true });
  assertEquals(table.protect(again, 3, -1), writable);
  const shared = table.map({ ...FILE, shared: true });
  assertEquals(table.get(shared).accounted, false);
});

Deno.test("MappingTable.protect changes the protection key only when it is given one", () => {
  const table = new MappingTable();
  const id = table.protect(table.map(ANONYMOUS), 3, 2);
  assertEquals(table.get(table.protect(id, 1, -1)).key, 2);
  assertEquals(table.get(table.protect(id, 1, 0)).key, 0);
});

Deno.test("MappingTable.move keeps everything but the origin", () => {
  const table = new MappingTable();
  const id = table.map(FILE);
  const moved = table.move(id, -0x8000);
  assertEquals(table.get(moved), { ...table.get(id), origin: 0x4000 });
  assertEquals(table.move(moved, 0x8000), id);
});

Deno.test("MappingTable.permissions writes them as /proc/PID/maps does", () => {
  const table = new MappingTable();
  const permissions = (variant: Partial<MapCall>) =>
    table.permissions(table.map({ ...ANONYMOUS, ...variant }));
  assertEquals(permissions({ protection: 0 }), "---p");
  assertEquals(permissions({ protection: 7 }), "rwxp");
  assertEquals(
    permissions({ protection: 5, shared: true, source: "fd 3" }),
    "r-xs",
  );
});

Deno.test("MappingTable.get refuses a number that it did not give", () => {
  const table = new MappingTable();
  assertThrows(
    () => table.get(1),
    RangeError,
    "Cannot look up mapping: 1 is not in [1, 0]",
  );
});
