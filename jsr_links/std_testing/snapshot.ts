/**
 * `@std/testing/snapshot` for machines that reach npm but not JSR: the same code, from npm, under the types of `snapshot.d.ts`.
 *
 * @module
 */

// @ts-types="./snapshot.d.ts"
export * from "npm:deno-std@1.3.1/testing/snapshot.js";
