import { assertEquals } from "@std/assert";
import {
  type MapCall,
  readTrace,
  type RemapCall,
  type Trace,
  type TraceEvent,
} from "../../src/trace/mod.ts";

const ANONYMOUS: MapCall = {
  kind: "map",
  start: 0x7f0000000000,
  length: 8192,
  protection: 3,
  shared: false,
  fixed: false,
  source: "",
  offset: 0,
  attributes: 0,
};
const MMAP =
  "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000";

/** Reads lines, and checks that every one of them is accounted for. */
function read(...lines: string[]): Trace {
  const trace = readTrace(lines.join("\n") + "\n");
  assertEquals(trace.lines, lines.length);
  const accounted = trace.events.length + trace.ignored + trace.failed +
    trace.begun + trace.unreadable.length;
  assertEquals(accounted, trace.lines);
  return trace;
}

/** The call of a line that is one event. */
function callOf(line: string): TraceEvent["call"] {
  const { events, unreadable } = read(line);
  assertEquals(unreadable, []);
  assertEquals(events.length, 1);
  return events[0].call;
}

function pidsOf({ events }: Trace): number[] {
  return events.map(({ pid }) => pid);
}

function kindsOf({ events }: Trace): string[] {
  return events.map(({ pid, call }) => `${pid} ${call.kind}`);
}

Deno.test("readTrace takes every prefix that strace can be told to write", () => {
  const prefixes: [prefix: string, pid: number][] = [
    ["", 0],
    ["7 ", 7],
    ["7     ", 7],
    ["[pid     7] ", 7],
    ["7  10:20:30 ", 7],
    ["7  10:20:30.123456 ", 7],
    ["7  1795431706.929891 ", 7],
    ["7  1795431706 ", 7],
    ["7       0.000012 ", 7],
    ["     0.000012 ", 0],
    ["10:20:30 ", 0],
    ["10:20:30.123456 ", 0],
    ["1795431706.929891 ", 0],
    ["1795431706 ", 0],
    ["11:01:47.032535 (+     0.000745) ", 0],
    ["[pid  7] 11:01:47.032535 (+     0.000745) ", 7],
    ["[pid  7] 1795431706.929891 [   9] [00007fb99a91cca3] ", 7],
    ["[00007fb99a91cca3] ", 0],
  ];
  for (const [prefix, pid] of prefixes) {
    const { events } = read(prefix + MMAP);
    assertEquals(events, [{ line: 1, pid, call: ANONYMOUS }], prefix);
  }
});

Deno.test("readTrace takes what -T adds to a line, and lines that end in a carriage return", () => {
  assertEquals(callOf(`7 ${MMAP} <0.000037>`), ANONYMOUS);
  assertEquals(callOf(`7 ${MMAP}\r`), ANONYMOUS);
});

Deno.test("readTrace reads mmap's forms", () => {
  const mmap = (
    address: string,
    length: string,
    prot: string,
    flags: string,
    fd: string,
    offset: string,
  ) =>
    callOf(
      `7 mmap(${address}, ${length}, ${prot}, ${flags}, ${fd}, ${offset}) = 0x7f0000000000`,
    );
  assertEquals(
    mmap(
      "0x7f0000000000",
      "4096",
      "PROT_READ|PROT_EXEC",
      "MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE",
      "3",
      "0x26000",
    ),
    {
      ...ANONYMOUS,
      length: 4096,
      protection: 5,
      fixed: true,
      source: "fd 3",
      offset: 0x26000,
    },
  );
  assertEquals(
    mmap("NULL", "258", "PROT_READ", "MAP_SHARED", "3</a, b/c (deleted)>", "0"),
    {
      ...ANONYMOUS,
      length: 258,
      protection: 1,
      shared: true,
      source: "fd 3 /a, b/c (deleted)",
    },
  );
  assertEquals(
    mmap(
      "0x10000",
      "0x2000",
      "PROT_NONE",
      "MAP_SHARED_VALIDATE|MAP_ANONYMOUS|MAP_NORESERVE",
      "-1",
      "0",
    ),
    {
      ...ANONYMOUS,
      protection: 0,
      shared: true,
      source: "line 1",
      attributes: 0x4000,
    },
  );
  assertEquals(
    mmap(
      "NULL",
      "8192",
      "PROT_READ|PROT_WRITE",
      "MAP_PRIVATE|MAP_FIXED_NOREPLACE|MAP_ANONYMOUS|MAP_STACK|MAP_GROWSDOWN",
      "-1",
      "0",
    ),
    { ...ANONYMOUS, attributes: 0x20100 },
  );
  assertEquals(
    mmap(
      "NULL",
      "8192",
      "0x3",
      "0x22 /* MAP_PRIVATE|MAP_ANONYMOUS */",
      "-1",
      "0",
    ),
    ANONYMOUS,
  );
  assertEquals(
    mmap(
      "NULL",
      "8192",
      "PROT_READ|PROT_WRITE|0x40 /* PROT_??? */",
      "0x8 /* MAP_??? */|MAP_ANONYMOUS",
      "-1",
      "0",
    ),
    { ...ANONYMOUS, attributes: 0x8 },
  );
});

