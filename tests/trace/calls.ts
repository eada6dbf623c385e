import {
  Attribute,
  type MapCall,
  type MemoryCall,
  type RemapCall,
} from "../../src/trace/mod.ts";
import type { PageMirror } from "./page_mirror.ts";
import type { Random } from "./random.ts";

const PAGE = 4096;
/** Few enough that calls meet each other's work all the time. */
const WINDOW_PAGES = 48;
const LONGEST = 8;
const BASE = 0x7f00_0000_0000;

/**
 * A random call on a small window. A `mremap` is one that the kernel could have done, for what becomes of another is anybody's
 * guess; the rest may do what only the recording's silence explains.
 */
export function randomCall(random: Random, mirror: PageMirror): MemoryCall {
  for (;;) {
    const call = anyCall(random);
    if (call.kind !== "remap" || mirror.copy().apply(call)) return call;
  }
}

function anyCall(random: Random): MemoryCall {
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return randomMap(random);
    case 3:
      return { kind: "unmap", ...randomWindow(random) };
    case 4:
    case 5:
      return {
        kind: "protect",
        ...randomWindow(random),
        protection: random.below(8),
        key: random.chance(90) ? -1 : random.below(3),
      };
    case 6:
      return randomRemap(random);
    default:
      return {
        kind: "break",
        address: 0x5500_0000_0000 + random.below(20_000),
      };
  }
}

function randomWindow(random: Random): { start: number; length: number } {
  const pages = 1 + random.below(LONGEST);
  const start = BASE + random.below(WINDOW_PAGES - pages + 1) * PAGE;
  return { start, length: pages * PAGE - random.pick([0, 0, 1, 4095]) };
}

function randomMap(random: Random): MapCall {
  const { start, length } = randomWindow(random);
  const shared = random.chance(25);
  const source = random.chance(60)
    ? shared ? `line ${random.below(3)}` : ""
    : `fd ${random.below(2)}`;
  const isFile = source.startsWith("fd");
  const attribute = random.pick([
    0,
    0,
    0,
    0,
    Attribute.NO_RESERVE,
    Attribute.STACK,
  ]);
  return {
    kind: "map",
    start,
    length,
    protection: random.pick([0, 1, 3, 3, 5, 7]),
    shared,
    fixed: random.chance(70),
    source,
    // Offsets that go with the address, so that neighbours continue each other often.
    offset: isFile
      ? random.chance(50) ? start - BASE : random.below(WINDOW_PAGES) * PAGE
      : 0,
    attributes: attribute,
  };
}

function randomRemap(random: Random): RemapCall {
  for (;;) {
    const { start, length } = randomWindow(random);
    const { start: target, length: newLength } = randomWindow(random);
    const ends = [start + length, target + newLength];
    // The kernel refuses windows that overlap.
    if (target < ends[0] && start < ends[1]) continue;
    const call = { kind: "remap", start, target, keepOld: false } as const;
    const fixed = random.chance(50);
    switch (random.below(5)) {
      case 0:
        return { ...call, oldLength: 0, newLength, fixed };
      case 1:
        return {
          ...call,
          oldLength: length,
          newLength: length,
          fixed: true,
          keepOld: true,
        };
      case 2:
        return { ...call, oldLength: length, newLength, fixed };
      default:
        return {
          ...call,
          oldLength: length,
          newLength,
          target: start,
          fixed: false,
        };
    }
  }
}
