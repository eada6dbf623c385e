/**
 * Which pages to empty for one large block.
 *
 * A block of order `j` begins at a multiple of 2^j, so the candidates are the aligned *windows* of that many pages, and they
 * are disjoint. A window can be emptied if each of its pages is free or a slab whose objects can be moved, and if the other
 * slabs have room for all that is in it. Emptying it takes one move an object, so the cheapest window is the one that holds
 * the fewest; that is the optimum for one block.
 *
 * @module
 */
import type { Slab } from "../slab/slab_cache.ts";

/** A window that can be emptied. */
export interface Window {
  /** Its first page. */
  readonly pfn: number;
  /** The slabs in it. */
  readonly slabs: readonly number[];
  /** The objects in them: what emptying it costs in moves. */
  readonly moves: number;
}

/** The memory that windows are looked for in. */
export interface WindowMemory {
  /** How many pages there are. */
  readonly pages: number;
  /** Free blocks: first page and order. */
  readonly free: readonly (readonly [pfn: number, order: number])[];
  /** Slabs whose objects can be moved. */
  readonly slabs: readonly Slab[];
  /** Objects that a slab has room for. */
  readonly capacity: number;
}

/** The windows of 2^order pages that can be emptied, the cheapest first. */
export function emptiableWindows(
  memory: WindowMemory,
  order: number,
): Window[] {
  const { pages, free, slabs, capacity } = memory;
  const size = 2 ** order;
  const count = Math.floor(pages / size);
  // How many pages of a window are free or can be made so, and what is in them.
  const usable = new Uint32Array(count);
  const moves = new Uint32Array(count);
  const inWindow: number[][] = Array.from({ length: count }, () => []);
  for (const [pfn, blockOrder] of free) {
    for (let page = pfn; page < pfn + 2 ** blockOrder; page++) {
      if (page < count * size) usable[Math.floor(page / size)]++;
    }
  }
  let room = 0;
  const roomIn = new Uint32Array(count);
  for (const { pfn, inUse } of slabs) {
    room += capacity - inUse;
    const window = Math.floor(pfn / size);
    if (window >= count) continue;
    usable[window]++;
    moves[window] += inUse;
    roomIn[window] += capacity - inUse;
    inWindow[window].push(pfn);
  }
  const windows: Window[] = [];
  for (let window = 0; window < count; window++) {
    if (usable[window] < size) continue;
    if (moves[window] > room - roomIn[window]) continue;
    windows.push({
      pfn: window * size,
      slabs: inWindow[window],
      moves: moves[window],
    });
  }
  return windows.sort((a, b) => a.moves - b.moves);
}
