/**
 * The VA manager: which addresses of a GPU's virtual memory map which part of which object.
 *
 * Locking, as the 2023 thread settled it. The driver's own **outer lock** makes whole sets of operations atomic: everything
 * that makes operations, applies them or touches VmBos is called under it. Inside it every operation on the tree takes the
 * **tree's internal lock**, and only for its own length; so the tree's nodes can be moved the whole time, also while the
 * driver holds its outer lock. A tree whose only lock is the driver's gives the mover nothing to take.
 *
 * Looking an address up needs neither: any thread may, at any time.
 *
 * @module
 */
import type { Arena } from "../memory/mod.ts";
import { shownRoot } from "../memory/roots.ts";
import type { RangeTree } from "../range_tree/mod.ts";
import { guardOf } from "../sync/guard.ts";
import {
  applyList,
  applyOp,
  bindRange,
  insertMapping,
  mapList,
  unbindRange,
  unmapList,
} from "./apply.ts";
import { Binder } from "./binder.ts";
import { createManager, type VaManagerOptions } from "./create.ts";
import { MissingCallbackError, VaError, VaNotFoundError } from "./errors.ts";
import { madviseRule, partOf } from "./generate.ts";
import { formatInfo, type VaInfo } from "./info.ts";
import { lookupMany, translateMany } from "./look_up_many.ts";
import {
  clearPlace,
  lastOf,
  type Mapping,
  MappingFlag,
  mappingFlagsOf,
  type MappingSpec,
  OWN_FLAGS,
  readMapping,
  startOf,
} from "./mapping.ts";
import { mergeOps } from "./merge.ts";
import {
  type MapOp,
  OperationList,
  type OperationsKind,
  type RemapOp,
  type UnmapOp,
  type VaOp,
  type VaSpan,
} from "./operations.ts";
import {
  allRegions,
  assertRegion,
  findRegion,
  insertRegion,
  removeRegion,
} from "./regions.ts";
import {
  assertFlags,
  assertPlace,
  isObject,
  lastOfWindow,
  type MapRequest,
  specOf,
} from "./request.ts";
import { openManagers } from "./recover.ts";
import { lostIn } from "./unfinished.ts";
import { forgetTrees, isLiveManager } from "./header.ts";
import { VaState } from "./va_state.ts";
import { clearFlags, type VmBo } from "./vm_bo.ts";

const binders = new WeakMap<VaManager, Binder>();

/** How a bind queue changes a manager. */
export function binderOf(vm: VaManager): Binder {
  return binders.get(vm)!;
}

/** How a map request becomes operations. */
export interface MapOptions {
  /**
   * Whether mappings that continue each other become one: the rule of February 2023, with what it did differently (a request
   * that only overlaps the VM is taken). The one has the flags of the request; those of the others are lost.
   *
   * @default {false}
   */
  merge?: boolean;
}

/** What is called for each step of a request. What a callback throws stops the request at once. */
export interface VaCallbacks {
  /** For the new mapping. */
  map?(op: MapOp): void;
  /** For a mapping that is cut. */
  remap?(op: RemapOp): void;
  /** For a mapping that goes. */
  unmap?(op: UnmapOp): void;
}

/**
 * A GPU's virtual addresses: mappings, and the operations that a request means for them.
 *
 * Thread contract: an object belongs to one thread; the manager is shared, by name or by ref. Looking up (`lookup`,
 * `translate`, both for many addresses, `find…`, `mappings`, `intervalEmpty`, `rangeValid`) needs no lock and may be done by
 * any thread at any time; all else is done under one outer lock.
 *
 * - A reader sees all of a request that was committed, or none of it, and never a hole where both have something.
 * - What can't get memory throws and changes nothing.
 * - Operations that no longer fit the tree are refused, and change nothing.
 *
 * Analogous to Linux `struct drm_gpuvm`; differs: it lives in shared memory, and its tree can be compacted at any time.
 *
 * @example Map, map over it, see what happens
 * ```ts
 * import { Arena } from "@pollard/pollard";
 * import { VaManager } from "@pollard/pollard/va";
 * import { assertEquals } from "@std/assert";
 *
 * const vm = VaManager.create(Arena.create({ byteLength: 2 ** 20 }), { range: 2 ** 47 });
 * vm.commit(vm.mapOps({ start: 0x10000, range: 0x3000, object: 7 }));
 * const ops = vm.mapOps({ start: 0x11000, range: 0x1000, object: 8 });
 * assertEquals([...ops].map((op) => op.kind), ["remap", "map"]);
 * vm.commit(ops);
 * assertEquals([...vm.mappings()].map((each) => [each.start, each.object, each.offset]), [
 *   [0x10000, 7, 0],
 *   [0x11000, 8, 0],
 *   [0x12000, 7, 0x2000],
 * ]);
 * ```
 */
