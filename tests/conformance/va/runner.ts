/**
 * Replays recorded VA-manager cases, each in several ways, and compares operations, results, errors and state.
 *
 * @module
 */
import {
  MappingFlag,
  type MapRequest,
  type OperationList,
  remapToUnmapRange,
  VaError,
  type VaManager,
  type VaOp,
} from "../../../mod.ts";
import type { MappingSpec } from "../../../src/va/mod.ts";
import {
  AddressOutOfReachError,
  isSequence,
  Objects,
  type RecordedCase,
  type RecordedOp,
  type RecordedSequence,
  recordedText,
  type RecordedVa,
  toAddress,
} from "./cases.ts";
import { expectSame, MismatchError, specText, stateText } from "./compare.ts";
import { replaySequence } from "./sequences.ts";
import { World } from "./world.ts";

/** One way to replay a case; the results must be the same in all of them. */
export interface VaVariant {
  /** Who applies the operations: the manager all at once, the caller one by one, or callbacks. */
  readonly apply: "commit" | "each" | "callbacks";
  /** Whether the arena is compacted between any two steps. */
  readonly compact: boolean;
}

/** All ways in which a case is replayed. */
export const VA_VARIANTS: readonly VaVariant[] = [false, true].flatMap(
  (compact) =>
    (["commit", "each", "callbacks"] as const).map((apply) => ({
      apply,
      compact,
    })),
);

/** What came of a file of cases. */
export interface VaFileReport {
  /** Name of the file. */
  readonly file: string;
  /** Cases, or sequences, in it. */
  readonly cases: number;
  /** Those that were replayed. */
  readonly ran: number;
  /** Those that agreed in every replay. */
  readonly agreed: number;
  /** Why those were not replayed that were not, by name. */
  readonly skipped: Readonly<Record<string, string>>;
  /** Replays, and those of them that agreed. */
  readonly replays: number;
  readonly replaysAgreed: number;
  /** Compactions between steps, and the nodes that they moved. */
  readonly compactions: number;
  readonly moves: number;
  /** What departed: case, way, and how. */
  readonly failures: readonly string[];
}

/** Replays a file. */
export function runVaFile(
  file: string,
  entries: readonly (RecordedCase | RecordedSequence)[],
): VaFileReport {
  const failures: string[] = [];
  const failed = new Set<string>();
  const skipped: Record<string, string> = {};
  let compactions = 0, moves = 0;
  for (const variant of VA_VARIANTS) {
    const world = new World(variant.compact);
    for (const entry of entries) {
      if (entry.name in skipped) continue;
      const message = attempt(
        skipped,
        entry.name,
        () =>
          isSequence(entry)
            ? replaySequence(
              world,
              entry,
              variant.apply === "each" ? "run" : "submit",
            )
            : replayCase(world, entry, variant.apply),
      );
      if (message === undefined) continue;
      failed.add(entry.name);
      failures.push(
        `${entry.name} (${variant.apply}${
          variant.compact ? ", compacted" : ""
        }): ${message}`,
      );
    }
    compactions += world.compactions;
    moves += world.moves;
    world.arena.leave();
  }
  const ran = entries.length - Object.keys(skipped).length;
  const replays = ran * VA_VARIANTS.length;
  return {
    file,
    cases: entries.length,
    ran,
    agreed: ran - failed.size,
    skipped,
    replays,
    replaysAgreed: replays - failures.length,
    compactions,
    moves,
    failures,
  };
}

/** Reports as text. */
export function formatVaReports(reports: readonly VaFileReport[]): string {
  return reports.flatMap((report) => {
    const { file, cases, ran, agreed, skipped, replays, replaysAgreed } =
      report;
    return [
      `${file}: ${cases} cases; ran ${ran}, agreed ${agreed}, skipped ${
        cases - ran
      }; replays: ${replays}, agreed ${replaysAgreed}; compactions ${report.compactions}, nodes moved ${report.moves}`,
      ...Object.entries(skipped).map(([name, why]) =>
        `  skipped: ${name}: ${why}`
      ),
      ...report.failures.map((failure) => `  disagreed: ${failure}`),
    ];
  }).join("\n");
}

function attempt(
  skipped: Record<string, string>,
  name: string,
  replay: () => void,
): string | undefined {
  try {
    replay();
    return undefined;
  } catch (error) {
    if (error instanceof AddressOutOfReachError) {
      skipped[name] = error.message;
      return undefined;
    }
    if (error instanceof MismatchError) return error.message;
    return error instanceof Error ? error.stack : String(error);
  }
}

function replayCase(
  world: World,
  recorded: RecordedCase,
  apply: VaVariant["apply"],
): void {
  const vm = world.manager(recorded.vm);
  const objects = new Objects();
  try {
    for (const va of recorded.existing) {
      vm.insert(requestOf(va, objects));
      world.step();
    }
    const found = carryOut(world, vm, recorded, objects, apply);
    expectSame("error", recorded.expected_error, found.error);
    if (recorded.expected_ops !== undefined) {
      const expected = recorded.expected_ops.map((op) =>
        recordedOpText(op, objects)
      );
      expectSame("operations", expected.join("; "), found.ops.join("; "));
    }
    if (recorded.remap_unmap_ranges !== undefined) {
      const expected = recorded.remap_unmap_ranges.map((va) =>
        `[${toAddress(va.start)}, ${toAddress(va.end)})`
      );
      expectSame("unmap ranges", expected.join(), found.unmapRanges.join());
    }
    if (recorded.expected_result !== undefined && found.error === null) {
      expectSame(
        "result",
        resultText(recorded.expected_result, objects),
        found.result,
      );
    }
    if (recorded.expected_state !== undefined) {
      const expected = recorded.expected_state.map((va) =>
        recordedText(va, objects)
      );
      expectSame("state", expected.join("; "), stateText(vm));
    }
    vm.tree.validate();
  } finally {
    vm.destroy();
  }
}

