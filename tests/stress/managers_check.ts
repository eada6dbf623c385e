/**
 * What is asked of the VA managers when whoever changed them has died.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type Arena, type ExternalLock, Slabs, VaManager } from "../../mod.ts";
import { isLiveManager } from "../../src/va/header.ts";
import type { Rng } from "../seed.ts";
import { named, objectsOf } from "./lost.ts";
import {
  type Bindings,
  CELL,
  CELLS,
  EVICTED,
  EXISTS,
  EXTERNAL,
  isMapped,
  LINKED,
  MANAGERS,
  objectOf,
  OBJECTS,
  offsetOf,
  outerGuard,
  placeOf,
  serialAt,
  serialOf,
  SPARE,
} from "./managers.ts";

/** Changes of which each finishes what was under way. */
const NEXT: readonly ((vm: VaManager) => void)[] = [
  (vm) => vm.bind(SPARE),
  (vm) => vm.unbind(SPARE),
  (vm) => vm.commit(vm.mapOps(SPARE)),
  (vm) => void vm.insert(SPARE),
  (vm) => vm.releaseBo(SPARE.object),
  (vm) => void vm.obtainBo(SPARE.object),
  (vm) => void vm.externalBos(),
];

/** The managers of a world, and what is known of them. */
export class ManagersCheck {
  readonly #arena: Arena;
  readonly #managers: readonly VaManager[];
  readonly #lock: ExternalLock;
  readonly #bindings: Bindings;

  constructor(
    arena: Arena,
    managers: readonly VaManager[],
    lock: ExternalLock,
    bindings: Bindings,
  ) {
    this.#arena = arena;
    this.#managers = managers;
    this.#lock = lock;
    this.#bindings = bindings;
  }

