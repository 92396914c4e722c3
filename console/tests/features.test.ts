import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveState } from "../src/live-state";
import { FeatureBuilder } from "../src/map/features";
import type { OrderSnapshot } from "../src/wire";
import { AKWA, BALI, sampleArea, sampleOrder } from "./fixtures";

const RIDER = { riderId: "rdr_1", lat: 4.045, lng: 9.705, heading: 90, ts: 1 };

function paint(dot: OrderSnapshot) {
  const city = new LiveState();
  city.applyDelta(sampleArea([RIDER], [dot]), 0);
  return new FeatureBuilder(city);
}

const kinds = (features: GeoJSON.Feature[]) => features.map((feature) => feature.properties!["kind"]);
const ends = (features: GeoJSON.Feature[], kind: string) => {
  const line = features.find((feature) => feature.properties!["kind"] === kind)!.geometry;
  return (line as GeoJSON.LineString).coordinates;
};

test("an open order has both ends and an arc, an ended one has nothing", () => {
  assert.deepEqual(kinds(paint(sampleOrder(1)).staticFeatures()), ["arc", "dropoff", "pickup"]);
  assert.deepEqual(paint(sampleOrder(9, { status: "DELIVERED" })).staticFeatures(), []);
});

test("an offer runs from the pickup to the rider who is asked, with a spark unless that disturbs", () => {
  const painter = paint(sampleOrder(3, { dispatchState: "OFFERED", offeredTo: ["rdr_1", "far_away"] }));

  assert.deepEqual(kinds(painter.movingFeatures(0, false)), ["offer", "spark", "rider"]);
  assert.deepEqual(kinds(painter.movingFeatures(0, true)), ["offer", "rider"]);
  assert.deepEqual(ends(painter.movingFeatures(0, true), "offer"), [
    [AKWA.lng, AKWA.lat],
    [RIDER.lng, RIDER.lat],
  ]);
});

test("the rider's line goes to the pickup until he has the goods, then to the door", () => {
  const coming = paint(sampleOrder(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const carrying = paint(sampleOrder(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));

  assert.deepEqual(ends(coming.movingFeatures(0, true), "leg")[1], [AKWA.lng, AKWA.lat]);
  assert.deepEqual(ends(carrying.movingFeatures(0, true), "leg")[1], [BALI.lng, BALI.lat]);
});

test("what is picked stays bright and everything else steps back", () => {
  const painter = paint(sampleOrder(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const fadeOf = (kind: string) =>
    painter.movingFeatures(0, true).find((feature) => feature.properties!["kind"] === kind)!.properties!["fade"];

  painter.selection = { kind: "order", id: "ord_1" };
  const [leg, rider] = [fadeOf("leg"), fadeOf("rider")];
  painter.selection = { kind: "order", id: "another" };

  assert.deepEqual([leg, rider], [1, 1]);
  assert.ok(fadeOf("leg") < 0.5 && fadeOf("rider") < 0.5);
});

test("an order that is followed is where its goods are", () => {
  const painter = paint(sampleOrder(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));
  painter.selection = { kind: "order", id: "ord_1" };

  assert.deepEqual(painter.selectionPosition(0), { lat: RIDER.lat, lng: RIDER.lng });
});
