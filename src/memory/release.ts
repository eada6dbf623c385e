/**
 * Giving free pages back to the operating system, where the runtime lets it: `madvise(MADV_DONTNEED)` on Linux, through
 * `Deno.dlopen`, which needs the permission `--allow-ffi`. A shared buffer never shrinks, but pages that are handed back
 * take no memory until they are touched again, and read as zero then.
 *
 * What may be handed back. Only blocks that are on the page allocator's free lists, under its lock, so that none of them is
 * allocated meanwhile; an allocation afterwards touches the pages anew. The lock is released between two blocks, so nobody waits
 * for longer than the kernel takes for 4 MiB (about 0.7 ms where they were touched). No reader can still be inside: a slab's page goes to
 * the page allocator only after a grace period that began when the slab was empty. The allocator's own records are not in
 * the pages. And nothing that was in a free page is needed: a new slab's page is filled with zeros in any case.
 *
 * A block of which all was handed back that can be carries a mark in its frame record, which splitting, joining and allocating it
 * clear, as they do all of the record; so a call costs nothing for what an earlier one has handed back.
 *
 * @module
 */
import type { Arena } from "./arena.ts";
import { PAGE_BYTES } from "./page_allocator.ts";

/** `MADV_DONTNEED` and `_SC_PAGESIZE` of Linux, the same on all its architectures that Deno runs on. */
const MADV_DONTNEED = 4;
const SC_PAGESIZE = 30;
/** The size of a huge page on x86-64 and, by default, on arm64. */
const HUGE_BYTES = 2 ** 21;
const HUGE_ORDER = 9;

/** What may be handed back. */
export interface ReleaseOptions {
  /**
   * Only whole huge pages of 2 MiB: no huge page is broken up that backs the buffer. Free blocks of order 9 and 10 are that in
   * arenas of 64 MiB or more; in smaller ones they need not lie as huge pages do, and only the whole ones in them go back
   * (each time anew).
   *
   * @default {false}
   */
  huge?: boolean;
}

/** What was handed back. */
export interface ReleaseResult {
  /** How many bytes; pages that were never touched count too, as nobody can tell. */
  readonly bytes: number;
  /** How many free blocks they were in. */
  readonly blocks: number;
  /** Why nothing could be handed back, and what would help; absent where it could. */
  readonly reason?: string;
}

/** The means to hand memory back. */
interface Madvise {
  /** The address of the buffer. */
  readonly address: bigint;
  /** Bytes of a page of the system. */
  readonly pageBytes: bigint;
  /** Hands back a range of addresses; says whether it could. */
  release(address: bigint, bytes: bigint): boolean;
  close(): void;
}

/**
 * Hands the memory of the arena's free pages back to the operating system. Needs Linux and the
 * permission `--allow-ffi`; without them it does nothing, and says so. Never asks for the permission.
 *
 * @example Without the permission it says what would help
 * ```ts
 * import { Arena, releaseFreePages } from "@pollard/pollard";
 * import { assertEquals } from "@std/assert";
 *
 * const { bytes, reason } = releaseFreePages(Arena.create({ byteLength: 2 ** 20 }));
 * assertEquals(bytes > 0, reason === undefined);
 * ```
 */
export function releaseFreePages(
  arena: Arena,
  options: ReleaseOptions = {},
): ReleaseResult {
  const reason = whyNot();
  if (reason !== undefined) return { bytes: 0, blocks: 0, reason };
  const madvise = open(arena);
  try {
    return releaseWith(madvise, arena, options.huge === true);
  } finally {
    madvise.close();
  }
}

function releaseWith(
  madvise: Madvise,
  arena: Arena,
  huge: boolean,
): ReleaseResult {
  const unit = huge ? BigInt(HUGE_BYTES) : madvise.pageBytes;
  let bytes = 0, blocks = 0;
  arena.pages.releaseFree(huge ? HUGE_ORDER : 0, (pfn, order) => {
    // Pages of the arena need not be aligned as those of the system: what lies half in a block stays.
    const start = madvise.address + BigInt(arena.pageRef(pfn)) * 64n;
    const end = start + BigInt(PAGE_BYTES << order);
    const from = (start + unit - 1n) / unit * unit;
    const size = end / unit * unit - from;
    if (size <= 0n || !madvise.release(from, size)) return false;
    bytes += Number(size);
    blocks++;
    // What lies beside huge pages can go back when it is asked for.
    return !huge || size === end - start;
  });
  return { bytes, blocks };
}

/** What stands in the way, if anything. */
function whyNot(): string | undefined {
  if (typeof Deno === "undefined" || Deno.build.os !== "linux") {
    return "only Deno on Linux can hand pages back";
  }
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted"
    ? undefined
    : "handing pages back needs the permission --allow-ffi, which Deno takes before the program (deno run --allow-read --allow-ffi …)";
}

function open(arena: Arena): Madvise {
  const libc = Deno.dlopen("libc.so.6", {
    madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" },
    sysconf: { parameters: ["i32"], result: "i64" },
  });
  const base = Deno.UnsafePointer.of(new Uint8Array(arena.buffer));
  return {
    address: BigInt(Deno.UnsafePointer.value(base)),
    pageBytes: BigInt(libc.symbols.sysconf(SC_PAGESIZE)),
    release: (address, bytes) =>
      libc.symbols.madvise(
        Deno.UnsafePointer.create(address),
        bytes,
        MADV_DONTNEED,
      ) === 0,
    close: () => libc.close(),
  };
}
