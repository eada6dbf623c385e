/**
 * Carrying out the operations of a bind job with memory that was set aside.
 *
 * @module
 */
import { entryCountOf } from "../range_tree/header.ts";
import { OutOfMemoryError } from "../memory/mod.ts";
import { perArena } from "../memory/per_arena.ts";
import type { Lockdep } from "../sync/mod.ts";
import {
  applyRequest,
  applySpan,
  bindRange,
  unbindRange,
  unmapList,
} from "./apply.ts";
import { BindOrder } from "./bind_order.ts";
import type { BindWorld, CheckedOp } from "./bind_rules.ts";
import { VaError } from "./errors.ts";
import type { OperationList, VaSpan } from "./operations.ts";
import { assertInRegion, findRegion } from "./regions.ts";
import type { Promised } from "./reserve.ts";
import { specOf } from "./request.ts";
import { MAX_FETCHED, type VaState } from "./va_state.ts";

/** The managers for whose jobs this thread may have memory set aside. */
const provided = perArena(() => new Set<VaState>());

/** Notes that memory is set aside for one; of those that others have destroyed meanwhile it is freed. */
function provide(state: VaState): void {
  const all = provided(state.arena);
  for (const other of all) {
    if (other.isLive) continue;
    other.reserve.close();
    all.delete(other);
  }
  all.add(state);
}

/** How a bind queue changes its manager. Under the outer lock. */
export class Binder {
  /** The jobs that have changed the tree and not yet ended. */
  readonly order: BindOrder = new BindOrder();
  /** What is called once the manager was destroyed. */
  readonly whenDestroyed: Set<(reason: Error) => void> = new Set();
  readonly #state: VaState;
  /** How many jobs there is memory set aside for. */
  #promises = 0;

  /** Changes that manager. */
  constructor(state: VaState) {
    this.#state = state;
  }

  /** This thread's lockdep. */
  get lockdep(): Lockdep {
    return this.#state.arena.lockdep;
  }

  /** What the rules need to know of the manager. */
  world(
    pageSize: number,
    objectSize: (object: number) => number | undefined,
  ): BindWorld {
    const state = this.#state;
    return {
      pageSize,
      objectSize,
      assertRange: (span, what) => state.assertRange(span, what),
      assertRegion: (span, region, what) =>
        assertInRegion(state, span, region, what),
      isEmpty: (start, range) =>
        state.first(start, start + range - 1) === undefined,
      // Where there are no regions at all, which only the outer lock's holder can change, that is known at a glance.
      findRegion: (start, range) =>
        entryCountOf(state.words, state.regions.ref) === 0
          ? undefined
          : findRegion(state, start, range),
    };
  }

  /** Whether the manager was not destroyed. */
  get isLive(): boolean {
    return this.#state.isLive;
  }

  /** Whether the outer lock is the manager's own. */
  get ownsOuterLock(): boolean {
    return this.#state.ownsOuterLock;
  }

  /** Checks that the manager lives, and that its outer lock is held if it is the manager's own. */
  assertOuterLock(site: string): void {
    this.#state.assertOuterLock(site);
  }

  /** That, and finishes what a thread was changing that died. As `VaState.assertWriter`. */
  assertWriter(site: string): void {
    this.#state.assertWriter(site);
  }

  /** Ends what was begun on a manager that was destroyed: just now, or, by another object, some time ago. */
  destroyed(): void {
    this.#state.reserve.close();
    this.#forget();
    const reason = new VaError(
      "ECANCELED",
      "Cannot execute a bind job: the VA manager was destroyed",
    );
    for (const call of [...this.whenDestroyed]) call(reason);
  }

  /**
   * Sets aside what a job needs at most, now or later.
   *
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  promise(ops: readonly CheckedOp[], isLater: boolean): Promised {
    const state = this.#state;
    state.assertWriter("BindQueue.submit");
    const objects: number[] = [];
    let mappings = 0, stores = 0;
    for (const op of ops) {
      // A map puts one mapping in, and each can leave two parts of what it cuts.
      mappings += op.op === "map" ? 3 : op.op === "sparseMap" ? 0 : 2;
      stores += op.op === "sparseUnmap" ? 2 : 1;
      if (op.op !== "map" || !state.links) continue;
      const { object } = op;
      if (object !== 0 && object !== objects.at(-1)) objects.push(object);
    }
    provide(state);
    const need = { stores, mappings, objects, isLater };
    const promised = state.reserve.promise(need);
    this.#promises++;
    return promised;
  }

  /** Ends a promise. Needs no lock. */
  release(promised: Promised): void {
    this.#state.reserve.release(promised);
    this.#promises--;
  }

  /** Frees what is promised to no job. Needs no lock. */
  trim(): void {
    const { reserve, isLive } = this.#state;
    if (isLive) reserve.trim();
    else reserve.close();
    if (!isLive || this.#promises === 0) this.#forget();
  }

  /**
   * Sees to it that what was set aside is still enough. Allocates if other threads have made the trees so much larger, or if one died
   * of a change, which is finished.
   *
   * @throws {VaError} If there is no room for that; nothing was changed.
   */
  keepPromises(): void {
    try {
      this.#state.assertWriter("BindQueue");
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      throw noLongerKept("a thread died of a change that takes more to finish");
    }
    if (this.#state.reserve.keepPromises()) return;
    throw noLongerKept("other threads have made the trees larger");
  }

  /**
   * Carries the operations out, which were checked and promised. Returns what each means, for the page table; nothing if
   * there is none that wants to know.
   */
  apply(ops: readonly CheckedOp[], wantsLists: boolean): OperationList[] {
    const state = this.#state;
    state.assertWriter("BindQueue");
    const lists: OperationList[] = [];
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i];
      if (i % MAX_FETCHED === 0) state.fetch(ops, i);
      if (op.op === "sparseMap") {
        this.#setRegion(op, 1);
        continue;
      }
      if (wantsLists) lists.push(this.#applyOne(op));
      else if (op.op === "map") bindRange(state, op, state.reserve);
      else unbindRange(state, op, state.reserve);
      if (op.op === "sparseUnmap") this.#setRegion(op, 0);
    }
    // The page table may look at the lists when the lock was released.
    state.unread.readAll();
    // What a job has replaced does not wait for the next one.
    state.replaced.settle();
    state.arena.rcu.poll();
    return lists;
  }

  #applyOne(op: Exclude<CheckedOp, { op: "sparseMap" }>): OperationList {
    const state = this.#state, { reserve } = state;
    if (op.op === "map") return applyRequest(state, specOf(op), reserve);
    const list = unmapList(state, op);
    applySpan(state, list, reserve);
    return list;
  }

  /** Notes that nothing is set aside any more. */
  #forget(): void {
    provided(this.#state.arena).delete(this.#state);
  }

  #setRegion({ start, range }: VaSpan, value: number): void {
    const { reserve, regions } = this.#state;
    reserve.storeRange(regions, start, start + range - 1, value);
  }
}

function noLongerKept(why: string): VaError {
  return new VaError(
    "ESTALE",
    `Cannot execute a bind job: ${why} than memory was set aside for, and there is no more`,
  );
}
