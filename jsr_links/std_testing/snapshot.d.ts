/** How a snapshot is taken and compared. */
export interface SnapshotOptions<T = unknown> {
  /** The folder of the snapshot file, relative to the test file. */
  dir?: string;
  /** The snapshot file, relative to the test file. */
  path?: string;
  /** The name of the snapshot, by default that of the test. */
  name?: string;
  /** Compare or rewrite; by default rewrite if `--update` is among the arguments of the program. */
  mode?: "assert" | "update";
  /** The message of a failure. */
  msg?: string;
  /** Writes the value as text. */
  serializer?: (actual: T) => string;
}

/** Fails unless `actual`, as text, is what the snapshot file of the test holds. */
export function assertSnapshot<T>(
  context: Deno.TestContext,
  actual: T,
  message?: string,
): Promise<void>;
/** Fails unless `actual`, as text, is what the snapshot file of the test holds. */
export function assertSnapshot<T>(
  context: Deno.TestContext,
  actual: T,
  options: SnapshotOptions<T>,
): Promise<void>;

/** The default serializer: `Deno.inspect` without limits. */
export function serialize(actual: unknown): string;
