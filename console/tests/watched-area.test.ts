import assert from "node:assert/strict";
import { test } from "node:test";
import { WatchedArea } from "../src/watched-area";

const visible = { south: 4, west: 9.7, north: 4.1, east: 9.8 };
const shrunk = (by: number) => ({ south: 4.05, west: 9.75, north: 4.05 + 0.1 / by, east: 9.75 + 0.1 / by });

test("more is watched than is visible, so that a small move needs no new area", () => {
  const area = new WatchedArea();
  const first = area.nextBbox(visible)!;

  assert.ok(first.south < visible.south && first.east > visible.east);
  assert.equal(area.nextBbox({ ...visible, east: 9.82, west: 9.72 }), null);
});

test("a move beyond the watched area changes it", () => {
  const area = new WatchedArea();
  area.nextBbox(visible);

  const next = area.nextBbox({ ...visible, east: 9.9, west: 9.8 });

  assert.ok(next && next.east > 9.9);
});

test("zooming in keeps the watched area until it is 60 times the visible one", () => {
  const area = new WatchedArea();
  area.nextBbox(visible);

  assert.equal(area.nextBbox(shrunk(4)), null);
  assert.ok(area.nextBbox(shrunk(20)));
});

test("the watched area stays within the globe", () => {
  const all = new WatchedArea().nextBbox({ south: -85, west: -179, north: 85, east: 179 });

  assert.deepEqual(all, { south: -90, west: -180, north: 90, east: 180 });
});
