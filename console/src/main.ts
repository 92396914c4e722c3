/** Entry point: the connection updates the live state, which the map and the panel show. */

import "maplibre-gl/dist/maplibre-gl.css";
import "./style.css";
import { LiveState } from "./live-state";
import { OpsConnection } from "./ops-connection";
import { isSameSelection, type Selection } from "./selection";
import type { MapView } from "./map/map-view";
import type { OrderChange } from "./order-changes";
import { AlertList } from "./panel/alert-list";
import { Charts } from "./panel/charts";
import { Counters } from "./panel/counters";
import { Details } from "./panel/details";
import { byId } from "./panel/dom";
import { EventLog } from "./panel/event-log";
import { OrderList } from "./panel/orders";
import { RiderList } from "./panel/riders";
import { BottomSheet, NARROW_SCREEN } from "./panel/bottom-sheet";
import { SignIn } from "./panel/sign-in";
import { ConnectionStatus } from "./panel/connection-status";
import { Tabs } from "./panel/tabs";
import { Toasts } from "./panel/toasts";
import { RateHistory } from "./rates";
import { findSession, clearSession, storeSession } from "./session";
import { WatchedArea } from "./watched-area";
import type { Alert, AreaSnapshot, Bbox } from "./wire";

/** The area watched until the map reports its own: all of Douala. */
const INITIAL_BBOX = { south: 3.95, west: 9.6, north: 4.15, east: 9.85 };
const NO_WEBGL_MESSAGE =
  "No map: this browser has no WebGL 2 (or it is switched off). Lists and counters work.";
const PANEL_GAP_PX = 24;
const TOAST_AGE_MAX_MS = 60_000;

class ConsoleApp {
  private readonly state = new LiveState();
  private readonly rates = new RateHistory();
  private readonly watchedArea = new WatchedArea();
  private readonly status = new ConnectionStatus();
  private readonly counters = new Counters();
  private readonly charts = new Charts();
  private readonly toasts = new Toasts((target) => this.select(target, true));
  private readonly alerts = new AlertList((target) => this.select(target, true));
  private readonly eventLog = new EventLog((id) => this.select({ kind: "order", id }, true));
  private readonly orders = new OrderList((id) => this.select({ kind: "order", id }, true));
  private readonly riders = new RiderList((id) => this.select({ kind: "rider", id }, true));
  private readonly details: Details;
  private readonly signIn: SignIn;
  private readonly sheet: BottomSheet;
  private readonly connection: OpsConnection;
  private mapView: MapView | null = null;
  private selection: Selection | null = null;
  private isFollowing = false;

  constructor() {
    this.details = new Details(this.state, {
      onSelect: (target) => this.select(target, this.isFollowing),
      onFollow: () => this.follow(!this.isFollowing),
      onClose: () => this.select(null, false),
    });
    this.signIn = new SignIn((token) => this.connection.connect(storeSession(token)));
    this.sheet = new BottomSheet(() => this.padMap());
    this.connection = new OpsConnection({
      onState: (state, note) => this.status.set(state, note, performance.now()),
      onSnapshot: (area) => this.onUpdate(area, this.state.applySnapshot(area, performance.now())),
      onDelta: (area) => {
        // Only deltas: a snapshot comes between two of them and would distort the rate.
        this.rates.add(area.totals, area.ts);
        this.onUpdate(area, this.state.applyDelta(area, performance.now()));
      },
      onAlert: (alert) => this.onAlert(alert),
      onRefused: (code) => {
        clearSession();
        this.signIn.prompt(code);
      },
    });
    new Tabs(() => {
      this.showLists();
      this.alerts.showCount();
    });
    byId("home").addEventListener("click", () => this.showWholeCity());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.selection) this.select(null, false);
    });
    window.setInterval(() => this.onTick(), 1_000);
  }

  async start(): Promise<void> {
    const session = findSession();
    if (session.source === "none") this.signIn.prompt("token_required");
    else this.connection.connect(session);
    // The lists and counters do not wait for the map.
    this.watch(INITIAL_BBOX);
    this.mapView = await this.openMap();
    this.padMap();
    this.mapView?.showWholeCity(0);
    document.body.dataset["map"] = this.mapView ? "ready" : "none";
  }

  private async openMap(): Promise<MapView | null> {
    try {
      if (!document.createElement("canvas").getContext("webgl2")) throw new Error(NO_WEBGL_MESSAGE);
      const { openMapView } = await import("./map/map-view");
      return await openMapView(byId("map"), this.state, {
        onSelect: (target) => this.select(target, false),
        onMove: (visible) => this.watch(visible),
        onDrag: () => this.follow(false),
      });
    } catch (error) {
      // The counters and lists work without the map.
      const note = byId("no-map");
      note.textContent = error instanceof Error ? error.message : String(error);
      note.hidden = false;
      return null;
    }
  }

  private watch(visible: Bbox): void {
    const bbox = this.watchedArea.nextBbox(visible);
    if (bbox) this.connection.watchArea(bbox);
  }

  private onUpdate(area: AreaSnapshot, changes: OrderChange[]): void {
    this.status.onUpdate(performance.now());
    this.counters.show(area.totals);
    this.charts.show(this.rates, area.totals.settledXaf);
    this.eventLog.add(changes);
    this.mapView?.onOrderChanges(changes);
    this.showLists();
  }

  private onAlert(alert: Alert): void {
    if (!this.alerts.add(alert)) return;
    // After signing in the server sends its last alerts: older ones are in the list alone.
    if (Date.now() - (alert.ts ?? 0) < TOAST_AGE_MAX_MS) this.toasts.show(alert);
  }

  private showLists(): void {
    this.orders.show(this.state.orders.values(), this.state.tsMs);
    this.riders.show(this.state.riders.values(), this.state.tsMs);
    this.details.render(this.state.tsMs);
  }

  private onTick(): void {
    this.status.show(performance.now());
  }

  private select(target: Selection | null, isFollowing: boolean): void {
    this.selection = isSameSelection(target, this.selection) && !isFollowing ? null : target;
    this.details.select(this.selection);
    this.orders.select(this.selection?.kind === "order" ? this.selection.id : null);
    this.riders.select(this.selection?.kind === "rider" ? this.selection.id : null);
    this.mapView?.select(this.selection);
    this.follow(this.selection !== null && isFollowing);
    this.details.render(this.state.tsMs);
    if (isFollowing) this.sheet.close();
  }

  private follow(isFollowing: boolean): void {
    this.isFollowing = isFollowing;
    this.details.follow(isFollowing);
    this.mapView?.follow(isFollowing);
  }

  private showWholeCity(): void {
    this.follow(false);
    this.mapView?.showWholeCity();
  }

  /** Keep the part of the map that the panel covers out of its centre. */
  private padMap(): void {
    const panel = byId("panel").getBoundingClientRect();
    const padding = { top: 0, right: 0, bottom: 0, left: 0 };
    if (NARROW_SCREEN.matches) padding.bottom = Math.min(panel.height, innerHeight * 0.45);
    else padding.right = panel.width + PANEL_GAP_PX;
    this.mapView?.setPadding(padding);
  }
}

void new ConsoleApp().start();
