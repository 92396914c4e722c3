import assert from "node:assert/strict";
import { test } from "node:test";
import { RateHistory } from "../src/rates";
import { ZERO_TOTALS } from "./fixtures";

const after = (seconds: number, fixes: number) =>
  [{ ...ZERO_TOTALS, fixes }, 1_000_000 + seconds * 1_000] as const;

test("the rate is the counter's growth, whatever its value", () => {
  const rates = new RateHistory();
  for (let s = 0; s <= 10; s++) rates.add(...after(s, 5_000 + s * 120));

  assert.equal(rates.fixesPerSecond(), 120);
});

test("there is no rate before two samples are far enough apart", () => {
  const rates = new RateHistory();
  rates.add(...after(0, 0));
  rates.add(...after(0.3, 500));

  assert.equal(rates.fixesPerSecond(), null);
  assert.deepEqual(rates.fixRates, []);
});

test("one late delta makes no spike", () => {
  const rates = new RateHistory();
  for (const s of [0, 1, 2, 3, 4.9, 5, 6, 7]) rates.add(...after(s, s * 100));

  assert.ok(rates.fixRates.every((rate) => Math.abs(rate - 100) < 1e-6));
});

test("a counter that restarts from zero gives no negative rate", () => {
  const rates = new RateHistory();
  for (let s = 0; s <= 5; s++) rates.add(...after(s, 90_000 + s * 10));
  for (let s = 6; s <= 12; s++) rates.add(...after(s, (s - 6) * 10));

  assert.ok(rates.fixRates.every((rate) => rate >= 0));
  assert.equal(rates.fixesPerSecond(), 10);
});

test("at most five minutes of samples are kept", () => {
  const rates = new RateHistory();
  for (let s = 0; s < 2_000; s++) rates.add(...after(s, s));

  assert.deepEqual([rates.timesS.length, rates.fixRates.length, rates.settledXaf.length], [300, 300, 300]);
});
