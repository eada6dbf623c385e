/**
 * `@std/assert` for machines that reach npm but not JSR: the same code, from npm, under the types of `mod.d.ts`.
 *
 * @module
 */

// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