export class VaManager {
  /** The ref of the manager's header: with it another thread of the arena can attach. */
  readonly ref: number;
  readonly #state: VaState;

  private constructor(arena: Arena, header: number) {
    this.ref = header;
    this.#state = new VaState(arena, header);
    binders.set(this, new Binder(this.#state));
  }

  /**
   * Creates a manager without mappings.
   *
   * @throws {VaRangeError} If it has no addresses, or the reserved node is not inside of them.
   * @throws {VaError} If an option is none that there is.
   * @throws {OutOfMemoryError} If there is no room; nothing was created.
   * @throws {RangeError} If the name is empty, longer than 56 bytes, or one too many; nothing was created.
   * @throws {TypeError} If an external lock is given that the lock mode does not ask for, or one of another arena.
   * @throws {Error} If the name is taken; nothing was created.
   */
  static create(arena: Arena, options: VaManagerOptions): VaManager {
    return new VaManager(arena, createManager(arena, options));
  }

  /**
   * Opens a manager that exists, by its name or by its ref.
   *
   * @throws {VaNotFoundError} If there is no such manager.
   */
  static attach(arena: Arena, root: string | number): VaManager {
    const header = arena.roots.refOf(root);
    const isThere = () =>
      header !== 0 && openManagers(arena).headers.isAllocated(header) &&
      isLiveManager(arena.words, header);
    if (isThere()) {
      try {
        return new VaManager(arena, header);
      } catch (error) {
        // It may be destroyed at this moment.
        if (isThere()) throw error;
      }
    }
    throw new VaNotFoundError(
      `Cannot attach to a VA manager: there is none at ${shownRoot(root)}`,
    );
  }

  /** The tree of the mappings, for statistics and validation: what it stores are refs of mappings. */
  get tree(): RangeTree {
    this.#state.assertLive("VaManager.tree");
    return this.#state.tree;
  }

  /** The addresses that can be mapped. */
  get span(): VaSpan {
    const { start, last } = this.#state;
    this.#state.assertLive("VaManager.span");
    return { start, range: last - start + 1 };
  }

  /** The reserved node. */
  get reserved(): VaSpan | undefined {
    const { reserved, doubles } = this.#state;
    this.#state.assertLive("VaManager.reserved");
    if (reserved === 0) return undefined;
    const start = startOf(doubles, reserved);
    return { start, range: lastOf(doubles, reserved) - start + 1 };
  }

  /** How many mappings there are. Stale as soon as it is read, unless the outer lock is held. */
  get count(): number {
    this.#state.assertLive("VaManager.count");
    return this.#state.tree.count - (this.#state.reserved === 0 ? 0 : 1);
  }

  /**
   * Takes the outer lock that the manager offers, until the end of the caller's block. Sleeps while another thread holds it.
   *
   * @throws {LockdepError} If this thread holds the lock of a manager, or a lock that comes after it, already.
   * @throws {VaError} If the manager was destroyed, also while this waited for the lock.
   */
  lock(): Disposable {
    this.#state.lock("VaManager.lock");
    return guardOf(() => this.#state.unlock());
  }

  // Looking up: no lock.

  /** The mapping that covers an address. Needs no lock. */
  lookup(address: number): Mapping | undefined {
    return this.#state.lookup(address, "VaManager.lookup");
  }

  /** Where in its object an address leads, −1 if nothing is mapped there. Needs no lock, and makes no garbage. */
  translate(address: number): number {
    return this.#state.translate(address, "VaManager.translate");
  }

  /**
   * The mappings that cover many addresses, in their order. As {@linkcode VaManager.lookup} for each of them, but up to sixteen at a time,
   * so that they wait for memory together. Needs no lock.
   *
   * @throws {RangeError} If that is no list of numbers.
   */
  lookupMany(addresses: ArrayLike<number>): (Mapping | undefined)[] {
    return lookupMany(this.#state, addresses);
  }

  /**
   * Where many addresses lead, in their order. As {@linkcode VaManager.translate} for each of them, but up to sixteen at a time, so that
   * they wait for memory together. Needs no lock.
   *
   * @throws {RangeError} If that is no list of numbers.
   *
   * @example
   * ```ts
   * import { Arena } from "@pollard/pollard";
   * import { VaManager } from "@pollard/pollard/va";
   * import { assertEquals } from "@std/assert";
   *
   * const arena = Arena.create({ byteLength: 2 ** 22 });
   * const vm = VaManager.create(arena, { range: 2 ** 47 });
   * vm.bind({ start: 0x10000, range: 0x1000, object: 1, offset: 0x5000 });
   * assertEquals([...vm.translateMany([0x10010, 0x20000])], [0x5010, -1]);
   * ```
   */
  translateMany(addresses: ArrayLike<number>): Float64Array<ArrayBuffer> {
    return translateMany(this.#state, addresses);
  }

  /**
   * The mapping of exactly that range. Needs no lock. Analogous to Linux `drm_gpuva_find`.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  find(start: number, range: number): Mapping | undefined {
    const found = this.findFirst(start, range);
    return found?.start === start && found.range === range ? found : undefined;
  }

  /**
   * The first mapping that overlaps a range; the reserved node counts, and carries {@linkcode MappingFlag.RESERVED}. Needs
   * no lock. Analogous to Linux `drm_gpuva_find_first`.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  findFirst(start: number, range: number): Mapping | undefined {
    this.#state.assertLive("VaManager.findFirst");
    const last = lastOfWindow(start, range);
    return last < 0 ? undefined : this.#state.first(start, last);
  }

  /**
   * The mapping that ends right before an address. As the reference it looks at the address itself too: where nothing ends,
   * a mapping that begins at it or spans it is returned. Needs no lock. Analogous to Linux `drm_gpuva_find_prev`.
   */
  findPrev(address: number): Mapping | undefined {
    return this.rangeValid(address - 1, 1)
      ? this.#state.first(address - 1, address)
      : undefined;
  }

  /**
   * The mapping that begins at an address. As the reference it looks one unit further: a mapping that begins right behind
   * the address is returned too, which addresses that are multiples of a page never meet. Needs no lock. Analogous to Linux
   * `drm_gpuva_find_next`.
   */
  findNext(address: number): Mapping | undefined {
    return this.rangeValid(address, 1)
      ? this.#state.first(address, address + 1)
      : undefined;
  }

  /**
   * Whether nothing is mapped in a range, and the reserved node is not in it. Needs no lock.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  intervalEmpty(start: number, range: number): boolean {
    return this.findFirst(start, range) === undefined;
  }

  /** Whether a range is inside of the VM and does not overlap the reserved node. Needs no lock. */
  rangeValid(start: number, range: number): boolean {
    this.#state.assertLive("VaManager.rangeValid");
    return this.#state.whyNot(start, range) === undefined;
  }

  /**
   * The mappings that overlap a window, all by default, in order; without the reserved node. Each was there when it was given
   * out; it may be removed, and others inserted, before the next is asked for. Needs no lock. Analogous to Linux
   * `drm_gpuvm_for_each_va_range_safe`.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  mappings(window: VaSpan = this.span): Generator<Mapping> {
    this.#state.assertLive("VaManager.mappings");
    const { start, range } = window;
    return this.#mappings(start, lastOfWindow(start, range));
  }

  *#mappings(start: number, last: number): Generator<Mapping> {
    const state = this.#state;
    for (let from = start; from <= last;) {
      const mapping = state.first(from, last);
      if (mapping === undefined) return;
      const { first, last: end } = state.walk;
      from = end + 1;
      if ((mapping.flags & MappingFlag.RESERVED) !== 0) continue;
      // What remains of one that is being cut is given as the part that it is.
      const isWhole = mapping.start === first && mapping.range === from - first;
      yield isWhole
        ? mapping
        : { ref: mapping.ref, ...partOf(mapping, first, from) };
    }
  }

  /**
   * The manager as a table. Needs no lock; without the outer one its numbers are of several moments, as
   * {@linkcode VaManager.mappings} finds what is mapped.
   *
   * @param limit How many mappings to list at most.
   * @throws {RangeError} If that is no number of mappings.
   */
  info(limit = 100): VaInfo & { toString(): string } {
    if (!((Number.isInteger(limit) || limit === Infinity) && limit >= 0)) {
      throw new RangeError(`Cannot list ${limit} mappings`);
    }
    const mappings: Mapping[] = [];
    let count = 0, mapped = 0;
    for (const mapping of this.mappings()) {
      count++;
      mapped += mapping.range;
      if (mappings.length < limit) mappings.push(mapping);
    }
    const info = {
      span: this.span,
      reserved: this.reserved,
      count,
      mapped,
      mappings,
    };
    return { ...info, toString: () => formatInfo(info) };
  }

  // Changing: under the outer lock.

  /**
   * Inserts a mapping where nothing is. Under the outer lock. Analogous to Linux `drm_gpuva_insert`.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   * @throws {VaExistsError} If something is mapped there.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  insert(request: MapRequest): Mapping {
    const state = this.#state;
    state.assertWriter("VaManager.insert");
    const spec = this.#spec(request, "insert");
    const ref = insertMapping(state, spec);
    return readMapping(state.words, state.doubles, ref);
  }

  /**
   * Removes a mapping. Under the outer lock. Analogous to Linux `drm_gpuva_remove` and `drm_gpuva_unlink`.
   *
   * @throws {VaNotFoundError} If that mapping is not there any more.
   * @throws {VaRangeError} If it is the reserved node.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  remove(mapping: Mapping): void {
    this.#state.assertWriter("VaManager.remove");
    this.#assertOwn(mapping, "remove");
    applyOp(this.#state, { kind: "unmap", mapping, keep: false });
  }

  /**
   * Sets flags of a mapping, but for those that the manager sets, which stay; readers see them at once. Parts that remain
   * of the mapping get the flags that it has then. Under the outer lock. Needs no memory.
   *
   * @throws {VaNotFoundError} If that mapping is not there any more.
   * @throws {VaRangeError} If it is the reserved node.
   * @throws {VaError} If the flags are not the caller's to set.
   */
  setFlags(mapping: Mapping, flags: number): void {
    const state = this.#state;
    state.assertWriter("VaManager.setFlags");
    this.#assertOwn(mapping, "set flags of");
    assertFlags(mapping, flags);
    const own = mappingFlagsOf(state.words, mapping.ref) & OWN_FLAGS;
    state.setFlags(mapping.ref, (flags & ~OWN_FLAGS) | own);
  }

  /**
   * Marks a mapping for being written to the page table anew, or as written. Under the outer lock. Needs no memory.
   * Analogous to Linux `drm_gpuva_invalidate`.
   *
   * @throws {VaNotFoundError} If that mapping is not there any more.
   * @throws {VaRangeError} If it is the reserved node.
   */
  invalidate(mapping: Mapping, on = true): void {
    const state = this.#state;
    state.assertWriter("VaManager.invalidate");
    this.#assertOwn(mapping, "invalidate");
    const flags = mappingFlagsOf(state.words, mapping.ref);
    const bit = MappingFlag.INVALIDATED;
    state.setFlags(mapping.ref, on ? flags | bit : flags & ~bit);
  }

  /**
   * What mapping a range means: one operation for each mapping that it overlaps, in ascending order, and the new mapping.
   * Changes nothing. Under the outer lock. Analogous to Linux `drm_gpuvm_sm_map_ops_create`.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   * @throws {VaError} If the range is no multiple of the block that is to be repeated.
   */
  mapOps(request: MapRequest, options: MapOptions = {}): OperationList {
    const state = this.#state;
    state.assertWriter("VaManager.mapOps");
    if (options.merge === true) return mergeOps(state, request);
    return mapList(state, this.#spec(request, "map"));
  }

  /**
   * What unmapping a range means: an operation for each mapping that it overlaps. Changes nothing. Under the outer lock.
   * Analogous to Linux `drm_gpuvm_sm_unmap_ops_create`.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   */
  unmapOps({ start, range }: VaSpan): OperationList {
    const state = this.#state;
    state.assertWriter("VaManager.unmapOps");
    // The caller's own may become something else before the list is committed.
    const span = { start, range };
    state.assertRange(span, "unmap");
    return unmapList(state, span);
  }

  /**
   * A prefetch operation for each mapping that a range overlaps, whole. As the reference it takes any range, and finds the
   * reserved node too. Changes nothing. Under the outer lock. Analogous to Linux `drm_gpuvm_prefetch_ops_create`.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  prefetchOps({ start, range }: VaSpan): OperationList {
    const state = this.#state;
    state.assertWriter("VaManager.prefetchOps");
    const last = lastOfWindow(start, range);
    const overlapping = last < 0 ? [] : state.overlapping(start, last);
    const ops = overlapping.map((mapping): VaOp => ({
      kind: "prefetch",
      mapping,
    }));
    return this.#list("prefetch", { start, range }, ops);
  }

  /**
   * What cuts mappings without an object at the ends of a range, so that all that is inside can be given other attributes.
   * Changes nothing. Under the outer lock. Analogous to Linux `drm_gpuvm_madvise_ops_create`.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   */
  madviseOps(request: MapRequest): OperationList {
    const state = this.#state;
    state.assertWriter("VaManager.madviseOps");
    const spec = this.#spec(request, "advise on");
    const overlapping = state.overlapping(
      spec.start,
      spec.start + spec.range - 1,
    );
    return this.#list("madvise", spec, madviseRule(spec, overlapping));
  }

  /**
   * An unmap operation for each mapping that is linked to an object, in the order of their linking. Changes nothing. Under
   * the outer lock. Analogous to Linux `drm_gpuvm_bo_unmap_ops_create`.
   *
   * @throws {VaError} If that is no id of an object.
   */
  unmapObjectOps(object: number): OperationList {
    this.#state.assertWriter("VaManager.unmapObjectOps");
    const mappings = this.bo(object)?.mappings() ?? [];
    const ops = mappings.map((mapping): VaOp => ({
      kind: "unmap",
      mapping,
      keep: false,
    }));
    return this.#list("unmapObject", this.span, ops);
  }

  /**
   * Calls back for each step of mapping a range. Nothing is changed but what the callbacks apply. Under the outer lock.
   * Analogous to Linux `drm_gpuvm_sm_map`.
   *
   * @throws {MissingCallbackError} If one of the three callbacks is missing, or no function; none was called.
   * @throws {VaRangeError} As {@linkcode VaManager.mapOps}; none was called.
   */
  map(
    request: MapRequest,
    callbacks: VaCallbacks,
    options: MapOptions = {},
  ): void {
    assertCallbacks(callbacks, ["map", "remap", "unmap"], "map");
    this.#callBack(this.mapOps(request, options), callbacks);
  }

  /**
   * Calls back for each step of unmapping a range. As {@linkcode VaManager.map}. Analogous to Linux `drm_gpuvm_sm_unmap`.
   *
   * @throws {MissingCallbackError} If `remap` or `unmap` is missing; none was called.
   */
  unmap(span: VaSpan, callbacks: VaCallbacks): void {
    assertCallbacks(callbacks, ["remap", "unmap"], "unmap");
    this.#callBack(this.unmapOps(span), callbacks);
  }

  /**
   * Applies one operation of a list, or one that a callback got. Under the outer lock. Analogous to Linux `drm_gpuva_map`,
   * `drm_gpuva_unmap` and `drm_gpuva_remap`.
   *
   * Between the operations of a map request readers find a hole; {@linkcode VaManager.commit} has none.
   *
   * @throws {StaleOperationsError} If a mapping or a region has changed since the list was made, or the operation was applied
   * already.
   * @throws {VaExistsError} If a map operation comes before those that make room for it.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  apply(op: VaOp, list: OperationList | undefined = this.#calling): void {
    const state = this.#state;
    state.assertWriter("VaManager.apply");
    if (list === undefined) {
      throw new VaError(
        "EINVAL",
        `Cannot apply the ${op.kind} operation: no list was given, and no callback is running`,
      );
    }
    list.assertFits(state, op);
    applyOp(state, op);
    list.noteApplied(op);
  }

  /**
   * Applies a whole list: all of it or, on any error, nothing. Of a map or an unmap request readers see all or nothing, too.
   * Under the outer lock.
   *
   * @throws {StaleOperationsError} If a mapping or a region has changed since the list was made, or some of it was applied
   * already.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  commit(list: OperationList): void {
    const state = this.#state;
    state.assertWriter("VaManager.commit");
    list.assertFits(state);
    applyList(state, list);
    list.noteApplied();
  }

  /**
   * Maps a range at once: as {@linkcode VaManager.mapOps} and {@linkcode VaManager.commit}, for who does not need to know the
   * operations. Under the outer lock.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  bind(request: MapRequest): void {
    const state = this.#state;
    state.assertWriter("VaManager.bind");
    bindRange(state, this.#spec(request, "map"), state.supply);
  }

  /**
   * Unmaps a range at once: as {@linkcode VaManager.unmapOps} and {@linkcode VaManager.commit}. Under the outer lock.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  unbind({ start, range }: VaSpan): void {
    const state = this.#state;
    state.assertWriter("VaManager.unbind");
    const span = { start, range };
    state.assertRange(span, "unmap");
    unbindRange(state, span, state.supply);
  }

  // Objects.

  /**
   * An object's VmBo, if it has one. Under the outer lock. Analogous to Linux `drm_gpuvm_bo_find`.
   *
   * @throws {VaError} If that is no id of an object.
   */
  bo(object: number): VmBo | undefined {
    this.#state.assertWriter("VaManager.bo");
    assertObject(object);
    const { bos } = this.#state;
    const bo = bos.find(object);
    return bo === 0 ? undefined : bos.handle(bo);
  }

  /**
   * An object's VmBo, created if it has none. Under the outer lock. Analogous to Linux `drm_gpuvm_bo_obtain`.
   *
   * @throws {VaError} If that is no id of an object.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  obtainBo(object: number): VmBo {
    this.#state.assertWriter("VaManager.obtainBo");
    assertObject(object);
    const { bos, reserve } = this.#state;
    reserve.admit();
    return bos.handle(bos.obtain(object));
  }

  /**
   * Frees an object's VmBo. Under the outer lock. Analogous to Linux `drm_gpuvm_bo_put`.
   *
   * @throws {VaError} If mappings are linked to it.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  releaseBo(object: number): void {
    const bo = this.bo(object);
    if (bo === undefined) return;
    if (bo.count > 0) {
      throw new VaError(
        "EEXIST",
        `Cannot release the VmBo of object ${object}: ${bo.count} mappings are linked to it`,
      );
    }
    const state = this.#state;
    state.isChanging = true;
    try {
      state.bos.release(bo.ref);
    } finally {
      state.isChanging = false;
    }
  }

  /** The VmBos of objects that are shared with other managers, in the order in which they became so. Under the outer lock. */
  externalBos(): VmBo[] {
    this.#state.assertWriter("VaManager.externalBos");
    return this.#state.bos.list("external");
  }

  /** The VmBos whose memory was taken away, in the order in which it was. Under the outer lock. */
  evictedBos(): VmBo[] {
    this.#state.assertWriter("VaManager.evictedBos");
    return this.#state.bos.list("evicted");
  }

  /**
   * Calls back for each evicted object, in the order in which it was evicted, to make its memory present again; then it counts as
   * evicted no more. The callback may release VmBos, also the one that it is given: those that are released, or not evicted any
   * more, when it would be their turn are left out. What the callback throws ends it, and that object and the others stay
   * evicted. Under the outer lock. Analogous to Linux `drm_gpuvm_validate`.
   */
  validate(callback: (bo: VmBo) => void): void {
    const isEvicted = ({ ref, object }: VmBo) => {
      const bo = this.bo(object);
      return bo?.ref === ref && bo.evicted;
    };
    for (const bo of this.evictedBos()) {
      if (!isEvicted(bo)) continue;
      callback(bo);
      if (isEvicted(bo)) bo.evicted = false;
    }
  }

  // Regions.

  /**
   * Inserts a region where none is. Under the outer lock.
   *
   * @throws {VaRangeError} If the range can't be mapped.
   * @throws {VaExistsError} If a region is in the way.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  insertRegion(span: VaSpan): void {
    this.#state.assertWriter("VaManager.insertRegion");
    insertRegion(this.#state, span);
  }

  /**
   * Removes the region of exactly that range. Under the outer lock.
   *
   * @throws {VaNotFoundError} If there is none.
   * @throws {OutOfMemoryError} If there is no room; nothing was changed.
   */
  removeRegion(span: VaSpan): void {
    this.#state.assertWriter("VaManager.removeRegion");
    removeRegion(this.#state, span);
  }

  /**
   * The first region that overlaps a range. Needs no lock.
   *
   * @throws {VaRangeError} If that is no range of addresses.
   */
  findRegion(start: number, range: number): VaSpan | undefined {
    this.#state.assertLive("VaManager.findRegion");
    return findRegion(this.#state, start, range);
  }

  /** All regions, in order. Each was there when it was given out. Needs no lock. */
  regions(): Generator<VaSpan> {
    this.#state.assertLive("VaManager.regions");
    return allRegions(this.#state);
  }

  /**
   * Removes all mappings, VmBos, regions and the manager itself; every later use of it is an error. Gives up the jobs of bind
   * queues on this object, and frees what was set aside for them. Those on other objects end when it is their turn, and what was
   * set aside there is freed when the object is used next, or its thread sets memory aside for the jobs of another manager. Under
   * the outer lock; but if that is the manager's own, this takes it itself, and waits for whoever holds it. Needs no memory.
   *
   * @throws {LockdepError} If this thread holds the lock that is to be taken, or not the one that is to be held, as far as that
   * is known; nothing was changed.
   */
  destroy(): void {
    const state = this.#state, site = "VaManager.destroy";
    if (state.ownsOuterLock) state.lock(site);
    else state.assertLive(site);
    try {
      // What stands against writing, or taking the locks, is found before anything is changed: it is the same for all trees.
      state.treeLock.enterWriter(site);
      state.treeLock.exitWriter();
    } catch (error) {
      if (state.ownsOuterLock) state.unlock();
      throw error;
    }
    this.#end();
    binderOf(this).destroyed();
  }

  #end(): void {
    const state = this.#state;
    const { caches, tree, boTree, regions, arena } = state;
    state.replaced.settle();
    state.unread.noteRetirement();
    // If this thread dies from here on, all of it is its own: see `recover.ts`.
    caches.headers.claim(state.header);
    // Mappings and VmBos outlive the trees that lead to them by a grace period.
    // Once each: what remains of one that was being cut when a thread died may be several entries.
    const mapped = [...tree].map((entry) => entry.value);
    const lost = state.isChanging ? lostIn(state) : { mappings: [], bos: [] };
    const mappings = [...new Set([...mapped, ...lost.mappings])];
    const bos = [...state.bos.refs(), ...lost.bos];
    for (const mapping of mappings) caches.mappings.claim(mapping);
    for (const bo of bos) caches.bos.claim(bo);
    const trees = [tree, boTree, regions];
    for (const each of trees) caches.trees.claim(each.ref);
    state.kill();
    arena.roots.remove(state.header);
    for (const each of trees) each.destroy();
    forgetTrees(state.words, state.header);
    for (const mapping of mappings) clearPlace(state.words, mapping);
    for (const bo of bos) clearFlags(state.words, bo);
    caches.mappings.deferAll(mappings);
    caches.bos.deferAll(bos);
    caches.headers.defer(state.header);
    arena.rcu.poll();
  }

  /** The list whose operations are being given to callbacks. */
  #calling: OperationList | undefined;

  #callBack(list: OperationList, callbacks: VaCallbacks): void {
    const outer = this.#calling;
    this.#calling = list;
    try {
      for (const op of list) {
        if (op.kind === "map") callbacks.map?.(op);
        else if (op.kind === "remap") callbacks.remap?.(op);
        else if (op.kind === "unmap") callbacks.unmap?.(op);
      }
    } finally {
      this.#calling = outer;
    }
  }

  #list(kind: OperationsKind, span: VaSpan, ops: VaOp[]): OperationList {
    return new OperationList(kind, span, ops, this.#state);
  }

  /** Checks that a copy of a mapping is of one that is there, and not of the reserved node. */
  #assertOwn(mapping: Mapping, what: string): void {
    const state = this.#state;
    state.assertMapped(mapping, what);
    if (mapping.ref === state.reserved) state.refuse("reserved", mapping, what);
  }

  /** A request, checked and with all its fields. */
  #spec(request: MapRequest, what: string): MappingSpec {
    const state = this.#state;
    const spec = specOf(request);
    state.assertRange(spec, what);
    assertRegion(state, spec, what);
    assertPlace(spec);
    return spec;
  }
}

function assertObject(object: number): void {
  if (object !== 0 && isObject(object)) return;
  throw new VaError(
    "EINVAL",
    `Cannot use a VmBo: ${object} is no id of an object`,
  );
}

function assertCallbacks(
  callbacks: VaCallbacks,
  needed: readonly (keyof VaCallbacks)[],
  what: string,
): void {
  for (const name of needed) {
    if (typeof callbacks?.[name] !== "function") {
      throw new MissingCallbackError(name, what);
    }
  }
}
