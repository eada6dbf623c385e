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
  "threads,simd",
];

async function compile(source: string): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [source, ...OPTIONS, "--outFile", "out.wasm"],
    {
      readFile: (name) => {
        try {
          return Deno.readTextFileSync(name);
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
  return bytes;
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

const { check } = parseArgs(Deno.args, { boolean: ["check"] });
let stale = 0;
for (const { source, target } of MODULES) {
  const text = moduleOf(source, await compile(source));
  if (!check) {
    Deno.writeTextFileSync(target, text);
  } else if (Deno.readTextFileSync(target) !== text) {
    console.error(`${target} is not what ${source} makes: deno task assemble`);
    stale++;
  }
}
if (stale > 0) Deno.exit(1);
