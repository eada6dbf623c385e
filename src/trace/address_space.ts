import type { Entry } from "../range_tree/mod.ts";
import {
  type BreakCall,
  type MapCall,
  type MemoryCall,
  type ProtectCall,
  Protection,
  type RemapCall,
} from "./events.ts";
import type { MappingTable } from "./mapping_table.ts";

/** What an address space needs of a range tree, so that the caller decides where the tree lives and what guards it. */
export interface MapTree<Self> {
  /** The value at `index`, 0 where there is none. */
  load(index: number): number;
  /** Sets all of `[first, last]` to `value`, whatever was there. */
  storeRange(first: number, last: number, value: number): void;
  /** Empties `[first, last]`, cutting what sticks out. */
  eraseRange(first: number, last: number): void;
  /** The first entry that contains or follows `index` and begins at or before `max`. */
  find(index: number, max?: number): Entry | undefined;
  /** Every entry that overlaps the window, whole. */
  entries(from?: number, to?: number): Iterable<Entry>;
  /** A tree of its own with the same entries. */
  clone(): Self;
  /** Gives the tree's memory back. */
  destroy(): void;
}

const PAGE = 4096;

function roundUpToPage(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}

/**
 * One address space: a tree from addresses to the numbers of mappings, kept as the kernel keeps a process's memory map.
 *
 * | in Linux | here |
 * |---|---|
 * | `mm_struct`, `mm_users` | `AddressSpace`, {@linkcode users} |
 * | `vm_area_struct` | an entry of the tree |
 * | `mm_mt` | {@linkcode tree} |
 * | `vm_flags`, `vm_file`, `vm_pgoff` | the entry's record in the `MappingTable` |
 * | `mm->brk` | the break that the last `brk` returned |
 *
 * ## Guarantees
 *
 * - Entries begin and end at pages, and no two neighbours have the same number: they are merged, as the kernel merges them.
 * - Each method says by its result whether the kernel could have done this to what the tree holds; it does it either way.
 *
 * What a recording does not tell is not modelled: which pages were touched (what was writable once, and what `mremap` moves, is
 * taken to have been, which decides whether it joins its neighbours), and what the program's own file, its stack and the loader
 * cover. Nor are the flags that `madvise`, `mlock` and `mbind` set, nor what a failed call did before it failed.
 */
export class AddressSpace<Tree extends MapTree<Tree>> {
  /** The ranges. */
  readonly tree: Tree;
  readonly #mappings: MappingTable;
  #break: number | undefined;
  #users = 1;

  /** Takes over an empty tree. */
  constructor(tree: Tree, mappings: MappingTable) {
    this.tree = tree;
    this.#mappings = mappings;
  }

  /** How many processes run in it. */
  get users(): number {
    return this.#users;
  }

  /** Counts one more process that runs in it. */
  share(): this {
    this.#users++;
    return this;
  }

