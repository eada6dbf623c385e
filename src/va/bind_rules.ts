/**
 * What may be bound: the rules of a VM_BIND interface with sparse regions. They are checked for all operations of a job, in
 * the state in which the job finds the VM and as its own earlier operations will have changed it, before anything is
 * changed.
 *
 * - Addresses, offsets, repeated blocks and phases are multiples of the page; a mapping lies inside of its object; nothing
 *   overlaps the reserved node.
 * - A sparse region overlaps no other, and nothing that is mapped. It goes as a whole, with what is mapped in it.
 * - A mapping lies inside of a region or, unless the manager requires regions, outside of all; an unmap may cross regions,
 *   which stay.
 * - A region that goes in a job is not there for the rest of it, but its addresses are taken until the job's end.
 *
 * In the reference (nouveau) two of these are looked at twice, once against the state before the job, and this decides
 * which error is given. It is the same here.
 *
 * @module
 */
import { VaError, VaExistsError, VaNotFoundError } from "./errors.ts";
import type { VaSpan } from "./operations.ts";
import { SpanOverlay } from "./span_overlay.ts";
import type { MappingSpec } from "./mapping.ts";
import { encloses } from "./regions.ts";
import { assertPlace, isObject, type MapRequest, specOf } from "./request.ts";

/** Map a part of an object. */
export interface BindMap extends MapRequest {
  /** Tells the kinds apart. */
  readonly op: "map";
}

/** Do something with a range. */
export interface BindSpan extends VaSpan {
  /** Unmap all that is mapped there; make it a sparse region; remove the sparse region of exactly that range. */
  readonly op: "unmap" | "sparseMap" | "sparseUnmap";
}

/** One operation of a bind job. */
export type BindOp = BindMap | BindSpan;

/** A map operation with all its fields. */
export interface CheckedMap extends MappingSpec {
  /** Tells the kinds apart. */
  readonly op: "map";
}

/** An operation that was checked: a copy, which nobody else can change. */
export type CheckedOp = CheckedMap | BindSpan;

/** What the rules need to know. */
export interface BindWorld {
  /** Bytes of a page. */
  readonly pageSize: number;
  /** The size of an object; undefined if there is none of that id. */
  objectSize(object: number): number | undefined;
  /** Refuses a range that can't be mapped. */
  assertRange(span: VaSpan, what: string): void;
  /** Refuses a mapping that must lie in a region; the first region that overlaps it is given. */
  assertRegion(span: VaSpan, region: VaSpan | undefined, what: string): void;
  /** Whether nothing is mapped in a range. */
  isEmpty(start: number, range: number): boolean;
  /** The first region that overlaps a range. */
  findRegion(start: number, range: number): VaSpan | undefined;
}

/**
 * Checks what does not depend on the VM's state; returns copies of the operations, which nobody else can change.
 *
 * @throws {VaError} The first that is wrong.
 */
export function checkedOps(
  ops: readonly BindOp[],
  world: BindWorld,
): CheckedOp[] {
  const checked: CheckedOp[] = [];
  for (let i = 0; i < ops.length; i++) checked.push(checkedOp(ops[i], world));
  return checked;
}

function checkedOp(op: BindOp, world: BindWorld): CheckedOp {
  const checked = copyOf(op);
  if (checked.op === "map") checkObject(checked, world);
  assertPages(checked, checked.start, world);
  assertPages(checked, checked.range, world);
  world.assertRange(checked, checked.op);
  if (checked.op === "map") assertPlace(checked);
  return checked;
}

function copyOf(op: BindOp): CheckedOp {
  switch (op?.op) {
    case "map": {
      const { start, range, object, offset, flags, repeat, phase } = specOf(op);
      return { op: "map", start, range, object, offset, flags, repeat, phase };
    }
    case "unmap":
    case "sparseMap":
    case "sparseUnmap":
      return { op: op.op, start: op.start, range: op.range };
    default:
      throw new VaError(
        "EINVAL",
        `Cannot bind: operation "${(op as BindOp)?.op}" is unknown`,
      );
  }
}

