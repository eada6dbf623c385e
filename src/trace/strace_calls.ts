import {
  Attribute,
  type BreakCall,
  type CloneCall,
  type MapCall,
  type MemoryCall,
  type ProcessCall,
  type ProtectCall,
  type RemapCall,
  type UnmapCall,
} from "./events.ts";

/** Why a line cannot be read. */
export class Unreadable extends Error {}

/** What is known of a call besides its arguments. */
export interface CallSite {
  /** The line that told the result. */
  readonly line: number;
  /** The task that the result was told for. */
  readonly pid: number;
  /** What the call returned. */
  readonly result: number;
}

/** Makes sense of a successful call's arguments, or throws {@link Unreadable}. */
export type CallReader = (
  input: string,
  site: CallSite,
) => MemoryCall | ProcessCall;

const PAGE = 4096;
const MMAP_ARGUMENTS =
  /^(\S+), (\S+), (\S+), (\S+), (-?\d+)(?:<(.*)>)?, (\S+)$/;

/** The bits of flags that a reading depends on; a flag that is not here changes nothing that is modelled. */
const FLAGS = new Map<string, number>(Object.entries({
  PROT_READ: 0x1,
  PROT_WRITE: 0x2,
  PROT_EXEC: 0x4,
  MAP_SHARED: 0x1,
  MAP_PRIVATE: 0x2,
  MAP_SHARED_VALIDATE: 0x3,
  MAP_DROPPABLE: 0x8,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  MAP_GROWSDOWN: 0x100,
  MAP_LOCKED: 0x2000,
  MAP_NORESERVE: 0x4000,
  MAP_STACK: 0x20000,
  MAP_HUGETLB: 0x40000,
  MAP_HUGE_2MB: 21 << 26,
  MAP_HUGE_1GB: 30 << 26,
  MREMAP_MAYMOVE: 0x1,
  MREMAP_FIXED: 0x2,
  MREMAP_DONTUNMAP: 0x4,
  CLONE_VM: 0x100,
  CLONE_THREAD: 0x10000,
}));
const MAP_TYPE = 0xf;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MREMAP_FIXED = 0x2;
const MREMAP_DONTUNMAP = 0x4;
const CLONE_VM = 0x100;
const CLONE_THREAD = 0x10000;
const PROTECTION_MASK = 0x7;
const ATTRIBUTE_MASK = Object.values(Attribute).reduce(
  (mask, bit) => mask | bit,
  0,
);
const HUGE_SHIFT = 26;
const DEFAULT_HUGE_PAGE_LOG2 = 21;

/** How to read each call that changes an address space or the set of processes. */
export const READERS: ReadonlyMap<string, CallReader> = new Map<
  string,
  CallReader
>([
  ["mmap", readMap],
  ["mmap2", readMap],
  ["munmap", readUnmap],
  ["mprotect", readProtect],
  ["pkey_mprotect", readProtect],
  ["mremap", readRemap],
  ["brk", readBreak],
  ["clone", readClone],
  ["clone2", readClone],
  ["clone3", readClone],
  ["fork", (_, { result }) => newTask(result, false, false)],
  ["vfork", (_, { result }) => newTask(result, true, false)],
  ["execve", (_, { pid }) => ({ kind: "exec", leader: pid })],
  ["execveat", (_, { pid }) => ({ kind: "exec", leader: pid })],
  ["exit", () => ({ kind: "exit", group: false })],
  ["exit_group", () => ({ kind: "exit", group: true })],
]);

/** Calls that map memory without saying how much. */
export const LENGTH_UNKNOWN: ReadonlySet<string> = new Set([
  "shmat",
  "shmdt",
  "io_setup",
  "io_destroy",
  "remap_file_pages",
]);

function readMap(input: string, { line, result }: CallSite): MapCall {
  const parts = MMAP_ARGUMENTS.exec(input);
  if (parts === null) throw new Unreadable("mmap has other arguments than six");
  const [, , length, protection, flagNames, fd, path, offset] = parts;
  const bytes = readNumber(length);
  const flags = readFlags(flagNames);
  const type = flags & MAP_TYPE;
  if (type === 0 || type > 3 && type !== Attribute.DROPPABLE) {
    throw new Unreadable("the mapping is neither private nor shared");
  }
  const shared = (type & 1) !== 0;
  const anonymous = (flags & MAP_ANONYMOUS) !== 0;
  const hugePages = (flags & Attribute.HUGE_PAGES) !== 0;
  let source = path === undefined ? `fd ${fd}` : `fd ${fd} ${path}`;
  // The kernel makes a nameless file for memory that is to be shared, or in huge pages: a new one each time.
  if (anonymous) source = shared || hugePages ? `line ${line}` : "";
  return {
    kind: "map",
    start: result,
    length: checkMapping(
      result,
      hugePages ? roundToHugePages(bytes, flags) : bytes,
    ),
    protection: readFlags(protection) & PROTECTION_MASK,
    shared,
    fixed: (flags & MAP_FIXED) !== 0,
    source,
    offset: anonymous ? 0 : readNumber(offset),
    attributes: flags & ATTRIBUTE_MASK,
  };
}