  /** Counts one process less. The last one's leaving destroys the tree. */
  release(): void {
    if (this.#users === 0) {
      throw new Error("Cannot release address space: it has no users");
    }
    this.#users--;
    if (this.#users === 0) this.tree.destroy();
  }

  /** Another address space with the same mappings, as `fork` makes it. */
  copy(): AddressSpace<Tree> {
    const copy = new AddressSpace(this.tree.clone(), this.#mappings);
    copy.#break = this.#break;
    return copy;
  }

  /** Does what the call did. */
  apply(call: MemoryCall): boolean {
    switch (call.kind) {
      case "map":
        return this.map(call);
      case "unmap":
        return this.unmap(call.start, call.length);
      case "protect":
        return this.protect(call);
      case "remap":
        return this.remap(call);
      case "break":
        return this.setBreak(call);
    }
  }

  /** Maps, over whatever is there. False if something was there and the call had not asked to replace it. */
  map(call: MapCall): boolean {
    const last = call.start + roundUpToPage(call.length) - 1;
    const possible = call.fixed ||
      this.tree.find(call.start, last) === undefined;
    this.#place(call.start, last, this.#mappings.map(call));
    return possible;
  }

  /** Unmaps a window, mapped or not. */
  unmap(start: number, length: number): boolean {
    const size = roundUpToPage(length);
    if (size > 0) this.tree.eraseRange(start, start + size - 1);
    return true;
  }

  /** Changes the protection of what is mapped in a window. False if part of it is not, which only the trace's silence explains. */
  protect(call: ProtectCall): boolean {
    const size = roundUpToPage(call.length);
    const pieces = this.#pieces(call.start, call.start + size - 1);
    for (const { first, last, value } of pieces) {
      const id = this.#mappings.protect(value, call.protection, call.key);
      if (id !== value) this.#place(first, last, id);
    }
    return coveredBytes(pieces) === size;
  }

  /** Grows, shrinks, moves or doubles a mapping. False if the old window was not mapped, or the new one was not free. */
  remap(call: RemapCall): boolean {
    const oldSize = roundUpToPage(call.oldLength);
    const newSize = roundUpToPage(call.newLength);
    if (oldSize === 0) return this.#remapDouble(call, newSize);
    if (call.target === call.start) {
      return this.#remapInPlace(call.start, oldSize, newSize);
    }
    return this.#remapMove(call, oldSize, newSize);
  }

  /** Moves the end of the heap. False if the heap grew over something. */
  setBreak(call: BreakCall): boolean {
    // The first answer of all is where the heap begins.
    const oldEnd = roundUpToPage(this.#break ?? call.address);
    const newEnd = roundUpToPage(call.address);
    this.#break = call.address;
    if (newEnd < oldEnd) this.tree.eraseRange(newEnd, oldEnd - 1);
    if (newEnd <= oldEnd) return true;
    return this.map({
      kind: "map",
      start: oldEnd,
      length: newEnd - oldEnd,
      protection: Protection.READ | Protection.WRITE,
      shared: false,
      fixed: false,
      source: "",
      offset: 0,
      attributes: 0,
    });
  }

  /** One line a mapping as `/proc/PID/maps` begins it: `start-end rwxp`. */
  maps(): string {
    let text = "";
    for (const { first, last, value } of this.tree.entries()) {
      text += `${hexadecimal(first)}-${hexadecimal(last + 1)} ${
        this.#mappings.permissions(value)
      }\n`;
    }
    return text;
  }

  #remapInPlace(start: number, oldSize: number, newSize: number): boolean {
    if (newSize <= oldSize) {
      const possible =
        coveredBytes(this.#pieces(start, start + newSize - 1)) === newSize;
      if (newSize < oldSize) {
        this.tree.eraseRange(start + newSize, start + oldSize - 1);
      }
      return possible;
    }
    const pieces = this.#pieces(start, start + oldSize - 1);
    const free =
      this.tree.find(start + oldSize, start + newSize - 1) === undefined;
    const tail = pieces.at(-1);
    if (tail !== undefined) {
      this.#place(start + oldSize, start + newSize - 1, tail.value);
    }
    return free && coveredBytes(pieces) === oldSize;
  }

  #remapMove(call: RemapCall, oldSize: number, newSize: number): boolean {
    const { start, target } = call;
    const kept = Math.min(oldSize, newSize);
    const pieces = this.#pieces(start, start + kept - 1);
    const free = call.fixed ||
      this.tree.find(target, target + newSize - 1) === undefined;
    if (!call.keepOld) this.tree.eraseRange(start, start + oldSize - 1);
    this.tree.eraseRange(target, target + newSize - 1);
    const distance = target - start;
    for (const { first, last, value } of pieces) {
      this.#place(
        first + distance,
        last + distance,
        this.#mappings.move(value, distance),
      );
    }
    const tail = pieces.at(-1);
    if (tail !== undefined && newSize > kept) {
      this.#place(
        target + kept,
        target + newSize - 1,
        this.#mappings.move(tail.value, distance),
      );
    }
    return free && coveredBytes(pieces) === kept;
  }

  /** An old length of 0 maps the same shared pages a second time. */
  #remapDouble(call: RemapCall, newSize: number): boolean {
    const { start, target } = call;
    const free = call.fixed ||
      this.tree.find(target, target + newSize - 1) === undefined;
    const value = this.tree.load(start);
    if (value === 0) return false;
    this.#place(
      target,
      target + newSize - 1,
      this.#mappings.move(value, target - start),
    );
    return free && this.#mappings.get(value).shared;
  }

  /** What is mapped in the window, cut to it. */
  #pieces(first: number, last: number): Entry[] {
    const pieces: Entry[] = [];
    if (last < first) return pieces;
    for (const entry of this.tree.entries(first, last)) {
      pieces.push({
        first: Math.max(first, entry.first),
        last: Math.min(last, entry.last),
        value: entry.value,
      });
    }
    return pieces;
  }

  /** Sets the window to one mapping, joined with neighbours of the same number. */
  #place(first: number, last: number, id: number): void {
    const tree = this.tree;
    if (first > 0 && tree.load(first - 1) === id) {
      first = tree.find(first - 1)!.first;
    }
    if (last < Number.MAX_SAFE_INTEGER && tree.load(last + 1) === id) {
      last = tree.find(last + 1)!.last;
    }
    tree.storeRange(first, last, id);
  }
}

function coveredBytes(pieces: readonly Entry[]): number {
  return pieces.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}

/** As the kernel prints addresses: eight digits at least. */
function hexadecimal(address: number): string {
  return address.toString(16).padStart(8, "0");
}
