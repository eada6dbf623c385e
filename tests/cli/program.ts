const MAIN = new URL("../../src/cli/main.ts", import.meta.url).href;
const DECODER = new TextDecoder();

/** What a run of the program came to. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program as a user does, with the one permission that it needs. */
export function pollard(
  args: readonly string[],
  options: { permissions?: readonly string[]; cwd?: string } = {},
): Outcome {
  const { permissions = ["--allow-read"], cwd } = options;
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...permissions, MAIN, ...args],
    cwd,
  }).outputSync();
  return {
    code,
    stdout: DECODER.decode(stdout),
    stderr: DECODER.decode(stderr),
  };
}

/** The path of a file beside the tests. */
export function pathOf(file: string): string {
  return decodeURIComponent(new URL(`../${file}`, import.meta.url).pathname);
}
