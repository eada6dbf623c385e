/** How a number of bytes is written. */
export interface FormatOptions {
  /** In bits instead of bytes. */
  bits?: boolean;
  /** With binary prefixes (kiB) instead of decimal ones (kB). */
  binary?: boolean;
  /** With a plus sign where it is positive. */
  signed?: boolean;
  /** By the number format of a locale, or of the machine's. */
  locale?: boolean | string | string[];
  /** The fewest digits after the point. */
  minimumFractionDigits?: number;
  /** The most digits after the point. */
  maximumFractionDigits?: number;
}

/** Writes a number of bytes for people: 1337 is "1.34 kB". */
export function format(num: number, options?: FormatOptions): string;
