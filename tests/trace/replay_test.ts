import { assertEquals, assertThrows } from "@std/assert";
import {
  type MapCall,
  type MapTree,
  type MemoryCall,
  readTrace,
  Replayer,
} from "../../src/trace/mod.ts";
import { randomCall } from "./calls.ts";
import { PageMirror } from "./page_mirror.ts";
import { Random, takeSeed } from "./random.ts";
import { SortedArrayTree } from "./sorted_array_tree.ts";
import { plainTrees, rangeTrees, type TreeSource } from "./trees.ts";

function replayerOf(
  lines: readonly string[],
  keepEnded = false,
): Replayer<SortedArrayTree> {
  const trace = readTrace(lines.join("\n"));
  assertEquals(trace.unreadable, []);
  return new Replayer(trace, {
    createTree: () => new SortedArrayTree(),
    keepEnded,
  });
}

function mapsAfter(lines: readonly string[], keepEnded = false): string {
  const replayer = replayerOf(lines, keepEnded);
  replayer.run();
  return replayer.maps();
}

/** A line that maps one page, a digit saying which. */
function mapLine(pid: number, page: number): string {
  return `${pid} mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x${page}0000`;
}

/** The map of a process that has mapped these pages. */
function section(pid: number, ...pages: number[]): string {
  return `process ${pid}\n` +
    pages.map((page) => `000${page}0000-000${page}1000 r--p\n`).join("");
}

Deno.test("Replayer gives a forked child a copy", () => {
  assertEquals(
    mapsAfter([mapLine(7, 1), "7 fork() = 8", mapLine(7, 2), mapLine(8, 3)]),
    section(7, 1, 2) + section(8, 1, 3),
  );
});

Deno.test("Replayer lets a vforked child share until it executes a program", () => {
  const lines = [mapLine(7, 1), "7 vfork() = 8", mapLine(8, 2)];
  assertEquals(mapsAfter(lines), section(7, 1, 2));
  const exec = ['8 execve("a", [...], [...]) = 0', mapLine(8, 3)];
  assertEquals(
    mapsAfter([...lines, ...exec]),
    section(7, 1, 2) + section(8, 3),
  );
  const exit = [
    "8 _exit(0) = ?",
    "8 exit_group(0) = ?",
    "8 +++ exited with 0 +++",
  ];
  assertEquals(
    mapsAfter([...lines, ...exit], true),
    section(7, 1, 2),
    "what others use is not gone",
  );
});

Deno.test("Replayer keeps an address space until the last process that shares it has ended", () => {
  const replayer = replayerOf([
    mapLine(7, 1),
    "7 vfork() = 8",
    "7 exit_group(0) = ?",
    mapLine(8, 2),
    "8 exit_group(0) = ?",
  ], true);
  replayer.run(4);
  const [tree] = replayer.trees();
  assertEquals([replayer.maps(), tree.destroyed], [section(8, 1, 2), false]);
  replayer.run();
  assertEquals([replayer.maps(), tree.destroyed], [section(8, 1, 2), true]);
});

Deno.test("Replayer runs the threads of a process in one address space, and ends it with the last", () => {
  const thread =
    "7 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f70}, 88) = 8";
  const lines = [
    mapLine(7, 1),
    thread,
    mapLine(8, 2),
    "7 exit(0) = ?",
    "7 +++ exited with 0 +++",
    mapLine(8, 3),
  ];
  assertEquals(mapsAfter(lines), section(7, 1, 2, 3));
  assertEquals(mapsAfter([...lines, "8 exit(0) = ?"]), "");
  assertEquals(mapsAfter([mapLine(7, 1), thread, "8 exit_group(0) = ?"]), "");
});

Deno.test("Replayer ends the other threads when one executes a program", () => {
  const lines = [
    mapLine(7, 1),
    "7 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f70}, 88) = 8",
    '8 execve("a", [...], [...] <unfinished ...>',
    "7 +++ superseded by execve in pid 8 +++",
    "7 <... execve resumed>) = 0",
    mapLine(7, 2),
  ];
  assertEquals(mapsAfter(lines), section(7, 2));
  assertEquals(mapsAfter([...lines, "7 exit(0) = ?"]), "");
});

Deno.test("Replayer begins anew with execve, and forgets the heap", () => {
  const lines = [
    "7 brk(NULL) = 0x10000",
    "7 brk(0x11000) = 0x11000",
    '7 execve("a", [...], [...]) = 0',
  ];
  assertEquals(mapsAfter(lines, true), "process 7\n");
  assertEquals(
    mapsAfter([...lines, "7 brk(NULL) = 0x50000", "7 brk(0x51000) = 0x51000"]),
    "process 7\n00050000-00051000 rw-p\n",
  );
});