Deno.test("readTrace rounds a mapping in huge pages up to them", () => {
  const lengthWith = (flags: string) => {
    const call = callOf(
      `7 mmap(NULL, 5000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB${flags}, -1, 0) = 0x7f0000000000`,
    );
    return (call as MapCall).length;
  };
  assertEquals(lengthWith(""), 2 ** 21);
  assertEquals(lengthWith("|MAP_HUGE_2MB"), 2 ** 21);
  assertEquals(lengthWith("|30<<MAP_HUGE_SHIFT"), 2 ** 30);
  assertEquals(lengthWith("|MAP_HUGE_1GB"), 2 ** 30);
});

Deno.test("readTrace reads munmap, mprotect, pkey_mprotect, brk", () => {
  assertEquals(callOf("7 munmap(0x10000, 38759)     = 0"), {
    kind: "unmap",
    start: 0x10000,
    length: 38759,
  });
  assertEquals(
    callOf("7 mprotect(0x10000, 4096, PROT_READ) = 0"),
    { kind: "protect", start: 0x10000, length: 4096, protection: 1, key: -1 },
  );
  assertEquals(
    callOf(
      "7 mprotect(0x10000, 4096, PROT_READ|PROT_WRITE|PROT_GROWSDOWN) = 0",
    ),
    { kind: "protect", start: 0x10000, length: 4096, protection: 3, key: -1 },
  );
  assertEquals(
    callOf("7 pkey_mprotect(0x10000, 4096, PROT_NONE, 2) = 0"),
    { kind: "protect", start: 0x10000, length: 4096, protection: 0, key: 2 },
  );
  assertEquals(callOf("7 brk(NULL) = 0x559acab86000"), {
    kind: "break",
    address: 0x559acab86000,
  });
  assertEquals(callOf("7 brk(0x559acaba7000) = 0x559acaba7000"), {
    kind: "break",
    address: 0x559acaba7000,
  });
});

Deno.test("readTrace reads mremap with four and five arguments", () => {
  const call: RemapCall = {
    kind: "remap",
    start: 0x10000,
    oldLength: 4096,
    newLength: 8192,
    target: 0x20000,
    fixed: false,
    keepOld: false,
  };
  assertEquals(
    callOf("7 mremap(0x10000, 4096, 8192, MREMAP_MAYMOVE) = 0x20000"),
    call,
  );
  assertEquals(
    callOf(
      "7 mremap(0x10000, 4096, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000) = 0x20000",
    ),
    { ...call, fixed: true },
  );
  assertEquals(
    callOf(
      "7 mremap(0x10000, 8192, 8192, MREMAP_MAYMOVE|MREMAP_DONTUNMAP) = 0x20000",
    ),
    { ...call, oldLength: 8192, keepOld: true },
  );
  assertEquals(callOf("7 mremap(0x10000, 4096, 8192, 0) = 0x10000"), {
    ...call,
    target: 0x10000,
  });
});

Deno.test("readTrace reads clone, clone3, fork, vfork", () => {
  const child = (sharesMemory: boolean, thread: boolean) => ({
    kind: "clone",
    child: 8,
    sharesMemory,
    thread,
  });
  const lines: [line: string, call: unknown][] = [
    [
      "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7ff8) = 8",
      child(false, false),
    ],
    [
      "clone(child_stack=0x7f00, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 8",
      child(true, false),
    ],
    [
      "clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD|CLONE_SETTLS, tls=0x7f70} => {parent_tid=[8]}, 88) = 8",
      child(true, true),
    ],
    [
      "clone3({flags=0, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 64) = 8",
      child(false, false),
    ],
    ["fork() = 8", child(false, false)],
    ["vfork()                           = 8", child(true, false)],
    ["fork() = 8 /* 3 in strace's PID NS */", child(false, false)],
  ];
  for (const [line, call] of lines) assertEquals(callOf(`7 ${line}`), call);
});

