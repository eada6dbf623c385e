/**
 * Carrying out the operations of a bind job with memory that was set aside.
 *
 * @module
 */
import type { Lockdep } from "../sync/mod.ts";
import { applySpan } from "./apply.ts";
import type { BindOp } from "./bind_rules.ts";
import { VaError } from "./errors.ts";
import { splitRule, unmapRule } from "./generate.ts";
import { OperationList, type VaSpan } from "./operations.ts";
import type { Promised, Reserve } from "./reserve.ts";
import { specOf } from "./request.ts";
import type { VaState } from "./va_state.ts";

/** How a bind queue changes its manager. Under the outer lock. */
export class Binder {
  readonly #state: VaState;

  /** Changes that manager. */
  constructor(state: VaState) {
    this.#state = state;
  }

  /** What is set aside. */
  get reserve(): Reserve {
    return this.#state.reserve;
  }

  /** This thread's lockdep. */
  get lockdep(): Lockdep {
    return this.#state.arena.lockdep;
  }

  /** Refuses a range that can't be mapped. */
  assertRange(span: VaSpan, what: string): void {
    this.#state.assertRange(span, what);
  }

  /**
   * Sets aside what a job needs at most.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  promise(ops: readonly BindOp[]): Promised {
    const state = this.#state;
    state.assertWriter("BindQueue.submit");
    const objects: number[] = [];
    let mappings = 0, stores = 0;
    for (const op of ops) {
      // A map puts one mapping in, and each can leave two parts of what it cuts.
      mappings += op.op === "map" ? 3 : op.op === "sparseMap" ? 0 : 2;
      stores += op.op === "sparseUnmap" ? 2 : 1;
      if (op.op !== "map" || !state.links) continue;
      const { object = 0 } = op;
      if (object !== 0 && object !== objects.at(-1)) objects.push(object);
    }
    return state.reserve.promise({ stores, mappings, objects });
  }

  /**
   * Checks that what was set aside is still enough.
   *
   * @throws {VaError} If others have made a tree so much higher meanwhile.
   */
  assertPromised({ height }: Promised): void {
    const { tree, boTree, regions } = this.#state;
    // One level is what the job itself may add at once.
    const now = Math.max(tree.height, boTree.height, regions.height);
    if (now < height) return;
    throw new VaError(
      "ESTALE",
      `Cannot execute a bind job: memory was set aside for trees of height ${height}, one has ${now}`,
    );
  }

  /** Carries the operations out, which were checked and promised. Returns what each means, for the page table. */
  apply(ops: readonly BindOp[]): OperationList[] {
    const state = this.#state;
    state.assertWriter("BindQueue");
    const lists: OperationList[] = [];
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i];
      if (op.op === "sparseMap") this.#setRegion(op, 1);
      else {
        lists.push(this.#applyOne(op));
        if (op.op === "sparseUnmap") this.#setRegion(op, 0);
      }
    }
    return lists;
  }

  #applyOne(op: Exclude<BindOp, { op: "sparseMap" }>): OperationList {
    const state = this.#state;
    const { start, range } = op;
    const overlapping = state.overlapping(start, start + range - 1);
    let list: OperationList;
    if (op.op === "map") {
      const spec = specOf(op);
      const ops = splitRule(spec, overlapping);
      list = new OperationList("map", spec, ops, state.generation);
    } else {
      const ops = unmapRule(op, overlapping);
      list = new OperationList("unmap", op, ops, state.generation);
    }
    applySpan(state, list, state.reserve);
    list.noteApplied(state.generation);
    return list;
  }

  #setRegion({ start, range }: VaSpan, value: number): void {
    const { reserve, regions } = this.#state;
    reserve.storeRange(regions, start, start + range - 1, value);
  }
}
