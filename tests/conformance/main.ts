/**
 * The conformance runner: `deno task conformance --cases DIR [--json]`.
 *
 * Replays every case file of a folder in every variant: of range trees and of VA managers, which it tells apart. Exits with 0 if all that ran agree, with 1 if one does not or cannot
 * be read, with 2 on wrong usage.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { readCase } from "./case.ts";
import { CaseError } from "./fields.ts";
import {
  type FileReport,
  formatReport,
  isClean,
  reportReplays,
  reportUnplayed,
  summarize,
} from "./report.ts";
import { replay, VARIANTS, variantsOf } from "./runner.ts";
import { readVaFile } from "./va/cases.ts";
import { formatVaReports, runVaFile, type VaFileReport } from "./va/runner.ts";
import { IndexOutOfReachError } from "./values.ts";

const USAGE = "usage: deno task conformance --cases DIR [--json]";

/** Reports one case file, given its name and its text. */
export function runFile(file: string, text: string): FileReport {
  try {
    const recorded = readCase(text);
    const replays = variantsOf(recorded).map((variant) =>
      replay(recorded, variant)
    );
    return reportReplays(file, recorded, replays);
  } catch (error) {
    if (error instanceof IndexOutOfReachError) {
      return reportUnplayed(file, "skipped", error.message);
    }
    if (error instanceof CaseError) {
      return reportUnplayed(file, "unreadable", error.message);
    }
    throw error;
  }
}

/** Runs the command line and returns its exit code. */
export function main(args: string[]): number {
  const unknown: string[] = [];
  const options = parseArgs(args, {
    string: ["cases"],
    boolean: ["json", "help"],
    unknown: (arg) => {
      unknown.push(arg);
      return false;
    },
  });
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  if (unknown.length > 0) return refuse(`found ${unknown[0]}; ${USAGE}`);
  if (!options.cases) return refuse(`found no --cases; ${USAGE}`);
  const files = listFiles(options.cases);
  if (typeof files === "string") return refuse(files);
  return runFiles(options.cases, files, options.json);
}

/** The case files of a folder in order of their names, or what is wrong with it. */
function listFiles(folder: string): string[] | string {
  try {
    const files = [...Deno.readDirSync(folder)]
      .filter((entry) => !entry.isDirectory && entry.name.endsWith(".json"))
      .map((entry) => entry.name);
    return files.length > 0 ? files.sort() : `found no .json in ${folder}`;
  } catch (error) {
    return (error as Error).message;
  }
}

function runFiles(folder: string, files: string[], json: boolean): number {
  const start = performance.now();
  const cases: FileReport[] = [];
  const va: VaFileReport[] = [];
  for (const file of files) {
    const text = Deno.readTextFileSync(`${folder}/${file}`);
    const entries = readVaFile(text);
    if (entries === undefined) cases.push(runFile(file, text));
    else va.push(runVaFile(file, entries));
  }
  const seconds = (performance.now() - start) / 1000;
  const report = summarize(VARIANTS, cases, seconds);
  if (json) console.log(JSON.stringify({ ...report, va }));
  else {
    if (cases.length > 0) console.log(formatReport(report));
    if (va.length > 0) console.log(formatVaReports(va));
  }
  return isClean(report) && va.every((each) => each.failures.length === 0)
    ? 0
    : 1;
}

function refuse(reason: string): number {
  console.error(`Cannot run the cases: ${reason}`);
  return 2;
}

if (import.meta.main) Deno.exit(main(Deno.args));
