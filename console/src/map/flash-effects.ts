/** Short animations of order changes: rings, and amounts that rise. */

import { SETTLED_COLOR, statusColor } from "../colors";
import type { OrderChange } from "../order-changes";
import type { LatLng } from "../wire";
import { formatWhole } from "../format";
import { point } from "./geojson";

interface Flash {
  position: LatLng;
  color: string;
  text: string | null;
  startMs: number;
}

const RING_MS = 1_600;
const AMOUNT_MS = 2_600;
const RING_PX = 34;
/** How far an amount rises, in multiples of its height. */
const RISE_EM = 2.4;
/** Animations shown at most; the oldest are dropped. */
const FLASHES_MAX = 120;

export class FlashEffects {
  private flashes: Flash[] = [];

  add(changes: OrderChange[], nowMs: number): void {
    for (const { kind, order } of changes) {
      const isEnd = kind === "delivered" || kind === "settled" || kind === "closed";
      const position = isEnd ? order.dropoff : order.pickup;
      if (!position || (!isEnd && kind !== "placed" && kind !== "assigned")) continue;
      const text = kind === "settled" ? `+${formatWhole(order.total)}` : null;
      const color = kind === "settled" ? SETTLED_COLOR : statusColor(order.status);
      this.flashes.push({ position, color, text, startMs: nowMs });
    }
    this.flashes = this.flashes.slice(-FLASHES_MAX);
  }

  features(nowMs: number): GeoJSON.Feature[] {
    this.flashes = this.flashes.filter((flash) => nowMs - flash.startMs < durationMs(flash));
    return this.flashes.flatMap((flash) => flashFeatures(flash, (nowMs - flash.startMs) / durationMs(flash)));
  }
}

function durationMs(flash: Flash): number {
  return flash.text === null ? RING_MS : AMOUNT_MS;
}

function flashFeatures({ position, color, text }: Flash, progress: number): GeoJSON.Feature[] {
  const eased = 1 - (1 - progress) ** 3;
  const ring = point(position, { kind: "ring", color, radius: 4 + eased * RING_PX, opacity: 0.9 * (1 - progress) });
  if (text === null) return [ring];
  const opacity = Math.min(1, 3 * (1 - progress));
  return [ring, point(position, { kind: "amount", color, text, lift: [0, -0.8 - eased * RISE_EM], opacity })];
}
