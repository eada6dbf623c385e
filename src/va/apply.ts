/**
 * Carrying operations out: the only file that decides how a manager's mappings change. (Replacing exactly one is done by
 * `VaState.replaceAndExit`, which is compiled.)
 *
 * What a request does to the tree is one store over the addresses that it is about, of the new mapping or of nothing; that is
 * the only step that needs nodes, and readers see all of it or none. The mapping that was cut still stands left and right
 * of them, as an entry of exactly the addresses that stay, and still says the truth about these; then the parts take its
 * place by stores over exactly one entry, which need no memory. So a reader finds at every moment what was mapped
 * before or what is mapped after, and no hole between.
 *
 * New mappings and VmBos are allocated before that store; if it fails they are freed, and nothing has changed. What was
 * replaced is unlinked, and freed after a grace period.
 *
 * @module
 */
import { OutOfMemoryError } from "../memory/mod.ts";
import { VaExistsError } from "./errors.ts";
import { splitRule, unmapRule } from "./generate.ts";
import {
  mappingFlagsOf,
  type MappingSpec,
  readMapping,
  setMappingFlags,
} from "./mapping.ts";
import {
  type MapOp,
  OperationList,
  type RemapOp,
  remapToUnmapRange,
  type UnmapOp,
  type VaOp,
  type VaSpan,
} from "./operations.ts";
import type { RangeTree } from "../range_tree/mod.ts";
import type { VaNeed } from "./reserve.ts";
import { applyUnmaps } from "./unmap_object.ts";
import { EXACT, SEVERAL, type VaState } from "./va_state.ts";

/** Where the memory of a change comes from. */
export interface VaSupply {
  /** A mapping, filled. */
  createMapping(spec: MappingSpec): number;
  /** Gives a mapping back that nobody has seen. */
  giveBack(mapping: number): void;
  /** Stores an entry over a range of one of the manager's trees. */
  storeRange(tree: RangeTree, first: number, last: number, value: number): void;
  /** As `storeRange`, under the tree's lock. */
  storeLocked(
    tree: RangeTree,
    first: number,
    last: number,
    value: number,
  ): void;
  /** The VmBo of an object. */
  obtainBo(object: number): number;
}

/** Memory as it is needed. */
export function ordinarySupply(state: VaState): VaSupply {
  return {
    createMapping: (spec) => state.createMapping(spec),
    giveBack: (mapping) => state.caches.mappings.free(mapping),
    storeRange: (tree, first, last, value) => {
      state.reserve.admit();
      settling(state, () => tree.storeRange(first, last, value));
    },
    storeLocked: (tree, first, last, value) => {
      state.reserve.admit();
      const { writer, nodes } = state;
      settling(
        state,
        () => writer.storeRange(tree.ref, nodes, first, last, value),
      );
    },
    obtainBo: (object) => state.bos.obtain(object),
  };
}

/** Does something; if there is no room, what was replaced is to be freed like all the rest, by whoever makes room. */
export function settling<T>(state: VaState, store: () => T): T {
  try {
    return store();
  } catch (error) {
    if (error instanceof OutOfMemoryError) state.replaced.settle();
    throw error;
  }
}

/** What one store over a span replaces by what. */
interface Change {
  readonly span: VaSpan;
  /** Over all of the span; nothing = empty it. */
  readonly map: MappingSpec | undefined;
  /** What stays of a mapping that sticks out on the left. */
  readonly prev: MappingSpec | undefined;
  /** What stays of a mapping that sticks out on the right. */
  readonly next: MappingSpec | undefined;
  /** The mapping of which `prev` stays. */
  readonly prevOf: number;
  /** The mapping of which `next` stays. */
  readonly nextOf: number;
  /** The mappings that go. */
  readonly removed: readonly number[];
}

/** What stays of nothing. */
const NO_PARTS = { prev: undefined, next: undefined, prevOf: 0, nextOf: 0 };

