/** Map view: draws the live state several times a second and reports clicks and moves. */

import {
  AttributionControl,
  GeoJSONSource,
  Map as MapLibre,
  NavigationControl,
  setWorkerUrl,
  type MapMouseEvent,
  type PaddingOptions,
} from "maplibre-gl";
import type { LiveState } from "../live-state";
import type { Selection } from "../selection";
import type { OrderChange } from "../order-changes";
import type { Bbox } from "../wire";
import { mapStyle } from "./style";
import { FlashEffects } from "./flash-effects";
import { addIcons } from "./icons";
import { MOVING_SOURCE, CLICKABLE_LAYERS, STATIC_SOURCE, livePoints, liveLines, liveSources } from "./layers";
import { FrameThrottle } from "./frame-throttle";
import { FeatureBuilder } from "./features";
import { collection } from "./geojson";

/** Set by the build: the worker's file name, which has a hash. */
declare const WORKER_FILE: string;

export interface MapHandlers {
  onSelect(target: Selection | null): void;
  onMove(bbox: Bbox): void;
  /** Dragging the map ends following. */
  onDrag(): void;
}

/** Source: Douala's districts and their streets, longitude and latitude of two corners. */
const CITY_BOUNDS: [number, number, number, number] = [9.681, 4.01, 9.789, 4.0955];
const CITY_MARGIN_PX = 10;
const PIXEL_RATIO_MAX = 2;
/** From this zoom on a rider moves by whole pixels between two frames. */
const NEAR_ZOOM = 13.5;
const FOLLOW_START_MS = 900;
const FOLLOW_STEP_MS = 1_000;
const FOLLOW_ZOOM_MIN = 14.2;
const MOVE_DEBOUNCE_MS = 350;
/** Tolerance of a click or touch. */
const CLICK_RADIUS_PX = 9;
const LOAD_TIMEOUT_MS = 45_000;
const LOAD_TIMEOUT_MESSAGE = "The map did not load within 45 s. Lists and counters work.";
const REDUCED_MOTION = matchMedia("(prefers-reduced-motion: reduce)");

