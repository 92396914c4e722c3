/** Interpolated motion of a rider's marker from fix to fix. */

import type { LatLng } from "./wire";

/** Motion between two positions and moments. Units: degrees; ms of performance.now(). */
export interface Track {
  from: LatLng;
  to: LatLng;
  startMs: number;
  endMs: number;
  lastFixMs: number;
}

/** A glide lasts a little longer than the interval of the fixes, so that the marker never stops. */
const GLIDE_STRETCH = 1.15;
const GLIDE_MS_MIN = 500;
const GLIDE_MS_MAX = 3_500;
/** A larger distance between two fixes is drawn as a jump. */
const JUMP_M = 1_500;
/** Source: WGS 84, mean radius. */
const EARTH_M = 6_371_000;

export function stationaryTrack(at: LatLng, nowMs: number): Track {
  return { from: at, to: at, startMs: nowMs, endMs: nowMs, lastFixMs: nowMs };
}

/** The track after a new fix: from the position drawn now to the fix. */
export function extendTrack(track: Track, to: LatLng, nowMs: number): Track {
  const from = positionAt(track, nowMs);
  if (distanceM(from, to) > JUMP_M) return stationaryTrack(to, nowMs);
  const intervalMs = (nowMs - track.lastFixMs) * GLIDE_STRETCH;
  const glideMs = Math.min(Math.max(intervalMs, GLIDE_MS_MIN), GLIDE_MS_MAX);
  return { from, to, startMs: nowMs, endMs: nowMs + glideMs, lastFixMs: nowMs };
}

export function positionAt(track: Track, nowMs: number): LatLng {
  if (nowMs >= track.endMs) return track.to;
  const fraction = (nowMs - track.startMs) / (track.endMs - track.startMs);
  return interpolate(track.from, track.to, Math.max(fraction, 0));
}

export function interpolate(from: LatLng, to: LatLng, fraction: number): LatLng {
  return {
    lat: from.lat + (to.lat - from.lat) * fraction,
    lng: from.lng + (to.lng - from.lng) * fraction,
  };
}

/** Distance, exact to a few per mille within a city. Units: metres. */
export function distanceM(a: LatLng, b: LatLng): number {
  const rad = Math.PI / 180;
  const x = (b.lng - a.lng) * rad * Math.cos(((a.lat + b.lat) / 2) * rad);
  return Math.hypot(x, (b.lat - a.lat) * rad) * EARTH_M;
}

/** Direction from a to b. Units: degrees from north. */
export function bearing(a: LatLng, b: LatLng): number {
  const x = (b.lng - a.lng) * Math.cos((a.lat * Math.PI) / 180);
  return ((Math.atan2(x, b.lat - a.lat) * 180) / Math.PI + 360) % 360;
}
