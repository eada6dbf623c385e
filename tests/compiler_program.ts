/**
 * Tests that compile the AssemblyScript anew, with something changed. The compiler needs a permission more than tests have, so each is a
 * program of its own, that exits 1 where it finds a mistake.
 *
 * @module
 */
import { assert } from "@std/assert";

/** Runs such a program, and fails if it does. */
export function assertSucceeds(program: URL): void {
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      // The compiler asks whether it runs in CI.
      "--allow-env=CI",
      program.href,
    ],
  }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
}
