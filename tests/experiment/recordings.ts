import type { Recording } from "../../src/experiment/mod.ts";
import { readTrace } from "../../src/trace/mod.ts";

const FOLDER = new URL("../traces/", import.meta.url);

/** A recording that comes with the project. */
export function shipped(name: string): Recording {
  const text = Deno.readTextFileSync(new URL(`${name}.strace`, FOLDER));
  return { name, trace: readTrace(text) };
}

/** A recording of one process that maps so many pages, every other page of its memory. */
export function mapsOf(mappings: number): Recording {
  let text = "";
  for (let i = 0; i < mappings; i++) {
    const start = (0x10000 + i * 0x2000).toString(16);
    text +=
      `mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x${start}\n`;
  }
  return { name: `${mappings} maps`, trace: readTrace(text) };
}
