import {
  Attribute,
  type BreakCall,
  type MapCall,
  type MemoryCall,
  type ProtectCall,
  Protection,
  type RemapCall,
  type UnmapCall,
} from "../../src/trace/mod.ts";

const PAGE = 4096;

interface Page {
  protection: number;
  shared: boolean;
  source: string;
  /** Which page of the source this is; for anonymous memory, which page of memory it was when it was mapped. */
  sourcePage: number;
  attributes: number;
  accounted: boolean;
  key: number;
}

/** An address space page by page, obviously right and slow. */
export class PageMirror {
  #pages = new Map<number, Page>();
  #break: number | undefined;

  copy(): PageMirror {
    const copy = new PageMirror();
    for (const [number, page] of this.#pages) {
      copy.#pages.set(number, { ...page });
    }
    copy.#break = this.#break;
    return copy;
  }

  isMapped(first: number, count: number): boolean {
    return pagesOf(first, count).every((number) => this.#pages.has(number));
  }

  isFree(first: number, count: number): boolean {
    return pagesOf(first, count).every((number) => !this.#pages.has(number));
  }

  isShared(number: number): boolean {
    return this.#pages.get(number)?.shared ?? false;
  }

  apply(call: MemoryCall): boolean {
    switch (call.kind) {
      case "map":
        return this.#map(call);
      case "unmap":
        return this.#unmap(call);
      case "protect":
        return this.#protect(call);
      case "remap":
        return this.#remap(call);
      case "break":
        return this.#setBreak(call);
    }
  }

  /** The first and last byte and the permissions of each mapping, neighbours that continue each other taken together. */
  maps(): string {
    let text = "";
    const numbers = [...this.#pages.keys()].sort((a, b) => a - b);
    for (let at = 0; at < numbers.length;) {
      let end = at + 1;
      while (end < numbers.length && this.#continues(numbers[end])) end++;
      const page = this.#pages.get(numbers[at])!;
      text += `${hexadecimal(numbers[at])}-${
        hexadecimal(numbers[end - 1] + 1)
      } ${permissionsOf(page)}\n`;
      at = end;
    }
    return text;
  }

  /** Whether the page is one mapping with the page before it. */
  #continues(number: number): boolean {
    const page = this.#pages.get(number);
    const before = this.#pages.get(number - 1);
    if (page === undefined || before === undefined) return false;
    return page.protection === before.protection &&
      page.shared === before.shared && page.source === before.source &&
      page.attributes === before.attributes &&
      page.accounted === before.accounted && page.key === before.key &&
      page.sourcePage === before.sourcePage + 1;
  }

  #map(call: MapCall): boolean {
    const first = call.start / PAGE;
    const count = Math.ceil(call.length / PAGE);
    const possible = call.fixed || this.isFree(first, count);
    for (const number of pagesOf(first, count)) {
      const inSource = call.source === ""
        ? number
        : call.offset / PAGE + number - first;
      const page: Page = {
        protection: 0,
        shared: call.shared,
        source: call.source,
        sourcePage: inSource,
        attributes: call.attributes,
        accounted: false,
        key: 0,
      };
      setProtection(page, call.protection);
      this.#pages.set(number, page);
    }
    return possible;
  }

  #unmap({ start, length }: UnmapCall): boolean {
    for (const number of pagesOf(start / PAGE, Math.ceil(length / PAGE))) {
      this.#pages.delete(number);
    }
    return true;
  }

  #protect({ start, length, protection, key }: ProtectCall): boolean {
    const first = start / PAGE;
    const count = Math.ceil(length / PAGE);
    for (const number of pagesOf(first, count)) {
      const page = this.#pages.get(number);
      if (page === undefined) continue;
      setProtection(page, protection);
      if (key !== -1) page.key = key;
    }
    return this.isMapped(first, count);
  }

  #remap(call: RemapCall): boolean {
    const from = call.start / PAGE;
    const to = call.target / PAGE;
    const oldCount = Math.ceil(call.oldLength / PAGE);
    const newCount = Math.ceil(call.newLength / PAGE);
    const inPlace = from === to;
    const kept = oldCount === 0 ? 1 : Math.min(oldCount, newCount);
    const old = new Map(
      pagesOf(from, kept).map((number) => [number, this.#pages.get(number)]),
    );
    const free = inPlace
      ? this.isFree(from + oldCount, Math.max(0, newCount - oldCount))
      : call.fixed || this.isFree(to, newCount);
    const whole = this.isMapped(from, kept) &&
      (oldCount > 0 || this.isShared(from));
    if (oldCount === 0 && !this.isMapped(from, 1)) return false;
    if (!call.keepOld) {
      pagesOf(from, oldCount).forEach((number) => this.#pages.delete(number));
    }
    pagesOf(to, newCount).forEach((number) => this.#pages.delete(number));
    for (let i = 0; i < newCount; i++) {
      // What the new window has beyond the old one continues its last page.
      const model = old.get(from + Math.min(i, kept - 1));
      if (model === undefined) continue;
      const sourcePage = model.sourcePage + Math.max(0, i - kept + 1);
      this.#pages.set(to + i, { ...model, sourcePage });
    }
    return free && whole;
  }

  #setBreak({ address }: BreakCall): boolean {
    const before = Math.ceil((this.#break ?? address) / PAGE);
    const after = Math.ceil(address / PAGE);
    this.#break = address;
    const shrinkBy = Math.max(0, before - after);
    pagesOf(after, shrinkBy).forEach((number) => this.#pages.delete(number));
    if (after <= before) return true;
    return this.#map({
      kind: "map",
      start: before * PAGE,
      length: (after - before) * PAGE,
      protection: Protection.READ | Protection.WRITE,
      shared: false,
      fixed: false,
      source: "",
      offset: 0,
      attributes: 0,
    });
  }
}

function setProtection(page: Page, protection: number): void {
  page.protection = protection;
  const exempt = Attribute.NO_RESERVE | Attribute.HUGE_PAGES |
    Attribute.DROPPABLE;
  if (
    (protection & Protection.WRITE) !== 0 && !page.shared &&
    (page.attributes & exempt) === 0
  ) page.accounted = true;
}

function pagesOf(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

function hexadecimal(page: number): string {
  return (page * PAGE).toString(16).padStart(8, "0");
}

function permissionsOf({ protection, shared }: Page): string {
  const letters = ["r", "w", "x"].map((letter, bit) =>
    (protection >> bit & 1) === 1 ? letter : "-"
  );
  return letters.join("") + (shared ? "s" : "p");
}
