import assert from "node:assert/strict";
import { test } from "node:test";
import { AlertHistory } from "../src/alert-history";

const silent = { kind: "goods_silent", message: "nothing for 60 s", orderId: "ord_1", ts: 1_000 };

test("an alert that the server sends again after a reconnect is not new", () => {
  const history = new AlertHistory();

  assert.equal(history.add(silent), true);
  assert.equal(history.add({ ...silent }), false);
  assert.equal(history.unseen, 1);
});

test("the next episode of the same order is new", () => {
  const history = new AlertHistory();
  history.add(silent);

  assert.equal(history.add({ ...silent, ts: 2_000 }), true);
  assert.equal(history.add({ ...silent, orderId: "ord_2" }), true);
  assert.equal(history.unseen, 3);
});

test("alerts are counted until the list is looked at", () => {
  const history = new AlertHistory();
  history.add(silent);
  history.markSeen();

  assert.equal(history.unseen, 0);
  assert.equal(history.add(silent), false);
  history.add({ ...silent, kind: "completed_far" });
  assert.equal(history.unseen, 1);
});
