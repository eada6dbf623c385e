/**
 * Running the variants of a workload: each in a process of its own, by turns, so that a machine that slows down or speeds
 * up does so for all of them.
 *
 * @module
 */
import type { Round, Subject, Workload } from "./workload.ts";
import type { Outcome } from "./variant.ts";

/** What a workload came to. */
export interface Rounds {
  /** The figures of all rounds. */
  readonly rounds: readonly Round[];
  /** The result hash that all variants of a size agree on, by size. */
  readonly hashes: ReadonlyMap<number, number>;
}

/**
 * Runs a workload that many times.
 *
 * @throws {Error} If a variant fails, or disagrees with another of its size.
 */
export function runRounds(workload: Workload, runs: number): Rounds {
  const hashes = new Map<number, number>();
  const rounds = Array.from(
    { length: runs },
    () =>
      workload.subjects.map((subject) => {
        const { hash, figures } = runSubject(workload, subject);
        const agreed = hashes.get(subject.ranges) ?? hash;
        if (hash !== agreed) {
          throw new Error(
            `Cannot compare "${workload.title}": "${subject.variant}" has the result hash ${
              formatHash(hash)
            }, not ${formatHash(agreed)}`,
          );
        }
        hashes.set(subject.ranges, agreed);
        return figures;
      }),
  );
  return { rounds, hashes };
}

/** A result hash: "0x0012cafe". */
export function formatHash(hash: number): string {
  return `0x${(hash >>> 0).toString(16).padStart(8, "0")}`;
}

function runSubject(
  { file, warmUp }: Workload,
  { variant, ranges }: Subject,
): Outcome {
  const script = import.meta.resolve(`./${file}`);
  const sizes = [ranges, warmUp.ranges, warmUp.times].map(String);
  const { success, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-read", script, variant, ...sizes],
    stderr: "inherit",
  }).outputSync();
  if (!success) {
    throw new Error(`Cannot run "${variant}" of ${file}: it failed`);
  }
  return JSON.parse(new TextDecoder().decode(stdout));
}
