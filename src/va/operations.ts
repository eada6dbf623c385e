/**
 * Operations: what a request means for the mappings that are there, one step after the other.
 *
 * A list of operations is bound to the generation of the mappings and regions that it was made from. Applying one of its
 * operations moves the list on to the generation that this makes; any other change of a mapping or a region makes the list
 * stale. A move of the trees' nodes is no change.
 *
 * Analogous to Linux `struct drm_gpuva_op` and `drm_gpuva_ops`; differs: a list that no longer fits is found out.
 *
 * @module
 */
import { StaleOperationsError } from "./errors.ts";
import { splitRule } from "./generate.ts";
import type { Mapping, MappingSpec } from "./mapping.ts";

/** A run of addresses. */
export interface VaSpan {
  /** The first address. */
  readonly start: number;
  /** How many addresses. */
  readonly range: number;
}

/** Create a mapping. */
export interface MapOp {
  /** Tells the kinds apart. */
  readonly kind: "map";
  /** The mapping to be. */
  readonly mapping: MappingSpec;
}

/** Remove a mapping. */
export interface UnmapOp {
  /** Tells the kinds apart. */
  readonly kind: "unmap";
  /** The mapping that goes. */
  readonly mapping: Mapping;
  /** Whether a mapping that follows maps the same again, so that the page table need not be touched. */
  readonly keep: boolean;
}

/** Cut a mapping: it goes, and what sticks out of the request stays as up to two new ones. */
export interface RemapOp {
  /** Tells the kinds apart. */
  readonly kind: "remap";
  /** What stays on the left. */
  readonly prev: MappingSpec | undefined;
  /** What stays on the right. */
  readonly next: MappingSpec | undefined;
  /** The mapping that is cut; `keep` is about the part that does not stay. */
  readonly unmap: UnmapOp;
}

/** Make a mapping's pages present. */
export interface PrefetchOp {
  /** Tells the kinds apart. */
  readonly kind: "prefetch";
  /** The mapping. */
  readonly mapping: Mapping;
}

/** An operation of the driver's own: applying it changes nothing. */
export interface DriverOp {
  /** Tells the kinds apart. */
  readonly kind: "driver";
  /** Whatever the driver needs to know. */
  readonly data: unknown;
}

/** One step. */
export type VaOp = MapOp | UnmapOp | RemapOp | PrefetchOp | DriverOp;

/** What operations are made from: a manager in its arena, by one of its handles. */
export interface OperationsSource {
  /** Every shared word of the arena. */
  readonly words: Int32Array;
  /** The manager's header. */
  readonly header: number;
  /** A number that changes with every change of the mappings or the regions. */
  readonly generation: number;
  /** A number that changes before mappings are let go, or flags are set; also where neither comes of it. */
  readonly retirements: number;
  /** A copy of a mapping that was there when `retirements` was that number; nothing if it is another one now. */
  read(mapping: number, retirements: number): Mapping | undefined;
}

function isSameSource(a: OperationsSource, b: OperationsSource): boolean {
  return a === b ||
    (a.header === b.header && a.words.buffer === b.words.buffer);
}

/** What a list of operations was made for. */
export type OperationsKind =
  | "map"
  | "unmap"
  | "prefetch"
  | "madvise"
  | "unmapObject";

/**
 * Operations in the order in which they are to be applied.
 *
 * Most often a map request is over exactly one mapping, or in a hole. Then the mapping is read and the operations are made when somebody
 * asks for one, which whoever commits the list need not; they say what was there when the list was made (`unread.ts`).
 * Where another object has set the mapping's flags and the list is committed before anybody has asked, these flags.
 *
 * Thread contract: an object belongs to one thread, and is used under the outer lock under which it was made. To ask for an operation
 * for the first time when another object of the manager, in whatever thread, has changed something since may be a
 * {@linkcode StaleOperationsError}, unless {@linkcode OperationList.read} was called before; and an error once the thread has left the
 * arena.
 */
export class OperationList implements Iterable<VaOp> {
  /** What the list was made for. */
  readonly kind: OperationsKind;
  /** The addresses that the request was about; of one that merges, those that the new mapping covers. */
  readonly span: VaSpan;
  /** The operations; nothing until they are made of the request. */
  #ops: VaOp[] | undefined;
  /** The map request of which they are to be made, … */
  #request: MappingSpec | undefined;
  /** … the mapping that it is over, 0 = it is in a hole, … */
  #mapping = 0;
  /** … what that says, once it was read, … */
  #old: Mapping | undefined;
  /** … and what the source's `retirements` was before. */
  #retirements = 0;
  readonly #source: OperationsSource;
  #generation: number;
  /** How many of the operations were applied in order; what else was applied is in the set. */
  #done = 0;
  #applied: Set<VaOp> | undefined;

  /** A list of operations that fit a manager as it is now. */
  constructor(
    kind: OperationsKind,
    span: VaSpan,
    ops: VaOp[] | undefined,
    source: OperationsSource,
  ) {
    this.kind = kind;
    this.span = span;
    this.#ops = ops;
    this.#source = source;
    this.#generation = source.generation;
  }

  /** What a map request means that is over exactly one mapping, or in a hole (0). */
  static over(
    request: MappingSpec,
    mapping: number,
    source: OperationsSource,
  ): OperationList {
    const list = new OperationList("map", request, undefined, source);
    list.#request = request;
    list.#mapping = mapping;
    list.#retirements = source.retirements;
    return list;
  }

