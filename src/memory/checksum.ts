/**
 * The checksum of saved arenas and of an arena's geometry: FNV-1a over 32-bit words. Multiplication by an odd number is a
 * bijection, so a change of any one word is always found; it guards against damage, not against malice.
 *
 * @module
 */

/** The checksum of words, continued from an earlier one. */
export function checksum(words: Int32Array, seed = 0x811c9dc5): number {
  let hash = seed | 0;
  for (let i = 0; i < words.length; i++) {
    hash = Math.imul(hash ^ words[i], 0x01000193);
  }
  return hash >>> 0;
}
