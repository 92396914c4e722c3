import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveState } from "../src/live-state";
import { FeatureBuilder } from "../src/map/features";
import type { OrderSnapshot } from "../src/wire";
import { AKWA, BALI, sampleArea, sampleOrder } from "./fixtures";

const RIDER = { riderId: "rdr_1", lat: 4.045, lng: 9.705, heading: 90, ts: 1 };

function builderOf(snapshot: OrderSnapshot) {
  const state = new LiveState();
  state.applyDelta(sampleArea([RIDER], [snapshot]), 0);
  return new FeatureBuilder(state);
}

const kinds = (features: GeoJSON.Feature[]) => features.map((feature) => feature.properties!["kind"]);
const ends = (features: GeoJSON.Feature[], kind: string) => {
  const line = features.find((feature) => feature.properties!["kind"] === kind)!.geometry;
  return (line as GeoJSON.LineString).coordinates;
};

test("an open order has both ends and an arc, an ended one has nothing", () => {
  assert.deepEqual(kinds(builderOf(sampleOrder(1)).staticFeatures()), ["arc", "dropoff", "pickup"]);
  assert.deepEqual(builderOf(sampleOrder(9, { status: "DELIVERED" })).staticFeatures(), []);
});

test("an offer is a line from the pickup to the rider, with a spark unless motion is reduced", () => {
  const builder = builderOf(sampleOrder(3, { dispatchState: "OFFERED", offeredTo: ["rdr_1", "far_away"] }));

  assert.deepEqual(kinds(builder.movingFeatures(0, false)), ["offer", "spark", "rider"]);
  assert.deepEqual(kinds(builder.movingFeatures(0, true)), ["offer", "rider"]);
  assert.deepEqual(ends(builder.movingFeatures(0, true), "offer"), [
    [AKWA.lng, AKWA.lat],
    [RIDER.lng, RIDER.lat],
  ]);
});

test("the rider's line leads to the pickup, and after it to the dropoff", () => {
  const coming = builderOf(sampleOrder(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const carrying = builderOf(sampleOrder(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));

  assert.deepEqual(ends(coming.movingFeatures(0, true), "leg")[1], [AKWA.lng, AKWA.lat]);
  assert.deepEqual(ends(carrying.movingFeatures(0, true), "leg")[1], [BALI.lng, BALI.lat]);
});

test("the selection stays opaque and everything else fades", () => {
  const builder = builderOf(sampleOrder(4, { dispatchState: "ASSIGNED", riderId: "rdr_1" }));
  const opacityOf = (kind: string) =>
    builder.movingFeatures(0, true).find((feature) => feature.properties!["kind"] === kind)!.properties!["opacity"];

  builder.selection = { kind: "order", id: "ord_1" };
  const [leg, rider] = [opacityOf("leg"), opacityOf("rider")];
  builder.selection = { kind: "order", id: "another" };

  assert.deepEqual([leg, rider], [1, 1]);
  assert.ok(opacityOf("leg") < 0.5 && opacityOf("rider") < 0.5);
});

test("a followed order is where its goods are", () => {
  const builder = builderOf(sampleOrder(6, { status: "IN_TRANSIT", dispatchState: "PICKED_UP", riderId: "rdr_1" }));
  builder.selection = { kind: "order", id: "ord_1" };

  assert.deepEqual(builder.selectionPosition(0), { lat: RIDER.lat, lng: RIDER.lng });
});