/**
 * Applies one operation.
 *
 * @throws {VaExistsError} If a map operation finds something where it maps; nothing was changed.
 * @throws {VaNotFoundError} If a mapping that goes is not there; nothing was changed.
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
export function applyOp(
  state: VaState,
  op: VaOp,
  supply: VaSupply = state.supply,
): void {
  switch (op.kind) {
    case "map":
      return applyMap(state, op, supply);
    case "unmap":
      return applyUnmap(state, op, supply);
    case "remap":
      return applyRemap(state, op, supply);
    case "prefetch":
    case "driver":
  }
}

/**
 * Applies a whole list.
 *
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
export function applyList(state: VaState, list: OperationList): void {
  // What a map or an unmap request means is one store over its span.
  if (list.kind === "map" || list.kind === "unmap") {
    return applySpan(state, list, state.supply);
  }
  if (list.kind === "unmapObject") return applyUnmaps(state, list);
  // Otherwise it is one for each operation; with the memory for all of them at hand, none of them fails.
  state.reserve.within(needOf(state, list), () => {
    for (const op of list) applyOp(state, op, state.reserve);
  });
}

/** Applies the operations that a map or an unmap request means, as one. As {@linkcode applyList}. */
export function applySpan(
  state: VaState,
  list: OperationList,
  supply: VaSupply,
): void {
  const { exact } = list;
  if (exact !== undefined && bindInPlace(state, exact, supply)) return;
  applyChange(state, list, supply);
}

/** Applies what a list comes to, where that does not replace exactly one entry. */
function applyChange(
  state: VaState,
  list: OperationList,
  supply: VaSupply,
): void {
  const change = changeOf(list);
  if (change !== undefined) carryOut(state, change, supply);
}

/** Maps a range by today's rule. As {@linkcode applyList}. */
export function bindRange(
  state: VaState,
  spec: MappingSpec,
  supply: VaSupply,
): void {
  if (bindInPlace(state, spec, supply)) return;
  applyChange(state, mapList(state, spec), supply);
}

/** Unmaps a range. As {@linkcode applyList}. */
export function unbindRange(
  state: VaState,
  span: VaSpan,
  supply: VaSupply,
): void {
  if (unbindInPlace(state, span, supply)) return;
  applyChange(state, unmapList(state, span), supply);
}

/**
 * Maps a range where that replaces exactly one entry, a mapping or a part of a hole, without making operations of it; says
 * whether it was so. It walks and stores under one hold of the tree's lock.
 *
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
function bindInPlace(
  state: VaState,
  spec: MappingSpec,
  supply: VaSupply,
): boolean {
  const { start, object } = spec;
  const last = start + spec.range - 1;
  const { bos, tree } = state;
  let bo = 0;
  if (object !== 0 && state.links) {
    bo = bos.find(object);
    if (bo === 0) return false;
  }
  const replaced = state.enterExact("VaManager.bind", start, last);
  let mapping = 0;
  try {
    if (replaced >= 0) mapping = supply.createMapping(spec);
    if (replaced === 0) {
      state.isChanging = true;
      supply.storeLocked(tree, start, last, mapping);
    }
  } catch (error) {
    state.treeLock.exitWriter();
    if (mapping !== 0) supply.giveBack(mapping);
    state.isChanging = false;
    throw error;
  }
  if (replaced > 0) {
    state.replaceAndExit(replaced, mapping, bo);
  } else {
    state.treeLock.exitWriter();
    if (replaced < 0) return false;
    if (bo !== 0) bos.link(bo, mapping);
    state.isChanging = false;
  }
  state.arena.rcu.poll();
  return true;
}

/** Maps a range by today's rule; returns the operations that this was. As {@linkcode applyList}. */
export function applyRequest(
  state: VaState,
  spec: MappingSpec,
  supply: VaSupply,
): OperationList {
  const list = mapList(state, spec);
  applySpan(state, list, supply);
  return list;
}

/** The operations that mapping a range means by today's rule. Under the outer lock. */
export function mapList(state: VaState, spec: MappingSpec): OperationList {
  const last = spec.start + spec.range - 1;
  const covering = state.covering(spec.start, last);
  if (covering === 0) return OperationList.over(spec, 0, state);
  if (covering >= EXACT) {
    const mapping = covering - EXACT;
    const list = OperationList.over(spec, mapping, state);
    state.unread.add(list, mapping);
    return list;
  }
  const overlapping = covering === SEVERAL
    ? state.overlapping(spec.start, last)
    : [readMapping(state.words, state.doubles, covering)];
  const ops = splitRule(spec, overlapping);
  return new OperationList("map", spec, ops, state);
}

