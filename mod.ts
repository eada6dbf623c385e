/**
 * Pollard keeps ordered structures in shared memory and compacts the memory under them while they are in use.
 *
 * @module
 */
export * from "./src/sync/mod.ts";
export * from "./src/memory/mod.ts";
export * from "./src/slab/mod.ts";
export * from "./src/range_tree/mod.ts";
export * from "./src/va/mod.ts";
export * from "./src/defrag/mod.ts";
