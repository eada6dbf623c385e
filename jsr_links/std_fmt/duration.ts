/**
 * `@std/fmt/duration` for machines that reach npm but not JSR: the same code, from npm, under the types of `duration.d.ts`.
 *
 * @module
 */

// @ts-types="./duration.d.ts"
export * from "npm:deno-std@1.4.0/fmt/duration.js";
