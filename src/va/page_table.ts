/**
 * A simulated page table of a GPU: what executes the operations of a VA manager, and counts what that costs.
 *
 * It is a radix tree of six levels. Entries of the lowest three can be leaves, of 4 KiB, 64 KiB and 2 MiB: an entry is a leaf
 * where the mapping covers it whole and the place in the object is a multiple of its size. A leaf that is cut is split: the
 * smaller leaves are written first, and then take its place by one write, so what stays of it never disappears.
 *
 * - A **write** is one entry written. Nothing is written where the same is there already.
 * - A **flush** is one invalidation of the translation caches. A list of operations needs one if a valid entry was changed or
 *   removed; filling empty entries needs none.
 *
 * It is memory of this thread alone, not of the arena.
 *
 * @module
 */
import { VaError } from "./errors.ts";
import { MappingFlag, type MappingSpec, phaseBehind } from "./mapping.ts";
import {
  type OperationList,
  remapToUnmapRange,
  type VaOp,
  type VaSpan,
} from "./operations.ts";
import { isAddress } from "./request.ts";
import { SpanOverlay } from "./span_overlay.ts";

/** The sizes of an entry at each level, as powers of two; the last is that of the whole table. */
const SHIFTS = [12, 16, 21, 30, 39, 48, 53];
const TOP = SHIFTS.length - 2;
/** The highest level that has leaves. */
const LEAF_LEVELS = 3;
const SIZES = SHIFTS.map((shift) => 2 ** shift);

/** What is behind an address. */
export interface PageEntry {
  /** The object's id; 0 = none, reads give zero. */
  readonly object: number;
  /** The place in the object. */
  readonly offset: number;
}

/** What the table has cost, and what it is made of. */
export interface PageTableStats {
  /** Entries written. */
  readonly writes: number;
  /** Invalidations of the translation caches. */
  readonly flushes: number;
  /** Tables in use, the top one included. */
  readonly tables: number;
  /** Leaves in use: of 4 KiB, 64 KiB and 2 MiB. */
  readonly leaves: readonly [number, number, number];
  /** Sparse ranges. */
  readonly sparse: number;
}

class Table {
  readonly entries: Map<number, Table | PageEntry> = new Map();
}

const ZERO: PageEntry = { object: 0, offset: 0 };

/**
 * A page table.
 *
 * Thread contract: an object belongs to one thread.
 *
 * - After a list of operations it says, page by page, what the manager says.
 * - What an operation keeps, or a remap leaves standing, is there at every moment.
 *
 * @example Execute what a manager commits
 * ```ts
 * import { Arena } from "@pollard/pollard";
 * import { PageTable, VaManager } from "@pollard/pollard/va";
 * import { assertEquals } from "@std/assert";
 *
 * const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), { range: 2 ** 47 });
 * const table = new PageTable();
 * const ops = vm.mapOps({ start: 0x200000, range: 0x210000, object: 1 });
 * vm.commit(ops);
 * table.execute([ops]);
 * assertEquals(table.stats().leaves, [0, 1, 1]);
 * assertEquals(table.read(0x401000), { object: 1, offset: 0x201000 });
 * ```
 */
export class PageTable {
  /** Bytes of the smallest page: what is mapped is a multiple of it. */
  readonly pageSize: number = SIZES[0];
  readonly #top = new Table();
  readonly #sparse = new SpanOverlay<true>();
  #writes = 0;
  #flushes = 0;
  #isDirty = false;

  /** What is behind an address; undefined if a use of it is a fault. */
  read(address: number): PageEntry | undefined {
    if (!isAddress(address)) return undefined;
    let table = this.#top;
    for (let level = TOP; level >= 0; level--) {
      const size = SIZES[level];
      const entry = table.entries.get(indexAt(address, level));
      if (entry === undefined) break;
      if (!(entry instanceof Table)) {
        return entry.object === 0
          ? ZERO
          : { object: entry.object, offset: entry.offset + address % size };
      }
      table = entry;
    }
    return this.#sparse.first({ start: address, range: 1 }) === undefined
      ? undefined
      : ZERO;
  }

  /**
   * Executes lists of operations, with one flush for each that needs it.
   *
   * @throws {VaError} If an operation is not about whole pages; then none was executed.
   */
  execute(lists: readonly OperationList[]): void {
    for (const list of lists) for (const op of list) assertWhole(op);
    for (const list of lists) {
      for (const op of list) this.#execute(op);
      this.flush();
    }
  }

  /**
   * Executes one operation; whoever does so flushes.
   *
   * @throws {VaError} If it is not about whole pages.
   */
  apply(op: VaOp): void {
    assertWhole(op);
    this.#execute(op);
  }