Deno.test("Replayer takes a task that the recording does not introduce for a process of its own", () => {
  assertEquals(
    mapsAfter([mapLine(7, 1), mapLine(8, 2)]),
    section(7, 1) + section(8, 2),
  );
});

Deno.test("Replayer gives a number that is used again to a new process", () => {
  const lines = [
    mapLine(7, 1),
    "7 fork() = 8",
    "8 exit_group(0) = ?",
    mapLine(7, 2),
    "7 fork() = 8",
    mapLine(8, 3),
  ];
  assertEquals(
    mapsAfter(lines, true),
    section(7, 1, 2) + section(8, 1) + section(8, 1, 2, 3),
  );
});

Deno.test("Replayer.maps prints addresses of all sizes as the kernel does", () => {
  const line = (address: string) =>
    `7 mmap(NULL, 4096, PROT_NONE, MAP_SHARED, 3, 0) = ${address}`;
  assertEquals(
    mapsAfter([line("0x1000"), line("0x7fe9ccd7b000")]),
    "process 7\n00001000-00002000 ---s\n7fe9ccd7b000-7fe9ccd7c000 ---s\n",
  );
});

Deno.test("Replayer.end skips and counts what the trace tells of the process and its children", () => {
  const replayer = replayerOf([
    mapLine(7, 1),
    mapLine(7, 2),
    "7 fork() = 8",
    mapLine(8, 3),
    "8 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f70}, 88) = 9",
    mapLine(9, 4),
    "8 exit_group(0) = ?",
    "7 exit_group(0) = ?",
    "7 +++ exited with 0 +++",
  ], true);
  replayer.run(1);
  replayer.end(7);
  replayer.run();
  assertEquals(replayer.maps(), section(7, 1));
  assertEquals(replayer.counts, {
    events: 9,
    skipped: 5,
    inconsistent: 0,
    outside: 0,
    processes: 1,
  });
});

Deno.test("Replayer.end ends a process whose first thread has left, and refuses one that is not alive", () => {
  const replayer = replayerOf([
    mapLine(7, 1),
    "7 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f70}, 88) = 8",
    "7 exit(0) = ?",
  ]);
  replayer.run();
  replayer.end(7);
  assertEquals(replayer.processes(), []);
  assertThrows(
    () => replayer.end(7),
    Error,
    "Cannot end process: no process 7 is alive",
  );
});

Deno.test("Replayer counts what contradicts the kernel apart from what the trace is silent about", () => {
  const replayer = replayerOf([
    mapLine(7, 1),
    mapLine(7, 1),
    "7 mremap(0x50000, 4096, 8192, MREMAP_MAYMOVE) = 0x60000",
    "7 mprotect(0x90000, 4096, PROT_READ) = 0",
    "7 munmap(0x90000, 4096) = 0",
    "7 fork() = 7",
  ]);
  replayer.run();
  assertEquals(replayer.counts, {
    events: 6,
    skipped: 0,
    inconsistent: 3,
    outside: 1,
    processes: 1,
  });
});

Deno.test("Replayer.step and run stop where they are told to, and replayers of one trace do not meet", () => {
  const trace = readTrace(
    [mapLine(7, 1), mapLine(7, 2), mapLine(7, 3)].join("\n"),
  );
  const create = () =>
    new Replayer(trace, { createTree: () => new SortedArrayTree() });
  const [one, two] = [create(), create()];
  assertEquals(one.step(), true);
  two.run(2);
  assertEquals([one.position, two.position, two.done], [1, 2, false]);
  assertEquals([one.maps(), two.maps()], [section(7, 1), section(7, 1, 2)]);
  two.run();
  assertEquals([two.step(), two.done, two.maps()], [
    false,
    true,
    section(7, 1, 2, 3),
  ]);
});

/** A process as its mirror: processes that share memory have the same one. */
interface MirrorProcess {
  readonly pid: number;
  readonly threads: number[];
  mirror: PageMirror;
}

/** Random processes, and the lines that strace would write of what they do. */
class MirrorWorld {
  readonly lines: string[] = [];
  readonly processes: MirrorProcess[] = [{
    pid: 100,
    threads: [100],
    mirror: new PageMirror(),
  }];
  readonly #random: Random;
  #nextPid = 101;

  constructor(random: Random) {
    this.#random = random;
  }

  maps(): string {
    const seen = new Set<PageMirror>();
    return this.processes.map(({ pid, mirror }) => {
      if (seen.has(mirror)) return "";
      seen.add(mirror);
      return `process ${pid}\n${mirror.maps()}`;
    }).join("");
  }

