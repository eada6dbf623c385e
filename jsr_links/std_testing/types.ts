/**
 * `@std/testing/types` for machines that reach npm but not JSR: the same code, from npm, under the types of `types.d.ts`.
 *
 * @module
 */

// @ts-types="./types.d.ts"
export * from "npm:deno-std@1.3.1/testing/types.js";
