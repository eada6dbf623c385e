/**
 * Creating a manager: its header, its trees and its reserved node, all of them or nothing.
 *
 * @module
 */
import type { Arena } from "../memory/mod.ts";
import {
  type ExternalLock,
  type LockMode,
  MAX_INDEX,
  RangeTree,
} from "../range_tree/mod.ts";
import { discardHeader } from "../range_tree/whole.ts";
import { VaError, VaRangeError } from "./errors.ts";
import { initMapping, MappingFlag } from "./mapping.ts";
import type { VaSpan } from "./operations.ts";
import { openManagers } from "./recover.ts";
import { specOf, whyNoRange } from "./request.ts";
import {
  forgetTrees,
  initHeader,
  killManager,
  LINKED_BY_HAND,
  OWN_OUTER_LOCK,
  REGIONS_REQUIRED,
} from "./header.ts";

/** How a manager is created. */
export interface VaManagerOptions {
  /** A name under which other threads find it; a manager without one is found by its ref. */
  name?: string;
  /**
   * The first address that can be mapped.
   *
   * @default {0}
   */
  start?: number;
  /** How many addresses can be mapped. */
  range: number;
  /** Addresses within that belong to the driver: nothing can be mapped there. */
  reserved?: VaSpan;
  /**
   * Whether a map request must lie in one region.
   *
   * @default {false}
   */
  regions?: boolean;
  /**
   * Who links mappings to their VmBos: the manager, or the driver by {@linkcode VmBo.link}.
   *
   * @default {"auto"}
   */
  link?: "auto" | "driver";
  /**
   * Which lock makes sets of operations atomic: one of the driver's, or the manager's own, taken by
   * {@linkcode VaManager.lock}; then lockdep sees to it that it is held.
   *
   * @default {"driver"}
   */
  outerLock?: "driver" | "manager";
  /**
   * Who guards the tree. With `"none"`, or `"external"` and no `externalLock`, its nodes are pinned; that is for comparisons.
   *
   * @default {"internal"}
   */
  lock?: LockMode;
  /** With `lock: "external"`: the lock, so that the mover can take it. Then it is the outer lock. */
  externalLock?: ExternalLock;
}

/**
 * Creates a manager without mappings; returns its header.
 *
 * @throws {VaRangeError} If it has no addresses, or the reserved node is not inside of them.
 * @throws {VaError} If an option is none that there is.
 * @throws {OutOfMemoryError} If there is no room; nothing was created.
 * @throws {RangeError} If the name is empty, too long, or one too many; nothing was created.
 * @throws {TypeError} If an external lock is given that the lock mode does not ask for, or one of another arena.
 * @throws {Error} If the name is taken; nothing was created.
 */
export function createManager(arena: Arena, options: VaManagerOptions): number {
  const { start = 0, range, reserved, name } = options;
  assertWords(options);
  assertSpan(start, range, reserved);
  const { headers, mappings } = openManagers(arena);
  const header = headers.allocate();
  const undo = [() => {
    forgetTrees(arena.words, header);
    headers.free(header);
  }];
  try {
    const { lock, externalLock } = options;
    const createTree = () => {
      const tree = RangeTree.create(arena, { rcu: true, lock, externalLock });
      undo.push(() => {
        // An external lock need not be held: whoever came so far as to store in the tree holds it.
        if (tree.count > 0) tree.destroy();
        else discardHeader(arena, tree.ref);
      });
      return tree;
    };
    const tree = createTree(), bos = createTree(), regions = createTree();
    let reservedRef = 0;
    if (reserved !== undefined) {
      const ref = reservedRef = mappings.allocate();
      undo.push(() => mappings.free(ref));
      const spec = specOf({ ...reserved, flags: MappingFlag.RESERVED });
      initMapping(arena.words, arena.doubles, ref, spec);
      const last = reserved.start + reserved.range - 1;
      tree.storeRange(reserved.start, last, ref);
    }
    initHeader(arena, header, {
      flags: (options.regions === true ? REGIONS_REQUIRED : 0) |
        (options.link === "driver" ? LINKED_BY_HAND : 0) |
        (options.outerLock === "manager" ? OWN_OUTER_LOCK : 0),
      tree,
      bos,
      regions,
      reserved: reservedRef,
      span: { start, range },
    });
    if (name !== undefined) arena.roots.add(name, header);
    return header;
  } catch (error) {
    killManager(arena.words, header);
    for (const step of undo.reverse()) step();
    throw error;
  }
}

/** What the options are that are words. */
const WORDS = {
  link: ["auto", "driver"],
  outerLock: ["driver", "manager"],
  lock: ["internal", "external", "none"],
} as const;

function assertWords(options: VaManagerOptions): void {
  for (const name of ["link", "outerLock", "lock"] as const) {
    const value = options[name], words: readonly string[] = WORDS[name];
    if (value !== undefined && !words.includes(value)) {
      refuse(`${name} is "${value}", none of ${words.join(", ")}`);
    }
  }
  if (options.name !== undefined && typeof options.name !== "string") {
    refuse(`its name is to be ${options.name}, which is no text`);
  }
}

function refuse(why: string): never {
  throw new VaError("EINVAL", `Cannot create a VA manager: ${why}`);
}

function assertSpan(
  start: number,
  range: number,
  reserved: VaSpan | undefined,
): void {
  const reason = whyNoRange(start, range);
  if (reason !== undefined) {
    throw new VaRangeError(
      reason,
      `Cannot create a VA manager: [${start}, +${range}) is no range of addresses up to ${MAX_INDEX}`,
    );
  }
  if (reserved === undefined) return;
  const end = start + range, reservedEnd = reserved.start + reserved.range;
  if (
    whyNoRange(reserved.start, reserved.range) === undefined &&
    reserved.start >= start && reservedEnd <= end
  ) return;
  throw new VaRangeError(
    "outside",
    `Cannot create a VA manager: the reserved node [${reserved.start}, +${reserved.range}) is not inside of [${start}, +${range})`,
  );
}
