import assert from "node:assert/strict";
import { test } from "node:test";
import { City } from "../src/city";
import { AKWA, BALI, area, order } from "./samples";

const told = (news: { kind: string; text: string }[]) => news.map(({ kind, text }) => `${kind}: ${text}`);

test("an order's way is told step by step, in the order in which it happened", () => {
  const city = new City();
  const steps = [
    order(1),
    order(2, { status: "ACCEPTED", dispatchState: "SEARCHING" }),
    order(3, { status: "ACCEPTED", dispatchState: "OFFERED", offeredTo: ["rdr_1"] }),
    order(4, { status: "PREPARING", dispatchState: "ASSIGNED", riderId: "rdr_1" }),
    order(5, { status: "READY", dispatchState: "AT_PICKUP", riderId: "rdr_1" }),
    order(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }),
    order(7, { status: "IN_TRANSIT", dispatchState: "AT_DROPOFF", riderId: "rdr_1" }),
    order(8, { status: "DELIVERED", dispatchState: "DONE", riderId: "rdr_1" }),
    order(9, { status: "FUNDS_DISTRIBUTED", dispatchState: "DONE", riderId: "rdr_1" }),
  ];

  const news = steps.flatMap((dot) => city.change(area([], [dot]), 0));

  assert.deepEqual(told(news), [
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
  const city = new City();
  city.change(area([], [order(1, { offeredTo: ["a", "b"] })]), 0);

  const news = city.change(area([], [order(2, { offeredTo: ["b", "c", "d"] })]), 0);

  assert.deepEqual(told(news), ["offered: offered to 2 riders"]);
});

test("a delta that a newer one has overtaken changes nothing", () => {
  const city = new City();
  city.change(area([], [order(5, { status: "READY" })]), 0);

  const news = city.change(area([], [order(4, { status: "PREPARING" })]), 0);

  assert.deepEqual(news, []);
  assert.equal(city.orders.get("ord_1")?.status, "READY");
});

test("a snapshot tells what has changed meanwhile, and nothing of orders it has never seen", () => {
  const city = new City();
  city.change(area([], [order(1)]), 0);

  const news = city.replace(
    area([], [order(2, { status: "ACCEPTED" }), order(1, { orderId: "ord_2" })]),
    0,
  );

  assert.deepEqual(told(news), ["status: PENDING → ACCEPTED"]);
  assert.equal(city.orders.size, 2);
});

test("a snapshot is all there is: riders and open orders outside of it are gone", () => {
  const city = new City();
  city.change(area([{ riderId: "rdr_1", ...AKWA, ts: 1 }], [order(1)]), 0);

  city.replace(area([], []), 0);

  assert.equal(city.riders.size, 0);
  assert.equal(city.orders.size, 0);
});

test("an ended order stays in the list when the map drops it, an open one does not", () => {
  const city = new City();
  city.change(area([], [order(3, { status: "FUNDS_DISTRIBUTED" }), order(1, { orderId: "ord_2" })]), 0);

  city.change(area([], [{ orderId: "ord_1", gone: true }, { orderId: "ord_2", gone: true }]), 0);

  assert.deepEqual([...city.orders.keys()], ["ord_1"]);
});

test("two hundred ended orders are kept, the oldest leave", () => {
  const city = new City();
  const many = Array.from({ length: 260 }, (_, i) =>
    order(1, { orderId: `ord_${i}`, status: "CANCELLED", updatedAt: 1_000 + i }),
  );

  city.change(area([], many), 0);

  assert.equal(city.orders.size, 200);
  assert.ok(!city.orders.has("ord_59") && city.orders.has("ord_60"));
});

test("what a dot leaves out has its default", () => {
  const city = new City();
  city.change(area([{ riderId: "rdr_1", ...AKWA, ts: 1 }], []), 0);

  const rider = city.riders.get("rdr_1");

  assert.deepEqual([rider?.duty, rider?.state, rider?.heading], ["idle", "live", null]);
});

test("a rider who says no heading is turned the way he went, and his speed is measured", () => {
  const city = new City();
  city.change(area([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  city.change(area([{ riderId: "rdr_1", lat: BALI.lat + 0.001, lng: BALI.lng, ts: 11_000 }], []), 0);

  const rider = city.riders.get("rdr_1")!;
  assert.ok(Math.abs(rider.heading!) < 0.01);
  assert.ok(Math.abs(rider.speed! - 11.12) < 0.05);
});

test("an older fix never moves a rider back", () => {
  const city = new City();
  city.change(area([{ riderId: "rdr_1", ...AKWA, ts: 2_000 }], []), 0);

  city.change(area([{ riderId: "rdr_1", ...BALI, ts: 1_000 }], []), 0);

  assert.deepEqual(city.riders.get("rdr_1")?.at, AKWA);
});
