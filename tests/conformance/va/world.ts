/**
 * Where VA-manager cases are replayed: an arena with something beside the case in it, so that a compaction moves nodes.
 *
 * @module
 */
import { Arena, Compactor, RangeTree, VaManager } from "../../../mod.ts";
import { type RecordedVm, toAddress } from "./cases.ts";

/** An arena that can be compacted between any two steps. */
export class World {
  /** The arena. */
  readonly arena: Arena = Arena.create({ byteLength: 2 ** 21 });
  /** How often it was compacted. */
  compactions = 0;
  /** How many nodes were moved. */
  moves = 0;
  readonly #compactor = new Compactor(this.arena);
  readonly #compacts: boolean;
  #bystander: RangeTree | undefined;

  /** A world that compacts at each step, or never. */
  constructor(compacts: boolean) {
    this.#compacts = compacts;
    // Half a slab that stays: what a small tree can be moved to.
    if (compacts) {
      this.#filled(7 * 21);
      this.#bystander = this.#filled(20 * 21);
    }
  }

  /** The manager of a recorded VM. */
  manager(vm: RecordedVm): VaManager {
    const start = toAddress(vm.start), end = toAddress(vm.end);
    const reserved = vm.reserved === null ? undefined : {
      start: toAddress(vm.reserved.start),
      range: toAddress(vm.reserved.end) - toAddress(vm.reserved.start),
    };
    const manager = VaManager.create(this.arena, {
      start,
      range: end - start,
      reserved,
      regions: vm.regions !== undefined,
    });
    for (const region of vm.regions ?? []) {
      const start = toAddress(region.start);
      manager.insertRegion({ start, range: toAddress(region.end) - start });
    }
    return manager;
  }

  /** Between two steps: compacts, if the world does. */
  step(): void {
    if (!this.#compacts) return;
    this.#bystander?.destroy();
    this.moves += this.#compactor.run().moves;
    this.compactions++;
    this.#bystander = this.#filled(20 * 21);
  }

  #filled(count: number): RangeTree {
    const tree = RangeTree.create(this.arena);
    tree.bulkLoad(
      Array.from(
        { length: count },
        (_, i) => ({ first: i, last: i, value: 1 }),
      ),
    );
    return tree;
  }
}