  /** What readers find, cell by cell. */
  seen(): number[][] {
    return this.#managers.map((vm) =>
      Array.from(
        { length: CELLS },
        (_, cell) => serialAt(vm, cell, cell % CELL),
      )
    );
  }

  /**
   * What is wrong after the reaping; takes over what was done last. Changes each manager once, and undoes that.
   *
   * @param before What readers found before the reaping.
   */
  check(before: readonly number[][], random: Rng): string[] {
    const wrong = this.#managers.flatMap((vm, number) => {
      const next = random.pick(NEXT);
      try {
        return this.#checkOne(vm, number, before[number], next)
          .map((text) => `"${MANAGERS[number].name}": ${text}`);
      } catch (error) {
        return [String((error as Error).stack ?? error)];
      }
    });
    this.#bindings.isOneByOne = false;
    this.#destroyOthers();
    return wrong;
  }

  /** Destroys what the one that died had created for itself. */
  #destroyOthers(): void {
    const known = new Set(this.#managers.map(({ ref }) => ref));
    const headers = named(Slabs.of(this.#arena).all(), "va_manager")!;
    for (const ref of objectsOf(headers)) {
      if (known.has(ref) || !isLiveManager(this.#arena.words, ref)) continue;
      VaManager.attach(this.#arena, ref).destroy();
    }
  }

  #checkOne(
    vm: VaManager,
    number: number,
    before: readonly number[],
    next: (vm: VaManager) => void,
  ): string[] {
    const see = () => this.seen()[number].join(" ");
    const seen = see();
    if (seen !== before.join(" ")) {
      return [`reaping has changed ${before} to ${seen}`];
    }
    const wrong = this.#compare(number, before);
    using _guard = outerGuard(number, vm, this.#lock);
    next(vm);
    if (see() !== seen) wrong.push(`changed by the next change: ${see()}`);
    vm.unbind(SPARE);
    vm.releaseBo(SPARE.object);
    if (see() !== seen) wrong.push(`changed by the one after: ${see()}`);
    vm.tree.validate();
    const links = this.#checkLinks(vm, number);
    wrong.push(
      ...checkEntries(vm, before),
      ...links,
      ...this.#checkBos(vm, number),
    );
    return wrong;
  }

  /** All is as it was done, or as it was begun; where mappings go one by one, each of them. */
  #compare(number: number, seen: readonly number[]): string[] {
    const bindings = this.#bindings;
    const is = (cell: number, word: number) =>
      seen[cell] === (isMapped(word) ? serialOf(word) : 0);
    const isDone = seen.map((_, cell) => is(cell, bindings.done(number, cell)));
    const isBegun = seen
      .map((_, cell) => is(cell, bindings.begun(number, cell)));
    const isWhole = isDone.every(Boolean) || isBegun.every(Boolean);
    const isEach = bindings.isOneByOne &&
      seen.every((_, cell) => isDone[cell] || isBegun[cell]);
    if (!isWhole && !isEach) {
      const cells = seen.map((serial, cell) =>
        isDone[cell] && isBegun[cell]
          ? ""
          : `cell ${cell} is of ${serial}, done is ${
            serialOf(bindings.done(number, cell))
          }, begun ${serialOf(bindings.begun(number, cell))}`
      );
      return [`neither done nor begun: ${cells.filter(Boolean).join("; ")}`];
    }
    const isNew = isBegun.every(Boolean);
    seen.forEach((_, cell) => {
      // Of a change by hand of what is linked, only the lists tell: see below.
      const done = bindings.done(number, cell);
      const begun = bindings.begun(number, cell);
      if (serialOf(done) === serialOf(begun)) {
        assertEquals(done & ~LINKED, begun & ~LINKED, "one change, one word");
        return;
      }
      bindings.set(number, cell, isNew || isBegun[cell] ? begun : done);
    });
    return [];
  }

  /** The VmBos link what is mapped, or by hand what was linked. */
  #checkLinks(vm: VaManager, number: number): string[] {
    const bindings = this.#bindings, wrong: string[] = [];
    const isByHand = MANAGERS[number].link === "driver";
    const linked = new Set<number>();
    let mappings = 0;
    for (let object = 1; object <= OBJECTS; object++) {
      const bo = vm.bo(object);
      const list = bo?.mappings() ?? [];
      if (bo !== undefined && bo.count !== list.length) {
        wrong.push(`object ${object}: ${bo.count} are ${list.length}`);
      }
      for (const mapping of list) {
        if (vm.lookup(mapping.start)?.ref !== mapping.ref) {
          wrong.push(`object ${object}: ${mapping.start} is not mapped`);
        }
        if (mapping.object !== object) wrong.push(`in the list of ${object}`);
        if (linked.has(mapping.ref)) wrong.push(`${mapping.start} is twice`);
        linked.add(mapping.ref);
      }
    }
    for (const mapping of vm.mappings()) {
      mappings++;
      const isLinked = linked.has(mapping.ref);
      if (!isByHand) {
        if (!isLinked) wrong.push(`${mapping.start} is not linked`);
        continue;
      }
      const end = (mapping.start + mapping.range) / CELL;
      for (let cell = mapping.start / CELL; cell < end; cell++) {
        const words = [
          bindings.done(number, cell),
          bindings.begun(number, cell),
        ];
        const word = words
          .find((word) => ((word & LINKED) !== 0) === isLinked);
        if (word === undefined) {
          wrong.push(`cell ${cell}: linked is ${isLinked}`);
        } else bindings.set(number, cell, word);
      }
    }
    if (linked.size > mappings) wrong.push("more is linked than is mapped");
    return wrong;
  }

  /** Each object has a VmBo or none, with the flags that were done or begun; and the lists of these are so. */
  #checkBos(vm: VaManager, number: number): string[] {
    const bindings = this.#bindings, wrong: string[] = [];
    const flagged = { external: "", evicted: "" };
    for (let object = 1; object <= OBJECTS; object++) {
      const bo = vm.bo(object), place = placeOf(object);
      const word = bo === undefined ? 0 : EXISTS |
        (bo.external ? EXTERNAL : 0) | (bo.evicted ? EVICTED : 0);
      const words = [
        bindings.done(number, place),
        bindings.begun(number, place),
      ];
      if (!words.includes(word)) {
        wrong.push(`object ${object}: ${word}, neither of ${words}`);
      }
      bindings.set(number, place, word);
      if (bo?.external) flagged.external += ` ${object}`;
      if (bo?.evicted) flagged.evicted += ` ${object}`;
    }
    for (const which of ["external", "evicted"] as const) {
      const list = which === "external" ? vm.externalBos() : vm.evictedBos();
      const text = list.map(({ object }) => ` ${object}`).sort().join("");
      if (text !== flagged[which]) {
        wrong.push(`${which} are${text}, flagged${flagged[which]}`);
      }
    }
    return wrong;
  }
}

/** Each entry of the tree is all of a mapping, and neighbours of one change are one. */
function checkEntries(vm: VaManager, seen: readonly number[]): string[] {
  const wrong: string[] = [], expected: string[] = [];
  for (let cell = 0; cell < CELLS;) {
    const serial = seen[cell], first = cell;
    while (cell < CELLS && seen[cell] === serial) cell++;
    if (serial <= 0) continue;
    expected.push(
      textOf(
        first * CELL,
        (cell - first) * CELL,
        objectOf(serial),
        offsetOf(serial, first),
      ),
    );
  }
  const found = [...vm.mappings()].map(({ start, range, object, offset }) =>
    textOf(start, range, object, offset)
  );
  if (found.join() !== expected.join()) {
    wrong.push(`${found} are mapped, not ${expected}`);
  }
  for (const { first, last, value } of vm.tree) {
    const mapping = vm.findFirst(first, 1)!;
    const isWhole = mapping.ref === value && mapping.start === first &&
      mapping.range === last - first + 1;
    if (!isWhole) wrong.push(`the entry at ${first} is a part`);
  }
  if (vm.count !== expected.length) wrong.push(`${vm.count} are counted`);
  return wrong;
}

function textOf(
  start: number,
  range: number,
  object: number,
  offset: number,
): string {
  return `${start}+${range}:${object}@${offset}`;
}
