/**
 * Looking at a whole tree: checking its invariants, printing it, counting its nodes. Under the tree's lock.
 *
 * @module
 */
import type { Words } from "../sync/atomics.ts";
import {
  entryCountOf,
  flagsOf,
  headerParent,
  rootOf,
  tracksGaps,
} from "./header.ts";
import {
  countOf,
  type Doubles,
  gapOf,
  heightOf,
  largestGap,
  largestRun,
  MAX_INDEX,
  maxSlots,
  minSlots,
  parentOf,
  pivotOf,
  slotOf,
} from "./node.ts";
import type { NodeCaches } from "./node_caches.ts";

/** A tree's numbers, as seen at one moment. */
export interface RangeTreeStats {
  /** Levels of nodes; 0 for an empty tree. */
  readonly height: number;
  /** Stored ranges, reserved ones among them. */
  readonly entries: number;
  /** Nodes in all. */
  readonly nodes: number;
  /** Nodes that hold entries. */
  readonly leaves: number;
  /** Slots in use, of those that the nodes have. */
  readonly fill: number;
}

/** A tree breaks one of its invariants. */
export class TreeInvariantError extends Error {
  /** The name of this class of errors. */
  override name = "TreeInvariantError";
}

/** Calls `visit` for every node, parents first. */
function forEachNode(
  words: Words,
  doubles: Doubles,
  root: number,
  visit: (
    node: number,
    parent: number,
    height: number,
    min: number,
    max: number,
  ) => void,
  rootParent: number,
): void {
  const descend = (
    node: number,
    parent: number,
    height: number,
    min: number,
    max: number,
  ) => {
    visit(node, parent, height, min, max);
    if (height === 0) return;
    let first = min;
    for (let slot = 0; slot < countOf(words, node); slot++) {
      const last = pivotOf(doubles, node, slot, max);
      descend(slotOf(words, node, slot), node, height - 1, first, last);
      first = last + 1;
    }
  };
  if (root !== 0) {
    descend(root, rootParent, heightOf(words, root), 0, MAX_INDEX);
  }
}

/** A node as it was found, and what its place in the tree says of it. */
interface Found {
  readonly node: number;
  readonly parent: number;
  readonly height: number;
  readonly min: number;
  readonly max: number;
  readonly isRoot: boolean;
  /** Whether the tree tracks gaps. */
  readonly gaps: boolean;
}

/**
 * Checks every invariant of a tree.
 *
 * @throws {TreeInvariantError} Naming the node and the rule.
 */
export function validateTree(
  words: Words,
  doubles: Doubles,
  header: number,
  nodes: NodeCaches,
): void {
  const root = rootOf(words, header);
  const gaps = tracksGaps(flagsOf(words, header));
  let entries = 0;
  let before = -1;
  forEachNode(words, doubles, root, (node, parent, height, min, max) => {
    const found = {
      node,
      parent,
      height,
      min,
      max,
      isRoot: node === root,
      gaps,
    };
    if (!nodes.isAllocated(node)) {
      fail(
        found,
        `it is no allocated object of "${nodes.ofHeight(height).name}"`,
      );
    }
    validateNode(words, found);
    validateSlots(words, doubles, found);
    if (height > 0) return;
    for (let slot = 0; slot < countOf(words, node); slot++) {
      const held = slotOf(words, node, slot);
      if (held !== 0) entries++;
      if (held === 0 && before === 0) {
        fail(found, `slot ${slot} and the one before it are both empty`);
      }
      before = held;
    }
    if (node === root && entries === 0) {
      fail(found, "a root leaf holds nothing");
    }
  }, headerParent(header));
  const counted = entryCountOf(words, header);
  if (entries !== counted) {
    throw new TreeInvariantError(
      `Tree ${header}: it holds ${entries} entries, ${counted} are counted`,
    );
  }
}

/** Checks what a node says of itself. */
function validateNode(words: Words, found: Found): void {
  const { node, parent, height, isRoot, gaps } = found;
  const count = countOf(words, node);
  if (heightOf(words, node) !== height) {
    fail(found, `its height says ${heightOf(words, node)}`);
  }
  if (parentOf(words, node) !== parent) {
    fail(found, `its parent word is ${parentOf(words, node)}, not ${parent}`);
  }
  if (count < 1 || count > maxSlots(height, gaps)) {
    fail(found, `it uses ${count} slots`);
  }
  if (!isRoot && count < minSlots(height, gaps)) {
    fail(found, `it uses ${count} slots, under a third`);
  }
  if (isRoot && height > 0 && count < 2) {
    fail(found, "a root above leaves has one child");
  }
}

/** Checks its pivots, and above leaves its children's refs and gaps. */
function validateSlots(words: Words, doubles: Doubles, found: Found): void {
  const { node, height, min, max, gaps } = found;
  let first = min;
  for (let slot = 0; slot < countOf(words, node); slot++) {
    const last = pivotOf(doubles, node, slot, max);
    if (last < first) fail(found, `pivot ${slot} is ${last}, below ${first}`);
    const held = slotOf(words, node, slot);
    if (height > 0 && held === 0) fail(found, `slot ${slot} has no child`);
    if (height > 0 && gaps) {
      const largest = height > 1
        ? largestGap(words, doubles, held)
        : largestRun(words, doubles, held, first, last);
      const noted = gapOf(doubles, node, slot);
      if (noted !== largest) {
        fail(found, `gap ${slot} is ${noted}, below it is one of ${largest}`);
      }
    }
    first = last + 1;
  }
  if (first !== max + 1) fail(found, `its last pivot is ${first - 1}`);
}

function fail({ node, min, max, height }: Found, rule: string): never {
  throw new TreeInvariantError(
    `Node ${node} [${min}, ${max}] of height ${height}: ${rule}`,
  );
}

/** The tree as text, one line a node and an entry. */
export function dumpTree(
  words: Words,
  doubles: Doubles,
  header: number,
): string {
  const root = rootOf(words, header);
  const lines = [`tree ${header}: ${entryCountOf(words, header)} entries`];
  const top = root === 0 ? 0 : heightOf(words, root);
  forEachNode(words, doubles, root, (node, _parent, height, min, max) => {
    const indent = "  ".repeat(top - height + 1);
    const count = countOf(words, node);
    lines.push(
      `${indent}${
        height === 0 ? "leaf" : "node"
      } ${node} [${min}, ${max}] ${count} slots`,
    );
    let first = min;
    for (let slot = 0; height === 0 && slot < count; slot++) {
      const last = pivotOf(doubles, node, slot, max);
      const value = slotOf(words, node, slot) >>> 0;
      if (value !== 0) lines.push(`${indent}  ${first}-${last}: ${value}`);
      first = last + 1;
    }
  }, 0);
  return lines.join("\n");
}

/** The tree's numbers. */
export function treeStats(
  words: Words,
  doubles: Doubles,
  header: number,
): RangeTreeStats {
  const root = rootOf(words, header);
  const gaps = tracksGaps(flagsOf(words, header));
  let nodes = 0, leaves = 0, used = 0, slots = 0;
  forEachNode(words, doubles, root, (node, _parent, height) => {
    nodes++;
    used += countOf(words, node);
    slots += maxSlots(height, gaps);
    if (height === 0) leaves++;
  }, 0);
  return {
    height: root === 0 ? 0 : heightOf(words, root) + 1,
    entries: entryCountOf(words, header),
    nodes,
    leaves,
    fill: nodes === 0 ? 0 : used / slots,
  };
}
