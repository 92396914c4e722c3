/** The picture of the city that the server's snapshots and deltas draw: riders, orders, totals. */

import { bearing, distanceM, extendTrack, stationaryTrack, type Track } from "./motion";
import type { Order, Rider } from "./model";
import { diffOrder, placedChange, type OrderChange } from "./order-changes";
import type { AreaSnapshot, Duty, Freshness, LatLng, OrderSnapshot, RiderSnapshot, Totals } from "./wire";

const ENDED = new Set(["FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);
/** Ended orders that stay in the list; the oldest leaves first. */
const ENDED_MAX = 200;
/** A shorter way does not say where he is heading. */
const HEADING_MIN_M = 4;

export class LiveState {
  readonly riders = new Map<string, Rider>();
  readonly orders = new Map<string, Order>();
  totals: Totals | null = null;
  /** Unix ms of the server at the last word from it. */
  tsMs = 0;

  /** Take everything in the watched window anew; what is not in it is gone. */
  applySnapshot(area: AreaSnapshot, nowMs: number): OrderChange[] {
    const riders = new Set(area.riders.map((dot) => dot.riderId));
    const orders = new Set(area.orders.map((dot) => dot.orderId));
    for (const id of this.riders.keys()) if (!riders.has(id)) this.riders.delete(id);
    for (const [id, order] of this.orders) {
      if (!orders.has(id) && !ENDED.has(order.status)) this.orders.delete(id);
    }
    // An order that was not known before may be hours old: nothing is told about it.
    return this.apply(area, nowMs).filter((changes) => changes.kind !== "placed");
  }

  /** Take what has changed. */
  applyDelta(area: AreaSnapshot, nowMs: number): OrderChange[] {
    return this.apply(area, nowMs);
  }

  private apply(area: AreaSnapshot, nowMs: number): OrderChange[] {
    this.totals = area.totals;
    this.tsMs = area.ts;
    for (const dot of area.riders) this.applyRider(dot, nowMs);
    const changes = area.orders.flatMap((dot) => this.applyOrder(dot, area.ts));
    this.dropOldestEnded();
    return changes;
  }

  private applyRider(dot: RiderSnapshot, nowMs: number): void {
    const known = this.riders.get(dot.riderId);
    if (dot.gone) {
      this.riders.delete(dot.riderId);
      return;
    }
    const ts = dot.ts ?? 0;
    // Deltas come in order, yet a snapshot may overtake one.
    if (known && ts < known.ts) return;
    const position = { lat: dot.lat ?? 0, lng: dot.lng ?? 0 };
    const state = dot.state ?? "live";
    const duty = dot.duty ?? "idle";
    const heading = dot.heading ?? null;
    if (!known) {
      const track = stationaryTrack(position, nowMs);
      this.riders.set(dot.riderId, { id: dot.riderId, position, heading, speedMps: null, ts, state, duty, track });
      return;
    }
    const movedM = distanceM(known.position, position);
    if (heading !== null) known.heading = heading;
    else if (movedM > HEADING_MIN_M) known.heading = bearing(known.position, position);
    if (ts > known.ts) {
      known.speedMps = known.ts > 0 ? (movedM / (ts - known.ts)) * 1000 : null;
      known.track = extendTrack(known.track, position, nowMs);
    }
    known.position = position;
    known.ts = ts;
    known.state = state;
    known.duty = duty;
  }

  private applyOrder(dot: OrderSnapshot, ts: number): OrderChange[] {
    const known = this.orders.get(dot.orderId);
    if (dot.gone) {
      // The list of what is done stays; an order that left the window while open does not.
      if (known && !ENDED.has(known.status)) this.orders.delete(dot.orderId);
      return [];
    }
    if (known && (dot.version ?? 0) < known.version) return [];
    const order = mergeOrder(dot, known, ts);
    this.orders.set(order.id, order);
    if (known) return diffOrder(known, order);
    return order.status === "PENDING" ? [placedChange(order)] : [];
  }

  private dropOldestEnded(): void {
    const ended = [...this.orders.values()].filter((order) => ENDED.has(order.status));
    if (ended.length <= ENDED_MAX) return;
    ended.sort((a, b) => a.updatedAt - b.updatedAt);
    for (const order of ended.slice(0, ended.length - ENDED_MAX)) this.orders.delete(order.id);
  }
}

function mergeOrder(dot: OrderSnapshot, known: Order | undefined, ts: number): Order {
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
    firstSeenMs: known?.firstSeenMs ?? (dot.updatedAt || ts),
  };
}