/** The operations that unmapping a range means. Under the outer lock. */
export function unmapList(state: VaState, span: VaSpan): OperationList {
  const { start, range } = span;
  const ops = unmapRule(span, state.overlapping(start, start + range - 1));
  return new OperationList("unmap", span, ops, state);
}

/** Unmaps a range where exactly one mapping is, or nothing. As {@linkcode bindInPlace}. */
function unbindInPlace(
  state: VaState,
  { start, range }: VaSpan,
  supply: VaSupply,
): boolean {
  const last = start + range - 1;
  const { tree } = state;
  const removed = state.enterExact("VaManager.unbind", start, last);
  try {
    if (removed > 0) {
      state.isChanging = true;
      // If this thread dies from here on, it is its own: see `recover.ts`.
      state.caches.mappings.claim(removed);
      supply.storeLocked(tree, start, last, 0);
    }
  } catch (error) {
    state.isChanging = false;
    throw error;
  } finally {
    state.treeLock.exitWriter();
  }
  if (removed <= 0) return removed === 0;
  state.retire(removed);
  state.isChanging = false;
  state.arena.rcu.poll();
  return true;
}

/** What applying a list one by one needs at most. */
function needOf(state: VaState, list: OperationList): VaNeed {
  const objects: number[] = [];
  let mappings = 0, stores = 0;
  for (const op of list) {
    if (op.kind === "prefetch" || op.kind === "driver") continue;
    // Once where nodes are needed; the parts that remain take the place of single entries.
    stores++;
    if (op.kind === "map") {
      mappings++;
      if (op.mapping.object !== 0 && state.links) {
        objects.push(op.mapping.object);
      }
    } else if (op.kind === "remap") mappings += 2;
  }
  return { stores, mappings, objects, isLater: false };
}

/** Inserts a mapping where nothing is; returns its ref. As {@linkcode applyOp} of a map operation. */
export function insertMapping(state: VaState, spec: MappingSpec): number {
  const last = spec.start + spec.range - 1;
  if (isNewObject(state, spec)) {
    applyMap(state, { kind: "map", mapping: spec }, state.supply);
    return state.tree.load(spec.start);
  }
  state.reserve.admit();
  const mapping = state.createMapping(spec);
  let inserted = false;
  state.isChanging = true;
  try {
    inserted = settling(
      state,
      () => state.tree.insertRange(spec.start, last, mapping),
    );
  } finally {
    if (!inserted) {
      state.caches.mappings.free(mapping);
      state.isChanging = false;
    }
  }
  if (!inserted) refuseOccupied(spec);
  if (spec.object !== 0 && state.links) {
    state.bos.link(state.bos.find(spec.object), mapping);
  }
  state.isChanging = false;
  return mapping;
}

/** Whether a mapping needs a VmBo that is not there. */
function isNewObject(state: VaState, spec: MappingSpec): boolean {
  return spec.object !== 0 && state.links && state.bos.find(spec.object) === 0;
}

function applyMap(state: VaState, op: MapOp, supply: VaSupply): void {
  const { mapping } = op;
  const last = mapping.start + mapping.range - 1;
  if (state.first(mapping.start, last) !== undefined) refuseOccupied(mapping);
  carryOut(state, {
    span: mapping,
    map: mapping,
    ...NO_PARTS,
    removed: [],
  }, supply);
}

function refuseOccupied({ start, range }: VaSpan): never {
  throw new VaExistsError(
    `Cannot map [${start}, +${range}): something is mapped there`,
  );
}

function applyUnmap(state: VaState, op: UnmapOp, supply: VaSupply): void {
  state.assertMapped(op.mapping, "unmap");
  carryOut(state, {
    span: op.mapping,
    map: undefined,
    ...NO_PARTS,
    removed: [op.mapping.ref],
  }, supply);
}

