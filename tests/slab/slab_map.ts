import { assertEquals } from "@std/assert";

/** So many empty slabs stay with their cache. */
const EMPTY_KEPT = 4;

/** One slab of the mirror. */
export interface MappedSlab {
  /** Its objects in use. */
  readonly refs: Set<number>;
  /** Who has isolated it, so that it takes no new ones; 0 = nobody. */
  isolatedBy: number;
}

/** A slab cache's mirror: a set of refs a page. */
export class SlabMap {
  /** The slabs by page frame number. */
  readonly slabs = new Map<number, MappedSlab>();
  readonly #capacity: number;

  /** A cache with no slab, with so many objects in one. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** All objects in use. */
  get refs(): number[] {
    return [...this.slabs.values()].flatMap((slab) => [...slab.refs]);
  }

  /** The pages that a new object may come from: the fullest slabs with room. None if it takes a new slab. */
  candidates(): number[] {
    const open = [...this.slabs].filter(([, { refs, isolatedBy }]) =>
      isolatedBy === 0 && refs.size < this.#capacity
    );
    const fullest = Math.max(...open.map(([, slab]) => slab.refs.size));
    return open.filter(([, slab]) => slab.refs.size === fullest).map(([pfn]) =>
      pfn
    );
  }

  /** Notes an object as in use. */
  allocate(pfn: number, ref: number): void {
    const slab = this.slabs.get(pfn) ?? { refs: new Set(), isolatedBy: 0 };
    this.slabs.set(pfn, slab);
    slab.refs.add(ref);
  }

  /**
   * Notes objects as free. Slabs that are empty then are given back; of those that are not isolated, four stay: which ones
   * depends on the order, so the cache says it.
   *
   * @param objects The objects and their pages.
   * @param kept The pages of the slabs that the cache has kept.
   */
  free(objects: [pfn: number, ref: number][], kept: number[]): void {
    for (const [pfn, ref] of objects) {
      const slab = this.slabs.get(pfn)!;
      slab.refs.delete(ref);
      if (slab.refs.size === 0 && slab.isolatedBy > 0) this.slabs.delete(pfn);
    }
    const empty = this.#empty();
    if (empty.length <= EMPTY_KEPT) return;
    for (const pfn of empty) if (!kept.includes(pfn)) this.slabs.delete(pfn);
    assertEquals(this.#empty().length, EMPTY_KEPT);
  }

  /** A thread isolates a slab; says whether it was one that was not isolated. */
  isolate(pfn: number, thread: number): boolean {
    const slab = this.slabs.get(pfn);
    if (slab === undefined || slab.isolatedBy > 0) return false;
    slab.isolatedBy = thread;
    if (slab.refs.size === 0) this.slabs.delete(pfn);
    return true;
  }

  /** A thread puts a slab back; says whether it was one that this thread has isolated. */
  unisolate(pfn: number, thread: number): boolean {
    const slab = this.slabs.get(pfn);
    if (slab?.isolatedBy !== thread) return false;
    slab.isolatedBy = 0;
    return true;
  }

  /** Gives all empty slabs back; says how many. */
  shrink(): number {
    const empty = this.#empty();
    for (const pfn of empty) this.slabs.delete(pfn);
    return empty.length;
  }

  /** How many slabs that are not isolated have 0, 1, … objects. */
  slabsByOccupancy(): number[] {
    const counts = new Array(this.#capacity + 1).fill(0);
    for (const { refs, isolatedBy } of this.slabs.values()) {
      if (isolatedBy === 0) counts[refs.size]++;
    }
    return counts;
  }

  #empty(): number[] {
    return [...this.slabs].filter(([, slab]) =>
      slab.isolatedBy === 0 && slab.refs.size === 0
    )
      .map(([pfn]) => pfn);
  }
}
