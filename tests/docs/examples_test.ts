import { assert, assertMatch } from "@std/assert";

const EXAMPLE = new URL(
  "../../docs/examples/shared_range_map.ts",
  import.meta.url,
);

Deno.test("The example of a shared range map runs: readers see nothing wrong while slabs are freed", async () => {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", EXAMPLE.pathname],
    env: { NO_COLOR: "1" },
  });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder().decode(stdout);
  assert(success, new TextDecoder().decode(stderr));
  assertMatch(text, /compactor: freed [1-9]\d* slabs with [1-9]\d* moves/);
  const readers = [...text.matchAll(/reader: (\d+) lookups, (\d+) wrong/g)];
  assert(readers.length === 2, text);
  for (const [, lookups, wrong] of readers) {
    assert(Number(lookups) > 0 && Number(wrong) === 0, text);
  }
});

Deno.test("The example of a shared range map is under 60 lines of code", () => {
  const lines = Deno.readTextFileSync(EXAMPLE).split("\n")
    .filter((line) => !/^( \*|\/\*\*|$)/.test(line));
  assert(lines.length < 60, `${lines.length} lines`);
});

Deno.test("The example of policies frees slabs by each of them, and makes more blocks by windows", async () => {
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      new URL("../../docs/examples/policies.ts", import.meta.url).pathname,
    ],
    env: { NO_COLOR: "1" },
  });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder().decode(stdout);
  assert(success, new TextDecoder().decode(stderr));
  const [greedy, windows, own] = text.trim().split("\n").map((line) =>
    /: (\d+) slabs freed with (\d+) moves, (\d+) free/.exec(line)!.map(Number)
  );
  assert(greedy[1] > 100 && own[1] === greedy[1], text);
  assert(greedy[2] <= own[2], text);
  assert(windows[3] > greedy[3], text);
});