function roundToHugePages(length: number, flags: number): number {
  const size = 2 ** (flags >>> HUGE_SHIFT || DEFAULT_HUGE_PAGE_LOG2);
  return Math.ceil(length / size) * size;
}

function readUnmap(input: string): UnmapCall {
  const [start, length] = readArguments(input, 2, 2).map(readNumber);
  return { kind: "unmap", start, length: checkWindow(start, length) };
}

function readProtect(input: string): ProtectCall {
  const [start, length, protection, key = "-1"] = readArguments(input, 3, 4);
  const from = readNumber(start);
  return {
    kind: "protect",
    start: from,
    length: checkWindow(from, readNumber(length)),
    protection: readFlags(protection) & PROTECTION_MASK,
    key: key === "-1" ? -1 : readNumber(key),
  };
}

function readRemap(input: string, { result }: CallSite): RemapCall {
  // A fifth argument says where to, as the result does.
  const [start, oldLength, newLength, flagNames] = readArguments(input, 4, 5);
  const flags = readFlags(flagNames);
  const from = readNumber(start);
  return {
    kind: "remap",
    start: from,
    oldLength: checkWindow(from, readNumber(oldLength)),
    newLength: checkMapping(result, readNumber(newLength)),
    target: result,
    fixed: (flags & MREMAP_FIXED) !== 0,
    keepOld: (flags & MREMAP_DONTUNMAP) !== 0,
  };
}

function readBreak(_: string, { result }: CallSite): BreakCall {
  // The break itself may lie within a page.
  checkWindow(0, result);
  return { kind: "break", address: result };
}

function readClone(input: string, { result }: CallSite): CloneCall {
  const names = /\bflags=([^,}\s]+)/.exec(input);
  if (names === null) throw new Unreadable("clone without flags");
  const flags = readFlags(names[1]);
  return newTask(
    result,
    (flags & CLONE_VM) !== 0,
    (flags & CLONE_THREAD) !== 0,
  );
}

function newTask(
  child: number,
  sharesMemory: boolean,
  thread: boolean,
): CloneCall {
  if (child === 0) throw new Unreadable("the new task has no number");
  return { kind: "clone", child, sharesMemory, thread };
}

function readArguments(input: string, least: number, most: number): string[] {
  const parts = input.split(", ");
  if (parts.length < least || parts.length > most) {
    throw new Unreadable(
      `the call has ${parts.length} arguments, ${
        least === most ? least : `${least} or ${most}`
      } were expected`,
    );
  }
  return parts;
}

/** Reads a number as strace writes it. */
export function readNumber(text: string): number {
  if (text === "NULL") return 0;
  if (!/^(?:0x[0-9a-f]+|\d+)$/.test(text)) {
    throw new Unreadable(`"${text}" is not a number`);
  }
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new Unreadable(`${text} is beyond 2^53 - 1`);
  }
  return value;
}

/** Refuses what no kernel would map, and what a tree could not hold, in whole pages; gives the length back. */
function checkWindow(start: number, length: number): number {
  if (start % PAGE !== 0) {
    throw new Unreadable(`0x${start.toString(16)} is not the start of a page`);
  }
  if (start + length > Number.MAX_SAFE_INTEGER - PAGE) {
    throw new Unreadable("the window ends beyond 2^53 - 1");
  }
  return length;
}

/** The same for a window that cannot be empty. */
function checkMapping(start: number, length: number): number {
  if (length === 0) throw new Unreadable("a mapping without a length");
  return checkWindow(start, length);
}

function readFlags(text: string): number {
  let flags = 0;
  for (const name of text.split("|")) {
    if (/^[A-Z][A-Z0-9_]*$/.test(name)) {
      flags |= FLAGS.get(name) ?? 0;
      continue;
    }
    const hugePageLog2 = /^(\d+)<<MAP_HUGE_SHIFT$/.exec(name);
    flags |= hugePageLog2 === null
      ? readNumber(name)
      : Number(hugePageLog2[1]) << HUGE_SHIFT;
  }
  return flags;
}
