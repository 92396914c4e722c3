/** GeoJSON features of positions. */

import type { LatLng } from "../wire";

type Properties = Record<string, unknown>;

/** How far an arc bends to its left, as a share of its length. */
const ARC_LEAN = 0.16;
const ARC_SEGMENTS = 14;

export function point(position: LatLng, properties: Properties): GeoJSON.Feature {
  return feature({ type: "Point", coordinates: [position.lng, position.lat] }, properties);
}

export function line(from: LatLng, to: LatLng, properties: Properties): GeoJSON.Feature {
  const coordinates = [
    [from.lng, from.lat],
    [to.lng, to.lat],
  ];
  return feature({ type: "LineString", coordinates }, properties);
}

/** A slight curve, so that lines between the same districts can be told apart. */
export function arc(from: LatLng, to: LatLng, properties: Properties): GeoJSON.Feature {
  const dx = to.lng - from.lng;
  const dy = to.lat - from.lat;
  const bend = [from.lng + dx / 2 - dy * ARC_LEAN, from.lat + dy / 2 + dx * ARC_LEAN] as const;
  const coordinates: number[][] = [];
  for (let i = 0; i <= ARC_SEGMENTS; i++) {
    const t = i / ARC_SEGMENTS;
    const a = (1 - t) * (1 - t);
    const b = 2 * t * (1 - t);
    coordinates.push([
      a * from.lng + b * bend[0] + t * t * to.lng,
      a * from.lat + b * bend[1] + t * t * to.lat,
    ]);
  }
  return feature({ type: "LineString", coordinates }, properties);
}

export function collection(features: GeoJSON.Feature[]): GeoJSON.FeatureCollection {
  return { type: "FeatureCollection", features };
}

function feature(geometry: GeoJSON.Geometry, properties: Properties): GeoJSON.Feature {
  return { type: "Feature", geometry, properties };
}