Deno.test("readTrace reads execve, exits and the ends of tasks", () => {
  assertEquals(
    callOf(
      '7 execve("/bin/a) = 1", ["a", "b\\", ..."], 0x7fff /* 35 vars */) = 0',
    ),
    { kind: "exec", leader: 7 },
  );
  assertEquals(callOf('7 execveat(3, "", ["a"], NULL, AT_EMPTY_PATH) = 0'), {
    kind: "exec",
    leader: 7,
  });
  assertEquals(callOf("7 exit(0) = ?"), { kind: "exit", group: false });
  assertEquals(callOf("7 exit_group(0)                     = ?"), {
    kind: "exit",
    group: true,
  });
  assertEquals(callOf("7 +++ exited with 0 +++"), {
    kind: "exit",
    group: false,
  });
  assertEquals(callOf("7 +++ killed by SIGKILL +++"), {
    kind: "exit",
    group: false,
  });
  assertEquals(callOf("7 +++ killed by SIGSEGV (core dumped) +++"), {
    kind: "exit",
    group: false,
  });
});

Deno.test("readTrace ignores other calls, signals and remarks, and counts them", () => {
  const trace = read(
    '7 openat(AT_FDCWD, "ld.so.cache", O_RDONLY|O_CLOEXEC) = 3',
    '7 pwrite64(3, "...", 4096, 0) = 4096',
    "7 madvise(0x10000, 4096, MADV_DONTNEED) = 0",
    "7 restart_syscall(<... resuming interrupted read ...>) = 0",
    "7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=9450, si_status=0} ---",
    "--- stopped by SIGTTOU ---",
    "strace: Process 8 attached",
    "strace: Process 8 detached",
    "[ Process PID=7 runs in 32 bit mode. ]",
    "7 <... futex resumed>) = 0",
    "",
  );
  assertEquals([trace.ignored, trace.events.length, trace.unreadable.length], [
    11,
    0,
    0,
  ]);
});

Deno.test("readTrace counts calls that failed or never returned, whatever their arguments", () => {
  const trace = read(
    "7 mmap(NULL, 18446744073709551615, PROT_READ, 0xf /* MAP_??? */, -1, 0) = -1 ENOMEM (Cannot allocate memory)",
    "7 munmap(0x1, 0) = -1 EINVAL (Invalid argument)",
    "7 mprotect(0x10000, 4096, PROT_READ) = ?",
    "7 vfork() = ? ERESTARTNOINTR (To be restarted)",
    '7 execve("as", [...], [...]) = -1 ENOENT (No such file or directory)',
    "7 shmat(5, NULL, 0) = -1 EINVAL (Invalid argument)",
  );
  assertEquals([trace.failed, trace.ignored, trace.events.length], [5, 1, 0]);
});

