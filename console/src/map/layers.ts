/** The live layers over the basemap and the two sources that feed them. */

import type { LayerSpecification, SourceSpecification } from "maplibre-gl";
import { OFFER_COLOR } from "../colors";

/** The static source changes when an order does, the moving one several times a second. */
export const STATIC_SOURCE = "static";
export const MOVING_SOURCE = "moving";
/** Layers whose features can be selected, the topmost first. */
export const CLICKABLE_LAYERS = ["riders", "pickups", "dropoffs"];

const EMPTY: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };

/** Tiles of zoom 14 resolve 0.3 m; more zoom levels would only cost the worker time. */
export function liveSources(): Record<string, SourceSpecification> {
  return {
    [STATIC_SOURCE]: { type: "geojson", data: EMPTY, maxzoom: 14, tolerance: 0 },
    [MOVING_SOURCE]: { type: "geojson", data: EMPTY, maxzoom: 14, tolerance: 0, buffer: 32 },
  };
}

/** Layers filter features by `kind`; most read their opacity from `opacity`. */
export function liveLines(): LayerSpecification[] {
  return [arcs(), legs(), offers()];
}

export function livePoints(): LayerSpecification[] {
  return [...stops(), rings(), selected(), riders(), sparks(), amounts()];
}

const isKind = (kind: string) => ["==", ["get", "kind"], kind] as never;
const property = (name: string) => ["get", name] as never;
const byZoom = (...stops: number[]) => ["interpolate", ["linear"], ["zoom"], ...stops] as never;

function arcs(): LayerSpecification {
  return {
    id: "arcs",
    type: "line",
    source: STATIC_SOURCE,
    filter: isKind("arc"),
    layout: { "line-cap": "round" },
    paint: {
      "line-color": property("color"),
      "line-width": byZoom(11, 0.8, 15, 1.8),
      "line-opacity": property("opacity"),
    },
  };
}

function legs(): LayerSpecification {
  return {
    id: "legs",
    type: "line",
    source: MOVING_SOURCE,
    filter: isKind("leg"),
    layout: { "line-cap": "round" },
    paint: {
      "line-color": property("color"),
      "line-width": byZoom(11, 1, 15, 2.4),
      "line-opacity": property("opacity"),
    },
  };
}

function offers(): LayerSpecification {
  return {
    id: "offers",
    type: "line",
    source: MOVING_SOURCE,
    filter: isKind("offer"),
    paint: {
      "line-color": OFFER_COLOR,
      "line-width": byZoom(11, 1, 15, 2),
      "line-opacity": property("opacity"),
      "line-dasharray": [2, 2.5],
    },
  };
}

function stops(): LayerSpecification[] {
  return [
    {
      id: "dropoffs",
      type: "circle",
      source: STATIC_SOURCE,
      filter: isKind("dropoff"),
      paint: {
        "circle-radius": byZoom(11, 2.2, 15, 5),
        "circle-color": "#0e151f",
        "circle-stroke-color": property("color"),
        "circle-stroke-width": byZoom(11, 1.2, 15, 2),
        "circle-opacity": property("opacity"),
        "circle-stroke-opacity": property("opacity"),
      },
    },
    {
      id: "pickups",
      type: "symbol",
      source: STATIC_SOURCE,
      filter: isKind("pickup"),
      layout: {
        "icon-image": property("icon"),
        "icon-size": byZoom(11, 0.45, 13, 0.75, 15.5, 1.1),
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
      paint: { "icon-opacity": property("opacity") },
    },
  ];
}

function rings(): LayerSpecification {
  return {
    id: "rings",
    type: "circle",
    source: MOVING_SOURCE,
    filter: isKind("ring"),
    paint: {
      "circle-radius": property("radius"),
      "circle-opacity": 0,
      "circle-stroke-color": property("color"),
      "circle-stroke-width": 2,
      "circle-stroke-opacity": property("opacity"),
    },
  };
}

function selected(): LayerSpecification {
  return {
    id: "selected",
    type: "circle",
    source: MOVING_SOURCE,
    filter: isKind("selected"),
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
    source: MOVING_SOURCE,
    filter: isKind("rider"),
    layout: {
      "icon-image": property("icon"),
      "icon-rotate": property("heading"),
      "icon-rotation-alignment": "map",
      "icon-size": byZoom(10, 0.4, 12, 0.6, 14, 0.9, 16, 1.2),
      "icon-allow-overlap": true,
      "icon-ignore-placement": true,
      "symbol-sort-key": property("order"),
    },
    paint: { "icon-opacity": property("opacity") },
  };
}

function sparks(): LayerSpecification {
  return {
    id: "sparks",
    type: "circle",
    source: MOVING_SOURCE,
    filter: isKind("spark"),
    paint: {
      "circle-radius": byZoom(11, 2.2, 15, 3.6),
      "circle-color": OFFER_COLOR,
      "circle-blur": 0.35,
      "circle-opacity": property("opacity"),
    },
  };
}

function amounts(): LayerSpecification {
  return {
    id: "amounts",
    type: "symbol",
    source: MOVING_SOURCE,
    filter: isKind("amount"),
    layout: {
      "text-field": property("text"),
      "text-font": ["Inter"],
      "text-size": 13,
      "text-offset": property("lift"),
      "text-allow-overlap": true,
      "text-ignore-placement": true,
    },
    paint: {
      "text-color": property("color"),
      "text-halo-color": "#070c13",
      "text-halo-width": 1.6,
      "text-opacity": property("opacity"),
    },
  };
}
