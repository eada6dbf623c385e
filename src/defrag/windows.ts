/**
 * Which pages to empty for one large block.
 *
 * A block of order `j` begins at a multiple of 2^j, so the candidates are the aligned *windows* of that many pages, and they
 * are disjoint. A window can be emptied if each of its pages is free or a slab whose objects can be moved, and if there is room
 * for all that is in it: in the other slabs, or in new ones, on pages outside of it that are free. Emptying it takes one move an
 * object, so the cheapest window is the one that holds the fewest; that is the optimum for one block.
 *
 * Leaves and inner nodes live in slabs of two caches, side by side, and each is moved to slabs of its own. So what is looked at are
 * the slabs of one cache and those *beside* them, of the other: a window may have both, and each kind needs room of its kind.
 *
 * Of several blocks the most that can be made are those with the fewest slabs, as many as the slabs that can be freed allow: a
 * window of `s` slabs takes `s` of these, and any so many slabs can be emptied into the others. With slabs of two kinds that is an
 * upper bound, since it may be one kind that there are too few of. New slabs are not reckoned with there: a run takes none, since
 * it is after free pages.
 *
 * @module
 */
import { MAX_ORDER } from "../memory/page_allocator.ts";
import type { Slab } from "../slab/slab_cache.ts";

/** A window that can be emptied. */
export interface Window {
  /** Its first page. */
  readonly pfn: number;
  /** The slabs in it. */
  readonly slabs: readonly number[];
  /** Those in it that are beside them. */
  readonly beside: readonly number[];
  /** The objects in them: what emptying it costs in moves. */
  readonly moves: number;
  /**
   * How many new slabs are needed outside of it, because the others have too little room: for the objects of `slabs` … (Each is
   * reckoned as one page. In debug arenas it takes two, which moves may give back meanwhile, or not: then they were in vain.)
   */
  readonly slabsLacking: number;
  /** … and for those of `beside`. */
  readonly besideLacking: number;
}

/** The memory that windows are looked for in. */
export interface WindowMemory {
  /** How many pages there are. */
  readonly pages: number;
  /** Free blocks: first page and order. */
  readonly free: readonly (readonly [pfn: number, order: number])[];
  /** Slabs of one cache whose objects can be moved. */
  readonly slabs: readonly Slab[];
  /** Those of the other one. */
  readonly beside: readonly Slab[];
  /** Objects that a slab has room for. */
  readonly capacity: number;
}

/** How far a run got towards free blocks of one order. */
export interface Contiguity {
  /** Blocks of 2^order pages, aligned to their size. */
  readonly order: number;
  /** How many more are free than before. */
  readonly made: number;
  /** The most that can have been made by emptying slabs, or a few more: leaves and inner nodes may run short of room one by one. */
  readonly most: number;
  /** Made / most; 1 where that is 0. */
  readonly yield: number;
}

/**
 * What became free, order by order.
 *
 * @param before The memory before the run.
 * @param free The free blocks behind it.
 */
export function contiguityOf(
  before: WindowMemory,
  free: WindowMemory["free"],
): Contiguity[] {
  const most = mostBlocks(before);
  return most.map((most, order) => {
    const made = Math.max(
      0,
      freeWindows(free, order) - freeWindows(before.free, order),
    );
    return { order, made, most, yield: most === 0 ? 1 : made / most };
  });
}

/** How many of the slabs of one cache can be freed. */
export function freeableOf(slabs: readonly Slab[], capacity: number): number {
  const objects = slabs.reduce((sum, { inUse }) => sum + inUse, 0);
  return slabs.length - Math.ceil(objects / capacity);
}

