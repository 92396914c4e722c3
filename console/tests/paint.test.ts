import assert from "node:assert/strict";
import { test } from "node:test";
import { City } from "../src/city";
import { Painter } from "../src/map/paint";
import type { OrderDot } from "../src/wire";
import { AKWA, BALI, area, order } from "./samples";

const RIDER = { riderId: "rdr_1", lat: 4.045, lng: 9.705, heading: 90, ts: 1 };

function paint(dot: OrderDot) {
  const city = new City();
  city.change(area([RIDER], [dot]), 0);
  return new Painter(city);
}

const kinds = (features: GeoJSON.Feature[]) => features.map((feature) => feature.properties!["kind"]);
const ends = (features: GeoJSON.Feature[], kind: string) => {
  const line = features.find((feature) => feature.properties!["kind"] === kind)!.geometry;
  return (line as GeoJSON.LineString).coordinates;
};

test("an open order has both ends and an arc, an ended one has nothing", () => {
  assert.deepEqual(kinds(paint(order(1)).standing()), ["arc", "dropoff", "pickup"]);
  assert.deepEqual(paint(order(9, { status: "DELIVERED" })).standing(), []);
});

test("an offer runs from the pickup to the rider who is asked, with a spark unless that disturbs", () => {
  const painter = paint(order(3, { dispatchState: "OFFERED", offeredTo: ["rdr_1", "far_away"] }));

  assert.deepEqual(kinds(painter.moving(0, false)), ["offer", "spark", "rider"]);
  assert.deepEqual(kinds(painter.moving(0, true)), ["offer", "rider"]);
  assert.deepEqual(ends(painter.moving(0, true), "offer"), [
    [AKWA.lng, AKWA.lat],
    [RIDER.lng, RIDER.lat],
  ]);
});

test("the rider's line goes to the pickup until he has the goods, then to the door", () => {
  const coming = paint(order(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const carrying = paint(order(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));

  assert.deepEqual(ends(coming.moving(0, true), "leg")[1], [AKWA.lng, AKWA.lat]);
  assert.deepEqual(ends(carrying.moving(0, true), "leg")[1], [BALI.lng, BALI.lat]);
});

test("what is picked stays bright and everything else steps back", () => {
  const painter = paint(order(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const fadeOf = (kind: string) =>
    painter.moving(0, true).find((feature) => feature.properties!["kind"] === kind)!.properties!["fade"];

  painter.picked = { kind: "order", id: "ord_1" };
  const [leg, rider] = [fadeOf("leg"), fadeOf("rider")];
  painter.picked = { kind: "order", id: "another" };

  assert.deepEqual([leg, rider], [1, 1]);
  assert.ok(fadeOf("leg") < 0.5 && fadeOf("rider") < 0.5);
});

test("an order that is followed is where its goods are", () => {
  const painter = paint(order(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));
  painter.picked = { kind: "order", id: "ord_1" };

  assert.deepEqual(painter.placeOfPicked(0), { lat: RIDER.lat, lng: RIDER.lng });
});
