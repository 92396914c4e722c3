/** The map itself: it draws the city a few times a second, and says what is clicked and seen. */

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

/** Named by the build: the worker's file has a hash in its name. */
declare const WORKER_FILE: string;

export interface MapHandlers {
  onPick(target: Selection | null): void;
  onMove(bbox: Bbox): void;
  /** A hand on the map ends following. */
  onDrag(): void;
}

/** Source: Douala's districts and their streets, longitude and latitude of two corners. */
const CITY_BOUNDS: [number, number, number, number] = [9.681, 4.01, 9.789, 4.0955];
const HOME_MARGIN_PX = 10;
const PIXEL_RATIO_MAX = 2;
/** From here on a rider moves by pixels, not by parts of one. */
const NEAR_ZOOM = 13.5;
const FOLLOW_START_MS = 900;
const FOLLOW_STEP_MS = 1_000;
const FOLLOW_ZOOM_MIN = 14.2;
const MOVE_DEBOUNCE_MS = 350;
/** A finger is not a needle. */
const CLICK_RADIUS_PX = 9;
const LOAD_TIMEOUT_MS = 45_000;
const LOAD_TIMEOUT_MESSAGE = "The map did not come up within 45 s. Lists and counters work.";
const REDUCED_MOTION = matchMedia("(prefers-reduced-motion: reduce)");

export async function openMapView(container: HTMLElement, city: LiveState, hooks: MapHandlers): Promise<MapView> {
  setWorkerUrl(new URL(WORKER_FILE, import.meta.url).href);
  await document.fonts.load("500 24px Inter");
  const map = new MapLibre({
    container,
    style: await mapStyle(),
    bounds: CITY_BOUNDS,
    minZoom: 9,
    maxZoom: 18,
    // Sharper than twice nobody sees on a map, and it costs a phone its battery.
    pixelRatio: Math.min(devicePixelRatio, PIXEL_RATIO_MAX),
    // Icons that move would fade in anew at every step.
    fadeDuration: 0,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  // Ours owes nobody a line; the makers of an operator's own map are named here.
  map.addControl(new AttributionControl({ compact: true }), "bottom-left");
  map.addControl(new NavigationControl({ showCompass: false }), "bottom-left");
  await new Promise<void>((resolve, reject) => {
    map.once("load", () => resolve());
    window.setTimeout(() => reject(new Error(LOAD_TIMEOUT_MESSAGE)), LOAD_TIMEOUT_MS);
  });
  return new MapView(map, city, hooks);
}

export class MapView {
  private readonly painter: FeatureBuilder;
  private readonly effects = new FlashEffects();
  private isFollowing = false;
  private isStaticStale = true;
  private readonly throttle = new FrameThrottle();
  private hasZoomedIn = false;
  private moveTimer: number | undefined;

  constructor(
    private readonly map: MapLibre,
    city: LiveState,
    private readonly hooks: MapHandlers,
  ) {
    this.painter = new FeatureBuilder(city);
    addIcons(map);
    for (const [name, source] of Object.entries(liveSources())) map.addSource(name, source);
    // Names stay readable under the dots, but over the lines.
    const firstName = map.getStyle().layers.find((layer) => layer.type === "symbol")?.id;
    for (const layer of liveLines()) map.addLayer(layer, firstName);
    for (const layer of livePoints()) map.addLayer(layer);
    map.on("click", (event) => this.onClick(event));
    map.on("mousemove", (event) => this.onHover(event));
    map.on("moveend", () => this.onMoveEnd());
    map.on("dragstart", () => this.hooks.onDrag());
    requestAnimationFrame((nowMs) => this.onFrame(nowMs));
  }

  /** What the map shows now. Units: degrees. */
  bbox(): Bbox {
    const bounds = this.map.getBounds();
    return {
      south: bounds.getSouth(),
      west: bounds.getWest(),
      north: bounds.getNorth(),
      east: bounds.getEast(),
    };
  }

  /** The city has changed; `changes` are its latest events. */
  onOrderChanges(changes: OrderChange[]): void {
    this.isStaticStale = true;
    if (!REDUCED_MOTION.matches && !document.hidden) this.effects.add(changes, performance.now());
  }

  select(target: Selection | null): void {
    this.painter.selection = target;
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
    this.map.fitBounds(CITY_BOUNDS, { padding: HOME_MARGIN_PX, duration });
  }

  /** Keep the middle of the map free of what lies over it. Units: CSS pixels. */
  setPadding(padding: PaddingOptions): void {
    this.map.easeTo({ padding, duration: 0 });
  }

  private onFrame(nowMs: number): void {
    requestAnimationFrame((next) => this.onFrame(next));
    if (!this.throttle.shouldDraw(nowMs, this.map.getZoom() >= NEAR_ZOOM)) return;
    const moving = [...this.painter.movingFeatures(nowMs, REDUCED_MOTION.matches), ...this.effects.features(nowMs)];
    this.setFeatures(MOVING_SOURCE, moving);
    if (this.isStaticStale) this.setFeatures(STATIC_SOURCE, this.painter.staticFeatures());
    this.isStaticStale = false;
    if (this.isFollowing) this.followSelection(nowMs);
  }

  private setFeatures(source: string, features: GeoJSON.Feature[]): void {
    const found = this.map.getSource(source);
    if (found instanceof GeoJSONSource) void found.setData(collection(features));
  }

  /** One even movement after the other; the first also comes near enough to see something. */
  private followSelection(nowMs: number): void {
    const at = this.painter.selectionPosition(nowMs);
    if (!at || this.map.isMoving()) return;
    const center: [number, number] = [at.lng, at.lat];
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
    this.hooks.onPick(this.selectionAt(event));
  }

  private onHover(event: MapMouseEvent): void {
    this.map.getCanvas().style.cursor = this.selectionAt(event) ? "pointer" : "";
  }

  private selectionAt({ point }: MapMouseEvent): Selection | null {
    const reach = CLICK_RADIUS_PX;
    const found = this.map.queryRenderedFeatures(
      [
        [point.x - reach, point.y - reach],
        [point.x + reach, point.y + reach],
      ],
      { layers: CLICKABLE_LAYERS },
    );
    const first = found[0];
    if (!first) return null;
    return { kind: first.layer.id === "riders" ? "rider" : "order", id: String(first.properties["id"]) };
  }

  private onMoveEnd(): void {
    clearTimeout(this.moveTimer);
    this.moveTimer = window.setTimeout(() => this.hooks.onMove(this.bbox()), MOVE_DEBOUNCE_MS);
  }
}
