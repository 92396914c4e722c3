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
import type { City } from "../city";
import type { Target } from "../look";
import type { News } from "../news";
import type { Bbox } from "../wire";
import { mapStyle } from "./style";
import { Effects } from "./effects";
import { addIcons } from "./icons";
import { MOVING, PICKABLE, STANDING, liveDots, liveLines, liveSources } from "./layers";
import { Pace } from "./pace";
import { Painter } from "./paint";
import { collection } from "./shapes";

/** Named by the build: the worker's file has a hash in its name. */
declare const WORKER_FILE: string;

export interface Hooks {
  onPick(target: Target | null): void;
  onMove(bbox: Bbox): void;
  /** A hand on the map ends following. */
  onDrag(): void;
}

/** Source: Douala's districts and their streets, longitude and latitude of two corners. */
const HOME: [number, number, number, number] = [9.681, 4.01, 9.789, 4.0955];
const HOME_MARGIN_PX = 10;
const PIXEL_RATIO_MAX = 2;
/** From here on a rider moves by pixels, not by parts of one. */
const NEAR_ZOOM = 13.5;
const FOLLOW_START_MS = 900;
const FOLLOW_STEP_MS = 1_000;
const FOLLOW_ZOOM_MIN = 14.2;
const MOVE_QUIET_MS = 350;
/** A finger is not a needle. */
const PICK_REACH_PX = 9;
const LOAD_MS = 45_000;
const NO_LOAD = "The map did not come up within 45 s. Lists and counters work.";
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export async function openStage(container: HTMLElement, city: City, hooks: Hooks): Promise<Stage> {
  setWorkerUrl(new URL(WORKER_FILE, import.meta.url).href);
  await document.fonts.load("500 24px Inter");
  const map = new MapLibre({
    container,
    style: await mapStyle(),
    bounds: HOME,
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
    window.setTimeout(() => reject(new Error(NO_LOAD)), LOAD_MS);
  });
  return new Stage(map, city, hooks);
}

export class Stage {
  private readonly painter: Painter;
  private readonly effects = new Effects();
  private isFollowing = false;
  private isStandingOld = true;
  private readonly pace = new Pace();
  private isNear = false;
  private moveTimer: number | undefined;

  constructor(
    private readonly map: MapLibre,
    city: City,
    private readonly hooks: Hooks,
  ) {
    this.painter = new Painter(city);
    addIcons(map);
    for (const [name, source] of Object.entries(liveSources())) map.addSource(name, source);
    // Names stay readable under the dots, but over the lines.
    const firstName = map.getStyle().layers.find((layer) => layer.type === "symbol")?.id;
    for (const layer of liveLines()) map.addLayer(layer, firstName);
    for (const layer of liveDots()) map.addLayer(layer);
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

  /** The city has changed; `news` are its latest events. */
  tell(news: News[]): void {
    this.isStandingOld = true;
    if (!CALM.matches && !document.hidden) this.effects.add(news, performance.now());
  }

  pick(target: Target | null): void {
    this.painter.picked = target;
    this.isStandingOld = true;
    this.pace.hurry();
  }

  follow(isFollowing: boolean): void {
    this.isFollowing = isFollowing;
    this.isNear = false;
  }

  /** Show the whole city. */
  home(durationMs = 800): void {
    const duration = CALM.matches ? 0 : durationMs;
    this.map.fitBounds(HOME, { padding: HOME_MARGIN_PX, duration });
  }

  /** Keep the middle of the map free of what lies over it. Units: CSS pixels. */
  pad(padding: PaddingOptions): void {
    this.map.easeTo({ padding, duration: 0 });
  }

  private onFrame(nowMs: number): void {
    requestAnimationFrame((next) => this.onFrame(next));
    if (!this.pace.isDue(nowMs, this.map.getZoom() >= NEAR_ZOOM)) return;
    const moving = [...this.painter.moving(nowMs, CALM.matches), ...this.effects.features(nowMs)];
    this.show(MOVING, moving);
    if (this.isStandingOld) this.show(STANDING, this.painter.standing());
    this.isStandingOld = false;
    if (this.isFollowing) this.keepInView(nowMs);
  }

  private show(source: string, features: GeoJSON.Feature[]): void {
    const found = this.map.getSource(source);
    if (found instanceof GeoJSONSource) void found.setData(collection(features));
  }

  /** One even movement after the other; the first also comes near enough to see something. */
  private keepInView(nowMs: number): void {
    const at = this.painter.placeOfPicked(nowMs);
    if (!at || this.map.isMoving()) return;
    const center: [number, number] = [at.lng, at.lat];
    if (this.isNear) {
      const duration = CALM.matches ? 0 : FOLLOW_STEP_MS;
      this.map.easeTo({ center, duration, easing: (t) => t });
      return;
    }
    this.isNear = true;
    const zoom = Math.max(this.map.getZoom(), FOLLOW_ZOOM_MIN);
    this.map.easeTo({ center, zoom, duration: CALM.matches ? 0 : FOLLOW_START_MS });
  }

  private onClick(event: MapMouseEvent): void {
    this.hooks.onPick(this.targetAt(event));
  }

  private onHover(event: MapMouseEvent): void {
    this.map.getCanvas().style.cursor = this.targetAt(event) ? "pointer" : "";
  }

  private targetAt({ point }: MapMouseEvent): Target | null {
    const reach = PICK_REACH_PX;
    const found = this.map.queryRenderedFeatures(
      [
        [point.x - reach, point.y - reach],
        [point.x + reach, point.y + reach],
      ],
      { layers: PICKABLE },
    );
    const first = found[0];
    if (!first) return null;
    return { kind: first.layer.id === "riders" ? "rider" : "order", id: String(first.properties["id"]) };
  }

  private onMoveEnd(): void {
    clearTimeout(this.moveTimer);
    this.moveTimer = window.setTimeout(() => this.hooks.onMove(this.bbox()), MOVE_QUIET_MS);
  }
}
