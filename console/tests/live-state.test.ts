import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveState } from "../src/live-state";
import { AKWA, BALI, sampleArea, sampleOrder } from "./fixtures";

const told = (changes: { kind: string; text: string }[]) => changes.map(({ kind, text }) => `${kind}: ${text}`);

test("an order's way is told step by step, in the order in which it happened", () => {
  const city = new LiveState();
  const steps = [
    sampleOrder(1),
    sampleOrder(2, { status: "ACCEPTED", dispatchState: "SEARCHING" }),
    sampleOrder(3, { status: "ACCEPTED", dispatchState: "OFFERED", offeredTo: ["rdr_1"] }),
    sampleOrder(4, { status: "PREPARING", dispatchState: "ASSIGNED", riderId: "rdr_1" }),
    sampleOrder(5, { status: "READY", dispatchState: "AT_PICKUP", riderId: "rdr_1" }),
    sampleOrder(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }),
    sampleOrder(7, { status: "IN_TRANSIT", dispatchState: "AT_DROPOFF", riderId: "rdr_1" }),
    sampleOrder(8, { status: "DELIVERED", dispatchState: "DONE", riderId: "rdr_1" }),
    sampleOrder(9, { status: "FUNDS_DISTRIBUTED", dispatchState: "DONE", riderId: "rdr_1" }),
  ];

  const changes = steps.flatMap((dot) => city.applyDelta(sampleArea([], [dot]), 0));

  assert.deepEqual(told(changes), [
    "placed: placed",
    "status: PENDING → ACCEPTED",
    "offered: offered to rdr_1",
    "status: ACCEPTED → PREPARING",
    "assigned: assigned to rdr_1",
    "status: PREPARING → READY",
    "reached: rider at the pickup",
    "status: READY → IN_TRANSIT",
    "reached: rider at the door",
    "delivered: delivered",
    "settled: settled",
  ]);
});

test("only riders who were not asked before are told as asked", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([], [sampleOrder(1, { offeredTo: ["a", "b"] })]), 0);

  const changes = city.applyDelta(sampleArea([], [sampleOrder(2, { offeredTo: ["b", "c", "d"] })]), 0);

  assert.deepEqual(told(changes), ["offered: offered to 2 riders"]);
});

test("a delta that a newer one has overtaken changes nothing", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([], [sampleOrder(5, { status: "READY" })]), 0);

  const changes = city.applyDelta(sampleArea([], [sampleOrder(4, { status: "PREPARING" })]), 0);

  assert.deepEqual(changes, []);
  assert.equal(city.orders.get("ord_1")?.status, "READY");
});

test("a snapshot tells what has changed meanwhile, and nothing of orders it has never seen", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([], [sampleOrder(1)]), 0);

  const changes = city.applySnapshot(
    sampleArea([], [sampleOrder(2, { status: "ACCEPTED" }), sampleOrder(1, { orderId: "ord_2" })]),
    0,
  );

  assert.deepEqual(told(changes), ["status: PENDING → ACCEPTED"]);
  assert.equal(city.orders.size, 2);
});

test("a snapshot is all there is: riders and open orders outside of it are gone", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 1 }], [sampleOrder(1)]), 0);

  city.applySnapshot(sampleArea([], []), 0);

  assert.equal(city.riders.size, 0);
  assert.equal(city.orders.size, 0);
});

test("an ended order stays in the list when the map drops it, an open one does not", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([], [sampleOrder(3, { status: "FUNDS_DISTRIBUTED" }), sampleOrder(1, { orderId: "ord_2" })]), 0);

  city.applyDelta(sampleArea([], [{ orderId: "ord_1", gone: true }, { orderId: "ord_2", gone: true }]), 0);

  assert.deepEqual([...city.orders.keys()], ["ord_1"]);
});

test("two hundred ended orders are kept, the oldest leave", () => {
  const city = new LiveState();
  const many = Array.from({ length: 260 }, (_, i) =>
    sampleOrder(1, { orderId: `ord_${i}`, status: "CANCELLED", updatedAt: 1_000 + i }),
  );

  city.applyDelta(sampleArea([], many), 0);

  assert.equal(city.orders.size, 200);
  assert.ok(!city.orders.has("ord_59") && city.orders.has("ord_60"));
});

test("what a dot leaves out has its default", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 1 }], []), 0);

  const rider = city.riders.get("rdr_1");

  assert.deepEqual([rider?.duty, rider?.state, rider?.heading], ["idle", "live", null]);
});

test("a rider who says no heading is turned the way he went, and his speed is measured", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  city.applyDelta(sampleArea([{ riderId: "rdr_1", lat: BALI.lat + 0.001, lng: BALI.lng, ts: 11_000 }], []), 0);

  const rider = city.riders.get("rdr_1")!;
  assert.ok(Math.abs(rider.heading!) < 0.01);
  assert.ok(Math.abs(rider.speedMps! - 11.12) < 0.05);
});

test("an older fix never moves a rider back", () => {
  const city = new LiveState();
  city.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 2_000 }], []), 0);

  city.applyDelta(sampleArea([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  assert.deepEqual(city.riders.get("rdr_1")?.position, AKWA);
});

test("each fix moves the rider's position, from which the next speed is measured", () => {
  // A renamed field once left the position at the first fix, so that speeds grew without end.
  const city = new LiveState();
  for (let step = 0; step <= 3; step++) {
    const fix = { riderId: "rdr_1", lat: BALI.lat + step * 0.001, lng: BALI.lng, ts: 1_000 + step * 10_000 };
    city.applyDelta(sampleArea([fix], []), 0);
  }

  const rider = city.riders.get("rdr_1")!;
  assert.deepEqual(rider.position, { lat: BALI.lat + 0.003, lng: BALI.lng });
  assert.ok(Math.abs(rider.speedMps! - 11.12) < 0.05);
});
