/** Live state of the watched area: riders, orders and totals, from the server's snapshots and deltas. */

import { bearing, distanceM, extendTrack, stationaryTrack, type Track } from "./motion";
import type { Order, Rider } from "./model";
import { diffOrder, placedChange, type OrderChange } from "./order-changes";
import type { AreaSnapshot, Duty, Freshness, LatLng, OrderSnapshot, RiderSnapshot, Totals } from "./wire";

const ENDED = new Set(["FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);
/** Ended orders kept in the list; the oldest are dropped first. */
const ENDED_MAX = 200;
/** Over a shorter distance the heading cannot be derived from two fixes. */
const HEADING_MIN_M = 4;

export class LiveState {
  readonly riders = new Map<string, Rider>();
  readonly orders = new Map<string, Order>();
  totals: Totals | null = null;
  /** The server's time at its last update. Units: Unix ms. */
  tsMs = 0;

  /** Apply a snapshot of the watched area; what is not in it is removed. */
  applySnapshot(area: AreaSnapshot, nowMs: number): OrderChange[] {
    const riders = new Set(area.riders.map((snapshot) => snapshot.riderId));
    const orders = new Set(area.orders.map((snapshot) => snapshot.orderId));
    for (const id of this.riders.keys()) if (!riders.has(id)) this.riders.delete(id);
    for (const [id, order] of this.orders) {
      if (!orders.has(id) && !ENDED.has(order.status)) this.orders.delete(id);
    }
    // An order that is new here may be hours old, so it is not announced as placed.
    return this.apply(area, nowMs).filter((change) => change.kind !== "placed");
  }

  /** Apply what has changed. */
  applyDelta(area: AreaSnapshot, nowMs: number): OrderChange[] {
    return this.apply(area, nowMs);
  }

  private apply(area: AreaSnapshot, nowMs: number): OrderChange[] {
    this.totals = area.totals;
    this.tsMs = area.ts;
    for (const snapshot of area.riders) this.applyRider(snapshot, nowMs);
    const changes = area.orders.flatMap((snapshot) => this.applyOrder(snapshot, area.ts));
    this.dropOldestEnded();
    return changes;
  }

  private applyRider(snapshot: RiderSnapshot, nowMs: number): void {
    const known = this.riders.get(snapshot.riderId);
    if (snapshot.gone) {
      this.riders.delete(snapshot.riderId);
      return;
    }
    const ts = snapshot.ts ?? 0;
    // Deltas come in order, but a snapshot may overtake one.
    if (known && ts < known.ts) return;
    const position = { lat: snapshot.lat ?? 0, lng: snapshot.lng ?? 0 };
    const state = snapshot.state ?? "live";
    const duty = snapshot.duty ?? "idle";
    const heading = snapshot.heading ?? null;
    if (!known) {
      const track = stationaryTrack(position, nowMs);
      this.riders.set(snapshot.riderId, { id: snapshot.riderId, position, heading, speedMps: null, ts, state, duty, track });
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

  private applyOrder(snapshot: OrderSnapshot, ts: number): OrderChange[] {
    const known = this.orders.get(snapshot.orderId);
    if (snapshot.gone) {
      // Ended orders stay in the list; an open order that left the area is removed.
      if (known && !ENDED.has(known.status)) this.orders.delete(snapshot.orderId);
      return [];
    }
    if (known && (snapshot.version ?? 0) < known.version) return [];
    const order = mergeOrder(snapshot, known, ts);
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

function mergeOrder(snapshot: OrderSnapshot, known: Order | undefined, ts: number): Order {
  return {
    id: snapshot.orderId,
    type: snapshot.orderType || known?.type || "",
    status: snapshot.status || known?.status || "",
    dispatch: snapshot.dispatchState ?? null,
    riderId: snapshot.riderId ?? null,
    offeredTo: snapshot.offeredTo ?? [],
    pickup: snapshot.pickup ?? known?.pickup ?? null,
    dropoff: snapshot.dropoff ?? known?.dropoff ?? null,
    total: snapshot.total ?? known?.total ?? 0,
    version: snapshot.version ?? 0,
    updatedAt: snapshot.updatedAt || ts,
    firstSeenMs: known?.firstSeenMs ?? (snapshot.updatedAt || ts),
  };
}
