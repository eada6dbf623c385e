/**
 * The binder of the stress tests: it changes VA managers in all ways, and notes each change before and after it.
 *
 * @module
 */
import {
  type Arena,
  ExternalLock,
  OutOfMemoryError,
  VaManager,
} from "../../mod.ts";
import {
  type OperationList,
  remapToUnmapRange,
  type VaOp,
  type VaSpan,
} from "../../src/va/mod.ts";
import type { Rng } from "../seed.ts";
import {
  type Bindings,
  CELL,
  CELLS,
  cellWord,
  EVICTED,
  EXISTS,
  EXTERNAL,
  isMapped,
  LINKED,
  MANAGERS,
  MAPPED,
  objectOf,
  OBJECTS,
  offsetOf,
  outerGuard,
  placeOf,
  serialOf,
} from "./managers.ts";
import { EXTERNAL_LOCK } from "./world.ts";

/** How many cells a request is about, unless it is about exactly a mapping. */
const LENGTHS = [1, 1, 2, 4, 12];
/** One change in so many is a manager of its own that comes and goes. */
const CHANGES_A_MANAGER = 60;

/** A run of cells. */
interface Run {
  readonly first: number;
  readonly end: number;
}

/** Binds, unmaps, splits, links; evicts, and releases VmBos; creates and destroys managers. */
export class StressBinder {
  /** Changes that were made. */
  operations = 0;
  /** Changes that failed for want of memory. */
  exhausted = 0;
  readonly #arena: Arena;
  readonly #bindings: Bindings;
  readonly #random: Rng;
  readonly #lock: ExternalLock;
  readonly #managers: readonly VaManager[];
  /** The manager that is being changed. */
  #number = 0;
  readonly #changes: readonly (() => void)[] = [
    () => this.#bind(this.#someRun()),
    () => this.#bind(this.#mappingAt(this.#someCell())),
    () => this.#commitMap(),
    () => this.#commitMap(),
    () => this.#mapOneByOne(),
    () => this.#insert(),
    () => this.#unbind(this.#someRun()),
    () => this.#unbind(this.#mappingAt(this.#someCell())),
    () => this.#commitUnmap(),
    () => this.#remove(),
    () => this.#setFlag(),
    () => this.#setFlag(),
    () => this.#releaseBo(),
    () => this.#link(),
    () => this.#link(),
    () => this.#unmapObject(),
  ];

  /** Changes an arena's managers; it is the only one to do so. */
  constructor(arena: Arena, bindings: Bindings, random: Rng) {
    this.#arena = arena;
    this.#bindings = bindings;
    this.#random = random;
    this.#lock = ExternalLock.attach(arena, EXTERNAL_LOCK);
    this.#managers = MANAGERS.map(({ name }) => VaManager.attach(arena, name));
  }

  /** Makes a change, if there is memory for it. */
  step(): void {
    try {
      if (this.#random.int(CHANGES_A_MANAGER) === 0) this.#comeAndGo();
      this.#number = this.#random.int(MANAGERS.length);
      using _guard = outerGuard(this.#number, this.#vm, this.#lock);
      this.#random.pick(this.#changes)();
      this.operations++;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.exhausted++;
    }
  }

  get #vm(): VaManager {
    return this.#managers[this.#number];
  }

  get #isByHand(): boolean {
    return MANAGERS[this.#number].link === "driver";
  }

  /** Maps at once. */
  #bind(run: Run): void {
    this.#map(run, (request) => this.#vm.bind(request));
  }

  /** Maps by operations that are committed. */
  #commitMap(): void {
    this.#map(this.#someRun(), (request) => {
      this.#vm.commit(this.#vm.mapOps(request));
    });
  }

  /** Maps where nothing is. */
  #insert(): void {
    const run = this.#someRun();
    for (let cell = run.first; cell < run.end; cell++) {
      if (isMapped(this.#word(cell))) return;
    }
    this.#map(run, (request) => void this.#vm.insert(request));
  }

  #map(
    run: Run,
    map: (request: VaSpan & { object: number; offset: number }) => void,
  ): void {
    const serial = this.#bindings.nextSerial();
    const object = objectOf(serial), offset = offsetOf(serial, run.first);
    this.#advance(
      this.#changeOf(run, cellWord(serial, MAPPED)),
      () => map({ ...spanOf(run), object, offset }),
    );
  }

  /** Maps by operations that are applied one after the other, each of which is a change. */
  #mapOneByOne(): void {
    const run = this.#someRun();
    // What goes first is a change of its own.
    const gone = this.#bindings.nextSerial();
    const serial = this.#bindings.nextSerial();
    const list = this.#vm.mapOps({
      ...spanOf(run),
      object: objectOf(serial),
      offset: offsetOf(serial, run.first),
    });
    for (const op of [...list]) this.#apply(op, list, serial, gone);
  }

  #apply(op: VaOp, list: OperationList, serial: number, gone: number): void {
    const apply = () => this.#vm.apply(op, list);
    if (op.kind === "map") {
      const change = this.#changeOf(
        runOf(op.mapping),
        cellWord(serial, MAPPED),
      );
      this.#advance(change, apply);
    } else if (op.kind === "remap" || op.kind === "unmap") {
      const run = runOf(
        op.kind === "remap" ? remapToUnmapRange(op) : op.mapping,
      );
      this.#advance(this.#changeOf(run, cellWord(gone, 0)), apply);
    }
  }

  #unbind(run: Run): void {
    this.#unmap(run, () => this.#vm.unbind(spanOf(run)));
  }

  #commitUnmap(): void {
    const run = this.#someRun();
    this.#unmap(run, () => this.#vm.commit(this.#vm.unmapOps(spanOf(run))));
  }

  /** Removes exactly a mapping. */
  #remove(): void {
    const cell = this.#someCell();
    if (!isMapped(this.#word(cell))) return;
    this.#unmap(this.#mappingAt(cell), () => {
      this.#vm.remove(this.#vm.lookup(cell * CELL)!);
    });
  }

  #unmap(run: Run, unmap: () => void): void {
    const serial = this.#bindings.nextSerial();
    this.#advance(this.#changeOf(run, cellWord(serial, 0)), unmap);
  }

  /** Unmaps all that is linked to an object, one mapping after the other. */
  #unmapObject(): void {
    const object = this.#someObject();
    const serial = this.#bindings.nextSerial();
    const change = new Map<number, number>();
    for (let cell = 0; cell < CELLS; cell++) {
      if (this.#isLinkedTo(cell, object)) change.set(cell, cellWord(serial, 0));
    }
    this.#bindings.isOneByOne = true;
    this.#advance(change, () => {
      this.#vm.commit(this.#vm.unmapObjectOps(object));
    });
    this.#bindings.isOneByOne = false;
  }

  /** Creates a VmBo, if the object has none, and says that it is external or evicted, or no more. */
  #setFlag(): void {
    const object = this.#someObject(), place = placeOf(object);
    const word = this.#word(place) | EXISTS;
    this.#advance(
      new Map([[place, word]]),
      () => void this.#vm.obtainBo(object),
    );
    const bit = this.#random.pick([EXTERNAL, EVICTED]);
    const isOn = (word & bit) === 0;
    this.#advance(new Map([[place, word ^ bit]]), () => {
      const bo = this.#vm.bo(object)!;
      if (bit === EXTERNAL) bo.external = isOn;
      else bo.evicted = isOn;
    });
  }

  #releaseBo(): void {
    const object = this.#someObject();
    for (let cell = 0; cell < CELLS; cell++) {
      if (this.#isLinkedTo(cell, object)) return;
    }
    this.#advance(
      new Map([[placeOf(object), 0]]),
      () => this.#vm.releaseBo(object),
    );
  }

  /** Links a mapping to its VmBo or takes it off that, where that is done by hand. */
  #link(): void {
    const cell = this.#someCell(), word = this.#word(cell);
    if (!this.#isByHand || !isMapped(word)) return;
    const object = objectOf(serialOf(word));
    const place = placeOf(object);
    this.#advance(
      new Map([[place, this.#word(place) | EXISTS]]),
      () => void this.#vm.obtainBo(object),
    );
    const { first, end } = this.#mappingAt(cell);
    const change = new Map<number, number>();
    for (let at = first; at < end; at++) change.set(at, word ^ LINKED);
    this.#advance(change, () => {
      const mapping = this.#vm.lookup(cell * CELL)!;
      const bo = this.#vm.bo(object)!;
      if ((word & LINKED) === 0) bo.link(mapping);
      else bo.unlink(mapping);
    });
  }

  /** A manager that nobody else knows. */
  #comeAndGo(): void {
    const vm = VaManager.create(this.#arena, {
      range: 2 ** 20,
      reserved: { start: 0, range: CELL },
      outerLock: "manager",
    });
    {
      using _guard = vm.lock();
      for (let cell = 1; cell < 4; cell++) {
        vm.bind({ start: CELL * cell, range: CELL, object: 1 + cell % 2 });
      }
      vm.bind({ start: CELL + 4, range: 4, object: 1 });
      vm.obtainBo(2).evicted = true;
    }
    vm.destroy();
  }

  /** What becomes of the cells, and of the VmBos, when a run of them is mapped or unmapped. */
  #changeOf(run: Run, word: number): Map<number, number> {
    const change = new Map<number, number>();
    if (this.#isByHand) {
      // What remains of a mapping that is cut is linked to nothing.
      for (const cell of [run.first, run.end - 1]) {
        if (!isMapped(this.#word(cell))) continue;
        const { first, end } = this.#mappingAt(cell);
        for (let at = first; at < end; at++) {
          change.set(at, this.#word(at) & ~LINKED);
        }
      }
    } else if (isMapped(word)) {
      const place = placeOf(objectOf(serialOf(word)));
      change.set(place, this.#word(place) | EXISTS);
    }
    for (let cell = run.first; cell < run.end; cell++) change.set(cell, word);
    return change;
  }

  /** Makes a change of what is in the places. */
  #advance(change: ReadonlyMap<number, number>, act: () => void): void {
    const number = this.#number, bindings = this.#bindings;
    for (const [place, word] of change) bindings.begin(number, place, word);
    try {
      act();
    } catch (error) {
      if (error instanceof OutOfMemoryError) {
        for (const place of change.keys()) {
          bindings.begin(number, place, this.#word(place));
        }
        bindings.isOneByOne = false;
      }
      throw error;
    }
    for (const [place, word] of change) bindings.end(number, place, word);
  }

  #word(place: number): number {
    return this.#bindings.done(this.#number, place);
  }

  #isLinkedTo(cell: number, object: number): boolean {
    const word = this.#word(cell);
    return isMapped(word) && objectOf(serialOf(word)) === object &&
      (!this.#isByHand || (word & LINKED) !== 0);
  }

  #someCell(): number {
    return this.#random.int(CELLS);
  }

  #someObject(): number {
    return 1 + this.#random.int(OBJECTS);
  }

  #someRun(): Run {
    const first = this.#someCell();
    return {
      first,
      end: Math.min(CELLS, first + this.#random.pick(LENGTHS)),
    };
  }

  /** The cells of the mapping that one lies in, or of a hole that was made at once. */
  #mappingAt(cell: number): Run {
    const word = this.#word(cell);
    let first = cell, end = cell + 1;
    while (first > 0 && this.#word(first - 1) === word) first--;
    while (end < CELLS && this.#word(end) === word) end++;
    return { first, end };
  }
}

function spanOf({ first, end }: Run): VaSpan {
  return { start: first * CELL, range: (end - first) * CELL };
}

function runOf({ start, range }: VaSpan): Run {
  return { first: start / CELL, end: (start + range) / CELL };
}
