import { assert, assertEquals, assertMatch } from "@std/assert";
import { pollard } from "./program.ts";

Deno.test("demo runs from any folder and shows what the lock buys", () => {
  const { code, stdout, stderr } = pollard(["demo", "--copies", "12"], {
    cwd: "/",
  });
  assertEquals([code, stderr], [0, ""]);
  const row = (name: string) => {
    const cells = new RegExp(`^ *${name} {2,}(\\S.*)$`, "m").exec(stdout);
    assert(cells !== null, `"${name}" is not in\n${stdout}`);
    return cells[1].split(/ {2,}/);
  };
  const [freeable, same] = row("can be freed");
  assert(Number(freeable) > 10);
  assertEquals(same, freeable);
  assertEquals(row("slabs freed"), [freeable, "0"]);
  assertEquals(row("yield"), ["1.00", "0.00"]);
  assert(Number(row("move efficiency")[0]) >= 0.99);
  assertEquals(row("nodes pinned"), ["0", row("nodes moved")[0]]);
  assertEquals(row("with moves, at least")[0], row("nodes moved")[0]);
  const digests = row("digest of the trees before");
  assertMatch(digests[0], /^[0-9a-f]{8}$/);
  assertEquals(digests[0], digests[1]);
  assertEquals(row("digest of the trees after"), digests);
  assertMatch(
    stdout,
    new RegExp(
      `\\nCompaction freed ${freeable} of \\d+ slabs \\(all that could be freed\\) with \\d+ moves;\\n` +
        `with no lock in the trees it freed 0\\.\\n$`,
    ),
  );
});

Deno.test("demo is the same for the same seed but for the times", () => {
  const run = () =>
    pollard(["demo", "--copies=2", "--seed=9"]).stdout
      .replace(/^.*lock held.*$/m, "");
  assertEquals(run(), run());
});
