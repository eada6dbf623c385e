/**
 * Comparing a manager with a record.
 *
 * @module
 */
import type { VaManager } from "../../../mod.ts";
import type { MappingSpec, VaSpan } from "../../../src/va/mod.ts";
import { vaText } from "./cases.ts";

/** Thrown by a comparison that failed. */
export class MismatchError extends Error {
  override name = "MismatchError";
}

/** A manager's mappings as text. */
export function stateText(vm: VaManager): string {
  return [...vm.mappings()].map(specText).join("; ");
}

/** A range as text. */
export function spanText({ start, range }: VaSpan): string {
  return `[${start.toString(16)}, ${(start + range).toString(16)})`;
}

/** A mapping as text. */
export function specText(spec: MappingSpec): string {
  return vaText(
    spec.start,
    spec.start + spec.range,
    spec.object,
    spec.offset,
    spec.repeat,
  );
}

/** Compares; throws where it differs. */
export function expectSame(
  what: string,
  expected: unknown,
  found: unknown,
): void {
  if (expected === found) return;
  throw new MismatchError(`${what}: expected ${expected}, found ${found}`);
}