  /** Does one thing, in one line. */
  step(): void {
    const random = this.#random;
    const process = random.pick(this.processes);
    const thread = random.pick(process.threads);
    const dice = random.below(100);
    if (dice < 4 && this.processes.length < 6) this.#fork(process, thread);
    else if (dice < 7) this.#addThread(process, thread);
    else if (dice < 9) this.#exec(process, thread);
    else if (dice < 12 && this.processes.length > 1) {
      this.#exit(process, thread);
    } else this.#callMemory(process, thread);
  }

  #fork(process: MirrorProcess, thread: number): void {
    const shares = this.#random.chance(40);
    const pid = this.#nextPid++;
    this.lines.push(`${thread} ${shares ? "vfork" : "fork"}() = ${pid}`);
    const mirror = shares ? process.mirror : process.mirror.copy();
    this.processes.push({ pid, threads: [pid], mirror });
  }

  #addThread(process: MirrorProcess, thread: number): void {
    const child = this.#nextPid++;
    this.lines.push(
      `${thread} clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = ${child}`,
    );
    process.threads.push(child);
  }

  /** Only by the first thread, alone: the other case takes three lines. */
  #exec(process: MirrorProcess, thread: number): void {
    if (thread !== process.pid) return;
    this.lines.push(`${thread} execve("a", [...], [...]) = 0`);
    process.threads.splice(0, Infinity, thread);
    process.mirror = new PageMirror();
  }

  #exit(process: MirrorProcess, thread: number): void {
    const isWhole = this.#random.chance(50);
    this.lines.push(
      isWhole
        ? `${thread} exit_group(0) = ?`
        : `${thread} +++ exited with 0 +++`,
    );
    if (isWhole) process.threads.length = 0;
    else process.threads.splice(process.threads.indexOf(thread), 1);
    if (process.threads.length === 0) {
      this.processes.splice(this.processes.indexOf(process), 1);
    }
  }

  #callMemory({ mirror }: MirrorProcess, thread: number): void {
    const call = randomCall(this.#random, mirror);
    // What a shared object is called is told by the line in the one case, by the file's number in the other.
    const named = call.kind === "map" && call.source.startsWith("line")
      ? { ...call, source: `line ${this.lines.length + 1}` }
      : call;
    this.lines.push(`${thread} ${textOf(named)}`);
    mirror.apply(named);
  }
}

function textOf(call: MemoryCall): string {
  switch (call.kind) {
    case "map":
      return mmapText(call);
    case "unmap":
      return `munmap(${hex(call.start)}, ${call.length}) = 0`;
    case "protect":
      return `pkey_mprotect(${hex(call.start)}, ${call.length}, ${
        hex(call.protection)
      }, ${call.key}) = 0`;
    case "remap": {
      const flags = [
        "MREMAP_MAYMOVE",
        call.fixed ? "MREMAP_FIXED" : "",
        call.keepOld ? "MREMAP_DONTUNMAP" : "",
      ];
      const names = flags.filter((name) => name !== "").join("|");
      return `mremap(${
        hex(call.start)
      }, ${call.oldLength}, ${call.newLength}, ${names}) = ${hex(call.target)}`;
    }
    case "break":
      return `brk(NULL) = ${hex(call.address)}`;
  }
}

function mmapText(call: MapCall): string {
  const isFile = call.source.startsWith("fd ");
  const flags = [
    call.shared ? "MAP_SHARED" : "MAP_PRIVATE",
    ...(call.fixed ? ["MAP_FIXED"] : []),
    ...(isFile ? [] : ["MAP_ANONYMOUS"]),
    hex(call.attributes),
  ];
  const fd = isFile ? call.source.slice("fd ".length) : "-1";
  return `mmap(NULL, ${call.length}, ${hex(call.protection)}, ${
    flags.join("|")
  }, ${fd}, ${hex(call.offset)}) = ${hex(call.start)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function testAgainstMirrors<Tree extends MapTree<Tree>>(
  trees: TreeSource<Tree>,
): void {
  Deno.test(`Replayer in a ${trees.name} agrees with page-by-page mirrors of random processes, line by line`, () => {
    const world = new MirrorWorld(new Random(takeSeed()));
    const expected: string[] = [];
    while (world.lines.length < 1500) {
      const { length } = world.lines;
      world.step();
      if (world.lines.length > length) expected.push(world.maps());
    }
    const trace = readTrace(world.lines.join("\n"));
    assertEquals(trace.unreadable, []);
    const replayer = new Replayer(trace, { createTree: () => trees.create() });
    for (const [i, maps] of expected.entries()) {
      replayer.step();
      assertEquals(replayer.maps(), maps, `line ${i + 1}: ${world.lines[i]}`);
      for (const tree of replayer.trees()) trees.validate(tree);
    }
    assertEquals(replayer.done, true);
    replayer.endAll();
  });
}

testAgainstMirrors(plainTrees());
testAgainstMirrors(rangeTrees(false));
testAgainstMirrors(rangeTrees(true));
