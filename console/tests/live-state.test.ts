import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveState } from "../src/live-state";
import { AKWA, BALI, sampleArea, sampleOrder } from "./fixtures";

const describe = (changes: { kind: string; text: string }[]) => changes.map(({ kind, text }) => `${kind}: ${text}`);

test("an order's changes are described one by one, in the order in which they happened", () => {
  const state = new LiveState();
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

  const changes = steps.flatMap((snapshot) => state.applyDelta(sampleArea([], [snapshot]), 0));

  assert.deepEqual(describe(changes), [
    "placed: placed",
    "status: PENDING → ACCEPTED",
    "offered: offered to rdr_1",
    "status: ACCEPTED → PREPARING",
    "assigned: assigned to rdr_1",
    "status: PREPARING → READY",
    "arrived: rider at the pickup",
    "status: READY → IN_TRANSIT",
    "arrived: rider at the door",
    "delivered: delivered",
    "settled: settled",
  ]);
});

test("only riders without an offer before are described as offered", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([], [sampleOrder(1, { offeredTo: ["a", "b"] })]), 0);

  const changes = state.applyDelta(sampleArea([], [sampleOrder(2, { offeredTo: ["b", "c", "d"] })]), 0);

  assert.deepEqual(describe(changes), ["offered: offered to 2 riders"]);
});

test("an outdated delta changes nothing", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([], [sampleOrder(5, { status: "READY" })]), 0);

  const changes = state.applyDelta(sampleArea([], [sampleOrder(4, { status: "PREPARING" })]), 0);

  assert.deepEqual(changes, []);
  assert.equal(state.orders.get("ord_1")?.status, "READY");
});

test("a snapshot tells what has changed meanwhile, and nothing of orders it has never seen", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([], [sampleOrder(1)]), 0);

  const changes = state.applySnapshot(
    sampleArea([], [sampleOrder(2, { status: "ACCEPTED" }), sampleOrder(1, { orderId: "ord_2" })]),
    0,
  );

  assert.deepEqual(describe(changes), ["status: PENDING → ACCEPTED"]);
  assert.equal(state.orders.size, 2);
});

test("a snapshot is complete: riders and open orders outside of it are removed", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 1 }], [sampleOrder(1)]), 0);

  state.applySnapshot(sampleArea([], []), 0);

  assert.equal(state.riders.size, 0);
  assert.equal(state.orders.size, 0);
});

test("an ended order stays in the list after it has left the area, an open one does not", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([], [sampleOrder(3, { status: "FUNDS_DISTRIBUTED" }), sampleOrder(1, { orderId: "ord_2" })]), 0);

  state.applyDelta(sampleArea([], [{ orderId: "ord_1", gone: true }, { orderId: "ord_2", gone: true }]), 0);

  assert.deepEqual([...state.orders.keys()], ["ord_1"]);
});

test("two hundred ended orders are kept, the oldest are dropped", () => {
  const state = new LiveState();
  const many = Array.from({ length: 260 }, (_, i) =>
    sampleOrder(1, { orderId: `ord_${i}`, status: "CANCELLED", updatedAt: 1_000 + i }),
  );

  state.applyDelta(sampleArea([], many), 0);

  assert.equal(state.orders.size, 200);
  assert.ok(!state.orders.has("ord_59") && state.orders.has("ord_60"));
});

test("what a snapshot leaves out has its default", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 1 }], []), 0);

  const rider = state.riders.get("rdr_1");

  assert.deepEqual([rider?.duty, rider?.state, rider?.heading], ["idle", "live", null]);
});

test("a rider without a heading gets it from its movement, and its speed is measured", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  state.applyDelta(sampleArea([{ riderId: "rdr_1", lat: BALI.lat + 0.001, lng: BALI.lng, ts: 11_000 }], []), 0);

  const rider = state.riders.get("rdr_1")!;
  assert.ok(Math.abs(rider.heading!) < 0.01);
  assert.ok(Math.abs(rider.speedMps! - 11.12) < 0.05);
});

test("an older fix never moves a rider back", () => {
  const state = new LiveState();
  state.applyDelta(sampleArea([{ riderId: "rdr_1", ...AKWA, ts: 2_000 }], []), 0);

  state.applyDelta(sampleArea([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  assert.deepEqual(state.riders.get("rdr_1")?.position, AKWA);
});

test("each fix moves the rider's position, from which the next speed is measured", () => {
  // A renamed field once left the position at the first fix, so that speeds grew without end.
  const state = new LiveState();
  for (let step = 0; step <= 3; step++) {
    const fix = { riderId: "rdr_1", lat: BALI.lat + step * 0.001, lng: BALI.lng, ts: 1_000 + step * 10_000 };
    state.applyDelta(sampleArea([fix], []), 0);
  }

  const rider = state.riders.get("rdr_1")!;
  assert.deepEqual(rider.position, { lat: BALI.lat + 0.003, lng: BALI.lng });
  assert.ok(Math.abs(rider.speedMps! - 11.12) < 0.05);
});
