/** An integer with its digits in groups of three: "1 234 567". */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** A number of things: "1 file", "1 234 files". */
export function formatQuantity(
  count: number,
  one: string,
  many: string = `${one}s`,
): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** A share as a percentage with one digit: "39.7 %". */
export function formatPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** A time in the largest unit that it fills, with three digits: "850 ns", "1.21 ms". */
export function formatNanos(nanos: number): string {
  let value = nanos;
  for (const unit of ["ns", "µs", "ms"]) {
    // What would round up to 1000 is said in the next unit.
    if (value < 999.5) return `${threeDigits(value)} ${unit}`;
    value /= 1000;
  }
  return `${threeDigits(value)} s`;
}

function threeDigits(value: number): string {
  return value < 1000 ? String(Number(value.toPrecision(3))) : value.toFixed(0);
}
