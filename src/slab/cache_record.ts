/**
 * A cache's record in the table of caches: what it was created as, its lock, and places for its lists and its stocks.
 *
 * What a cache was created as is written once, under the table's lock, its object size last, and never changes: a record
 * whose object size is 0 is empty. What else lies in a record is for `slab_cache.ts`, `slab_lists.ts` and `stock.ts`, under
 * the cache's lock.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import { decodeName, encodeName } from "../sync/names.ts";
import { type Mobility, PAGE_BYTES } from "../memory/page_allocator.ts";
import { clearLists, COUNT_WORDS, LIST_WORDS } from "./slab_lists.ts";

const GRANULE_BYTES = 64;

/** What one cache's record takes, in words. */
export const CACHE_WORDS = 128;
// The cache's record.
const LOCK = 0;
const OBJECT_BYTES = 1;
const LINK = 2;
const UNMOVABLE = 3;
const COUNTS = 4; // see `slab_lists.ts`
const NAME = COUNTS + COUNT_WORDS;
const NAME_WORDS = 6;
const LISTS = NAME + NAME_WORDS; // see `slab_lists.ts`
const KEEPING = LISTS + LIST_WORDS; // see `stock.ts`

if (KEEPING >= CACHE_WORDS) {
  throw new Error("The layout of a cache's record does not add up");
}

/** How a cache is created. */
export interface SlabCacheOptions {
  /** Its name, up to 24 bytes. */
  name: string;
  /** Bytes of an object, a multiple of 64. */
  objectBytes: number;
  /** Which word of an object the queue of deferred frees may use. */
  link: number;
  /**
   * Whether its pages come from blocks that can be emptied.
   *
   * @default {"unmovable"}
   */
  mobility?: Mobility;
}

/** What a cache was created as, and where the changing parts of its record are. */
export interface CacheRecord {
  /** Its name. */
  readonly name: string;
  /** Bytes of an object. */
  readonly objectBytes: number;
  /** Which word of an object a chain may use. */
  readonly link: number;
  /** Which blocks its pages come from. */
  readonly mobility: Mobility;
  /** Its lock. */
  readonly lock: number;
  /** The counts of its lists. */
  readonly counts: number;
  /** Its lists. */
  readonly lists: number;
  /** Where the owner of its lock notes what it is about to keep. */
  readonly keeping: number;
}

/** Whether a cache stands in this record. Under the table's lock. */
export function isCache(words: Words, base: number): boolean {
  return words[base + OBJECT_BYTES] !== 0;
}

/** The name of the cache in this record. Under the table's lock. */
export function cacheName(words: Words, base: number): string {
  return decodeName(words, base + NAME, NAME_WORDS);
}

/** Reads the record of a cache. Under the table's lock. */
export function readCache(words: Words, base: number): CacheRecord {
  return {
    name: cacheName(words, base),
    objectBytes: words[base + OBJECT_BYTES],
    link: words[base + LINK],
    mobility: words[base + UNMOVABLE] === 0 ? "movable" : "unmovable",
    lock: base + LOCK,
    counts: base + COUNTS,
    lists: base + LISTS,
    keeping: base + KEEPING,
  };
}

/**
 * Writes the record of a new cache, which has no slab. Under the table's lock.
 *
 * @throws {RangeError} If the options make no cache; nothing was changed.
 */
export function createCache(
  words: Words,
  base: number,
  options: SlabCacheOptions,
): void {
  const { name, objectBytes, link, mobility = "unmovable" } = options;
  const encoded = encodeName(name, NAME_WORDS, "Cannot create a slab cache");
  if (
    !Number.isInteger(objectBytes) || objectBytes < GRANULE_BYTES ||
    objectBytes > PAGE_BYTES || objectBytes % GRANULE_BYTES !== 0
  ) {
    throw new RangeError(
      `Cannot create slab cache "${name}": object size ${objectBytes} is not a multiple of ${GRANULE_BYTES} up to ${PAGE_BYTES}`,
    );
  }
  if (!Number.isInteger(link) || link < 0 || link * 4 >= objectBytes) {
    throw new RangeError(
      `Cannot create slab cache "${name}": link word ${link} is outside the object`,
    );
  }
  words.fill(0, base, base + CACHE_WORDS);
  clearLists(words, base + COUNTS, base + LISTS);
  words[base + LINK] = link;
  words[base + UNMOVABLE] = mobility === "movable" ? 0 : 1;
  words.set(encoded, base + NAME);
  // Last: from here on there is a cache.
  words[base + OBJECT_BYTES] = objectBytes;
}