Deno.test("readTrace reports what it cannot read with line, text and reason", () => {
  const reasons: [line: string, reason: string][] = [
    ["hello", "not a line of strace"],
    ["7 12 apples", "not a line of strace"],
    ["7 mmap(NULL, 8192", "not a line of strace"],
    ["7 mmap(NULL, 8192 <more ...>", "not a line of strace"],
    ["7 mmap(NULL, 8192) = 0x10000", "mmap has other arguments than six"],
    [
      "7 mmap(NULL, 8192, PROT_READ, MAP_FIXED, -1, 0) = 0x10000",
      "the mapping is neither private nor shared",
    ],
    [
      "7 mmap(NULL, 0, PROT_READ, MAP_PRIVATE, 3, 0) = 0x10000",
      "a mapping without a length",
    ],
    [
      "7 mmap(NULL, 1, PROT_READ, MAP_PRIVATE, 3, 0) = 0x10001",
      "0x10001 is not the start of a page",
    ],
    [
      "7 mmap(NULL, x, PROT_READ, MAP_PRIVATE, 3, 0) = 0x10000",
      '"x" is not a number',
    ],
    ["7 munmap(0x10000) = 0", "the call has 1 arguments, 2 were expected"],
    [
      "7 mremap(0x10000, 1, 2, 0, 5, 6) = 0x10000",
      "the call has 6 arguments, 4 or 5 were expected",
    ],
    [
      "7 mprotect(0xffffffffff600000, 4096, PROT_READ) = 0",
      "0xffffffffff600000 is beyond 2^53 - 1",
    ],
    ["7 munmap(0x1ffffffffff000, 4096) = 0", "the window ends beyond 2^53 - 1"],
    ["7 brk(NULL) = 0x1fffffffffffff", "the window ends beyond 2^53 - 1"],
    ["7 clone(child_stack=NULL) = 8", "clone without flags"],
    ["7 fork() = 0", "the new task has no number"],
    [
      "7 shmat(5, NULL, 0) = 0x10000",
      "shmat does not say how long the mapping is",
    ],
    [
      "7 <... mmap resumed>) = 0x10000",
      "the beginning of this mmap is missing",
    ],
    ["7 +++ vanished +++", "the end of a task in an unknown form"],
    ["7 +++ superseded by execve in pid 8 +++", "task 8 was not in a call"],
  ];
  for (const [line, reason] of reasons) {
    assertEquals(read(`7 ${MMAP}`, line).unreadable, [{
      line: 2,
      text: line,
      reason,
    }]);
  }
});

Deno.test("readTrace reports a second call begun inside the first", () => {
  const trace = read(
    "7 munmap(0x10000, 4096 <unfinished ...>",
    "7 brk(NULL <unfinished ...>",
    "7 <... munmap resumed>) = 0",
  );
  assertEquals(trace.unreadable[0].reason, "the task was in another call");
  assertEquals(kindsOf(trace), ["7 unmap"]);
});

Deno.test("readTrace lets a call in two lines take effect at the second", () => {
  const trace = read(
    "7 brk(NULL <unfinished ...>",
    `8 ${MMAP}`,
    "7 <... brk resumed>) = 0x10000",
    "7 <... brk resumed> ) = 0x10000",
  );
  assertEquals(trace.events.map(({ line, pid }) => [line, pid]), [[2, 8], [
    3,
    7,
  ]]);
  assertEquals(trace.unreadable.length, 1);
});

Deno.test("readTrace keeps what the second line adds to the arguments", () => {
  const trace = read(
    "7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
    "7 <... clone resumed>, child_tidptr=0x7ff803bcfe50) = 8",
    "7 clone3({flags=CLONE_VM|CLONE_THREAD, tls=0x7f70} <unfinished ...>",
    "7 <... clone3 resumed> => {parent_tid=[9]}, 88) = 9",
    "7 vfork( <unfinished ...>",
    "7 <... vfork resumed>)              = 10",
    "7 exit_group(0 <unfinished ...>",
    "7 <... exit_group resumed> <unfinished ...>) = ?",
  );
  assertEquals(kindsOf(trace), ["7 clone", "7 clone", "7 clone", "7 exit"]);
});

Deno.test("readTrace puts a clone before the first event of its child", () => {
  const trace = read(
    "7 vfork( <unfinished ...>",
    "9 brk(NULL) = 0x10000",
    '8 execve("a", [...], [...] <unfinished ...>',
    "8 <... execve resumed>) = 0",
    "8 brk(NULL) = 0x20000",
    "7 <... vfork resumed>) = 8",
  );
  assertEquals(kindsOf(trace), ["9 break", "7 clone", "8 exec", "8 break"]);
  assertEquals(trace.events[1].line, 6);
});

Deno.test("readTrace puts an unmapping before the mapping that the kernel placed there", () => {
  const trace = read(
    "7 munmap(0x7f0000000000, 5000 <unfinished ...>",
    "8 mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x10000",
    `8 ${MMAP}`,
    "7 <... munmap resumed>) = 0",
  );
  assertEquals(kindsOf(trace), ["8 map", "7 unmap", "8 map"]);
});

