/** How a duration is written. */
export interface FormatOptions {
  /** "0d 0h 1m", "0 days, 0 hours, 1 minute" or "00:00:01". */
  style?: "narrow" | "digital" | "full";
  /** Without the units that are zero. */
  ignoreZero?: boolean;
}

/** Writes milliseconds for people: 99674 is "0d 0h 1m 39s 674ms 0µs 0ns". */
export function format(ms: number, options?: FormatOptions): string;
