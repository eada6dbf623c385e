/**
 * `@std/testing/mock` for machines that reach npm but not JSR: the same code, from npm, under the types of `mock.d.ts`.
 *
 * @module
 */

// @ts-types="./mock.d.ts"
export * from "npm:deno-std@1.3.1/testing/mock.js";
