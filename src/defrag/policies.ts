/**
 * Policies: which slabs are emptied, in which order, and when that is enough.
 *
 * A policy is a value that chooses slabs of one cache; the compactor isolates what was chosen, moves the objects in that order
 * and measures the result against the optimum (`planner.ts`, `windows.ts`), whatever the policy was after. All that a policy has
 * to keep to is that no more slabs are chosen than can be freed: any so many can be emptied into the others, since these have
 * room for all objects there are. How few it chooses is its way to say when to stop.
 *
 * @module
 */
import type { Slab } from "../slab/slab_cache.ts";
import {
  emptiableWindows,
  freeableOf,
  type Window,
  type WindowMemory,
} from "./windows.ts";

/** A slab, and for how long it has been as full as it is. */
export interface AgedSlab extends Slab {
  /** How many times in a row, this one included, the compactor has found it as full as it is. */
  readonly age: number;
}

/** What a policy chooses from: the slabs of one cache that are not isolated, as seen at one moment. */
export interface PolicyWorld {
  /** Objects that a slab has room for. */
  readonly capacity: number;
  /** The most slabs that can be freed. */
  readonly freeableSlabs: number;
  /** How many slabs are a good measure for one pass; up to `freeableSlabs` may be chosen where fewer make no sense. */
  readonly slabsWanted: number;
  /** The emptiest slabs, the emptiest first. Costs what it returns. */
  emptiest(count: number): readonly number[];
  /** All slabs. Costs a walk over them. */
  slabs(): readonly AgedSlab[];
  /** The slabs, what is free between them, and the slabs of the cache that is compacted beside it. Costs a walk over all of these. */
  memory(): WindowMemory;
}

/** Chooses what is evacuated. */
export interface CompactionPolicy {
  /** What reports call it. */
  readonly name: string;
  /** The pages of the slabs to empty, in that order. Of more than can be freed the first ones are taken. */
  choose(world: PolicyWorld): readonly number[];
}

/** The emptiest slabs first: as many as can be freed with the fewest moves. The default. */
export const greedy: CompactionPolicy = {
  name: "greedy",
  choose: (world) => world.emptiest(world.slabsWanted),
};

/**
 * Whole aligned windows of 2^order pages, so that free blocks of that order come about: as many as can, and of windows with
 * equally many slabs those that hold the fewest objects. Leaves everything else alone.
 *
 * Slabs of the other cache in such a window are chosen when it is that one's turn. So a window is only begun if both caches can do
 * their part of it, after all windows that come before; also after those that only the other one has to do with.
 *
 * @throws {RangeError} If the order is not in 0 … 10.
 */
export function alignedWindows(order: number): CompactionPolicy {
  if (!Number.isInteger(order) || order < 0 || order > 10) {
    throw new RangeError(
      `Cannot compact aligned windows: order ${order} is outside [0, 10]`,
    );
  }
  return {
    name: `windows of order ${order}`,
    choose(world) {
      const memory = world.memory();
      const slabsOf = (window: Window) =>
        window.slabs.length + window.beside.length;
      const hasRoom = ({ slabsLacking, besideLacking }: Window) =>
        slabsLacking + besideLacking === 0;
      const windows = emptiableWindows(memory, order)
        .filter((window) => slabsOf(window) > 0 && hasRoom(window))
        .sort((a, b) => slabsOf(a) - slabsOf(b) || a.moves - b.moves);
      const chosen: number[] = [];
      let besideLeft = freeableOf(memory.beside, memory.capacity);
      for (const { slabs, beside } of windows) {
        if (chosen.length + slabs.length > world.freeableSlabs) continue;
        if (beside.length > besideLeft) continue;
        besideLeft -= beside.length;
        chosen.push(...slabs);
        if (chosen.length >= world.slabsWanted) break;
      }
      return chosen;
    },
  };
}

/**
 * What is won for the work, as log-structured file systems choose segments: (1 − u)·age / u, where u is how full a slab is. A
 * slab that has not changed for long is worth more, since one that changes empties by itself.
 */
export const costBenefit: CompactionPolicy = {
  name: "cost-benefit",
  choose({ capacity, slabsWanted, slabs }) {
    const worth = ({ inUse, age }: AgedSlab) =>
      inUse === 0 ? Infinity : (capacity - inUse) * age / inUse;
    return slabs()
      .map((slab) => ({ pfn: slab.pfn, worth: worth(slab) }))
      .sort((a, b) => a.worth === b.worth ? 0 : b.worth - a.worth)
      .slice(0, slabsWanted).map(({ pfn }) => pfn);
  },
};

/** From the last page down, however full: what is free gathers at the end of the arena. */
export const addressOrder: CompactionPolicy = {
  name: "address",
  choose: ({ slabs, slabsWanted }) =>
    slabs().map(({ pfn }) => pfn).sort((a, b) => b - a).slice(0, slabsWanted),
};

/** Any slabs: the baseline that the others are to beat. Equal seeds choose equally. */
export function random(seed: number): CompactionPolicy {
  let state = seed >>> 0;
  // A multiplicative step and a mix of its high bits: no more is needed to be impartial.
  const below = (bound: number) => {
    state = (Math.imul(state, 0x2c9277b5) + 0x5f356495) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 15), 0x735a2d97) >>> 0;
    return Math.floor(((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32 * bound);
  };
  return {
    name: "random",
    choose({ slabs, slabsWanted }) {
      const all = slabs().map(({ pfn }) => pfn);
      const count = Math.min(slabsWanted, all.length);
      for (let i = 0; i < count; i++) {
        const other = i + below(all.length - i);
        [all[i], all[other]] = [all[other], all[i]];
      }
      return all.slice(0, count);
    },
  };
}
