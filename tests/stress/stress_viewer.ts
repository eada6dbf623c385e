/**
 * The viewer of the stress tests: it looks addresses up in the VA managers, without a lock, and checks every answer.
 *
 * @module
 */
import { type Arena, VaManager } from "../../mod.ts";
import type { Rng } from "../seed.ts";
import {
  type Bindings,
  CELL,
  CELLS,
  isMapped,
  MANAGERS,
  offsetOf,
  serialAt,
  serialOf,
} from "./managers.ts";

/** Checks the answers of the world's managers. */
export class StressViewer {
  /** Answers that were checked. */
  operations = 0;
  /** The first wrong one. */
  wrong: string | undefined;
  readonly #bindings: Bindings;
  readonly #random: Rng;
  readonly #managers: readonly VaManager[];

  constructor(arena: Arena, bindings: Bindings, random: Rng) {
    this.#bindings = bindings;
    this.#random = random;
    this.#managers = MANAGERS.map(({ name }) => VaManager.attach(arena, name));
  }

  /** Asks once. */
  step(): void {
    const number = this.#random.int(MANAGERS.length);
    const cell = this.#random.int(CELLS), into = this.#random.int(CELL);
    const vm = this.#managers[number];
    const oldest = this.#bindings.done(number, cell);
    const found = this.#random.int(2) === 0
      ? serialAt(vm, cell, into)
      : translated(vm, cell, into);
    const newest = this.#bindings.begun(number, cell);
    this.operations++;
    const isPossible = found === 0
      ? !isMapped(oldest) || serialOf(newest) !== serialOf(oldest)
      : found >= serialOf(oldest) && found <= serialOf(newest) &&
        (found !== serialOf(oldest) || isMapped(oldest));
    if (isPossible) return;
    this.wrong ??= `"${MANAGERS[number].name}", cell ${cell}: found ${found}, ${
      serialOf(oldest)
    } (mapped: ${isMapped(oldest)}) to ${serialOf(newest)} are possible`;
  }
}

/** As `serialAt`, by the place in the object alone. */
function translated(vm: VaManager, cell: number, into: number): number {
  const place = vm.translate(cell * CELL + into);
  if (place === -1) return 0;
  const serial = (place - into - offsetOf(0, cell)) / offsetOf(1, 0);
  return Number.isInteger(serial) ? serial : -1;
}