function applyRemap(state: VaState, op: RemapOp, supply: VaSupply): void {
  state.assertMapped(op.unmap.mapping, "unmap");
  carryOut(state, {
    span: remapToUnmapRange(op),
    map: undefined,
    prev: op.prev,
    next: op.next,
    prevOf: op.unmap.mapping.ref,
    nextOf: op.unmap.mapping.ref,
    removed: [op.unmap.mapping.ref],
  }, supply);
}

/** What the operations of a map or an unmap request come to; undefined if that is nothing. */
function changeOf(list: OperationList): Change | undefined {
  let map: MappingSpec | undefined;
  let prev: MappingSpec | undefined, next: MappingSpec | undefined;
  let prevOf = 0, nextOf = 0;
  const removed: number[] = [];
  for (let i = 0; i < list.length; i++) {
    const op = list.at(i)!;
    switch (op.kind) {
      case "map":
        map = op.mapping;
        break;
      case "unmap":
        removed.push(op.mapping.ref);
        break;
      case "remap":
        if (op.prev !== undefined) {
          prev = op.prev;
          prevOf = op.unmap.mapping.ref;
        }
        if (op.next !== undefined) {
          next = op.next;
          nextOf = op.unmap.mapping.ref;
        }
        removed.push(op.unmap.mapping.ref);
    }
  }
  if (map === undefined && removed.length === 0) return undefined;
  return { span: list.span, map, prev, next, prevOf, nextOf, removed };
}

function carryOut(state: VaState, change: Change, supply: VaSupply): void {
  if (
    change.map !== undefined && supply === state.supply &&
    isNewObject(state, change.map)
  ) {
    // Two trees change, so neither may fail once the other has.
    const objects = [change.map.object];
    const need = { stores: 1, mappings: 3, objects, isLater: false };
    const { reserve } = state;
    return reserve.within(need, () => store(state, change, reserve));
  }
  store(state, change, supply);
}

function store(state: VaState, change: Change, supply: VaSupply): void {
  const { start, range } = change.span;
  const { map, prev, next } = change;
  const { bos, tree } = state;
  const bo = map !== undefined && map.object !== 0 && state.links
    ? supply.obtainBo(map.object)
    : 0;
  let mapRef = 0, prevRef = 0, nextRef = 0;
  try {
    if (map !== undefined) mapRef = supply.createMapping(map);
    if (prev !== undefined) prevRef = supply.createMapping(prev);
    if (next !== undefined) nextRef = supply.createMapping(next);
    // Until all is done: see `unfinished.ts`.
    state.isChanging = true;
    // If this thread dies from here on, they are its own: see `recover.ts`.
    for (let i = 0; i < change.removed.length; i++) {
      state.caches.mappings.claim(change.removed[i]);
    }
    supply.storeRange(tree, start, start + range - 1, mapRef);
  } catch (error) {
    for (const ref of [mapRef, prevRef, nextRef]) {
      if (ref !== 0) supply.giveBack(ref);
    }
    state.isChanging = false;
    throw error;
  }
  // Nothing below needs memory: each of these stores is over exactly one entry.
  if (prev !== undefined) placePart(state, prev, prevRef, change.prevOf);
  if (next !== undefined) placePart(state, next, nextRef, change.nextOf);
  if (bo !== 0) bos.link(bo, mapRef);
  for (let i = 0; i < change.removed.length; i++) {
    state.retire(change.removed[i]);
  }
  state.isChanging = false;
  state.arena.rcu.poll();
}

/** Puts what stays of a mapping, with the flags that it has now, in the place that its entry still takes. */
function placePart(
  state: VaState,
  part: MappingSpec,
  ref: number,
  cut: number,
): void {
  const { words } = state;
  setMappingFlags(words, ref, mappingFlagsOf(words, cut));
  state.tree.storeRange(part.start, part.start + part.range - 1, ref);
  if (part.object === 0 || !state.links) return;
  const bo = state.bos.find(part.object);
  if (bo !== 0) state.bos.link(bo, ref);
}
