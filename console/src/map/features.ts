/** GeoJSON features of the live state: static ones, and moving ones at a moment. */

import type { LiveState } from "../live-state";
import { isOpen, type Order, type Rider } from "../model";
import { DUTY_COLOR, statusColor } from "../colors";
import type { Selection } from "../selection";
import { interpolate, positionAt } from "../motion";
import type { LatLng } from "../wire";
import { pickupIcon, riderIcon } from "./icons";
import { arc, point, line } from "./geojson";

/** Opacity factor of everything that is not selected, while something is. */
const UNSELECTED_OPACITY = 0.38;
const STALE_OPACITY = 0.45;
const SPARK_PERIOD_MS = 1_300;
/** States in which the rider carries the goods. Source: docs/contract.md, dispatch states. */
const CARRYING_STATES = new Set(["PICKED_UP", "AT_DROPOFF"]);

type Properties = Record<string, unknown>;

export class FeatureBuilder {
  selection: Selection | null = null;

  constructor(private readonly state: LiveState) {}

  /** Open orders: pickup, dropoff and an arc between them. */
  staticFeatures(): GeoJSON.Feature[] {
    const features: GeoJSON.Feature[] = [];
    for (const order of this.state.orders.values()) {
      if (isOpen(order)) features.push(...this.orderFeatures(order));
    }
    return features;
  }

  /** Riders, lines to their next stop, and open offers. */
  movingFeatures(nowMs: number, reducesMotion: boolean): GeoJSON.Feature[] {
    const features: GeoJSON.Feature[] = [];
    for (const order of this.state.orders.values()) {
      if (!isOpen(order)) continue;
      features.push(...this.offerFeatures(order, nowMs, reducesMotion), ...this.legFeatures(order, nowMs));
    }
    const position = this.selectionPosition(nowMs);
    if (position) features.push(point(position, { kind: "selected" }));
    for (const rider of this.state.riders.values()) features.push(this.riderFeature(rider, nowMs));
    return features;
  }

  /** Where the selection is drawn now; an order is where its goods are. */
  selectionPosition(nowMs: number): LatLng | null {
    if (this.selection?.kind === "rider") return this.riderPosition(this.selection.id, nowMs);
    const order = this.selection && this.state.orders.get(this.selection.id);
    if (!order) return null;
    const isCarried = order.dispatch !== null && CARRYING_STATES.has(order.dispatch);
    if (isOpen(order)) {
      return (isCarried ? this.riderPosition(order.riderId, nowMs) : null) ?? order.pickup;
    }
    return order.dropoff;
  }

  private orderFeatures(order: Order): GeoJSON.Feature[] {
    const { pickup, dropoff, id } = order;
    if (!pickup) return [];
    const color = statusColor(order.status);
    const factor = this.opacityFactor(order);
    const features: GeoJSON.Feature[] = [];
    if (dropoff) {
      const opacity = this.isOrderSelected(order) ? 0.95 : 0.34 * factor;
      features.push(arc(pickup, dropoff, { kind: "arc", color, opacity }));
      features.push(point(dropoff, { kind: "dropoff", id, color, opacity: 0.9 * factor }));
    }
    const icon = pickupIcon(order.type, order.status);
    features.push(point(pickup, { kind: "pickup", id, icon, opacity: factor }));
    return features;
  }

  private offerFeatures(order: Order, nowMs: number, reducesMotion: boolean): GeoJSON.Feature[] {
    if (!order.pickup) return [];
    const features: GeoJSON.Feature[] = [];
    const factor = this.opacityFactor(order);
    for (const riderId of order.offeredTo) {
      const to = this.riderPosition(riderId, nowMs);
      if (!to) continue;
      features.push(line(order.pickup, to, { kind: "offer", opacity: 0.75 * factor }));
      if (reducesMotion) continue;
      const fraction = ((nowMs + order.firstSeenMs) % SPARK_PERIOD_MS) / SPARK_PERIOD_MS;
      const spark: Properties = { kind: "spark", opacity: factor * Math.min(1, 4 * (1 - fraction)) };
      features.push(point(interpolate(order.pickup, to, fraction), spark));
    }
    return features;
  }

  private legFeatures(order: Order, nowMs: number): GeoJSON.Feature[] {
    const rider = this.riderPosition(order.riderId, nowMs);
    const isCarried = order.dispatch !== null && CARRYING_STATES.has(order.dispatch);
    const stop = isCarried ? order.dropoff : order.pickup;
    if (!rider || !stop) return [];
    const opacity = this.isOrderSelected(order) ? 1 : 0.7 * this.opacityFactor(order);
    const color = isCarried ? statusColor(order.status) : DUTY_COLOR["busy"];
    return [line(rider, stop, { kind: "leg", color, opacity })];
  }

  private riderFeature(rider: Rider, nowMs: number): GeoJSON.Feature {
    const factor = this.selection && !this.isRiderSelected(rider.id) ? UNSELECTED_OPACITY : 1;
    const isOff = rider.duty === "off";
    return point(positionAt(rider.track, nowMs), {
      kind: "rider",
      id: rider.id,
      icon: riderIcon(rider.duty, rider.state, rider.heading !== null),
      heading: rider.heading ?? 0,
      order: rider.duty === "busy" ? 2 : isOff ? 0 : 1,
      opacity: factor * (rider.state === "live" ? (isOff ? 0.7 : 1) : STALE_OPACITY),
    });
  }

  private riderPosition(id: string | null, nowMs: number): LatLng | null {
    const rider = id === null ? undefined : this.state.riders.get(id);
    return rider ? positionAt(rider.track, nowMs) : null;
  }

  private opacityFactor(order: Order): number {
    return this.selection === null || this.isOrderSelected(order) ? 1 : UNSELECTED_OPACITY;
  }

  /** Whether the order is selected, or a rider who carries it or has its offer. */
  private isOrderSelected(order: Order): boolean {
    if (!this.selection) return false;
    const { kind, id } = this.selection;
    if (kind === "order") return order.id === id;
    return order.riderId === id || order.offeredTo.includes(id);
  }

  private isRiderSelected(riderId: string): boolean {
    if (!this.selection) return false;
    if (this.selection.kind === "rider") return this.selection.id === riderId;
    const order = this.state.orders.get(this.selection.id);
    return order?.riderId === riderId || (order?.offeredTo.includes(riderId) ?? false);
  }
}
