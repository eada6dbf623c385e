/**
 * Map requests by the merging rule of February 2023: which of them are taken, and which neighbours they may merge with.
 *
 * @module
 */
import { MAX_INDEX } from "../range_tree/mod.ts";
import { mergeRule } from "./generate.ts";
import type { MappingSpec } from "./mapping.ts";
import { OperationList } from "./operations.ts";
import { assertRegion, isSameRegion } from "./regions.ts";
import { assertPlace, type MapRequest, specOf } from "./request.ts";
import type { VaState } from "./va_state.ts";

/**
 * What mapping a range means by the merging rule. Under the outer lock.
 *
 * @throws {VaRangeError} If the range can't be mapped.
 * @throws {VaError} If there can be no such place in an object.
 */
export function mergeOps(state: VaState, request: MapRequest): OperationList {
  const spec = checked(state, request);
  const end = spec.start + spec.range;
  const ops = mergeRule(spec, state.overlapping(spec.start, end - 1), {
    endingAt: (address) =>
      address > 0 && isSameRegion(state, address - 1, address)
        ? state.first(address - 1, address - 1)
        : undefined,
    startingAt: (address) =>
      address <= MAX_INDEX && isSameRegion(state, address - 1, address)
        ? state.first(address, address)
        : undefined,
  });
  const last = ops.at(-1);
  const span = last?.kind === "map" ? last.mapping : spec;
  return new OperationList("map", span, ops, state);
}

function checked(state: VaState, request: MapRequest): MappingSpec {
  const spec = specOf(request);
  const { start, range } = spec;
  const reason = state.whyNot(start, range);
  // The rule of 2023 took whatever overlaps the VM.
  const taken = reason === "outside" && start <= state.last &&
    start + range > state.start &&
    !state.overlapsReserved(start, start + range);
  if (reason !== undefined && !taken) state.refuse(reason, spec, "map");
  assertRegion(state, spec, "map");
  assertPlace(spec);
  return spec;
}
