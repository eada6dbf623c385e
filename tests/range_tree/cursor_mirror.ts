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
    const goesOn = this.state === "paused" || this.state === "overflow";
    if (goesOn && this.last >= max) return 0;
    if (this.state === "underflow" && this.index > max) {
      return this.#end("overflow");
    }
    const countsHere = ["start", "paused", "underflow"].includes(this.state);
    if (this.state === "paused") this.index = ++this.last;
    return this.#search(this.#upTo(max), countsHere, skipsEmpty) ?? 0;
  }

  findReverse(min: number, skipsEmpty: boolean): number {
    if (this.state === "start" && this.index < min) return 0;
    if (this.state === "paused" && this.index <= min) {
      return this.#end("underflow");
    }
    if (this.state === "overflow" && this.last < min) {
      return this.#end("underflow");
    }
    const countsHere = ["start", "paused", "overflow"].includes(this.state);
    if (this.state === "paused") this.last = --this.index;
    return this.#search(this.#downTo(min), countsHere, skipsEmpty) ??
      this.#end("underflow");
  }

  next(max: number, skipsEmpty: boolean): number {
    if (this.last >= max) return this.#end("overflow");
    const countsHere = this.state === "underflow";
    return this.#search(this.#upTo(max), countsHere, skipsEmpty) ??
      this.#end("overflow");
  }

  prev(min: number, skipsEmpty: boolean): number {
    if (this.index <= min) return this.#end("underflow");
    const countsHere = this.state === "overflow";
    return this.#search(this.#downTo(min), countsHere, skipsEmpty) ??
      this.#end("underflow");
  }

  store(value: number): number {
    const before = this.#here().value;
    this.#mirror.storeRange(this.index, this.last, value);
    this.#standAt(value);
    return before;
  }

  insert(value: number): boolean {
    const inserted = this.#mirror.insertRange(this.index, this.last, value);
    if (inserted) this.#standAt(value);
    return inserted;
  }

  erase(): number {
    const { first, last, value } = this.#here();
    this.#mirror.storeRange(first, last, 0);
    Object.assign(this, { index: first, last });
    this.#standAt(0);
    return value;
  }

  emptyArea(min: number, max: number, size: number, highest: boolean): boolean {
    const index = this.#mirror.room(size, min, max, highest);
    if (index < 0) return false;
    Object.assign(this, { index, last: index + size - 1 });
    this.#standAt(0);
    return true;
  }

  /**
   * Goes along runs, of which the first is the one that covers the index, to the first that is wanted; nothing if none is, and
   * then to the last of them.
   */
  #search(
    [here, ...others]: Entry[],
    countsHere: boolean,
    skipsEmpty: boolean,
  ): number | undefined {
    if (countsHere && here.value !== 0) return this.#stand(here);
    const found = others.find(({ value }) => value !== 0 || !skipsEmpty);
    this.#stand(found ?? others.at(-1) ?? here);
    return found?.value;
  }

  #upTo(max: number): Entry[] {
    const here = this.#here();
    const behind = this.#runs().filter(({ first }) =>
      first > here.last && first <= max
    );
    return [here, ...behind];
  }

  #downTo(min: number): Entry[] {
    const here = this.#here();
    const before = this.#runs().filter(({ last }) =>
      last < here.first && last >= min
    );
    return [here, ...before.reverse()];
  }

  #stand({ first, last, value }: Entry): number {
    this.index = first;
    this.last = last;
    this.#standAt(value);
    return value;
  }

  /** The cursor's range is where it stands, and holds that. */
  #standAt(value: number): void {
    this.state = "active";
    if (this.index === 0 && this.last === MAX_INDEX) {
      this.state = value === 0 ? "none" : "root";
    }
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
