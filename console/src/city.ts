/** The picture of the city that the server's snapshots and deltas draw: riders, orders, totals. */

import { bearing, distanceM, glideTo, standStill, type Track } from "./motion";
import { tellChanges, tellPlaced, type News } from "./news";
import type { Area, Duty, Freshness, LatLng, OrderDot, RiderDot, Totals } from "./wire";

export interface Rider {
  id: string;
  at: LatLng;
  /** Degrees from north; null while nobody knows. */
  heading: number | null;
  /** Metres per second between the last two fixes. */
  speed: number | null;
  ts: number;
  state: Freshness;
  duty: Duty;
  track: Track;
}

export interface Order {
  id: string;
  type: string;
  status: string;
  dispatch: string | null;
  riderId: string | null;
  offeredTo: string[];
  pickup: LatLng | null;
  dropoff: LatLng | null;
  total: number;
  version: number;
  updatedAt: number;
  /** Unix ms of the first sight of it here. */
  seenAt: number;
}

/** Source: wire contract, order states. */
const OVER = new Set(["DELIVERED", "FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);
const ENDED = new Set(["FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);
/** Ended orders that stay in the list; the oldest leaves first. */
const ENDED_MAX = 200;
/** A shorter way does not say where he is heading. */
const HEADING_FROM_M = 4;

/** Whether there is still something to deliver. */
export function isOpen(order: Order): boolean {
  return !OVER.has(order.status);
}

export class City {
  readonly riders = new Map<string, Rider>();
  readonly orders = new Map<string, Order>();
  totals: Totals | null = null;
  /** Unix ms of the server at the last word from it. */
  ts = 0;

  /** Take everything in the watched window anew; what is not in it is gone. */
  replace(area: Area, nowMs: number): News[] {
    const riders = new Set(area.riders.map((dot) => dot.riderId));
    const orders = new Set(area.orders.map((dot) => dot.orderId));
    for (const id of this.riders.keys()) if (!riders.has(id)) this.riders.delete(id);
    for (const [id, order] of this.orders) {
      if (!orders.has(id) && !ENDED.has(order.status)) this.orders.delete(id);
    }
    // An order that was not known before may be hours old: nothing is told about it.
    return this.take(area, nowMs).filter((news) => news.kind !== "placed");
  }

  /** Take what has changed. */
  change(area: Area, nowMs: number): News[] {
    return this.take(area, nowMs);
  }

  private take(area: Area, nowMs: number): News[] {
    this.totals = area.totals;
    this.ts = area.ts;
    for (const dot of area.riders) this.takeRider(dot, nowMs);
    const news = area.orders.flatMap((dot) => this.takeOrder(dot, area.ts));
    this.dropOldest();
    return news;
  }

  private takeRider(dot: RiderDot, nowMs: number): void {
    const known = this.riders.get(dot.riderId);
    if (dot.gone) {
      this.riders.delete(dot.riderId);
      return;
    }
    const ts = dot.ts ?? 0;
    // Deltas come in order, yet a snapshot may overtake one.
    if (known && ts < known.ts) return;
    const at = { lat: dot.lat ?? 0, lng: dot.lng ?? 0 };
    const state = dot.state ?? "live";
    const duty = dot.duty ?? "idle";
    const heading = dot.heading ?? null;
    if (!known) {
      const track = standStill(at, nowMs);
      this.riders.set(dot.riderId, { id: dot.riderId, at, heading, speed: null, ts, state, duty, track });
      return;
    }
    const movedM = distanceM(known.at, at);
    if (heading !== null) known.heading = heading;
    else if (movedM > HEADING_FROM_M) known.heading = bearing(known.at, at);
    if (ts > known.ts) {
      known.speed = known.ts > 0 ? (movedM / (ts - known.ts)) * 1000 : null;
      known.track = glideTo(known.track, at, nowMs);
    }
    Object.assign(known, { at, ts, state, duty });
  }

  private takeOrder(dot: OrderDot, ts: number): News[] {
    const known = this.orders.get(dot.orderId);
    if (dot.gone) {
      // The list of what is done stays; an order that left the window while open does not.
      if (known && !ENDED.has(known.status)) this.orders.delete(dot.orderId);
      return [];
    }
    if (known && (dot.version ?? 0) < known.version) return [];
    const order = orderOf(dot, known, ts);
    this.orders.set(order.id, order);
    if (known) return tellChanges(known, order);
    return order.status === "PENDING" ? [tellPlaced(order)] : [];
  }

  private dropOldest(): void {
    const ended = [...this.orders.values()].filter((order) => ENDED.has(order.status));
    if (ended.length <= ENDED_MAX) return;
    ended.sort((a, b) => a.updatedAt - b.updatedAt);
    for (const order of ended.slice(0, ended.length - ENDED_MAX)) this.orders.delete(order.id);
  }
}

function orderOf(dot: OrderDot, known: Order | undefined, ts: number): Order {
  return {
    id: dot.orderId,
    type: dot.orderType || known?.type || "",
    status: dot.status || known?.status || "",
    dispatch: dot.dispatchState ?? null,
    riderId: dot.riderId ?? null,
    offeredTo: dot.offeredTo ?? [],
    pickup: dot.pickup ?? known?.pickup ?? null,
    dropoff: dot.dropoff ?? known?.dropoff ?? null,
    total: dot.total ?? known?.total ?? 0,
    version: dot.version ?? 0,
    updatedAt: dot.updatedAt || ts,
    seenAt: known?.seenAt ?? (dot.updatedAt || ts),
  };
}
