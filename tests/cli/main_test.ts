import { assert, assertEquals, assertMatch } from "@std/assert";
import { pathOf, pollard } from "./program.ts";

const FILE = pathOf("traces/cat-maps.strace");

/** Wrong usage and what is said of it. */
const WRONG: readonly [args: string[], message: string][] = [
  [[], 'Cannot run: no command is given, see "--help"'],
  [["--json"], 'Cannot run "--json": there is no such command, see "--help"'],
  [["two\nlines"], 'Cannot run "two\\nlines": there is no such command'],
  [["replay"], "Cannot replay: no FILE is given"],
  [["replay", "--all", FILE], 'Cannot use "--all": there is no such option'],
  [["replay", FILE, "-x"], 'Cannot use "-x": there is no such option'],
  [["replay", "--no-json", FILE], 'Cannot use "--no-json": there is no such'],
  [["replay", "--two\nlines"], 'Cannot use "--two\\nlines": there is no such'],
  [["replay", "--copies", "1", "--", "--help"], 'Cannot read "--help": No'],
  [["replay", "no\nfile"], 'Cannot read "no\\nfile": No such file'],
  [["replay", FILE, pathOf("traces")], "Cannot read "],
  [["replay", FILE, "--copies"], "Cannot use --copies: it has no value"],
  [["replay", FILE, "--copies", "0"], 'Cannot use --copies "0": it is no'],
  [["replay", FILE, "--copies=1.5"], 'Cannot use --copies "1.5": it is no'],
  [["replay", FILE, "--copies=1e3"], 'Cannot use --copies "1e3": it is no'],
  [
    ["replay", FILE, "--seed", "4294967296"],
    'Cannot use --seed "4294967296": it is no integer in [0, 4294967295]',
  ],
  [
    ["replay", FILE, "--exit-share", "1.1"],
    'Cannot use --exit-share "1.1": it is no number in [0, 1]',
  ],
  [["replay", FILE, "--exit-share=-1"], 'Cannot use --exit-share "-1": it'],
  [
    ["replay", FILE, "--exit-share", "-.5"],
    'Cannot use --exit-share "-.5": it',
  ],
  [
    ["replay", FILE, "--exit-share", "1e1"],
    'Cannot use --exit-share "1e1": it',
  ],
  [["replay", FILE, "--exit-share", "1e"], 'Cannot use --exit-share "1e": it'],
  [["replay", FILE, "-1"], 'Cannot use "-1": there is no such option'],
  [
    ["replay", FILE, "--seed", "-x"],
    'Cannot use "-x": there is no such option',
  ],
  ...["demo", "churn", "bind", "replay"].map((command): [string[], string] => [
    [command, "--seed", "-1"],
    'Cannot use --seed "-1": it is no integer in [0, 4294967295]',
  ]),
  ...["1", "false", "true", ""].flatMap((value) =>
    ["churn", "bind", "replay"].map((command): [string[], string] => [
      [command, FILE, `--json=${value}`],
      `Cannot use "--json=${value}": --json takes no value`,
    ])
  ),
  [["churn", "--no-compact=1"], 'Cannot use "--no-compact=1": --no-compact'],
  [
    ["replay", FILE, "--lock", "rcu"],
    'Cannot use --lock "rcu": it is none of internal, external, none',
  ],
  [["replay", FILE, "--json", "--maps"], "Cannot use --json with --maps"],
  [["demo", "--lock", "none"], 'Cannot use "--lock": there is no such option'],
  ...["demo", "churn", "bind"].map((command): [string[], string] => [
    [command, "two\nlines"],
    `Cannot run ${command}: it takes no file, found "two\\nlines"`,
  ]),
];

Deno.test("wrong usage exits with 2 and one line on standard error", () => {
  for (const [args, message] of WRONG) {
    const { code, stdout, stderr } = pollard(args);
    assertEquals([code, stdout], [2, ""], `${args}: ${stderr}`);
    assertMatch(stderr, /^pollard: [^\n]*[^.\n]\n$/);
    assert(stderr.startsWith(`pollard: ${message}`), stderr);
  }
});

Deno.test("a file that may not be read is wrong usage too", () => {
  for (const args of [["replay", FILE], ["demo"]]) {
    const { code, stdout, stderr } = pollard(args, { permissions: [] });
    assertEquals([code, stdout], [2, ""]);
    assertMatch(stderr, /^pollard: Cannot read [^\n]*\n$/);
  }
});

Deno.test("--help lists the commands, and each explains itself", () => {
  const { code, stdout, stderr } = pollard(["--help"]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^Usage: pollard COMMAND/m);
  for (const command of ["demo", "replay", "churn", "bind"]) {
    assertMatch(stdout, new RegExp(`^  ${command} `, "m"));
    for (const args of [[command, "--help"], [command, "nofile", "-h"]]) {
      const help = pollard(args, { permissions: [] });
      assertEquals([help.code, help.stderr], [0, ""]);
      assertMatch(help.stdout, new RegExp(`^Usage: pollard ${command}`, "m"));
    }
  }
});

Deno.test("a scenario that is too large exits with 1 and one line on standard error", () => {
  const file = pathOf("traces/deno-typecheck.strace");
  const files = new Array(10).fill(file);
  const { code, stdout, stderr } = pollard([
    "replay",
    ...files,
    "--copies",
    "10000",
  ]);
  assertEquals([code, stdout], [1, ""]);
  assertMatch(stderr, /^pollard: Cannot replay 10000 copies: [^\n]*\n$/);
});