Deno.test("readTrace puts a move or a shrinking before the mapping that took its old place, and no other", () => {
  const moved = (resumed: string) =>
    kindsOf(read(
      "7 mremap(0x7efffffff000, 8192, 4096, MREMAP_MAYMOVE <unfinished ...>",
      `8 ${MMAP}`,
      `7 <... mremap resumed>) = ${resumed}`,
    ));
  assertEquals(moved("0x20000"), ["7 remap", "8 map"]);
  assertEquals(moved("0x7efffffff000"), ["7 remap", "8 map"]);
  const kept = read(
    "7 mremap(0x7f0000000000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_DONTUNMAP <unfinished ...>",
    `8 ${MMAP}`,
    "7 <... mremap resumed>) = 0x20000",
  );
  assertEquals(kindsOf(kept), ["8 map", "7 remap"]);
});

Deno.test("readTrace keeps later beginnings in place when it moves an event forward", () => {
  const trace = read(
    "7 munmap(0x7f0000000000, 4096 <unfinished ...>",
    `8 ${MMAP}`,
    "9 munmap(0x7f0000000000, 4096 <unfinished ...>",
    "7 <... munmap resumed>) = 0",
    "9 <... munmap resumed>) = 0",
  );
  assertEquals(kindsOf(trace), ["7 unmap", "8 map", "9 unmap"]);
});

Deno.test("readTrace gives a thread's execve to the thread, and its process's number to what comes after", () => {
  const lines = (begun: string) => [
    "7 pause( <unfinished ...>",
    begun,
    "7 <... pause resumed>) = ?",
    "7 +++ superseded by execve in pid 8 +++",
    "7 <... execve resumed>) = 0",
    "7 brk(NULL) = 0x10000",
  ];
  for (const mark of ["<unfinished ...>", "<pid changed to 7 ...>"]) {
    const { events } = read(...lines(`8 execve("a", [...], [...] ${mark}`));
    assertEquals(events.map(({ pid, call }) => [pid, call.kind]), [
      [8, "exec"],
      [7, "break"],
    ]);
    assertEquals(events[0].call, { kind: "exec", leader: 7 });
  }
});

Deno.test("readTrace joins lines into which strace wrote that a task was attached", () => {
  const trace = read(
    "[pid  7] vfork(strace: Process 8 attached",
    " <unfinished ...>",
    "[pid  8] +++ exited with 0 +++",
    "[pid  7] <... vfork resumed>)        = 8",
    "[pid  7] clone(child_stack=NULL, flags=SIGCHLDstrace: Process 9 attached",
    ", child_tidptr=0x7f24fd4d4a10) = 9",
  );
  assertEquals(kindsOf(trace), ["7 clone", "8 exit", "7 clone"]);
});

Deno.test("readTrace finds out whom lines without a number belong to", () => {
  const first = read(
    'execve("a", [...], [...]) = 0',
    "clone(child_stack=NULL, flags=SIGCHLD) = 8",
    "strace: Process 8 attached",
    "[pid  8] brk(NULL) = 0x10000",
    "[pid  7] brk(NULL) = 0x10000",
    "[pid  8] +++ exited with 0 +++",
    "brk(NULL) = 0x10000",
    "+++ exited with 0 +++",
  );
  assertEquals(pidsOf(first), [7, 7, 8, 7, 8, 7, 7]);
  assertEquals(first.events[0].call, { kind: "exec", leader: 7 });
  const childLeft = read(
    "fork() = 8",
    "strace: Process 8 attached",
    "[pid  7] +++ exited with 0 +++",
    "brk(NULL) = 0x10000",
    "[pid  8] brk(NULL) = 0x10000",
    "brk(NULL) = 0x10000",
  );
  assertEquals(pidsOf(childLeft).slice(0, 2), [7, 7]);
});

Deno.test("readTrace knows the task that strace was told to attach to", () => {
  const trace = read(
    "strace: Process 7 attached",
    "brk(NULL) = 0x10000",
    "fork( <unfinished ...>",
    "[pid  8] brk(NULL) = 0x10000",
    "[pid  7] <... fork resumed>) = 8",
    "[pid  7] brk(NULL) = 0x10000",
  );
  assertEquals(kindsOf(trace), ["7 break", "7 clone", "8 break", "7 break"]);
});

Deno.test("readTrace reads nothing as nothing", () => {
  assertEquals(readTrace(""), {
    events: [],
    lines: 0,
    ignored: 0,
    failed: 0,
    begun: 0,
    unreadable: [],
  });
});
