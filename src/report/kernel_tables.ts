import type { SlabCacheStats } from "../slab/mod.ts";

/**
 * Slab caches as `/proc/slabinfo` shows them.
 *
 * @example One cache
 * ```ts
 * import { slabInfo } from "./kernel_tables.ts";
 * import { assert } from "@std/assert";
 *
 * const text = slabInfo([{
 *   name: "range_node",
 *   objectBytes: 256,
 *   capacity: 16,
 *   slabs: 4,
 *   isolated: 0,
 *   objects: 20,
 *   slabsByOccupancy: [1, 0, 0, 1, 1],
 * }]);
 * assert(text.startsWith("slabinfo - version: 2.1\n# name "));
 * assert(text.includes("range_node            20     64    256   16    1 "));
 * ```
 */
export function slabInfo(caches: readonly SlabCacheStats[]): string {
  return "slabinfo - version: 2.1\n" +
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> " +
    ": tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n" +
    caches.map(slabInfoLine).join("");
}

/**
 * Free blocks by order as `/proc/buddyinfo` shows them.
 *
 * @example A few blocks
 * ```ts
 * import { buddyInfo } from "./kernel_tables.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(buddyInfo([3, 1, 12]), "Node 0, zone   Normal      3      1     12 \n");
 * ```
 */
export function buddyInfo(freeBlocksByOrder: readonly number[]): string {
  const blocks = freeBlocksByOrder.map((count) => `${right(count, 6)} `);
  return `Node 0, zone ${right("Normal", 8)} ${blocks.join("")}\n`;
}

function slabInfoLine(stats: SlabCacheStats): string {
  const { name, objects, objectBytes, capacity, slabs, slabsByOccupancy } =
    stats;
  // A slab is one page, and there is nothing to tune.
  return `${name.padEnd(17)} ${right(objects, 6)} ${
    right(slabs * capacity, 6)
  } ${right(objectBytes, 6)} ${right(capacity, 4)} ${right(1, 4)}` +
    ` : tunables ${right(0, 4)} ${right(0, 4)} ${right(0, 4)}` +
    ` : slabdata ${right(slabs - slabsByOccupancy[0], 6)} ${right(slabs, 6)} ${
      right(0, 6)
    }\n`;
}

function right(value: string | number, width: number): string {
  return String(value).padStart(width);
}
