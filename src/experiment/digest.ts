import { checksum } from "../memory/checksum.ts";
import type { Entry } from "../range_tree/mod.ts";

const ENTRY_WORDS = 5;
const WORD = 2 ** 32;

/**
 * A digest of what the trees hold: FNV-1a over 32-bit words, of every entry (first, last, value) of every tree in order,
 * and of how many entries each tree has. It reads the trees as any user does, so it says nothing of where the nodes lie:
 * a compaction must not change it.
 *
 * @returns Eight hexadecimal digits.
 */
export function digestTrees(trees: Iterable<Iterable<Entry>>): string {
  const words = new Int32Array(ENTRY_WORDS);
  let digest: number | undefined;
  for (const tree of trees) {
    let entries = 0;
    for (const { first, last, value } of tree) {
      words[0] = first;
      words[1] = first / WORD;
      words[2] = last;
      words[3] = last / WORD;
      words[4] = value;
      digest = checksum(words, digest);
      entries++;
    }
    digest = checksum(Int32Array.of(entries), digest);
  }
  return (digest ?? checksum(new Int32Array(0))).toString(16).padStart(8, "0");
}
