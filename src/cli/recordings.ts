import type { Recording } from "../experiment/mod.ts";
import { readTrace } from "../trace/mod.ts";
import { formatQuantity } from "../report/mod.ts";
import { quote, UsageError } from "./usage.ts";

/** So many of the lines that can't be read are shown. */
const LINES_SHOWN = 5;

/**
 * Reads a trace from a file, and reports the first lines that could not be read on standard error, and how many more there are.
 *
 * @param name What it is called in reports.
 * @throws {UsageError} If the file can't be read.
 */
export function readRecording(file: string | URL, name: string): Recording {
  const trace = readTrace(readFile(file));
  const { unreadable } = trace;
  for (const { line, reason, text } of unreadable.slice(0, LINES_SHOWN)) {
    console.error(`${name}:${line}: ${reason}: ${quote(text)}`);
  }
  const more = unreadable.length - LINES_SHOWN;
  if (more > 0) {
    console.error(`${name}: ${formatQuantity(more, "more line")} like these`);
  }
  return { name, trace };
}

function readFile(file: string | URL): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const [reason] = error.message.split(/[\n:]/);
    throw new UsageError(`Cannot read ${quote(String(file))}: ${reason}`);
  }
}
