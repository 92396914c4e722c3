/** The console: the link feeds the city, the city's picture goes to the map and to the panel. */

import "maplibre-gl/dist/maplibre-gl.css";
import "./style.css";
import { City } from "./city";
import { Link } from "./link";
import { isSame, type Target } from "./look";
import type { Stage } from "./map/stage";
import type { News } from "./news";
import { Charts } from "./panel/charts";
import { Counters } from "./panel/counters";
import { Details } from "./panel/details";
import { byId } from "./panel/dom";
import { EventLog } from "./panel/events";
import { OrderList } from "./panel/orders";
import { RiderList } from "./panel/riders";
import { Sheet, NARROW } from "./panel/sheet";
import { SignIn } from "./panel/signin";
import { Status } from "./panel/status";
import { Tabs } from "./panel/tabs";
import { Toasts } from "./panel/toasts";
import { Rates } from "./rates";
import { findSession, forgetSession, keepSession } from "./session";
import { Windows } from "./windows";
import type { Area, Bbox } from "./wire";

/** What is watched until the map says what it shows: all of Douala. */
const ALL_OF_IT = { south: 3.95, west: 9.6, north: 4.15, east: 9.85 };
const NO_MAP =
  "No map: this browser has no WebGL 2 (or it is switched off). Lists and counters work.";
const PANEL_GAP_PX = 24;

class Console {
  private readonly city = new City();
  private readonly rates = new Rates();
  private readonly windows = new Windows();
  private readonly status = new Status();
  private readonly counters = new Counters();
  private readonly charts = new Charts();
  private readonly toasts = new Toasts((target) => this.pick(target, true));
  private readonly log = new EventLog((id) => this.pick({ kind: "order", id }, true));
  private readonly orders = new OrderList((id) => this.pick({ kind: "order", id }, true));
  private readonly riders = new RiderList((id) => this.pick({ kind: "rider", id }, true));
  private readonly details: Details;
  private readonly signIn: SignIn;
  private readonly sheet: Sheet;
  private readonly link: Link;
  private stage: Stage | null = null;
  private picked: Target | null = null;
  private isFollowing = false;

  constructor() {
    this.details = new Details(this.city, {
      onPick: (target) => this.pick(target, this.isFollowing),
      onFollow: () => this.follow(!this.isFollowing),
      onClose: () => this.pick(null, false),
    });
    this.signIn = new SignIn((token) => this.link.open(keepSession(token)));
    this.sheet = new Sheet(() => this.padMap());
    this.link = new Link({
      onState: (state, note) => this.status.set(state, note, performance.now()),
      onSnapshot: (area) => this.onArea(area, this.city.replace(area, performance.now())),
      onDelta: (area) => {
        // A snapshot comes between two beats of the counters; it would make a false rate.
        this.rates.add(area.totals, area.ts);
        this.onArea(area, this.city.change(area, performance.now()));
      },
      onAlert: (alert) => this.toasts.show(alert),
      onRefused: (code) => {
        forgetSession();
        this.signIn.ask(code);
      },
    });
    new Tabs(() => this.showLists());
    byId("home").addEventListener("click", () => this.goHome());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.picked) this.pick(null, false);
    });
    window.setInterval(() => this.onSecond(), 1_000);
  }

  async start(): Promise<void> {
    const session = findSession();
    if (session.from === "nobody") this.signIn.ask("token_required");
    else this.link.open(session);
    // The lists and figures do not wait for the map.
    this.watch(ALL_OF_IT);
    this.stage = await this.openMap();
    this.padMap();
    this.stage?.home(0);
    document.body.dataset["map"] = this.stage ? "ready" : "none";
  }

  private async openMap(): Promise<Stage | null> {
    try {
      if (!document.createElement("canvas").getContext("webgl2")) throw new Error(NO_MAP);
      const { openStage } = await import("./map/stage");
      return await openStage(byId("map"), this.city, {
        onPick: (target) => this.pick(target, false),
        onMove: (seen) => this.watch(seen),
        onDrag: () => this.follow(false),
      });
    } catch (error) {
      // The figures and lists are worth having without the map.
      const note = byId("no-map");
      note.textContent = error instanceof Error ? error.message : String(error);
      note.hidden = false;
      return null;
    }
  }

  private watch(seen: Bbox): void {
    const bbox = this.windows.toWatch(seen);
    if (bbox) this.link.watch(bbox);
  }

  private onArea(area: Area, news: News[]): void {
    this.status.heard(performance.now());
    this.counters.show(area.totals);
    this.charts.show(this.rates, area.totals.settledXaf);
    this.log.add(news);
    this.stage?.tell(news);
    this.showLists();
  }

  private showLists(): void {
    this.orders.show(this.city.orders.values(), this.city.ts);
    this.riders.show(this.city.riders.values(), this.city.ts);
    this.details.show(this.city.ts);
  }

  private onSecond(): void {
    this.status.show(performance.now());
  }

  private pick(target: Target | null, isFollowing: boolean): void {
    this.picked = isSame(target, this.picked) && !isFollowing ? null : target;
    this.details.pick(this.picked);
    this.orders.pick(this.picked?.kind === "order" ? this.picked.id : null);
    this.riders.pick(this.picked?.kind === "rider" ? this.picked.id : null);
    this.stage?.pick(this.picked);
    this.follow(this.picked !== null && isFollowing);
    this.details.show(this.city.ts);
    if (isFollowing) this.sheet.close();
  }

  private follow(isFollowing: boolean): void {
    this.isFollowing = isFollowing;
    this.details.follow(isFollowing);
    this.stage?.follow(isFollowing);
  }

  private goHome(): void {
    this.follow(false);
    this.stage?.home();
  }

  /** What the panel covers is not the map's middle. */
  private padMap(): void {
    const panel = byId("panel").getBoundingClientRect();
    const padding = { top: 0, right: 0, bottom: 0, left: 0 };
    if (NARROW.matches) padding.bottom = Math.min(panel.height, innerHeight * 0.45);
    else padding.right = panel.width + PANEL_GAP_PX;
    this.stage?.pad(padding);
  }
}

void new Console().start();
