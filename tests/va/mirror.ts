/**
 * An address space that is obviously right and hopelessly slow: a sorted array of mappings, each request a pass over all of
 * it; and its pages, one by one.
 *
 * @module
 */
import type { MappingSpec, VaSpan } from "../../src/va/mod.ts";

/** Bytes of a page. */
export const PAGE = 4096;

/** What a VA manager must agree with. */
export class VaMirror {
  /** The mappings, in order. */
  mappings: MappingSpec[] = [];

  /** Maps a range, whatever is there. */
  map(spec: MappingSpec): void {
    this.unmap(spec);
    this.mappings.push(spec);
    this.mappings.sort((a, b) => a.start - b.start);
  }

  /** Unmaps a range. */
  unmap({ start, range }: VaSpan): void {
    const end = start + range;
    this.mappings = this.mappings.flatMap((mapping) => {
      const mappingEnd = mapping.start + mapping.range;
      return [
        part(mapping, mapping.start, Math.min(mappingEnd, start)),
        part(mapping, Math.max(mapping.start, end), mappingEnd),
      ].filter((piece) => piece.range > 0);
    });
  }

  /** Where an address leads, as text. */
  at(address: number): string {
    const mapping = this.mappings.find((each) =>
      each.start <= address && address < each.start + each.range
    );
    return mapping === undefined ? "nothing" : placeOf(mapping, address);
  }

  /** The mappings as text. */
  get text(): string {
    return toText(this.mappings);
  }
}

/** Where an address of a mapping leads, as text. */
export function placeOf(mapping: MappingSpec, address: number): string {
  if (mapping.object === 0) return "zero";
  const into = address - mapping.start;
  const offset = mapping.repeat === 0
    ? mapping.offset + into
    : mapping.offset + (mapping.phase + into) % mapping.repeat;
  return `${mapping.object}@${offset}`;
}

/** Mappings as text. */
export function toText(mappings: Iterable<MappingSpec>): string {
  let text = "";
  for (const { start, range, object, offset, repeat, phase } of mappings) {
    text += `${start}+${range}:${object}@${offset} repeat ${repeat}/${phase}; `;
  }
  return text;
}

function part(mapping: MappingSpec, start: number, end: number): MappingSpec {
  const into = start - mapping.start;
  const moved = mapping.repeat === 0
    ? { offset: mapping.offset + into }
    : { phase: (mapping.phase + into) % mapping.repeat };
  return { ...mapping, ...moved, start, range: end - start };
}
