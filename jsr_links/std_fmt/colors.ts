/**
 * `@std/fmt/colors` for machines that reach npm but not JSR: the same code, from npm, under the types of `colors.d.ts`.
 *
 * @module
 */

// @ts-types="./colors.d.ts"
export * from "npm:deno-std@1.4.0/fmt/colors.js";
