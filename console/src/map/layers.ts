/** The live layers over the basemap and the two sources that feed them. */

import type { LayerSpecification, SourceSpecification } from "maplibre-gl";
import { OFFER_COLOR } from "../look";

/** `standing` changes when an order does; `moving` several times a second. */
export const STANDING = "standing";
export const MOVING = "moving";
/** The layers that can be picked, the topmost first. */
export const PICKABLE = ["riders", "pickups", "dropoffs"];

const NOTHING: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };

/** Tiles of zoom 14 hold a step of 0.3 m; more zoom levels would only cost the worker time. */
export function liveSources(): Record<string, SourceSpecification> {
  return {
    [STANDING]: { type: "geojson", data: NOTHING, maxzoom: 14, tolerance: 0 },
    [MOVING]: { type: "geojson", data: NOTHING, maxzoom: 14, tolerance: 0, buffer: 32 },
  };
}

/** Each feature says its `kind`, and how visible it is in `fade`. */
export function liveLines(): LayerSpecification[] {
  return [arcs(), legs(), offers()];
}

export function liveDots(): LayerSpecification[] {
  return [...ends(), rings(), picked(), riders(), sparks(), amounts()];
}

const is = (kind: string) => ["==", ["get", "kind"], kind] as never;
const get = (name: string) => ["get", name] as never;
const byZoom = (...stops: number[]) => ["interpolate", ["linear"], ["zoom"], ...stops] as never;

function arcs(): LayerSpecification {
  return {
    id: "arcs",
    type: "line",
    source: STANDING,
    filter: is("arc"),
    layout: { "line-cap": "round" },
    paint: {
      "line-color": get("color"),
      "line-width": byZoom(11, 0.8, 15, 1.8),
      "line-opacity": get("fade"),
    },
  };
}

function legs(): LayerSpecification {
  return {
    id: "legs",
    type: "line",
    source: MOVING,
    filter: is("leg"),
    layout: { "line-cap": "round" },
    paint: {
      "line-color": get("color"),
      "line-width": byZoom(11, 1, 15, 2.4),
      "line-opacity": get("fade"),
    },
  };
}

function offers(): LayerSpecification {
  return {
    id: "offers",
    type: "line",
    source: MOVING,
    filter: is("offer"),
    paint: {
      "line-color": OFFER_COLOR,
      "line-width": byZoom(11, 1, 15, 2),
      "line-opacity": get("fade"),
      "line-dasharray": [2, 2.5],
    },
  };
}

function ends(): LayerSpecification[] {
  return [
    {
      id: "dropoffs",
      type: "circle",
      source: STANDING,
      filter: is("dropoff"),
      paint: {
        "circle-radius": byZoom(11, 2.2, 15, 5),
        "circle-color": "#0e151f",
        "circle-stroke-color": get("color"),
        "circle-stroke-width": byZoom(11, 1.2, 15, 2),
        "circle-opacity": get("fade"),
        "circle-stroke-opacity": get("fade"),
      },
    },
    {
      id: "pickups",
      type: "symbol",
      source: STANDING,
      filter: is("pickup"),
      layout: {
        "icon-image": get("icon"),
        "icon-size": byZoom(11, 0.45, 13, 0.75, 15.5, 1.1),
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
      paint: { "icon-opacity": get("fade") },
    },
  ];
}

function rings(): LayerSpecification {
  return {
    id: "rings",
    type: "circle",
    source: MOVING,
    filter: is("ring"),
    paint: {
      "circle-radius": get("radius"),
      "circle-opacity": 0,
      "circle-stroke-color": get("color"),
      "circle-stroke-width": 2,
      "circle-stroke-opacity": get("fade"),
    },
  };
}

function picked(): LayerSpecification {
  return {
    id: "picked",
    type: "circle",
    source: MOVING,
    filter: is("picked"),
    paint: {
      "circle-radius": 17,
      "circle-color": "#ffffff",
      "circle-opacity": 0.1,
      "circle-stroke-color": "#ffffff",
      "circle-stroke-width": 1.5,
      "circle-stroke-opacity": 0.9,
    },
  };
}

function riders(): LayerSpecification {
  return {
    id: "riders",
    type: "symbol",
    source: MOVING,
    filter: is("rider"),
    layout: {
      "icon-image": get("icon"),
      "icon-rotate": get("heading"),
      "icon-rotation-alignment": "map",
      "icon-size": byZoom(10, 0.4, 12, 0.6, 14, 0.9, 16, 1.2),
      "icon-allow-overlap": true,
      "icon-ignore-placement": true,
      "symbol-sort-key": get("order"),
    },
    paint: { "icon-opacity": get("fade") },
  };
}

function sparks(): LayerSpecification {
  return {
    id: "sparks",
    type: "circle",
    source: MOVING,
    filter: is("spark"),
    paint: {
      "circle-radius": byZoom(11, 2.2, 15, 3.6),
      "circle-color": OFFER_COLOR,
      "circle-blur": 0.35,
      "circle-opacity": get("fade"),
    },
  };
}

function amounts(): LayerSpecification {
  return {
    id: "amounts",
    type: "symbol",
    source: MOVING,
    filter: is("amount"),
    layout: {
      "text-field": get("text"),
      "text-font": ["Inter"],
      "text-size": 13,
      "text-offset": get("lift"),
      "text-allow-overlap": true,
      "text-ignore-placement": true,
    },
    paint: {
      "text-color": get("color"),
      "text-halo-color": "#070c13",
      "text-halo-width": 1.6,
      "text-opacity": get("fade"),
    },
  };
}
