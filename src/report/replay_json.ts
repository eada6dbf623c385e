import type { Contiguity } from "../defrag/mod.ts";
import type { MemoryFigures } from "../experiment/mod.ts";
import {
  type Release,
  type ReplayReportInput,
  totalsOf,
  type TraceTotals,
} from "./replay_report.ts";

/** What `pollard replay --json` prints. */
export interface ReplayJson {
  /** The version of this format. */
  readonly version: 1;
  /** What the run followed from. */
  readonly seed: number;
  /** The traces, each taken once. */
  readonly trace: TraceTotals;
  /** The memory before the compaction. */
  readonly before: MemoryFigures;
  /** What could be won at best. */
  readonly plan: {
    /** The most slabs that can be freed. */
    readonly freeableSlabs: number;
    /** The fewest moves that free so many. */
    readonly fewestMoves: number;
  };
  /** What the compaction did. */
  readonly result: {
    /** Slabs freed. */
    readonly freedSlabs: number;
    /** Nodes moved. */
    readonly moves: number;
    /** Slabs freed / slabs that can be freed. */
    readonly yield: number;
    /** The fewest moves for the slabs freed / nodes moved. */
    readonly moveEfficiency: number;
    /** Nodes that nothing can be locked for. */
    readonly pinned: number;
    /** Nodes that somebody was working on each time. */
    readonly busy: number;
    /** How long it took. */
    readonly seconds: number;
    /** Nodes moved a second. */
    readonly nodesPerSecond: number;
    /** How long a tree's lock was held for a move. */
    readonly lockHoldNanos: {
      /** Half of the holds were no longer. */
      readonly p50: number;
      /** 99 of 100 were no longer. */
      readonly p99: number;
      /** The longest one. */
      readonly max: number;
    };
    /** Free blocks that were made, by order from 0 to 10, of the most that could be. */
    readonly contiguity: readonly Contiguity[];
    /** The name of the policy. */
    readonly policy: string;
  };
  /** The memory after the compaction. */
  readonly after: MemoryFigures;
  /** The digests of all trees. */
  readonly digest: { readonly before: string; readonly after: string };
  /** What was handed back to the operating system; absent unless it was asked for. */
  readonly release?: Release;
}

/** A replay's result for machines: stable names, numbers without units (shares 0 to 1; units last in the names). */
export function replayJson(input: ReplayReportInput): ReplayJson {
  const { recordings, options, result } = input;
  const { plan, lockHoldNanos, ...compaction } = result.compaction;
  return {
    version: 1,
    seed: options.seed,
    trace: totalsOf(recordings, result),
    before: result.before.figures,
    plan: { freeableSlabs: plan.freeableSlabs, fewestMoves: plan.fewestMoves },
    result: {
      freedSlabs: compaction.freedSlabs,
      moves: compaction.moves,
      yield: compaction.yield,
      moveEfficiency: compaction.moveEfficiency,
      pinned: compaction.pinned,
      busy: compaction.busy,
      seconds: compaction.seconds,
      nodesPerSecond: compaction.nodesPerSecond,
      lockHoldNanos: {
        p50: lockHoldNanos.p50,
        p99: lockHoldNanos.p99,
        max: lockHoldNanos.max,
      },
      contiguity: compaction.contiguity,
      policy: compaction.policy,
    },
    after: result.after.figures,
    digest: result.digest,
    ...(input.release === undefined ? {} : { release: input.release }),
  };
}