  /** How many operations there are. */
  get length(): number {
    if (this.#ops !== undefined) return this.#ops.length;
    return this.#mapping === 0 ? 1 : 2;
  }

  /** The generation of the mappings and regions that the list fits. */
  get generation(): number {
    return this.#generation;
  }

  /** The operation at a place. */
  at(index: number): VaOp | undefined {
    return this.#made()[index];
  }

  /** What the list maps, if it does so where nothing is, or in the place of exactly one mapping; nothing if it does more. */
  get exact(): MappingSpec | undefined {
    // What else is in the list of a request, the driver has added: that changes nothing.
    return this.#request ?? exactOf(this);
  }

  /**
   * Reads what the operations name, unless that was done already: so they can be looked at also when the outer lock has been released.
   * Says whether it could: not if that was too late, since another object of the manager, in whatever thread, has changed something.
   */
  read(): boolean {
    if (this.#mapping === 0) return true;
    this.#old ??= this.#source.read(this.#mapping, this.#retirements);
    return this.#old !== undefined;
  }

  /**
   * Adds an operation of the driver's own at the end. It looks at the operations that are there.
   *
   * @throws {StaleOperationsError} If that is too late: see {@linkcode OperationList.read}.
   */
  add(op: DriverOp): void {
    this.#made().push(op);
  }

  /** The operations in order. */
  [Symbol.iterator](): IterableIterator<VaOp> {
    return this.#made().values();
  }

  /**
   * Checks that an operation, or with none the whole list, can be applied to a manager.
   *
   * @throws {StaleOperationsError} If it is another manager, its mappings or regions have changed, the operation is none of this
   * list, or was applied already.
   */
  assertFits(manager: OperationsSource, op?: VaOp): void {
    if (!isSameSource(manager, this.#source)) {
      throw new StaleOperationsError(
        "Cannot apply operations: they were made from another manager",
      );
    }
    const { generation } = manager;
    if (generation !== this.#generation) {
      throw new StaleOperationsError(
        `Cannot apply operations: they were made from generation ${this.#generation} of the mappings and regions, which are at ${generation}`,
      );
    }
    if (op === undefined ? this.#isBegun() : this.#isApplied(op)) {
      throw new StaleOperationsError(
        "Cannot apply operations: they were applied already",
      );
    }
    if (op !== undefined && !this.#has(op)) {
      throw new StaleOperationsError(
        `Cannot apply the ${op.kind} operation: it is not in this list`,
      );
    }
    this.#readIn(manager);
  }

  /** The generation is the same, so the mapping is there: what is applied by another object, or beside one, is read now. */
  #readIn(manager: OperationsSource): void {
    const { retirements } = manager;
    if (this.#mapping === 0 || this.#old !== undefined) return;
    if (manager === this.#source && retirements === this.#retirements) return;
    this.#old = manager.read(this.#mapping, retirements);
  }

  /** Notes that an operation, or with none the whole list, was applied, which took the mappings on to their generation. */
  noteApplied(op?: VaOp): void {
    this.#generation = this.#source.generation;
    if (op === undefined) this.#done = this.length;
    else if (this.#made()[this.#done] === op) this.#done++;
    else (this.#applied ??= new Set()).add(op);
  }

  #made(): VaOp[] {
    if (this.#ops !== undefined) return this.#ops;
    if (!this.read()) {
      throw new StaleOperationsError(
        "Cannot look at operations: another object has changed something since they were made, and nobody had looked at them before",
      );
    }
    const old = this.#old;
    return this.#ops = splitRule(this.#request!, old ? [old] : []);
  }

  #isBegun(): boolean {
    return this.#applied !== undefined ||
      (this.#done > 0 && this.length > 0);
  }

  #isApplied(op: VaOp): boolean {
    if (this.#applied?.has(op)) return true;
    // Nearly always it is the one that comes next.
    return this.#made()[this.#done] !== op &&
      this.#made().lastIndexOf(op, this.#done) >= 0 && this.#done > 0;
  }

  #has(op: VaOp): boolean {
    return this.#made()[this.#done] === op || this.#made().includes(op);
  }
}

function exactOf(list: OperationList): MappingSpec | undefined {
  const op = list.at(list.length - 1);
  if (op?.kind !== "map" || list.length > 2) return undefined;
  const before = list.length === 1 ? undefined : list.at(0);
  return before === undefined ||
      (before.kind === "unmap" && isSameSpan(before.mapping, op.mapping))
    ? op.mapping
    : undefined;
}

function isSameSpan(a: VaSpan, b: VaSpan): boolean {
  return a.start === b.start && a.range === b.range;
}

/**
 * The addresses that a remap really takes away: between what stays on the left and what stays on the right.
 *
 * Analogous to Linux `drm_gpuva_op_remap_to_unmap_range`.
 */
export function remapToUnmapRange(op: RemapOp): VaSpan {
  const { mapping } = op.unmap;
  const start = op.prev === undefined
    ? mapping.start
    : op.prev.start + op.prev.range;
  const end = op.next === undefined
    ? mapping.start + mapping.range
    : op.next.start;
  return { start, range: end - start };
}
