/**
 * Compiles the loops that are written in AssemblyScript, `src/…/assembly/`, to WebAssembly, and keeps the bytes in a TypeScript file
 * beside them, so that whoever uses the module needs no compiler and no other file.
 *
 * `deno task assemble` writes the files. With `--check` it says which are not what the sources make, and exits 1.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import asc from "assemblyscript/asc";

/** What is compiled, and the file that keeps it. */
const MODULES = [
  {
    source: "src/sync/assembly/atomics.ts",
    target: "src/sync/atomics_wasm.ts",
  },
  {
    source: "src/range_tree/assembly/mod.ts",
    target: "src/range_tree/compiled_wasm.ts",
  },
  {
    source: "src/va/assembly/mod.ts",
    target: "src/va/compiled_wasm.ts",
  },
];

/** The most pages that a WebAssembly memory has. */
const MAX_PAGES = 65536;
const LINE = 120;

const OPTIONS = [
  "-O3",
  "--runtime",
  "stub",
  "--noAssert",
  "--importMemory",
  "--sharedMemory",
  "--initialMemory",
  "1",
  "--maximumMemory",
  String(MAX_PAGES),
  "--enable",
  "threads,simd,bulk-memory",
];

/**
 * Compiles a source and what it imports.
 *
 * @param edit What of a source file is compiled instead of its text: for tests.
 */
export async function compile(
  source: string,
  edit: (name: string, text: string) => string = (_name, text) => text,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [source, ...OPTIONS, "--outFile", "out.wasm"],
    {
      readFile: (name) => {
        try {
          return edit(name, Deno.readTextFileSync(name));
        } catch {
          return null; // It looks for files that need not be there.
        }
      },
      writeFile: (_name, contents) => {
        bytes = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error !== null || bytes === undefined) {
    throw new Error(`Cannot compile ${source}: ${error?.message}\n${stderr}`);
  }
  return bytes as Uint8Array<ArrayBuffer>;
}

function moduleOf(source: string, bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  const lines = text.match(new RegExp(`.{1,${LINE}}`, "g"))!;
  return [
    `// Made of ${source} by \`deno task assemble\`: do not edit.`,
    "// deno-fmt-ignore-file",
    `/** The WebAssembly module, ${bytes.length} bytes, in base64. */`,
    "export const WASM: string =",
    lines.map((line) => `  "${line}"`).join(" +\n") + ";",
    "",
  ].join("\n");
}

/** Writes the files, or looks at them; returns how many are not what their sources make. */
async function main(check: boolean): Promise<number> {
  let stale = 0;
  for (const { source, target } of MODULES) {
    const text = moduleOf(source, await compile(source));
    if (!check) {
      Deno.writeTextFileSync(target, text);
    } else if (Deno.readTextFileSync(target) !== text) {
      console.error(
        `${target} is not what ${source} makes: deno task assemble`,
      );
      stale++;
    }
  }
  return stale;
}

if (import.meta.main) {
  const { check } = parseArgs(Deno.args, { boolean: ["check"] });
  if (await main(check) > 0) Deno.exit(1);
}
