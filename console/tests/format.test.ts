import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAge, formatXaf, shortenId } from "../src/format";

test("money has thousands separators and its currency", () => {
  assert.equal(formatXaf(1_234_567), "1,234,567 XAF");
});

test("a long id is shortened to its prefix and its last characters", () => {
  assert.equal(shortenId("ord_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b"), "ord_…3f4a5b");
  assert.equal(shortenId("rdr_city_039"), "rdr_city_039");
});

test("an age is never negative and has one unit", () => {
  assert.deepEqual([formatAge(5_000, 1_000), formatAge(0, 59_000), formatAge(0, 60_000), formatAge(0, 7_300_000)], [
    "0 s",
    "59 s",
    "1 min",
    "2 h",
  ]);
});