interface Found {
  error: string | null;
  ops: string[];
  unmapRanges: string[];
  result: string;
}

function carryOut(
  world: World,
  vm: VaManager,
  recorded: RecordedCase,
  objects: Objects,
  apply: VaVariant["apply"],
): Found {
  const found: Found = { error: null, ops: [], unmapRanges: [], result: "" };
  const { request } = recorded;
  try {
    if ("expected_result" in recorded) {
      found.result = query(vm, recorded, objects);
      return found;
    }
    const note = (op: VaOp) => {
      found.ops.push(opText(op));
      if (op.kind !== "remap") return;
      const { start, range } = remapToUnmapRange(op);
      found.unmapRanges.push(`[${start}, ${start + range})`);
    };
    const merge = recorded.variant === "v2-merge";
    const mapping = requestOf(request as RecordedVa, objects, request);
    if (apply === "callbacks" && /^(map|unmap)$/.test(request.op)) {
      const step = (op: VaOp) => {
        world.step();
        note(op);
        vm.apply(op);
      };
      const callbacks = { map: step, remap: step, unmap: step };
      if (request.op === "map") vm.map(mapping, callbacks, { merge });
      else vm.unmap(mapping, callbacks);
      return found;
    }
    const list = opsOf(vm, request.op, mapping, merge);
    for (const op of list) note(op);
    world.step();
    if (apply !== "each") vm.commit(list);
    else {
      for (const op of list) {
        vm.apply(op, list);
        world.step();
      }
    }
  } catch (error) {
    if (!(error instanceof VaError)) throw error;
    found.error = error.code;
  }
  world.step();
  return found;
}

function opsOf(
  vm: VaManager,
  op: string,
  request: MapRequest,
  merge: boolean,
): OperationList {
  switch (op) {
    case "map":
      return vm.mapOps(request, { merge });
    case "unmap":
      return vm.unmapOps(request);
    case "prefetch":
      return vm.prefetchOps(request);
    case "madvise":
      return vm.madviseOps(request);
    default:
      throw new MismatchError(`request ${op} is unknown`);
  }
}

function query(
  vm: VaManager,
  recorded: RecordedCase,
  objects: Objects,
): string {
  const { request } = recorded;
  const address = toAddress(request.addr ?? request.start ?? "0x0");
  const range = toAddress(request.end ?? "0x0") - address;
  const text = (mapping: MappingSpec | undefined) =>
    mapping === undefined ? "null" : specText(mapping);
  switch (request.op) {
    case "find":
      return text(vm.find(address, range));
    case "find_first":
      return text(vm.findFirst(address, range));
    case "find_prev":
      return text(vm.findPrev(address));
    case "find_next":
      return text(vm.findNext(address));
    case "interval_empty":
      return String(vm.intervalEmpty(address, range));
    case "range_valid":
      return String(vm.rangeValid(address, range));
    case "insert":
      vm.insert(requestOf(request as RecordedVa, objects));
      return "null";
    default:
      throw new MismatchError(`request ${request.op} is unknown`);
  }
}

function requestOf(
  va: RecordedVa,
  objects: Objects,
  { is_repeat = false }: { is_repeat?: boolean } = {},
): MapRequest {
  const start = toAddress(va.start);
  const repeat = Number(va.repeat ?? 0);
  return {
    start,
    range: toAddress(va.end) - start,
    object: objects.id(va.obj),
    offset: Number(va.offset ?? 0),
    repeat,
    // A block of nothing is only recorded where it is to be refused.
    flags: is_repeat ? MappingFlag.REPEAT : 0,
  };
}

function resultText(result: unknown, objects: Objects): string {
  return typeof result === "object" && result !== null
    ? recordedText(result as RecordedVa, objects)
    : String(result);
}

function opText(op: VaOp): string {
  switch (op.kind) {
    case "map":
      return `map ${specText(op.mapping)}`;
    case "unmap":
      return `unmap ${specText(op.mapping)} keep ${op.keep}`;
    case "remap": {
      const part = (spec?: MappingSpec) => spec ? specText(spec) : "null";
      return `remap prev ${part(op.prev)} next ${part(op.next)} ${
        opText(op.unmap)
      }`;
    }
    case "prefetch":
      return `prefetch ${specText(op.mapping)}`;
    case "driver":
      return "driver";
  }
}

function recordedOpText(op: RecordedOp, objects: Objects): string {
  const part = (va?: RecordedVa | null) =>
    va ? recordedText(va, objects) : "null";
  switch (op.op) {
    case "map":
      return `map ${part(op as RecordedVa)}`;
    case "unmap":
      return `unmap ${part(op.va)} keep ${op.keep}`;
    case "remap":
      return `remap prev ${part(op.prev)} next ${part(op.next)} unmap ${
        part(op.unmap?.va)
      } keep ${op.unmap?.keep}`;
    default:
      return `${op.op} ${part(op.va)}`;
  }
}