export async function openMapView(container: HTMLElement, state: LiveState, handlers: MapHandlers): Promise<MapView> {
  setWorkerUrl(new URL(WORKER_FILE, import.meta.url).href);
  await document.fonts.load("500 24px Inter");
  const map = new MapLibre({
    container,
    style: await mapStyle(),
    bounds: CITY_BOUNDS,
    minZoom: 9,
    maxZoom: 18,
    // A higher ratio is not visible on a map and costs battery.
    pixelRatio: Math.min(devicePixelRatio, PIXEL_RATIO_MAX),
    // Moving icons would fade in at every step.
    fadeDuration: 0,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  // The built-in map needs no attribution; an operator's own map is attributed here.
  map.addControl(new AttributionControl({ compact: true }), "bottom-left");
  map.addControl(new NavigationControl({ showCompass: false }), "bottom-left");
  await new Promise<void>((resolve, reject) => {
    map.once("load", () => resolve());
    window.setTimeout(() => reject(new Error(LOAD_TIMEOUT_MESSAGE)), LOAD_TIMEOUT_MS);
  });
  return new MapView(map, state, handlers);
}

export class MapView {
  private readonly featureBuilder: FeatureBuilder;
  private readonly effects = new FlashEffects();
  private isFollowing = false;
  private isStaticStale = true;
  private readonly throttle = new FrameThrottle();
  private hasZoomedIn = false;
  private moveTimer: number | undefined;

  constructor(
    private readonly map: MapLibre,
    state: LiveState,
    private readonly handlers: MapHandlers,
  ) {
    this.featureBuilder = new FeatureBuilder(state);
    addIcons(map);
    for (const [name, source] of Object.entries(liveSources())) map.addSource(name, source);
    // Labels stay readable under the points, but over the lines.
    const firstName = map.getStyle().layers.find((layer) => layer.type === "symbol")?.id;
    for (const layer of liveLines()) map.addLayer(layer, firstName);
    for (const layer of livePoints()) map.addLayer(layer);
    map.on("click", (event) => this.onClick(event));
    map.on("mousemove", (event) => this.onHover(event));
    map.on("moveend", () => this.onMoveEnd());
    map.on("dragstart", () => this.handlers.onDrag());
    requestAnimationFrame((nowMs) => this.onFrame(nowMs));
  }

  /** The visible area. Units: degrees. */
  bbox(): Bbox {
    const bounds = this.map.getBounds();
    return {
      south: bounds.getSouth(),
      west: bounds.getWest(),
      north: bounds.getNorth(),
      east: bounds.getEast(),
    };
  }

  /** The live state has changed; `changes` are animated. */
  onOrderChanges(changes: OrderChange[]): void {
    this.isStaticStale = true;
    if (!REDUCED_MOTION.matches && !document.hidden) this.effects.add(changes, performance.now());
  }

  select(target: Selection | null): void {
    this.featureBuilder.selection = target;
    this.isStaticStale = true;
    this.throttle.drawNext();
  }

  follow(isFollowing: boolean): void {
    this.isFollowing = isFollowing;
    this.hasZoomedIn = false;
  }

  /** Show the whole city. */
  showWholeCity(durationMs = 800): void {
    const duration = REDUCED_MOTION.matches ? 0 : durationMs;
    this.map.fitBounds(CITY_BOUNDS, { padding: CITY_MARGIN_PX, duration });
  }

  /** Shift the map's centre away from what covers it. Units: CSS pixels. */
  setPadding(padding: PaddingOptions): void {
    this.map.easeTo({ padding, duration: 0 });
  }

  private onFrame(nowMs: number): void {
    requestAnimationFrame((next) => this.onFrame(next));
    if (!this.throttle.shouldDraw(nowMs, this.map.getZoom() >= NEAR_ZOOM)) return;
    const moving = [...this.featureBuilder.movingFeatures(nowMs, REDUCED_MOTION.matches), ...this.effects.features(nowMs)];
    this.setFeatures(MOVING_SOURCE, moving);
    if (this.isStaticStale) this.setFeatures(STATIC_SOURCE, this.featureBuilder.staticFeatures());
    this.isStaticStale = false;
    if (this.isFollowing) this.followSelection(nowMs);
  }

  private setFeatures(source: string, features: GeoJSON.Feature[]): void {
    const found = this.map.getSource(source);
    if (found instanceof GeoJSONSource) void found.setData(collection(features));
  }

  /** Move steadily after the selection; the first movement also zooms in. */
  private followSelection(nowMs: number): void {
    const position = this.featureBuilder.selectionPosition(nowMs);
    if (!position || this.map.isMoving()) return;
    const center: [number, number] = [position.lng, position.lat];
    if (this.hasZoomedIn) {
      const duration = REDUCED_MOTION.matches ? 0 : FOLLOW_STEP_MS;
      this.map.easeTo({ center, duration, easing: (t) => t });
      return;
    }
    this.hasZoomedIn = true;
    const zoom = Math.max(this.map.getZoom(), FOLLOW_ZOOM_MIN);
    this.map.easeTo({ center, zoom, duration: REDUCED_MOTION.matches ? 0 : FOLLOW_START_MS });
  }

  private onClick(event: MapMouseEvent): void {
    this.handlers.onSelect(this.selectionAt(event));
  }

  private onHover(event: MapMouseEvent): void {
    this.map.getCanvas().style.cursor = this.selectionAt(event) ? "pointer" : "";
  }

  private selectionAt({ point }: MapMouseEvent): Selection | null {
    const radius = CLICK_RADIUS_PX;
    const found = this.map.queryRenderedFeatures(
      [
        [point.x - radius, point.y - radius],
        [point.x + radius, point.y + radius],
      ],
      { layers: CLICKABLE_LAYERS },
    );
    const first = found[0];
    if (!first) return null;
    return { kind: first.layer.id === "riders" ? "rider" : "order", id: String(first.properties["id"]) };
  }

  private onMoveEnd(): void {
    clearTimeout(this.moveTimer);
    this.moveTimer = window.setTimeout(() => this.handlers.onMove(this.bbox()), MOVE_DEBOUNCE_MS);
  }
}
