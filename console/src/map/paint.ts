/** From the city's picture to features: what stands, and what moves at this moment. */

import { isOpen, type City, type Order, type Rider } from "../city";
import { DUTY_COLOR, statusColor, type Target } from "../look";
import { between, placeAt } from "../motion";
import type { LatLng } from "../wire";
import { pickupIcon, riderIcon } from "./icons";
import { arc, point, straight } from "./shapes";

/** What is not picked steps back by this factor while something is. */
const STEP_BACK = 0.38;
const STALE_FADE = 0.45;
const SPARK_MS = 1_300;
/** He carries the goods from here on. Source: wire contract, dispatch states. */
const ON_THE_WAY = new Set(["PICKED_UP", "AT_DROPOFF"]);

type Properties = Record<string, unknown>;

export class Painter {
  picked: Target | null = null;

  constructor(private readonly city: City) {}

  /** Orders: both ends and an arc between them. */
  standing(): GeoJSON.Feature[] {
    const features: GeoJSON.Feature[] = [];
    for (const order of this.city.orders.values()) {
      if (isOpen(order)) features.push(...this.order(order));
    }
    return features;
  }

  /** Riders, their way to the next stop, offers on their way to riders. */
  moving(nowMs: number, isCalm: boolean): GeoJSON.Feature[] {
    const features: GeoJSON.Feature[] = [];
    for (const order of this.city.orders.values()) {
      if (!isOpen(order)) continue;
      features.push(...this.offers(order, nowMs, isCalm), ...this.leg(order, nowMs));
    }
    const around = this.placeOfPicked(nowMs);
    if (around) features.push(point(around, { kind: "picked" }));
    for (const rider of this.city.riders.values()) features.push(this.rider(rider, nowMs));
    return features;
  }

  /** Where the picked one is drawn now; an order is where its goods are. */
  placeOfPicked(nowMs: number): LatLng | null {
    if (this.picked?.kind === "rider") return this.placeOfRider(this.picked.id, nowMs);
    const order = this.picked && this.city.orders.get(this.picked.id);
    if (!order) return null;
    const isCarried = order.dispatch !== null && ON_THE_WAY.has(order.dispatch);
    if (isOpen(order)) {
      return (isCarried ? this.placeOfRider(order.riderId, nowMs) : null) ?? order.pickup;
    }
    return order.dropoff;
  }

  private order(order: Order): GeoJSON.Feature[] {
    const { pickup, dropoff, id } = order;
    if (!pickup) return [];
    const color = statusColor(order.status);
    const near = this.nearness(order);
    const features: GeoJSON.Feature[] = [];
    if (dropoff) {
      const fade = this.isPicked(order) ? 0.95 : 0.34 * near;
      features.push(arc(pickup, dropoff, { kind: "arc", color, fade }));
      features.push(point(dropoff, { kind: "dropoff", id, color, fade: 0.9 * near }));
    }
    const icon = pickupIcon(order.type, order.status);
    features.push(point(pickup, { kind: "pickup", id, icon, fade: near }));
    return features;
  }

  private offers(order: Order, nowMs: number, isCalm: boolean): GeoJSON.Feature[] {
    if (!order.pickup) return [];
    const features: GeoJSON.Feature[] = [];
    const near = this.nearness(order);
    for (const riderId of order.offeredTo) {
      const to = this.placeOfRider(riderId, nowMs);
      if (!to) continue;
      features.push(straight(order.pickup, to, { kind: "offer", fade: 0.75 * near }));
      if (isCalm) continue;
      const part = ((nowMs + order.seenAt) % SPARK_MS) / SPARK_MS;
      const spark: Properties = { kind: "spark", fade: near * Math.min(1, 4 * (1 - part)) };
      features.push(point(between(order.pickup, to, part), spark));
    }
    return features;
  }

  private leg(order: Order, nowMs: number): GeoJSON.Feature[] {
    const rider = this.placeOfRider(order.riderId, nowMs);
    const isCarried = order.dispatch !== null && ON_THE_WAY.has(order.dispatch);
    const stop = isCarried ? order.dropoff : order.pickup;
    if (!rider || !stop) return [];
    const fade = this.isPicked(order) ? 1 : 0.7 * this.nearness(order);
    const color = isCarried ? statusColor(order.status) : DUTY_COLOR["busy"];
    return [straight(rider, stop, { kind: "leg", color, fade })];
  }

  private rider(rider: Rider, nowMs: number): GeoJSON.Feature {
    const near = this.picked && !this.isRiderPicked(rider.id) ? STEP_BACK : 1;
    const isOff = rider.duty === "off";
    return point(placeAt(rider.track, nowMs), {
      kind: "rider",
      id: rider.id,
      icon: riderIcon(rider.duty, rider.state, rider.heading !== null),
      heading: rider.heading ?? 0,
      order: rider.duty === "busy" ? 2 : isOff ? 0 : 1,
      fade: near * (rider.state === "live" ? (isOff ? 0.7 : 1) : STALE_FADE),
    });
  }

  private placeOfRider(id: string | null, nowMs: number): LatLng | null {
    const rider = id === null ? undefined : this.city.riders.get(id);
    return rider ? placeAt(rider.track, nowMs) : null;
  }

  private nearness(order: Order): number {
    return this.picked === null || this.isPicked(order) ? 1 : STEP_BACK;
  }

  /** An order belongs to what is picked if it is it, or its rider is, or one who is asked. */
  private isPicked(order: Order): boolean {
    if (!this.picked) return false;
    const { kind, id } = this.picked;
    if (kind === "order") return order.id === id;
    return order.riderId === id || order.offeredTo.includes(id);
  }

  private isRiderPicked(riderId: string): boolean {
    if (!this.picked) return false;
    if (this.picked.kind === "rider") return this.picked.id === riderId;
    const order = this.city.orders.get(this.picked.id);
    return order?.riderId === riderId || (order?.offeredTo.includes(riderId) ?? false);
  }
}
