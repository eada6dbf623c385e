import { assertEquals } from "@std/assert";
import { buddyInfo, slabInfo } from "../../src/report/mod.ts";

Deno.test("slabInfo writes what /proc/slabinfo would", () => {
  const text = slabInfo([
    {
      name: "range_node",
      objectBytes: 256,
      capacity: 16,
      slabs: 476,
      isolated: 0,
      objects: 3021,
      slabsByOccupancy: [6, ...new Array(15).fill(0), 470],
    },
    {
      name: "range_node_pinned",
      objectBytes: 256,
      capacity: 16,
      slabs: 0,
      isolated: 0,
      objects: 0,
      slabsByOccupancy: new Array(17).fill(0),
    },
    {
      name: "range_tree",
      objectBytes: 128,
      capacity: 32,
      slabs: 1_234_567,
      isolated: 0,
      objects: 32_000_000,
      slabsByOccupancy: new Array(33).fill(0),
    },
  ]);
  assertEquals(text.split("\n"), [
    "slabinfo - version: 2.1",
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>",
    "range_node          3021   7616    256   16    1 : tunables    0    0    0 : slabdata    470    476      0",
    "range_node_pinned      0      0    256   16    1 : tunables    0    0    0 : slabdata      0      0      0",
    "range_tree        32000000 39506144    128   32    1 : tunables    0    0    0 : slabdata 1234567 1234567      0",
    "",
  ]);
});

Deno.test("buddyInfo writes what /proc/buddyinfo would", () => {
  assertEquals(
    buddyInfo([132, 51, 14, 0, 1, 0, 0, 0, 0, 0, 1234567]),
    "Node 0, zone   Normal    132     51     14      0      1      0      0      0      0      0 1234567 \n",
  );
});
