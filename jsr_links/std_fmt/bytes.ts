/**
 * `@std/fmt/bytes` for machines that reach npm but not JSR: the same code, from npm, under the types of `bytes.d.ts`.
 *
 * @module
 */

// @ts-types="./bytes.d.ts"
export * from "npm:deno-std@1.4.0/fmt/bytes.js";
