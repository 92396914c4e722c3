/** Built-in basemap: a schematic Douala from the data of console/map/draw_map.py. */

import type { LayerSpecification, SourceSpecification, StyleSpecification } from "maplibre-gl";
import douala from "../../map/douala.json";

type Line = number[];
type Position = [number, number];

interface NamedPlace {
  name: string;
  at: number[];
  rank: number;
}

/** Source: console/map/draw_map.py, whole steps of 0.00001 degree. */
const STEPS_PER_DEGREE = 100_000;
const GRATICULE = { west: 9.4, east: 10.06, south: 3.78, north: 4.32, step: 0.02 };
const FONT = ["Inter"];

/** Colors of the basemap. */
const COLORS = {
  land: "#0e151f",
  water: "#0a1d2e",
  bank: "#1f4d68",
  marsh: "#0d1c22",
  grid: "#16202d",
  street: "#1a2532",
  avenue: "#202d3c",
  road: "#31435a",
  casing: "#0b1119",
  railway: "#2a3747",
  apron: "#121c28",
  runway: "#28364a",
  district: "#a3b4c9",
  place: "#6f839b",
  waterName: "#4f86a6",
};

const widthByZoom = (at10: number, at16: number) =>
  ["interpolate", ["exponential", 1.5], ["zoom"], 10, at10, 16, at16] as const;

/** Style of the built-in map. It names no host: the browser draws the fonts. */
export function builtInStyle(): StyleSpecification {
  return {
    version: 8,
    name: "Douala, schematic",
    sources: sources(),
    layers: [
      { id: "land", type: "background", paint: { "background-color": COLORS.land } },
      ...groundLayers(),
      ...roadLayers(),
      ...labelLayers(),
    ],
  };
}

function sources(): Record<string, SourceSpecification> {
  return {
    grid: lineSource(graticule()),
    water: polygonSource(douala.water),
    islands: polygonSource(douala.islands),
    creeks: lineSource(douala.creeks.map(decodeLine)),
    airport: polygonSource(douala.airport),
    runway: lineSource(douala.runway.map(decodeLine)),
    streets: lineSource(douala.streets.map(decodeLine)),
    avenues: lineSource(douala.avenues.map(decodeLine)),
    roads: lineSource(douala.roads.map(decodeLine)),
    railway: lineSource(douala.railway.map(decodeLine)),
    districts: pointSource(douala.districts),
    places: pointSource(douala.places),
    waters: pointSource(douala.waters),
  };
}

function groundLayers(): LayerSpecification[] {
  const bank = (id: string, source: string, width: number, opacity: number): LayerSpecification => ({
    id,
    type: "line",
    source,
    layout: { "line-join": "round" },
    paint: { "line-color": COLORS.bank, "line-width": width, "line-blur": width, "line-opacity": opacity },
  });
  return [
    lineLayer("grid", "grid", COLORS.grid, [...widthByZoom(0.6, 1)]),
    { id: "water", type: "fill", source: "water", paint: { "fill-color": COLORS.water } },
    bank("bank-glow", "water", 14, 0.35),
    bank("bank", "water", 1.4, 0.9),
    { id: "islands", type: "fill", source: "islands", paint: { "fill-color": COLORS.marsh } },
    bank("islands-bank", "islands", 1.4, 0.7),
    lineLayer("creeks-bank", "creeks", COLORS.bank, [...widthByZoom(1.8, 34)], 0.45),
    lineLayer("creeks", "creeks", COLORS.water, [...widthByZoom(1.2, 30)]),
    { id: "airport", type: "fill", source: "airport", paint: { "fill-color": COLORS.apron } },
    lineLayer("runway", "runway", COLORS.runway, [...widthByZoom(1.5, 26)]),
  ];
}

function roadLayers(): LayerSpecification[] {
  return [
    streetLayer(),
    lineLayer("avenues", "avenues", COLORS.avenue, [...widthByZoom(0.5, 9)]),
    dashedLayer("railway", "railway", COLORS.railway, [...widthByZoom(0.8, 3)]),
    lineLayer("roads-casing", "roads", COLORS.casing, [...widthByZoom(2.4, 20)]),
    lineLayer("roads", "roads", COLORS.road, [...widthByZoom(1.2, 12)]),
  ];
}

