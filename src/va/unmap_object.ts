/**
 * Unmapping an object everywhere at once, with little memory however many mappings it has.
 *
 * Each store that needs nodes needs them set aside, so there are to be few: mappings with nothing between them but holes go by one
 * store over all of them; and one that lies between two that stay, with no hole on either side, is emptied in its slot, which
 * needs no node.
 *
 * @module
 */
import type { Mapping } from "./mapping.ts";
import type { OperationList } from "./operations.ts";
import type { VaState } from "./va_state.ts";

/** Mappings that go by one store. */
interface Run {
  readonly first: number;
  last: number;
  readonly mappings: Mapping[];
}

/**
 * Applies a list of unmap operations, all of it or nothing. Under the outer lock.
 *
 * @throws {OutOfMemoryError} If there is no room; nothing was changed.
 */
export function applyUnmaps(state: VaState, list: OperationList): void {
  const runs = runsOf(state, list);
  const isInSlot = runs.map((run) => liesBetweenTwo(state, run));
  const stores = isInSlot.filter((each) => !each).length;
  const { reserve, tree } = state;
  const need = { stores, mappings: 0, objects: [], isLater: false };
  reserve.within(need, () => {
    state.isChanging = true;
    try {
      for (const [i, { first, last, mappings }] of runs.entries()) {
        // If this thread dies from here on, they are its own: see `recover.ts`.
        for (const { ref } of mappings) state.caches.mappings.claim(ref);
        if (isInSlot[i]) tree.storeRange(first, last, 0);
        else reserve.storeRange(tree, first, last, 0);
        for (const { ref } of mappings) state.retire(ref);
      }
    } finally {
      state.isChanging = false;
    }
  });
  state.arena.rcu.poll();
}

function runsOf(state: VaState, list: OperationList): Run[] {
  const mappings: Mapping[] = [];
  for (const op of list) if (op.kind === "unmap") mappings.push(op.mapping);
  mappings.sort((a, b) => a.start - b.start);
  const runs: Run[] = [];
  for (const mapping of mappings) {
    const { start, range } = mapping;
    const run = runs.at(-1);
    if (run !== undefined && isEmpty(state, run.last + 1, start - 1)) {
      run.last = start + range - 1;
      run.mappings.push(mapping);
    } else {
      runs.push({ first: start, last: start + range - 1, mappings: [mapping] });
    }
  }
  return runs;
}

/** Whether what goes is one entry between two others. What is next to a run is not in the list, so it stays. */
function liesBetweenTwo(
  state: VaState,
  { first, last, mappings }: Run,
): boolean {
  return mappings.length === 1 && state.hasMapping(first - 1) &&
    state.hasMapping(last + 1);
}

function isEmpty(state: VaState, first: number, last: number): boolean {
  return first > last || state.first(first, last) === undefined;
}
