/**
 * Whether a recorded history of operations on a tree of a few cells is *linearizable*: whether there is an order of them that
 * a single thread could have made, in which each stands between its invocation and its response.
 *
 * After Wing and Gong: choose an operation that may come first (no other one had responded when it was invoked), do it on the
 * cells as they are, and if it would have answered what it did, go on with the rest; else choose another. What was tried in
 * vain is remembered by what is left and what the cells hold (Lowe), so nothing is tried twice. A thread does one operation
 * after the other, so "what is left" is how far each thread has come, and with `t` threads at most `t` operations can be next.
 *
 * Operations on different cells do not concern each other, so each cell's are checked alone (a history is linearizable if
 * and only if it is cell by cell); cells that one operation spans are checked together.
 *
 * @module
 */

/** An operation with its answer. */
export interface Operation {
  /** Which thread did it. */
  readonly thread: number;
  /** Stamps of one clock that all threads share. */
  readonly invoked: number;
  readonly responded: number;
  readonly name: "load" | "store" | "insert" | "erase" | "snapshot";
  /** The cells that it is about: `store` and `snapshot` take several. */
  readonly first: number;
  readonly last: number;
  /** What it was to store: `insert` an entry, `store` an entry or 0. */
  readonly value?: number;
  /** What it answered: the entries of all its cells (`load`, `snapshot`, `erase`), or whether it stored, 1 or 0 (`insert`). */
  readonly found: readonly number[];
}

/**
 * Why a history is not linearizable; nothing if it is.
 *
 * @param cells What the cells held before; what they hold after a legal history is not looked at.
 */
export function contradiction(
  history: readonly Operation[],
  cells: readonly number[],
): string | undefined {
  for (const part of parts(history, cells.length)) {
    const found = new Search(part, cells).run();
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The operations of each set of cells that is held together by operations which span several. */
function parts(
  history: readonly Operation[],
  cells: number,
): Operation[][] {
  // Cells that are spanned together adjoin: a part is an interval.
  const joinsNext = new Uint8Array(cells);
  for (const { first, last } of history) joinsNext.fill(1, first, last);
  const partOf: number[] = [];
  for (let cell = 0, part = 0; cell < cells; cell++) {
    partOf.push(part);
    if (joinsNext[cell] === 0) part++;
  }
  return [...Map.groupBy(history, ({ first }) => partOf[first]).values()];
}

/** How far each thread has come, and what the cells hold then. */
interface Situation {
  readonly done: readonly number[];
  readonly cells: readonly number[];
}

class Search {
  /** The operations of each thread in their order. */
  readonly #threads: readonly (readonly Operation[])[];
  readonly #cells: readonly number[];
  /** Situations that were come to. */
  readonly #tried = new Set<string>();
  /** The one in which most operations were done. */
  #furthest: Situation;
  #mostDone = -1;

  constructor(history: readonly Operation[], cells: readonly number[]) {
    const byThread = Map.groupBy(history, ({ thread }) => thread);
    this.#threads = [...byThread.values()].map((operations) =>
      operations.toSorted((a, b) => a.invoked - b.invoked)
    );
    for (const operations of this.#threads) assertSequential(operations);
    this.#cells = cells;
    this.#furthest = { done: this.#threads.map(() => 0), cells };
  }

  run(): string | undefined {
    const total = this.#threads.reduce((sum, { length }) => sum + length, 0);
    // Depth first, without recursion: a history is long.
    const open = [this.#furthest];
    for (let here = open.pop(); here !== undefined; here = open.pop()) {
      const count = here.done.reduce((sum, done) => sum + done, 0);
      if (count === total) return undefined;
      if (count > this.#mostDone) {
        this.#mostDone = count;
        this.#furthest = here;
      }
      for (const thread of this.#candidates(here.done)) {
        const next = this.#after(here, thread);
        if (next !== undefined && this.#isNew(next)) open.push(next);
      }
    }
    return this.#explain();
  }

  /** The threads whose next operation was invoked before any other one that is left responded. */
  #candidates(done: readonly number[]): number[] {
    const next = this.#threads.map((operations, i) => operations[done[i]]);
    const end = Math.min(...next.map((one) => one?.responded ?? Infinity));
    return next.flatMap((one, i) =>
      one !== undefined && one.invoked < end ? [i] : []
    );
  }

  /** The situation after a thread's next operation; none if its answer would have been another. */
  #after({ done, cells }: Situation, thread: number): Situation | undefined {
    const after = effect(this.#threads[thread][done[thread]], cells);
    if (after === undefined) return undefined;
    return { done: done.with(thread, done[thread] + 1), cells: after };
  }

  #isNew({ done, cells }: Situation): boolean {
    const key = `${done}|${cells}`;
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    return true;
  }

  #explain(): string {
    const { done, cells } = this.#furthest;
    const left = this.#candidates(done).map((i) =>
      describe(this.#threads[i][done[i]])
    );
    return `with the cells at ${cells.join(" ")}, none of these can be next: ${
      left.join("; ")
    }`;
  }
}

function assertSequential(operations: readonly Operation[]): void {
  operations.forEach((one, i) => {
    const after = operations[i + 1]?.invoked ?? Infinity;
    if (one.invoked < one.responded && one.responded < after) return;
    throw new Error(
      `Cannot check the history: ${describe(one)} is out of its thread's order`,
    );
  });
}

/** What the cells hold after an operation that finds them so; nothing if it would have answered otherwise. */
function effect(
  { name, first, last, value = 0, found }: Operation,
  cells: readonly number[],
): readonly number[] | undefined {
  switch (name) {
    case "load":
    case "snapshot":
      return found.every((entry, i) => entry === cells[first + i])
        ? cells
        : undefined;
    case "store":
      return cells.toSpliced(
        first,
        last - first + 1,
        ...new Array(last - first + 1).fill(value),
      );
    case "insert": {
      const isFree = cells[first] === 0;
      if (found[0] !== (isFree ? 1 : 0)) return undefined;
      return isFree ? cells.with(first, value) : cells;
    }
    case "erase":
      return found[0] === cells[first] ? cells.with(first, 0) : undefined;
  }
}

function describe(
  { thread, invoked, responded, name, first, last, value, found }: Operation,
): string {
  const at = first === last ? `${first}` : `${first}-${last}`;
  const stored = value === undefined ? "" : ` ${value}`;
  return `thread ${thread} [${invoked}, ${responded}] ${name} ${at}${stored} -> ${found}`;
}