function assertPages(op: BindOp, value: number, world: BindWorld): void {
  const { pageSize } = world;
  if (value % pageSize === 0) return;
  throw new VaError(
    "EINVAL",
    `Cannot ${op.op} [${op.start}, +${op.range}): ${value} is no multiple of the page, ${pageSize}`,
  );
}

function checkObject(op: CheckedMap, world: BindWorld): void {
  const { object, offset, repeat } = op;
  if (offset !== 0) assertPages(op, offset, world);
  if (repeat !== 0) {
    assertPages(op, repeat, world);
    assertPages(op, op.phase, world);
  }
  if (object === 0) return;
  const size = isObject(object) ? world.objectSize(object) : undefined;
  if (size === undefined) {
    throw new VaNotFoundError(`Cannot map: there is no object ${object}`);
  }
  const used = repeat === 0 ? op.range : repeat;
  if (offset < 0 || !(offset + used <= size)) {
    throw new VaError(
      "EINVAL",
      `Cannot map [${op.start}, +${op.range}): object ${object} has ${size} bytes, not ${used} at ${offset}`,
    );
  }
}

/**
 * Checks what depends on the VM's state. Under the outer lock. Needs no memory of the arena.
 *
 * @throws {VaError} The first that is wrong.
 */
export function checkState(ops: readonly CheckedOp[], world: BindWorld): void {
  const changesRegions = ops.some((op) =>
    op.op === "sparseMap" || op.op === "sparseUnmap"
  );
  for (const op of ops) {
    if (op.op !== "map" && op.op !== "sparseMap") continue;
    const region = world.findRegion(op.start, op.range);
    if (region !== undefined) {
      if (op.op === "sparseMap" || !encloses(region, op)) refuseCrossing(op);
    } else if (!changesRegions && op.op === "map") {
      world.assertRegion(op, undefined, "map");
    }
  }
  if (!changesRegions) return;
  const mapped = new SpanOverlay<boolean>();
  const regions = new SpanOverlay<"added" | "going">();
  for (const op of ops) checkInOrder(op, world, mapped, regions);
}

function checkInOrder(
  op: CheckedOp,
  world: BindWorld,
  mapped: SpanOverlay<boolean>,
  regions: SpanOverlay<"added" | "going">,
): void {
  const isEmpty = () =>
    mapped.every(op, (value) => !value, (s, r) => world.isEmpty(s, r));
  const region = firstRegion(op, world, regions);
  switch (op.op) {
    case "sparseMap":
      if (!isEmpty()) refuseCrossing(op);
      if (region !== undefined) {
        throw new VaExistsError(
          `Cannot make [${op.start}, +${op.range}) sparse: a region overlaps it`,
        );
      }
      regions.set(op, "added");
      break;
    case "sparseUnmap":
      if (
        region === undefined || region.going || region.start !== op.start ||
        region.range !== op.range
      ) {
        throw new VaNotFoundError(
          `Cannot remove sparse region [${op.start}, +${op.range}): there is none of exactly that range`,
        );
      }
      regions.set(op, "going");
      mapped.set(op, false);
      break;
    case "map":
      if (region?.going) {
        throw new VaError(
          "EINVAL",
          `Cannot map [${op.start}, +${op.range}): its sparse region is being removed`,
        );
      }
      if (region !== undefined && !encloses(region, op)) refuseCrossing(op);
      world.assertRegion(op, region, "map");
      mapped.set(op, true);
      break;
    case "unmap":
      mapped.set(op, false);
  }
}

/** The first region that overlaps an operation: of those that were there, and those that the job adds. */
function firstRegion(
  op: CheckedOp,
  world: BindWorld,
  regions: SpanOverlay<"added" | "going">,
): VaSpan & { going: boolean } | undefined {
  const changed = regions.first(op);
  const there = world.findRegion(op.start, op.range);
  if (there === undefined || (changed && changed.start <= there.start)) {
    return changed && { ...changed, going: changed.value === "going" };
  }
  return { ...there, going: false };
}

function refuseCrossing(op: BindOp): never {
  throw new VaError(
    "ENOSPC",
    `Cannot ${op.op} [${op.start}, +${op.range}): a sparse region or a mapping is in the way`,
  );
}
