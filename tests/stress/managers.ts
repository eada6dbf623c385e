/**
 * The VA managers of the stress tests: what is mapped where can be told from a table that whoever maps keeps.
 *
 * A manager's addresses are divided into *cells*, and every request is about whole cells. Each change of a manager has a serial
 * number, from which the object of what it maps follows, and with the cell the place in it. So a mapping says of which change it is
 * and which cell it belongs to, and no two changes map the same; mappings side by side are one exactly if they are of one change.
 *
 * Whoever changes a manager notes before it what each cell and each VmBo will be, and after it that it is so. So who finds the table
 * of one that died knows what must be there: all that was done, or all that was begun.
 *
 * @module
 */
import { type Arena, type ExternalLock, VaManager } from "../../mod.ts";
import { load, store } from "../../src/sync/atomics.ts";
import type { VaManagerOptions } from "../../src/va/mod.ts";

/** Cells of a manager. */
export const CELLS = 48;
/** Addresses of a cell. */
export const CELL = 16;
/** Objects that are mapped: 1 and so on. */
export const OBJECTS = 4;
/** An object that nobody maps but who looks whether a manager works on, and where. */
export const SPARE = { start: (CELLS + 4) * CELL, range: CELL, object: 9 };
/** What has a word in the table: the cells, and behind them the objects. */
const PLACES = CELLS + OBJECTS;

/** How one manager is kept. */
export interface ManagerKind {
  readonly name: string;
  /** Whose the outer lock is: its own; the external lock, which is the trees' only one too; or that, around the trees' own. */
  readonly outer: "own" | "external" | "driver";
  /** Who links mappings to their VmBos. */
  readonly link: "auto" | "driver";
}

/** The managers of the world. */
export const MANAGERS: readonly ManagerKind[] = [
  { name: "vm, own lock", outer: "own", link: "auto" },
  { name: "vm, external lock", outer: "external", link: "auto" },
  { name: "vm, driver's lock", outer: "driver", link: "auto" },
  { name: "vm, linked by hand", outer: "driver", link: "driver" },
];

/** Creates them. */
export function createManagers(arena: Arena, lock: ExternalLock): VaManager[] {
  using _guard = lock.guard();
  return MANAGERS.map(({ name, outer, link }) => {
    const options: VaManagerOptions = {
      name,
      range: 2 ** 30,
      link,
      reserved: { start: (CELLS + 2) * CELL, range: CELL },
      outerLock: outer === "own" ? "manager" : "driver",
    };
    return VaManager.create(
      arena,
      outer === "external"
        ? { ...options, lock: "external", externalLock: lock }
        : options,
    );
  });
}

/** Takes a manager's outer lock. */
export function outerGuard(
  number: number,
  vm: VaManager,
  lock: ExternalLock,
): Disposable {
  return MANAGERS[number].outer === "own" ? vm.lock() : lock.guard();
}

// The word of a cell: these bits, and the serial number of the change that made it so above.
/** Something is mapped in the cell. */
export const MAPPED = 1;
/** The mapping is linked by hand. */
export const LINKED = 2;
const SERIAL_SHIFT = 2;

/** The word of a cell since a change. */
export function cellWord(serial: number, bits: number): number {
  return serial << SERIAL_SHIFT | bits;
}

/** The change that a cell's word is of. */
export function serialOf(word: number): number {
  return word >>> SERIAL_SHIFT;
}

/** Whether something is mapped. */
export function isMapped(word: number): boolean {
  return (word & MAPPED) !== 0;
}

// The word of an object: these bits.
/** It has a VmBo. */
export const EXISTS = 1;
/** That is external. */
export const EXTERNAL = 2;
/** That is evicted. */
export const EVICTED = 4;

/** The place of an object's word in the table. */
export function placeOf(object: number): number {
  return CELLS + object - 1;
}

/** The object that a change maps. */
export function objectOf(serial: number): number {
  return 1 + serial % OBJECTS;
}

/** Where in it a change maps a cell. */
export function offsetOf(serial: number, cell: number): number {
  return (serial * CELLS + cell) * CELL;
}

/**
 * The serial number of the change that mapped a cell, as a manager says without a lock; 0 if nothing is mapped there, −1 if no change
 * can have mapped what is.
 */
export function serialAt(vm: VaManager, cell: number, into: number): number {
  const address = cell * CELL + into;
  const mapping = vm.lookup(address);
  if (mapping === undefined) return 0;
  const { start, range, object, offset } = mapping;
  const place = (offset + address - start - into) / CELL - cell;
  const serial = place / CELLS;
  const isPossible = Number.isInteger(serial) && serial > 0 &&
    start % CELL === 0 && range % CELL === 0 &&
    start <= address && address < start + range && object === objectOf(serial);
  return isPossible ? serial : -1;
}

/** Words of the table: what is done of each manager; the same of what was begun; the last serial number; and a mark. */
export const BINDING_WORDS = 2 * MANAGERS.length * PLACES + 2;
const SERIAL = BINDING_WORDS - 2;
const ONE_BY_ONE = BINDING_WORDS - 1;

/** What each cell and each object is, and what it was to become. */
export class Bindings {
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** On a table of {@linkcode BINDING_WORDS} words. */
  constructor(words: Int32Array<SharedArrayBuffer>) {
    this.#words = words;
  }

  /** The serial number of the next change. */
  nextSerial(): number {
    const serial = load(this.#words, SERIAL) + 1;
    store(this.#words, SERIAL, serial);
    return serial;
  }

  /** Whether the change that was begun takes one mapping after the other. */
  get isOneByOne(): boolean {
    return load(this.#words, ONE_BY_ONE) !== 0;
  }

  set isOneByOne(on: boolean) {
    store(this.#words, ONE_BY_ONE, on ? 1 : 0);
  }

  /** What a place is. */
  done(manager: number, place: number): number {
    return load(this.#words, manager * PLACES + place);
  }

  /** What it is, or is to become. */
  begun(manager: number, place: number): number {
    return load(this.#words, (MANAGERS.length + manager) * PLACES + place);
  }

  /** Before a change: it may be seen from now on. */
  begin(manager: number, place: number, word: number): void {
    store(this.#words, (MANAGERS.length + manager) * PLACES + place, word);
  }

  /** After it: nothing older may be seen any more. */
  end(manager: number, place: number, word: number): void {
    store(this.#words, manager * PLACES + place, word);
  }

  /** What is known of a place from now on, whatever was begun. */
  set(manager: number, place: number, word: number): void {
    this.end(manager, place, word);
    this.begin(manager, place, word);
  }
}
