/**
 * Looks at the compiled functions in which no thread may be terminated: V8 does that only at a call or where a loop turns round, so
 * they must have neither, nor may the compiler have made any. Exits 1 if one has. Run by `compiled_store_test.ts`, since the compiler
 * needs a permission more.
 *
 * @module
 */
import { assertMatch, assertNotMatch } from "@std/assert";
import binaryen from "assemblyscript/binaryen";
import { compile } from "../../tools/assemble.ts";

const FOLDER = "src/range_tree/assembly/";
/** The functions, by the file of each, and what of it must be there, or it would not be what is meant. */
const STRETCHES = [
  // It changes a leaf where it is.
  { name: "spliceInPlace", file: "build", does: /memory\.copy/ },
  // What it has taken is nobody's until it is noted.
  { name: "take", file: "supply", does: /atomic\.rmw\.cmpxchg/ },
];
const INTERRUPTIBLE = /\((return_)?call(_indirect|_ref)?\b|\(loop\b/;

// Exported, so that the compiler keeps each as a function, with all in it that it puts into others instead of a call.
const exported = STRETCHES.map(({ name, file }) =>
  `export { ${name} } from "./${file}";\n`
).join("");
const bytes = await compile(
  `${FOLDER}mod.ts`,
  (name, text) => name.endsWith("assembly/mod.ts") ? text + exported : text,
);
const module = binaryen.readBinary(bytes);

/** The body of an exported function as text. */
function bodyOf(name: string): string {
  const { value } = binaryen.getExportInfo(module.getExport(name));
  const { body } = binaryen.getFunctionInfo(module.getFunction(value));
  return binaryen.emitText(body);
}

for (const { name, does } of STRETCHES) {
  const body = bodyOf(name);
  assertMatch(body, does);
  assertNotMatch(body, INTERRUPTIBLE, `${name} can be interrupted`);
}
// These have what is looked for.
assertMatch(bodyOf("countEntries"), /\(loop\b/);
assertMatch(bodyOf("enterErase"), /\(call\b/);
