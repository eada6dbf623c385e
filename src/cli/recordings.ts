import type { Recording } from "../experiment/mod.ts";
import { readTrace } from "../trace/mod.ts";
import { quote, UsageError } from "./usage.ts";

/**
 * Reads a trace from a file, and reports the lines that could not be read on standard error.
 *
 * @param name What it is called in reports.
 * @throws {UsageError} If the file can't be read.
 */
export function readRecording(file: string | URL, name: string): Recording {
  const trace = readTrace(readFile(file));
  for (const { line, reason, text } of trace.unreadable) {
    console.error(`${name}:${line}: ${reason}: ${quote(text)}`);
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
