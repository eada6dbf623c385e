/**
 * Lists of operations that have not yet read the mapping which they name.
 *
 * A map request is most often over exactly one mapping, and the tree says which. What the operations say of it beside that stands in the
 * mapping itself, and in a large manager its line must be waited for; but who commits the list without a look at it needs nothing of that.
 * So such a list is made unread, and reads the mapping when somebody asks for an operation; at the latest, so that it says what was there
 * when it was made, before this object lets any mapping go or changes one's flags, or when there are eight. Those are read together: then
 * they are waited for together.
 *
 * Until then the mapping is what it was. Its fields but for the flags never change, and before anything happens after which a mapping
 * may be freed, or its flags be others, that is counted in the manager's header: a change of mappings but for that which replaces exactly
 * one, which is noted (`replaced.ts`), and the settling of what is noted. What a thread that is gone had claimed, and others free, it
 * claimed after it had counted; and so it is with what is claimed to finish its change, since no list is made before that is done.
 *
 * So a list that was kept beyond the outer lock under which it was made finds out that another thread, or another object of this one, may
 * have let its mapping go: then it can't be read any more, and says so. It looks at the count before and behind its reads, all within
 * one read section. If the count is what it was before, the mapping was not deferred before that section began, so it is there until that
 * ends; and if behind, too, the flags are those that it had.
 *
 * One reads its mapping also when it is committed though the count has changed, since the generation has not: so the mapping is there,
 * if perhaps with flags that another object has set meanwhile.
 *
 * @module
 */
import { add, load, type Words } from "../sync/atomics.ts";
import type { Rcu } from "../sync/rcu.ts";
import { retirementsIndex } from "./header.ts";
import { touchMappings } from "./mapping.ts";
import type { OperationList } from "./operations.ts";

const MOST = 8;

/**
 * The unread lists of one manager, as one object made them.
 *
 * Thread contract: an object belongs to one thread; everything but the count is used under the manager's outer lock. It holds what it
 * was given last until mappings are let go the next time.
 */
export class Unread {
  readonly #rcu: Rcu;
  readonly #words: Words;
  /** The word that counts how often mappings may have been let go. */
  readonly #index: number;
  readonly #lists: (OperationList | undefined)[] = Array(MOST).fill(undefined);
  /** The mapping that each of them names. */
  readonly #mappings = new Int32Array(MOST);
  #count = 0;
  /** What nobody looks at: so the reads that only fetch are not left out. */
  #touched = 0;

  /** Those of the manager with that header. */
  constructor(words: Words, rcu: Rcu, header: number) {
    this.#words = words;
    this.#rcu = rcu;
    this.#index = retirementsIndex(header);
  }

  /** How often mappings may have been let go. */
  get retirements(): number {
    // Pairs with the addition below.
    return load(this.#words, this.#index);
  }

  /** Adds a list that was made just now, and names a mapping. */
  add(list: OperationList, mapping: number): void {
    this.#mappings[this.#count] = mapping;
    this.#lists[this.#count++] = list;
    if (this.#count === MOST) this.readAll();
  }

  /** Has all of them read, but for those that can't be any more. */
  readAll(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    const lists = this.#lists;
    this.#rcu.readLock();
    try {
      this.#touched = touchMappings(this.#words, this.#mappings, count);
      for (let i = 0; i < count; i++) {
        lists[i]!.read();
        lists[i] = undefined;
      }
    } finally {
      this.#rcu.readUnlock();
    }
  }

  /** To be called before mappings are claimed to be let go, or flags are set. */
  noteRetirement(): void {
    this.readAll();
    // Pairs with the loads of whoever reads a list late.
    add(this.#words, this.#index, 1);
  }
}
