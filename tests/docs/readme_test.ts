import { assert } from "@std/assert";
import { pollard } from "../cli/program.ts";

Deno.test("The README shows what the demo prints", () => {
  const readme = Deno.readTextFileSync(
    new URL("../../README.md", import.meta.url),
  );
  const shown = /```text\n([^]*?)```/.exec(readme)![1];
  const { stdout } = pollard(["demo"]);
  let from = 0;
  for (const line of shown.split("\n")) {
    const at = stdout.indexOf(line, from);
    assert(at >= 0, `"${line}" does not follow in\n${stdout}`);
    from = at + line.length;
  }
});
