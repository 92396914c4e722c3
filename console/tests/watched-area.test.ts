import assert from "node:assert/strict";
import { test } from "node:test";
import { WatchedArea } from "../src/watched-area";

const seen = { south: 4, west: 9.7, north: 4.1, east: 9.8 };
const shrunk = (by: number) => ({ south: 4.05, west: 9.75, north: 4.05 + 0.1 / by, east: 9.75 + 0.1 / by });

test("more is watched than is seen, so that a little moving needs no new window", () => {
  const windows = new WatchedArea();
  const first = windows.nextBbox(seen)!;

  assert.ok(first.south < seen.south && first.east > seen.east);
  assert.equal(windows.nextBbox({ ...seen, east: 9.82, west: 9.72 }), null);
});

test("what leaves the window is watched anew", () => {
  const windows = new WatchedArea();
  windows.nextBbox(seen);

  const next = windows.nextBbox({ ...seen, east: 9.9, west: 9.8 });

  assert.ok(next && next.east > 9.9);
});

test("one street keeps the whole city, one house does not", () => {
  const windows = new WatchedArea();
  windows.nextBbox(seen);

  assert.equal(windows.nextBbox(shrunk(4)), null);
  assert.ok(windows.nextBbox(shrunk(20)));
});

test("a window never leaves the globe", () => {
  const all = new WatchedArea().nextBbox({ south: -85, west: -179, north: 85, east: 179 });

  assert.deepEqual(all, { south: -90, west: -180, north: 90, east: 180 });
});
