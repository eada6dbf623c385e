import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  MappingTable,
  type MapTree,
  readTrace,
  Replayer,
  type Trace,
} from "../../src/trace/mod.ts";
import { Random, takeSeed } from "./random.ts";
import { SortedArrayTree } from "./sorted_array_tree.ts";
import { rangeTrees } from "./trees.ts";

const FOLDER = new URL("../traces/", import.meta.url);

interface Recording {
  readonly file: string;
  readonly lines: number;
  readonly processes: number;
  /** How many of them are left at the end. */
  readonly live: number;
}

const RECORDINGS: readonly Recording[] = [
  { file: "cat-maps.strace", lines: 30, processes: 1, live: 1 },
  { file: "deno-typecheck.strace", lines: 6635, processes: 1, live: 0 },
  { file: "gcc-compile.strace", lines: 564, processes: 5, live: 0 },
  { file: "node-npm-view.strace", lines: 934, processes: 1, live: 0 },
  { file: "python-imports.strace", lines: 301, processes: 6, live: 0 },
];

function readRecording(file: string): Trace {
  return readTrace(Deno.readTextFileSync(new URL(file, FOLDER)));
}

/** No two neighbours that continue each other, and everything at pages. */
function assertMerged<Tree extends MapTree<Tree>>(tree: Tree): void {
  let before = { last: -2, value: 0 };
  for (const { first, last, value } of tree.entries()) {
    assertEquals([first % 4096, (last + 1) % 4096], [0, 0]);
    assert(
      first !== before.last + 1 || value !== before.value,
      "neighbours of one mapping are not merged",
    );
    before = { last, value };
  }
}

for (const { file, lines, processes, live } of RECORDINGS) {
  Deno.test(`${file} is read whole and replays without a contradiction, in range trees as in a plain tree`, () => {
    const trace = readRecording(file);
    assertEquals(trace.unreadable, []);
    assertEquals(trace.lines, lines);
    assertEquals(
      trace.events.length + trace.ignored + trace.failed + trace.begun,
      lines,
    );

    const source = rangeTrees(true);
    const inRangeTrees = new Replayer(trace, {
      createTree: () => source.create(),
      keepEnded: true,
    });
    const inPlainTrees = new Replayer(trace, {
      createTree: () => new SortedArrayTree(),
      keepEnded: true,
    });
    while (inRangeTrees.step()) {
      inPlainTrees.step();
      if (inRangeTrees.position % 16 !== 0) continue;
      for (const tree of inRangeTrees.trees()) {
        tree.validate();
        assertMerged(tree);
      }
      assertEquals(
        inRangeTrees.maps(),
        inPlainTrees.maps(),
        `after event ${inRangeTrees.position}`,
      );
    }
    assertEquals(inPlainTrees.done, true);
    assertEquals(inRangeTrees.maps(), inPlainTrees.maps());
    const { outside: _, ...counts } = inRangeTrees.counts;
    assertEquals(counts, {
      events: trace.events.length,
      skipped: 0,
      inconsistent: 0,
      processes,
    });
    assertEquals(inRangeTrees.processes().length, live);
    inRangeTrees.endAll();
    assertEquals(inRangeTrees.trees(), []);
  });
}

/** What the loader, not the program, put into an address space: the kernel's own pages, the program's and the loader's files. */
const NOT_TRACED =
  /(?:\[stack\]|\[vvar\]|\[vvar_vclock\]|\[vdso\]|\[vsyscall\]| cat| ld-linux-x86-64\.so\.2)$/;

Deno.test("cat-maps.strace ends in the maps that the program itself printed, line by line, for all that the trace made", () => {
  const printed = Deno.readTextFileSync(new URL("cat-maps.maps", FOLDER))
    .trimEnd().split("\n");
  const expected = printed.filter((line) => !NOT_TRACED.test(line)).map((
    line,
  ) => line.split(" ", 2).join(" "));
  const replayer = new Replayer(readRecording("cat-maps.strace"), {
    createTree: () => new SortedArrayTree(),
  });
  replayer.run();
  assertEquals(replayer.maps().trimEnd().split("\n"), [
    "process 29919",
    ...expected,
  ]);
  assertEquals(expected.length, 23);
});

Deno.test("copies of a recording that share a mapping table take up no more numbers than one", () => {
  const trace = readRecording("python-imports.strace");
  const mappings = new MappingTable();
  const replay = () =>
    new Replayer(trace, { createTree: () => new SortedArrayTree(), mappings })
      .run();
  replay();
  const { count } = mappings;
  replay();
  assertEquals(mappings.count, count);
});

Deno.test("gcc-compile.strace keeps the last map of each process that ended, in order", () => {
  const replayer = new Replayer(readRecording("gcc-compile.strace"), {
    createTree: () => new SortedArrayTree(),
    keepEnded: true,
  });
  replayer.run();
  const maps = replayer.maps();
  assertEquals(
    maps.match(/^process \d+$/gm),
    [9449, 9450, 9494, 9495, 9496].map((pid) => `process ${pid}`),
  );
  // The compiler's heap, from its first break to its last.
  const section = maps.split("process 9450\n")[1].split("process")[0];
  assertStringIncludes(section, "36439000-");
});

Deno.test("a damaged recording is read and replayed without an exception, and every line of it is accounted for", () => {
  const random = new Random(takeSeed());
  const source = rangeTrees(false);
  const whole = [
    "gcc-compile.strace",
    "python-imports.strace",
    "cat-maps.strace",
  ]
    .map((file) => Deno.readTextFileSync(new URL(file, FOLDER))).join("");
  for (let round = 0; round < 20; round++) {
    const lines = whole.split("\n").map((line) =>
      random.chance(20) ? damage(line, random) : line
    );
    const trace = readTrace(lines.join("\n"));
    assertEquals(
      trace.events.length + trace.ignored + trace.failed + trace.begun +
        trace.unreadable.length,
      trace.lines,
    );
    const replayer = new Replayer(trace, { createTree: () => source.create() });
    replayer.run();
    for (const tree of replayer.trees()) {
      tree.validate();
      assertMerged(tree);
    }
    replayer.endAll();
    assertEquals(replayer.processes(), []);
  }
});

/** A line with a few characters changed, lost or taken from elsewhere in it. */
function damage(line: string, random: Random): string {
  const characters = [...line];
  for (let i = 0; i < 1 + random.below(3) && characters.length > 0; i++) {
    const at = random.below(characters.length);
    const replacement = random.pick([
      "",
      "0",
      "9",
      "f",
      " ",
      ",",
      random.pick(characters),
    ]);
    characters.splice(at, 1 + random.below(2), replacement);
  }
  return characters.join("");
}