function streetLayer(): LayerSpecification {
  return {
    id: "streets",
    type: "line",
    source: "streets",
    minzoom: 11,
    paint: {
      "line-color": COLORS.street,
      "line-width": ["interpolate", ["exponential", 1.5], ["zoom"], 11, 0.4, 16, 6],
      "line-opacity": ["interpolate", ["linear"], ["zoom"], 11, 0, 12, 1],
    },
  };
}

function labelLayers(): LayerSpecification[] {
  return [
    labelLayer("water-names", "waters", COLORS.waterName, 13, 0.22),
    labelLayer("place-names", "places", COLORS.place, 11, 0.06),
    labelLayer("district-names", "districts", COLORS.district, 12, 0.06),
  ];
}

function lineLayer(
  id: string,
  source: string,
  color: string,
  width: unknown[],
  opacity = 1,
): LayerSpecification {
  return {
    id,
    type: "line",
    source,
    layout: { "line-cap": "round", "line-join": "round" },
    paint: { "line-color": color, "line-width": width as never, "line-opacity": opacity },
  };
}

function dashedLayer(id: string, source: string, color: string, width: unknown[]): LayerSpecification {
  return {
    id,
    type: "line",
    source,
    paint: { "line-color": color, "line-width": width as never, "line-dasharray": [4, 2] },
  };
}

function labelLayer(
  id: string,
  source: string,
  color: string,
  size: number,
  spacing: number,
): LayerSpecification {
  return {
    id,
    type: "symbol",
    source,
    layout: {
      "text-field": ["get", "name"],
      "text-font": FONT,
      "text-size": ["interpolate", ["linear"], ["zoom"], 11, size * 0.85, 15, size * 1.35],
      "text-letter-spacing": spacing,
      "text-max-width": 8,
      "symbol-sort-key": ["-", 0, ["get", "rank"]],
      "text-padding": 6,
    },
    paint: {
      "text-color": color,
      "text-halo-color": COLORS.land,
      "text-halo-width": source === "waters" ? 0 : 1.4,
      "text-opacity": ["interpolate", ["linear"], ["zoom"], 15, 1, 17, 0.5],
    },
  };
}

function decodeLine(steps: Line): Position[] {
  const positions: Position[] = [];
  let lng = 0;
  let lat = 0;
  for (let i = 0; i < steps.length; i += 2) {
    lng += steps[i]!;
    lat += steps[i + 1]!;
    positions.push([lng / STEPS_PER_DEGREE, lat / STEPS_PER_DEGREE]);
  }
  return positions;
}

function graticule(): Position[][] {
  const { west, east, south, north, step } = GRATICULE;
  const meridians: Position[][] = [];
  for (let lng = west; lng <= east; lng += step) meridians.push([[lng, south], [lng, north]]);
  const parallels: Position[][] = [];
  for (let lat = south; lat <= north; lat += step) parallels.push([[west, lat], [east, lat]]);
  return [...meridians, ...parallels];
}

function lineSource(coordinates: Position[][]): SourceSpecification {
  return geojsonSource({ type: "MultiLineString", coordinates });
}

function polygonSource(rings: Line[]): SourceSpecification {
  return geojsonSource({ type: "MultiPolygon", coordinates: rings.map((ring) => [decodeLine(ring)]) });
}

function geojsonSource(geometry: GeoJSON.Geometry): SourceSpecification {
  return { type: "geojson", data: { type: "Feature", properties: {}, geometry } };
}

function pointSource(named: NamedPlace[]): SourceSpecification {
  const features = named.map(({ name, at, rank }): GeoJSON.Feature => ({
    type: "Feature",
    properties: { name, rank },
    geometry: { type: "Point", coordinates: at.map((step) => step / STEPS_PER_DEGREE) },
  }));
  return { type: "geojson", data: { type: "FeatureCollection", features } };
}