/** How many more blocks of each order can be made free by emptying slabs, at most. */
export function mostBlocks(memory: WindowMemory): number[] {
  const { pages, free, slabs, beside, capacity } = memory;
  const freeableSlabs = freeableOf(slabs, capacity) +
    freeableOf(beside, capacity);
  // How many pages of a window are free or slabs, and how many of these are slabs: each order's windows are pairs of the last's.
  let usable = new Uint32Array(pages);
  let slabsIn = new Uint32Array(pages);
  for (const [pfn, order] of free) usable.fill(1, pfn, pfn + 2 ** order);
  for (const { pfn } of slabs) usable[pfn] = slabsIn[pfn] = 1;
  for (const { pfn } of beside) usable[pfn] = slabsIn[pfn] = 1;
  return Array.from({ length: MAX_ORDER + 1 }, (_, order) => {
    if (order > 0) {
      usable = pairSums(usable);
      slabsIn = pairSums(slabsIn);
    }
    const size = 2 ** order;
    const candidates = slabsIn.filter((count, window) =>
      count > 0 && usable[window] === size
    ).sort();
    let blocks = 0, left = freeableSlabs;
    while (blocks < candidates.length && candidates[blocks] <= left) {
      left -= candidates[blocks++];
    }
    return blocks;
  });
}

function pairSums(counts: Uint32Array): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: counts.length >>> 1 },
    (_, i) => counts[2 * i] + counts[2 * i + 1],
  );
}

/** How many aligned windows of an order lie in free blocks. */
function freeWindows(free: WindowMemory["free"], order: number): number {
  return free.reduce(
    (sum, [, have]) => have >= order ? sum + 2 ** (have - order) : sum,
    0,
  );
}

/** The windows of 2^order pages that can be emptied, the cheapest first. */
export function emptiableWindows(
  memory: WindowMemory,
  order: number,
): Window[] {
  const { pages, free } = memory;
  const size = 2 ** order;
  const count = Math.floor(pages / size);
  const freeIn = new Uint32Array(count);
  let freePages = 0;
  for (const [pfn, blockOrder] of free) {
    freePages += 2 ** blockOrder;
    for (let page = pfn; page < pfn + 2 ** blockOrder; page++) {
      if (page < count * size) freeIn[Math.floor(page / size)]++;
    }
  }
  const own = sortIntoWindows(memory.slabs, memory, size);
  const other = sortIntoWindows(memory.beside, memory, size);
  const windows: Window[] = [];
  for (let window = 0; window < count; window++) {
    const slabs = own.slabs[window], beside = other.slabs[window];
    if (freeIn[window] + slabs.length + beside.length < size) continue;
    const slabsLacking = own.slabsLackingFor(window);
    const besideLacking = other.slabsLackingFor(window);
    if (slabsLacking + besideLacking > freePages - freeIn[window]) continue;
    windows.push({
      pfn: window * size,
      slabs,
      beside,
      moves: own.objects[window] + other.objects[window],
      slabsLacking,
      besideLacking,
    });
  }
  return windows.sort((a, b) => a.moves - b.moves);
}

/** The slabs of one cache, window by window. */
interface Sorted {
  /** Those of each window. */
  readonly slabs: readonly number[][];
  /** How many objects are in them. */
  readonly objects: Uint32Array;
  /** How many slabs more are needed outside of a window, so that there is room for these. */
  slabsLackingFor(window: number): number;
}

function sortIntoWindows(
  all: readonly Slab[],
  { pages, capacity }: WindowMemory,
  size: number,
): Sorted {
  const count = Math.floor(pages / size);
  const slabs: number[][] = Array.from({ length: count }, () => []);
  const objects = new Uint32Array(count);
  const roomIn = new Uint32Array(count);
  let room = 0;
  for (const { pfn, inUse } of all) {
    room += capacity - inUse;
    const window = Math.floor(pfn / size);
    if (window >= count) continue;
    slabs[window].push(pfn);
    objects[window] += inUse;
    roomIn[window] += capacity - inUse;
  }
  const slabsLackingFor = (window: number) => {
    const homeless = objects[window] - (room - roomIn[window]);
    return Math.max(0, Math.ceil(homeless / capacity));
  };
  return { slabs, objects, slabsLackingFor };
}
