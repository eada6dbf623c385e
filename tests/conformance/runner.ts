/**
 * Replays a recorded case against range trees, in one variant at a time, and compares every result.
 *
 * @module
 */

import {
  Arena,
  Compactor,
  type CyclicAllocation,
  type Entry,
  RangeTree,
} from "../../mod.ts";
import {
  type Action,
  type Case,
  type RecordedRange,
  Result,
  type Run,
} from "./case.ts";
import { CursorReplayer } from "./cursor_replay.ts";
import { fail, MismatchError } from "./mismatch.ts";
import { type Token, ValueTable } from "./values.ts";

/** Room for the largest case, twice over; small, since every replay has an arena of its own. */
const ARENA_BYTES = 4 * 2 ** 20;

/** Entries that a leaf holds if there is no gap between them. */
const LEAF_SLOTS = 21;

/**
 * Nodes of other trees, which the nodes of a case lie among. Alone in its arena a tree stays dense, and next to nothing moves.
 * Residents stay, half a slab of them: what a small tree can be moved to. Bystanders go before each compaction: they leave
 * the nodes that were allocated beside them in slabs that are nearly empty.
 */
const RESIDENTS = entriesOfLeaves(7);
const BYSTANDERS = entriesOfLeaves(20);

/** One way to replay a case; the results must be the same in all of them. */
export interface Variant {
  /** Whether the trees are in RCU mode. */
  readonly rcu: boolean;
  /** Whether they track gaps. */
  readonly gaps: boolean;
  /** Compact after every so many operations; 0 = never. */
  readonly compactEvery: number;
}

/** All variants in which cases are replayed. */
export const VARIANTS: readonly Variant[] = [false, true].flatMap((gaps) =>
  [false, true].flatMap((rcu) =>
    [0, 1, 7, 64].map((compactEvery) => ({ rcu, gaps, compactEvery }))
  )
);

/** The variants in which a case is replayed: one that looks for room needs gaps. */
export function variantsOf(recorded: Case): readonly Variant[] {
  return VARIANTS.filter(({ gaps }) => gaps || !recorded.needsGaps);
}

/** Where a replay departed from the record. */
export interface Disagreement {
  /** Position of the operation in the case. */
  readonly position: number;
  /** Recorded name of the operation. */
  readonly operation: string;
  /** What was expected and what was found. */
  readonly message: string;
}

/** What came of one replay. */
export interface Replay {
  /** The way it was replayed. */
  readonly variant: Variant;
  /** Operations that were carried out and agreed. */
  readonly agreed: number;
  /** Compactions that were run. */
  readonly compactions: number;
  /** Nodes that they moved, of the case and of those among it. */
  readonly moves: number;
  /** Absent if all agreed. */
  readonly disagreement?: Disagreement;
}

/** Replays a case in one variant, up to its end or the first result that differs. */
export function replay(recorded: Case, variant: Variant): Replay {
  const replayer = new Replayer(variant);
  let agreed = 0;
  let disagreement: Disagreement | undefined;
  for (const [position, operation] of recorded.operations.entries()) {
    const { name, action, tree } = operation;
    if (action.kind === "skip") continue;
    const message = replayer.attempt(action, tree);
    if (message !== undefined) {
      disagreement = { position, operation: name, message };
      break;
    }
    agreed++;
  }
  replayer.leave();
  const { compactions, moves } = replayer;
  return { variant, agreed, compactions, moves, disagreement };
}

type LiveAction = Exclude<Action, { kind: "skip" }>;

class Replayer {
  compactions = 0;
  moves = 0;
  readonly #variant: Variant;
  readonly #arena = Arena.create({ byteLength: ARENA_BYTES });
  readonly #compactor = new Compactor(this.#arena);
  readonly #trees = new Map<number, RangeTree>();
  /** Which tree another was duplicated from. */
  readonly #origins = new Map<number, number>();
  readonly #values = new ValueTable();
  readonly #cursors = new CursorReplayer(this.#values);
  /** Where the last cyclic allocation in a tree was recorded, and where the next one is to begin. */
  readonly #cyclic = new Map<number, CyclicAllocation>();
  #bystander: RangeTree;
  #steps = 0;