  /** Invalidates the translation caches, if a valid entry was changed or removed since the last time. */
  flush(): void {
    if (this.#isDirty) this.#flushes++;
    this.#isDirty = false;
  }

  /**
   * Makes a range sparse, where nothing is mapped reads give zero; or no longer.
   *
   * @throws {VaError} If it is no range of whole pages.
   */
  setSparse(span: VaSpan, on: boolean): void {
    assertPages(span);
    if (on) this.#sparse.set(span, true);
    else this.#sparse.clear(span);
    this.#writes++;
    if (!on) this.#isDirty = true;
    this.flush();
  }

  /** What it has cost, and what it is made of. */
  stats(): PageTableStats {
    const leaves: [number, number, number] = [0, 0, 0];
    let tables = 0;
    const count = (table: Table, level: number) => {
      tables++;
      for (const entry of table.entries.values()) {
        if (entry instanceof Table) count(entry, level - 1);
        else leaves[level]++;
      }
    };
    count(this.#top, TOP);
    return {
      writes: this.#writes,
      flushes: this.#flushes,
      tables,
      leaves,
      sparse: this.#sparse.size,
    };
  }

  #execute(op: VaOp): void {
    const span = writtenBy(op);
    if (span === undefined) return;
    const { start, range } = span;
    this.#write(this.#top, TOP, 0, start, start + range, mappedBy(op));
  }

  /** Writes what a mapping says, or nothing, to the entries of a table that overlap `start` … `end`. */
  #write(
    table: Table,
    level: number,
    base: number,
    start: number,
    end: number,
    spec: MappingSpec | undefined,
  ): void {
    const size = SIZES[level];
    const from = Math.max(start, base);
    const to = Math.min(end, base + SIZES[level + 1]);
    for (let at = from - from % size; at < to; at += size) {
      const isWhole = start <= at && end >= at + size;
      if (isWhole && this.#writeWhole(table, level, at, spec)) continue;
      const inner = this.#descend(table, level, at, spec !== undefined);
      if (inner === undefined) continue;
      this.#write(inner, level - 1, at, start, end, spec);
      if (inner.entries.size === 0) this.#set(table, level, at, undefined);
    }
  }

  /** Writes one entry that is concerned as a whole; says whether that could be done here. */
  #writeWhole(
    table: Table,
    level: number,
    at: number,
    spec: MappingSpec | undefined,
  ): boolean {
    if (spec === undefined) {
      this.#set(table, level, at, undefined);
      return true;
    }
    const leaf = level < LEAF_LEVELS ? leafOf(spec, at, level) : undefined;
    if (leaf === undefined) return false;
    this.#set(table, level, at, leaf);
    return true;
  }

  #set(
    table: Table,
    level: number,
    at: number,
    value: Table | PageEntry | undefined,
  ): void {
    const index = indexAt(at, level);
    const before = table.entries.get(index);
    if (before === value || isSame(before, value)) return;
    this.#writes++;
    if (before !== undefined) this.#isDirty = true;
    if (value === undefined) table.entries.delete(index);
    else table.entries.set(index, value);
  }

  /** The table below an entry: a leaf is split for it; where nothing is, one is made only if it is needed. */
  #descend(
    table: Table,
    level: number,
    at: number,
    isNeeded: boolean,
  ): Table | undefined {
    const index = indexAt(at, level);
    const entry = table.entries.get(index);
    if (entry instanceof Table) return entry;
    if (entry === undefined && !isNeeded) return undefined;
    const inner = new Table();
    if (entry !== undefined) {
      const step = SIZES[level - 1];
      for (let into = 0; into < SIZES[level]; into += step) {
        const offset = entry.object === 0 ? 0 : entry.offset + into;
        inner.entries.set(into / step, { object: entry.object, offset });
        this.#writes++;
      }
      this.#isDirty = true;
    }
    this.#writes++;
    table.entries.set(index, inner);
    return inner;
  }
}

/** The addresses whose entries an operation writes; nothing if it leaves all as they are. */
function writtenBy(op: VaOp): VaSpan | undefined {
  switch (op.kind) {
    case "map":
      return op.mapping;
    case "unmap":
      return op.keep ? undefined : op.mapping;
    case "remap":
      return op.unmap.keep ? undefined : remapToUnmapRange(op);
    case "prefetch":
      // Nothing is mapped by the reserved node.
      return (op.mapping.flags & MappingFlag.RESERVED) === 0
        ? op.mapping
        : undefined;
    case "driver":
      return undefined;
  }
}

/** What an operation puts where it writes; nothing if it empties that. */
function mappedBy(op: VaOp): MappingSpec | undefined {
  return op.kind === "map" || op.kind === "prefetch" ? op.mapping : undefined;
}

/** Checks that an operation writes whole pages, and that no repeated block begins within one: no entry is smaller. */
function assertWhole(op: VaOp): void {
  const span = writtenBy(op), spec = mappedBy(op);
  if (span === undefined) return;
  assertPages(span);
  if (spec === undefined) return;
  const { start, range, repeat, phase } = spec, page = SIZES[0];
  if (repeat % page === 0 && phase % page === 0) return;
  throw new VaError(
    "EINVAL",
    `Cannot write [${start}, +${range}) in a page table: a block of ${repeat} that begins at ${phase} is not of whole pages of ${page}`,
  );
}

/** Checks that a range is of whole pages. */
function assertPages(span: VaSpan): void {
  const { start, range } = span;
  const page = SIZES[0], end = start + range;
  if (
    start >= 0 && range > 0 && end <= SIZES[TOP + 1] && start % page === 0 &&
    end % page === 0
  ) return;
  throw new VaError(
    "EINVAL",
    `Cannot write [${start}, +${range}) in a page table: it is no range of whole pages of ${page}`,
  );
}

function indexAt(address: number, level: number): number {
  return Math.floor(address / SIZES[level]) % (SIZES[level + 1] / SIZES[level]);
}

/** The leaf that a mapping puts at an address, if one of that size can. */
function leafOf(
  spec: MappingSpec,
  at: number,
  level: number,
): PageEntry | undefined {
  if (spec.object === 0) return ZERO;
  const into = at - spec.start;
  if (spec.repeat !== 0) {
    return level === 0
      ? {
        object: spec.object,
        offset: spec.offset + phaseBehind(spec.phase, into, spec.repeat),
      }
      : undefined;
  }
  const offset = spec.offset + into;
  return offset % SIZES[level] === 0 || level === 0
    ? { object: spec.object, offset }
    : undefined;
}

function isSame(
  a: Table | PageEntry | undefined,
  b: Table | PageEntry | undefined,
): boolean {
  return a !== undefined && b !== undefined && !(a instanceof Table) &&
    !(b instanceof Table) && a.object === b.object && a.offset === b.offset;
}
