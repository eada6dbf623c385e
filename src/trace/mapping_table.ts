import { Attribute, type MapCall, Protection } from "./events.ts";

/** What the pages of a mapping have in common. Two neighbours that agree in all of it are one mapping. */
export interface Mapping {
  /** Bits of `Protection`. */
  readonly protection: number;
  /** Whether writes reach the file or the other processes. */
  readonly shared: boolean;
  /** What is mapped; empty for private anonymous memory. */
  readonly source: string;
  /**
   * The address at which the source's first byte would be: so pieces of a mapping that was cut keep its record, and only a
   * neighbour that continues the file joins. Anonymous memory counts from address 0 until `mremap` moves it.
   */
  readonly origin: number;
  /** Bits of `Attribute`. */
  readonly attributes: number;
  /**
   * Whether the kernel has set memory aside for its private copies (`VM_ACCOUNT`): from when it first is writable, for good.
   * It is what keeps a library's relocated pages, read-only again, apart from the read-only pages before them.
   */
  readonly accounted: boolean;
  /** The protection key, 0 unless `pkey_mprotect` set another. */
  readonly key: number;
}

const PROTECTIONS = 8;
const NEVER_ACCOUNTED = Attribute.NO_RESERVE | Attribute.HUGE_PAGES |
  Attribute.DROPPABLE;

/**
 * The mappings that address spaces name by number, each kept once: one table serves any number of address spaces, and how many
 * of them there are does not make it longer.
 *
 * ## Guarantees
 *
 * - Numbers are 1, 2, 3 …; equal mappings have equal numbers, different ones different numbers.
 * - A number never changes its meaning.
 */
export class MappingTable {
  readonly #mappings: Mapping[] = [];
  readonly #ids = new Map<string, number>();
  /** What {@linkcode protect} answered before, where the key stayed: it is asked the most. */
  readonly #protected = new Map<number, number>();

  /** How many mappings there are, which is also the highest number. */
  get count(): number {
    return this.#mappings.length;
  }

  /** The mapping of this number. */
  get(id: number): Mapping {
    const mapping = this.#mappings[id - 1];
    if (mapping === undefined) {
      throw new RangeError(
        `Cannot look up mapping: ${id} is not in [1, ${this.count}]`,
      );
    }
    return mapping;
  }

  /** The number of this mapping. */
  intern(mapping: Mapping): number {
    const { protection, shared, source, origin, attributes, accounted, key } =
      mapping;
    const identity =
      `${protection} ${shared} ${origin} ${attributes} ${accounted} ${key} ${source}`;
    let id = this.#ids.get(identity);
    if (id === undefined) {
      id = this.#mappings.push({
        protection,
        shared,
        source,
        origin,
        attributes,
        accounted,
        key,
      });
      this.#ids.set(identity, id);
    }
    return id;
  }

  /** The number of the mapping that an `mmap` makes. */
  map(call: MapCall): number {
    const { protection, shared, source, attributes } = call;
    return this.intern({
      protection,
      shared,
      source,
      origin: source === "" ? 0 : call.start - call.offset,
      attributes,
      accounted: isAccounted(protection, shared, attributes),
      key: 0,
    });
  }

  /** The number of what `id` becomes under another protection; `key` is the protection key, -1 to leave it. */
  protect(id: number, protection: number, key: number): number {
    if (key !== -1) return this.#protect(id, protection, key);
    const question = id * PROTECTIONS + protection;
    let answer = this.#protected.get(question);
    if (answer === undefined) {
      answer = this.#protect(id, protection, this.get(id).key);
      this.#protected.set(question, answer);
    }
    return answer;
  }

  /** The number of what `id` becomes when it is moved by so many bytes. */
  move(id: number, distance: number): number {
    const old = this.get(id);
    return this.intern({ ...old, origin: old.origin + distance });
  }

  #protect(id: number, protection: number, key: number): number {
    const old = this.get(id);
    const accounted = old.accounted ||
      isAccounted(protection, old.shared, old.attributes);
    return this.intern({ ...old, protection, accounted, key });
  }

  /** The permissions of `id` as `/proc/PID/maps` writes them, such as `rw-p`. */
  permissions(id: number): string {
    const { protection, shared } = this.get(id);
    return (protection & Protection.READ ? "r" : "-") +
      (protection & Protection.WRITE ? "w" : "-") +
      (protection & Protection.EXEC ? "x" : "-") + (shared ? "s" : "p");
  }
}

function isAccounted(
  protection: number,
  shared: boolean,
  attributes: number,
): boolean {
  return (protection & Protection.WRITE) !== 0 && !shared &&
    (attributes & NEVER_ACCOUNTED) === 0;
}
