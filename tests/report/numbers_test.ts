import { assertEquals } from "@std/assert";
import {
  formatCount,
  formatNanos,
  formatPercent,
  formatQuantity,
} from "../../src/report/mod.ts";

Deno.test("formatCount groups digits by three", () => {
  const written = [0, 7, 999, 1000, 65_536, 1_234_567, 999.6].map(formatCount);
  assertEquals(written, [
    "0",
    "7",
    "999",
    "1 000",
    "65 536",
    "1 234 567",
    "1 000",
  ]);
});

Deno.test("formatQuantity says one and many", () => {
  assertEquals(formatQuantity(1, "file"), "1 file");
  assertEquals(formatQuantity(0, "file"), "0 files");
  assertEquals(formatQuantity(1234, "copy", "copies"), "1 234 copies");
});

Deno.test("formatPercent has one digit", () => {
  assertEquals([0, 1, 0.39671].map(formatPercent), [
    "0.0 %",
    "100.0 %",
    "39.7 %",
  ]);
});

Deno.test("formatNanos uses the largest unit that is filled, and three digits", () => {
  for (
    const [nanos, written] of [
      [0, "0 ns"],
      [850, "850 ns"],
      [999.4, "999 ns"],
      [999.6, "1 µs"],
      [1210, "1.21 µs"],
      [48_702, "48.7 µs"],
      [999_600, "1 ms"],
      [1.5e9, "1.5 s"],
      [7.25e12, "7250 s"],
    ] as const
  ) assertEquals(formatNanos(nanos), written);
});
