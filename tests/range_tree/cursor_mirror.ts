/**
 * A cursor that is obviously right and hopelessly slow: it knows all ranges of the tree, stored and empty, as a list.
 *
 * @module
 */
import {
  type CursorState,
  type Entry,
  MAX_INDEX,
} from "../../src/range_tree/mod.ts";
import type { Mirror } from "./mirror.ts";

/** What a cursor must agree with. */
export class CursorMirror {
  state: CursorState = "start";
  readonly #mirror: Mirror;

  constructor(mirror: Mirror, public index: number, public last: number) {
    this.#mirror = mirror;
  }

  setRange(index: number, last: number): void {
    Object.assign(this, { index, last, state: "start" });
  }

  reset(): void {
    this.state = "start";
  }

  pause(): void {
    this.state = "paused";
  }

  walk(): number {
    return this.#stand(this.#here());
  }

  find(max: number, skipsEmpty: boolean): number {
    if (this.state === "start" && this.index > max) return 0;
    const began = this.state;
    if (began === "paused" || began === "overflow") {
      if (this.last >= max) return 0;
    }
    if (began === "paused") this.index = ++this.last;
    if (["start", "paused", "underflow"].includes(began)) {
      const found = this.walk();
      if (found !== 0) return found;
    }
    const found = this.#step(1, skipsEmpty, (run) => run.first <= max);
    if (found === undefined) this.#stand(this.#here());
    return found ?? 0;
  }

  findReverse(min: number, skipsEmpty: boolean): number {
    if (this.state === "start" && this.index < min) return 0;
    if (this.state === "paused") {
      if (this.index <= min) return this.#end("underflow");
      this.last = --this.index;
    }
    if (["start", "paused", "overflow"].includes(this.state)) {
      const found = this.walk();
      if (found !== 0) return found;
    }
    return this.#step(-1, skipsEmpty, (run) => run.last >= min) ??
      this.#end("underflow");
  }

  next(max: number, skipsEmpty: boolean): number {
    if (this.last >= max) return this.#end("overflow");
    const found = this.state === "active" ? 0 : this.#begin("underflow");
    if (found !== 0) return found;
    return this.#step(1, skipsEmpty, (run) => run.first <= max) ??
      this.#end("overflow");
  }

  prev(min: number, skipsEmpty: boolean): number {
    if (this.index <= min) return this.#end("underflow");
    const found = this.state === "active" ? 0 : this.#begin("overflow");
    if (found !== 0) return found;
    return this.#step(-1, skipsEmpty, (run) => run.last >= min) ??
      this.#end("underflow");
  }

  /** Walks to the index; an entry that is found there counts only for a cursor that stands beyond it. */
  #begin(beyond: CursorState): number {
    const counts = this.state === beyond;
    if (this.state === "overflow" || this.state === "underflow") {
      if (!counts) return 0;
    }
    const found = this.walk();
    return counts ? found : 0;
  }

  /** The last range on the way stays the cursor's if none is found. */
  #step(
    direction: 1 | -1,
    skipsEmpty: boolean,
    isInside: (run: Entry) => boolean,
  ): number | undefined {
    const runs = this.#runs();
    let at = runs.findIndex(({ first }) => first === this.#here().first);
    for (;;) {
      const run = runs[at + direction];
      if (run === undefined || !isInside(run)) {
        this.#stand(runs[at]);
        return undefined;
      }
      at += direction;
      if (run.value !== 0 || !skipsEmpty) return this.#stand(run);
    }
  }

  #stand({ first, last, value }: Entry): number {
    this.index = first;
    this.last = last;
    this.state = "active";
    if (first === 0 && last === MAX_INDEX) {
      this.state = value === 0 ? "none" : "root";
    }
    return value;
  }

  #end(state: CursorState): 0 {
    this.state = state;
    return 0;
  }

  #here(): Entry {
    return this.#runs().find(({ last }) => last >= this.index)!;
  }

  #runs(): Entry[] {
    const free = this.#mirror.freeRuns().map(([first, last]) => {
      return { first, last, value: 0 };
    });
    return [...this.#mirror.entries, ...free].sort((a, b) => a.first - b.first);
  }
}
