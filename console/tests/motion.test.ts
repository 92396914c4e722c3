import assert from "node:assert/strict";
import { test } from "node:test";
import { bearing, distanceM, extendTrack, positionAt, stationaryTrack } from "../src/motion";
import { AKWA, BALI } from "./fixtures";

const near = { lat: AKWA.lat + 0.0009, lng: AKWA.lng };

test("a rider's marker glides to a fix without jumps", () => {
  let track = stationaryTrack(AKWA, 0);
  track = extendTrack(track, near, 1_000);

  const steps = Array.from({ length: 40 }, (_, i) => positionAt(track, 1_000 + i * 50));

  for (let i = 1; i < steps.length; i++) assert.ok(distanceM(steps[i - 1]!, steps[i]!) < 5);
  assert.deepEqual(steps.at(-1), near);
});

test("a new fix is approached from where the rider is drawn, not from the last fix", () => {
  let track = extendTrack(stationaryTrack(AKWA, 0), near, 1_000);
  const drawn = positionAt(track, 1_300);

  track = extendTrack(track, BALI, 1_300);

  assert.deepEqual(positionAt(track, 1_300), drawn);
});

test("a glide lasts a little longer than the interval of the fixes", () => {
  const track = extendTrack(stationaryTrack(AKWA, 0), near, 2_000);

  assert.equal(track.endMs - track.startMs, 2_300);
});

test("a glide after a long silence is limited", () => {
  const track = extendTrack(stationaryTrack(AKWA, 0), near, 60_000);

  assert.equal(track.endMs - track.startMs, 3_500);
});

test("more than 1,500 m between two fixes is drawn as a jump", () => {
  const far = { lat: AKWA.lat + 0.02, lng: AKWA.lng };
  const track = extendTrack(stationaryTrack(AKWA, 0), far, 1_000);

  assert.deepEqual(positionAt(track, 1_000), far);
});

test("bearings go clockwise from north", () => {
  const { lat, lng } = AKWA;
  const around = [
    { lat: lat + 0.01, lng },
    { lat, lng: lng + 0.01 },
    { lat: lat - 0.01, lng },
    { lat, lng: lng - 0.01 },
  ];

  assert.deepEqual(around.map((to) => Math.round(bearing(AKWA, to))), [0, 90, 180, 270]);
});