  constructor(variant: Variant) {
    this.#variant = variant;
    this.#createFilled(RESIDENTS);
    this.#bystander = this.#createFilled(BYSTANDERS);
  }

  /** Carries out one operation; a text says how it departed from the record. */
  attempt(action: LiveAction, number: number): string | undefined {
    try {
      this.#carryOut(action, number);
      return undefined;
    } catch (error) {
      if (error instanceof MismatchError) return error.message;
      return error instanceof Error ? error.stack : String(error);
    }
  }

  leave(): void {
    this.#arena.leave();
  }

  #carryOut(action: LiveAction, number: number): void {
    switch (action.kind) {
      case "init":
      case "destroy":
        return this.#destroy(number);
      case "validate":
        return this.#tree(number).validate();
      case "store":
      case "insert":
        return this.#storeOrInsert(action, number);
      case "erase":
        return this.#erase(action, number);
      case "load":
        return this.#load(number, action.index, action.expected);
      case "load_run":
        return this.#loadRun(number, action.run);
      case "store_run":
      case "insert_run":
        return this.#writeRun(number, action.run, action.kind);
      case "expect_run":
        return this.#expectContents(number, [...members(action.run)]);
      case "find":
        return this.#find(action, number);
      case "for_each":
        return this.#forEach(action, number);
      case "duplicate":
        return this.#duplicate(number, action.into);
      case "set_rcu":
        return this.#setRcu(number, action.on);
      case "expect_contents":
        return this.#expectContents(number, action.entries);
      case "expect_same":
        return this.#expectSame(number, action.count, action.other);
      case "alloc":
      case "alloc_reverse":
        return this.#alloc(action, number);
      case "alloc_cyclic":
        return this.#allocCyclic(action, number);
      case "cursor":
        this.#cursors.carryOut(action, this.#tree(number));
        return this.#step();
    }
  }

  /** A destroyed tree may be used again without another `init`, so trees are made when first used. */
  #tree(number: number): RangeTree {
    const known = this.#trees.get(number);
    if (known) return known;
    // The lock is internal whatever was recorded: the mover would leave any other tree alone, and test nothing.
    const tree = RangeTree.create(this.#arena, {
      rcu: this.#variant.rcu,
      gaps: this.#variant.gaps,
    });
    this.#trees.set(number, tree);
    return tree;
  }

  #destroy(number: number): void {
    const tree = this.#trees.get(number);
    if (tree) {
      this.#cursors.forget(tree);
      tree.destroy();
    }
    this.#trees.delete(number);
    this.#cyclic.delete(number);
    this.#origins.delete(number);
    this.#step();
  }

  #storeOrInsert(
    action: Extract<Action, { kind: "store" | "insert" }>,
    number: number,
  ): void {
    if (action.result === Result.invalid) this.#expectRefusal(number, action);
    else if (action.kind === "store") this.#store(number, action.range);
    else this.#insert(number, action.range, action.result === Result.done);
    this.#expectCount(number, action.count);
  }

  #store(number: number, { first, last, token }: RecordedRange): void {
    const tree = this.#tree(number);
    const value = this.#values.valueOf(token);
    if (first === last) tree.store(first, value);
    else tree.storeRange(first, last, value);
    this.#step();
  }

  #insert(
    number: number,
    { first, last, token }: RecordedRange,
    expected: boolean,
  ): void {
    const tree = this.#tree(number);
    const value = this.#values.valueOf(token);
    const found = first === last
      ? tree.insert(first, value)
      : tree.insertRange(first, last, value);
    if (found !== expected) {
      fail(`insert of [${first}, ${last}]`, expected, found);
    }
    this.#step();
  }

  #expectRefusal(
    number: number,
    action: Extract<Action, { kind: "store" | "insert" }>,
  ): void {
    const { kind, range: { first, last, token } } = action;
    const tree = this.#tree(number);
    const value = this.#values.valueOf(token);
    try {
      if (kind === "store") tree.storeRange(first, last, value);
      else tree.insertRange(first, last, value);
    } catch (error) {
      if (error instanceof RangeError) return this.#step();
      throw error;
    }
    fail(`${kind} of [${first}, ${last}]`, "a refusal", "none");
  }

  #erase(
    action: { index: number; expected: Token | null; count?: number },
    number: number,
  ): void {
    const found = this.#tree(number).erase(action.index);
    this.#expectValue(`erase of ${action.index}`, action.expected, found);
    this.#expectCount(number, action.count);
    this.#step();
  }

  #load(number: number, index: number, expected: Token | null): void {
    const found = this.#tree(number).load(index);
    if (found !== this.#values.valueOf(expected)) {
      this.#expectValue(`load of ${index}`, expected, found);
    }
    this.#step();
  }

  /** Counts as one operation: nothing changes between its loads. */
  #loadRun(number: number, run: Run): void {
    const tree = this.#tree(number);
    for (let i = 0; i < run.count; i++) {
      const index = run.first + i * run.step;
      const expected = tokenAt(run, i);
      const found = tree.load(index);
      if (found !== this.#values.valueOf(expected)) {
        this.#expectValue(`load of ${index}`, expected, found);
      }
    }
    this.#step();
  }

  #writeRun(number: number, run: Run, kind: "store_run" | "insert_run"): void {
    for (const member of members(run)) {
      if (kind === "store_run") this.#store(number, member);
      else this.#insert(number, member, true);
    }
  }

  #find(action: Extract<Action, { kind: "find" }>, number: number): void {
    const { index, max, expected } = action;
    const found = index > max ? undefined : this.#tree(number).find(index, max);
    this.#expectValue(`find from ${index}`, expected, found?.value ?? 0);
    if (found && found.last !== action.last) {
      fail(`last index found from ${index}`, action.last, found.last);
    }
    this.#step();
  }

  #forEach(
    action: Extract<Action, { kind: "for_each" }>,
    number: number,
  ): void {
    const { index, max } = action;
    const tree = this.#tree(number);
    let entry = tree.find(index, max);
    for (const { last, token } of action.expected) {
      const what = `iteration at ${last}`;
      this.#expectValue(what, token, entry?.value ?? 0);
      if (entry?.last !== last) fail(what, last, entry?.last);
      entry = tree.findAfter(last, max);
    }
    if (entry) fail("iteration", "an end", `[${entry.first}, ${entry.last}]`);
    this.#step();
  }

  #alloc(
    action: Extract<Action, { kind: "alloc" | "alloc_reverse" }>,
    number: number,
  ): void {
    const { kind, size, min, max, expected } = action;
    const tree = this.#tree(number);
    const value = this.#values.valueOf(action.token);
    const alloc = kind === "alloc" ? "allocRange" : "allocRangeReverse";
    let found: number | undefined;
    try {
      found = tree[alloc](size, value, { min, max });
    } catch (error) {
      if (action.result === Result.invalid && error instanceof RangeError) {
        return this.#step();
      }
      throw error;
    }
    if (action.result === Result.invalid || found !== expected) {
      fail(`room for ${size} in [${min}, ${max}]`, expected, found);
    }
    this.#step();
  }

  /** The reference's "next" behind the last index is 0, and it remembers that it wrapped. */
  #allocCyclic(
    action: Extract<Action, { kind: "alloc_cyclic" }>,
    number: number,
  ): void {
    const { min, max, expected, wrapped, nextAfter } = action;
    const before = this.#cyclic.get(number);
    const next = action.next === 0 && before?.index === max
      ? before.next
      : action.next;
    const value = this.#values.valueOf(action.token);
    const found = this.#tree(number).allocCyclic(value, { min, max, next });
    const isNext = nextAfter === 0
      ? found?.index === max
      : found?.next === nextAfter;
    if (found?.index !== expected || found.wrapped !== wrapped || !isNext) {
      fail(
        `cyclic from ${next} in [${min}, ${max}]`,
        `${expected}, wrapped ${wrapped}, next ${nextAfter}`,
        JSON.stringify(found),
      );
    }
    this.#cyclic.set(number, found);
    this.#step();
  }

  #duplicate(number: number, into: number): void {
    this.#destroy(into);
    this.#trees.set(into, this.#tree(number).clone());
    this.#origins.set(into, number);
    this.#step();
  }

  /** Switches as recorded, then back to the mode of the variant. */
  #setRcu(number: number, on: boolean): void {
    const tree = this.#tree(number);
    tree.setRcu(on);
    if (on !== this.#variant.rcu) tree.setRcu(this.#variant.rcu);
    this.#step();
  }

  #expectValue(what: string, expected: Token | null, found: number): void {
    if (found === this.#values.valueOf(expected)) return;
    fail(what, expected ?? "nothing", this.#values.nameOf(found));
  }

  #expectCount(number: number, expected: number | undefined): void {
    if (expected === undefined) return;
    const found = this.#tree(number).count;
    if (found !== expected) fail("number of entries", expected, found);
  }

  #expectContents(number: number, expected: readonly RecordedRange[]): void {
    const tree = this.#tree(number);
    let position = 0;
    for (const entry of allEntries(tree)) {
      this.#expectEntry(position, expected[position], entry);
      position++;
    }
    this.#expectEntry(position, expected[position], undefined);
    this.#expectCount(number, expected.length);
    tree.validate();
    this.#step();
  }

  #expectEntry(
    position: number,
    expected: RecordedRange | undefined,
    found: Entry | undefined,
  ): void {
    const same = expected?.first === found?.first &&
      expected?.last === found?.last &&
      this.#values.valueOf(expected?.token ?? null) === (found?.value ?? 0);
    if (same) return;
    const name = (entry: Entry | undefined) =>
      entry
        ? `[${entry.first}, ${entry.last}] ${this.#values.nameOf(entry.value)}`
        : "an end";
    const wanted = expected &&
      { ...expected, value: this.#values.valueOf(expected.token) };
    fail(`entry ${position}`, name(wanted), name(found));
  }

  /** Compares a duplicate with the tree that the record names, or else with its origin. */
  #expectSame(number: number, count: number, other?: number): void {
    this.#expectCount(number, count);
    const partner = other ?? this.#origins.get(number);
    if (partner !== undefined) {
      const entries = this.#tree(partner).entries();
      let position = 0;
      for (const entry of this.#tree(number).entries()) {
        const { value: twin } = entries.next();
        const same = entry.first === twin?.first &&
          entry.last === twin?.last && entry.value === twin?.value;
        if (!same) fail(`entry ${position}`, `that of tree ${partner}`, "not");
        position++;
      }
      this.#expectCount(partner, count);
    }
    this.#step();
  }

  /** Ends an operation: compacts where the variant says so, and looks at every tree after it. */
  #step(): void {
    this.#steps++;
    const { compactEvery } = this.#variant;
    if (compactEvery === 0 || this.#steps % compactEvery !== 0) return;
    this.#bystander.destroy();
    this.moves += this.#compactor.run().moves;
    this.compactions++;
    for (const tree of this.#trees.values()) tree.validate();
    this.#bystander = this.#createFilled(BYSTANDERS);
  }

  #createFilled(entries: readonly Entry[]): RangeTree {
    const tree = RangeTree.create(this.#arena, { rcu: this.#variant.rcu });
    tree.bulkLoad(entries);
    return tree;
  }
}

/** Entries without a gap between them, which fill so many leaves; the gap behind the last takes a slot of one more. */
function entriesOfLeaves(count: number): readonly Entry[] {
  const create = (_: unknown, i: number) => ({ first: i, last: i, value: 1 });
  return Array.from({ length: count * LEAF_SLOTS }, create);
}

/** Every entry, reserved ones too. */
function allEntries(tree: RangeTree): Entry[] {
  using _guard = tree.lock();
  const cursor = tree.cursor();
  const entries: Entry[] = [];
  for (let value = cursor.find(); value !== 0; value = cursor.find()) {
    entries.push({ first: cursor.index, last: cursor.last, value });
  }
  return entries;
}

function* members(run: Run): Generator<RecordedRange> {
  for (let i = 0; i < run.count; i++) {
    const offset = i * run.step;
    yield {
      first: run.first + offset,
      last: run.last + offset,
      token: tokenAt(run, i),
    };
  }
}

function tokenAt(run: Run, i: number): Token | null {
  return typeof run.token === "number"
    ? run.token + i * run.tokenStep
    : run.token;
}
