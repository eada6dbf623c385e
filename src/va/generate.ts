/**
 * The rules by which a request becomes operations. Nothing here changes anything: it looks at the mappings that the request
 * overlaps, in ascending order, and says what is to be done.
 *
 * **The rule of today** (`splitRule`): for every mapping that overlaps the request, one operation. One that is covered is
 * unmapped; of one that sticks out, the parts that do stay (remap). A map request adds exactly one map at the end: nothing
 * ever merges.
 *
 * **The rule of February 2023** (`mergeRule`): what continues the request, in addresses and in the object, is taken into the
 * new mapping; if the request is there already, nothing is to be done. The neighbours that touch the request are looked at
 * only where the reference looks: the left one if nothing overlapped or exactly one mapping that begins behind the
 * request's start; the right one if nothing overlapped or the last that did neither sticks out on the left nor reaches the
 * request's end.
 *
 * The new mapping has the request's flags: those of what it takes in are lost, as in the reference.
 *
 * Two mappings *continue* each other if both have the same object, which is not none, and every address leads to the same
 * place of it in both: for a repeated one, the same block, repeated over the same size, in the same phase.
 *
 * @module
 */
import { type Mapping, type MappingSpec, phaseBehind } from "./mapping.ts";
import type { RemapOp, UnmapOp, VaOp, VaSpan } from "./operations.ts";

/** Whether two mappings lead every address to the same place of the same object. */
export function continues(a: MappingSpec, b: MappingSpec): boolean {
  if (a.object === 0 || a.object !== b.object || a.repeat !== b.repeat) {
    return false;
  }
  const apart = b.start - a.start;
  if (a.repeat === 0) return a.offset + apart === b.offset;
  const [first, later] = apart < 0 ? [b, a] : [a, b];
  return a.offset === b.offset &&
    phaseBehind(first.phase, Math.abs(apart), a.repeat) === later.phase;
}

/** The part of a mapping from one address to another. */
export function partOf(
  mapping: MappingSpec,
  start: number,
  end: number,
): MappingSpec {
  const into = start - mapping.start;
  const { object, flags, repeat } = mapping;
  const repeated = repeat !== 0;
  return {
    start,
    range: end - start,
    object,
    offset: repeated ? mapping.offset : mapping.offset + into,
    flags,
    repeat,
    phase: repeated ? phaseBehind(mapping.phase, into, repeat) : 0,
  };
}

function unmapOf(mapping: Mapping, keep: boolean): UnmapOp {
  return { kind: "unmap", mapping, keep };
}

/** What takes `span` away from a mapping that overlaps it. */
function cut(
  mapping: Mapping,
  span: VaSpan,
  keep: boolean,
): UnmapOp | RemapOp {
  const end = mapping.start + mapping.range;
  const spanEnd = span.start + span.range;
  const prev = mapping.start < span.start
    ? partOf(mapping, mapping.start, span.start)
    : undefined;
  const next = end > spanEnd ? partOf(mapping, spanEnd, end) : undefined;
  const unmap = unmapOf(mapping, keep);
  return prev === undefined && next === undefined
    ? unmap
    : { kind: "remap", prev, next, unmap };
}

/** What an unmap request means. */
export function unmapRule(
  span: VaSpan,
  overlapping: readonly Mapping[],
): VaOp[] {
  return overlapping.map((mapping) => cut(mapping, span, false));
}

/** What a map request means by today's rule. */
export function splitRule(
  request: MappingSpec,
  overlapping: readonly Mapping[],
): VaOp[] {
  const ops: VaOp[] = [];
  for (let i = 0; i < overlapping.length; i++) {
    const mapping = overlapping[i];
    ops.push(cut(mapping, request, continues(mapping, request)));
  }
  ops.push({ kind: "map", mapping: request });
  return ops;
}

/** How the merging rule finds the mapping that ends at, or begins at, an address and in the same region. */
export interface Neighbours {
  /** The mapping that ends right before an address, if a region's boundary does not part them. */
  endingAt(address: number): Mapping | undefined;
  /** The mapping that begins at an address, if a region's boundary does not part it from what lies before. */
  startingAt(address: number): Mapping | undefined;
}

/** What a map request means by the merging rule of 2023. */
export function mergeRule(
  request: MappingSpec,
  overlapping: readonly Mapping[],
  neighbours: Neighbours,
): VaOp[] {
  const requestEnd = request.start + request.range;
  const ops: VaOp[] = [];
  let start = request.start, end = requestEnd;
  for (const mapping of overlapping) {
    const mappingEnd = mapping.start + mapping.range;
    const same = continues(mapping, request);
    const outLeft = mapping.start < request.start;
    const outRight = mappingEnd > requestEnd;
    if (
      same && mapping.start <= request.start && mappingEnd >= requestEnd
    ) return [];
    if (same) {
      ops.push(unmapOf(mapping, true));
      if (outLeft) start = mapping.start;
      if (outRight) end = mappingEnd;
    } else ops.push(cut(mapping, request, false));
  }

  const first = overlapping.at(0), last = overlapping.at(-1);
  const looksLeft = first === undefined ||
    (overlapping.length === 1 && first.start > request.start);
  const looksRight = last === undefined ||
    (last.start >= request.start && last.start + last.range < requestEnd);
  const left = looksLeft ? neighbours.endingAt(start) : undefined;
  if (left !== undefined && continues(left, request)) {
    ops.push(unmapOf(left, true));
    start = left.start;
  }
  const right = looksRight ? neighbours.startingAt(end) : undefined;
  if (right !== undefined && continues(right, request)) {
    ops.push(unmapOf(right, true));
    end = right.start + right.range;
  }
  // The request continues what it took in, so its offset can be reckoned from its own start.
  const { object, flags, repeat } = request;
  const into = request.start - start;
  const mapping: MappingSpec = {
    start,
    range: end - start,
    object,
    offset: repeat === 0 ? request.offset - into : request.offset,
    flags,
    repeat,
    phase: repeat === 0
      ? 0
      : phaseBehind(request.phase, repeat - into % repeat, repeat),
  };
  ops.push({ kind: "map", mapping });
  return ops;
}

/**
 * What advice about a range means: mappings without an object that stick out of it are cut, and the part inside becomes a
 * mapping of its own with what the request says. Those that are covered stay as they are.
 */
export function madviseRule(
  request: MappingSpec,
  overlapping: readonly Mapping[],
): VaOp[] {
  const ops: VaOp[] = [];
  const requestEnd = request.start + request.range;
  for (const mapping of overlapping) {
    if (mapping.object !== 0) continue;
    const op = cut(mapping, request, false);
    if (op.kind === "unmap") continue;
    const start = Math.max(mapping.start, request.start);
    const end = Math.min(mapping.start + mapping.range, requestEnd);
    // Without an object there is no place to move on to.
    const inside = request.object === 0
      ? { ...request, start, range: end - start }
      : partOf(request, start, end);
    ops.push(op, { kind: "map", mapping: inside });
  }
  return ops;
}
