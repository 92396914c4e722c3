/** Riders and orders of the live state. */

import type { Track } from "./motion";
import type { Duty, Freshness, LatLng } from "./wire";

export interface Rider {
  id: string;
  position: LatLng;
  /** Degrees from north; null while unknown. */
  heading: number | null;
  /** Metres per second between the last two fixes. */
  speedMps: number | null;
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
  /** When it first appeared here. Units: Unix ms. */
  firstSeenMs: number;
}

/** Statuses without anything left to deliver. Source: docs/contract.md, order states. */
const CLOSED_STATUSES = new Set(["DELIVERED", "FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);

/** Whether the order is not delivered, rejected or cancelled yet. */
export function isOpen(order: Order): boolean {
  return !CLOSED_STATUSES.has(order.status);
}
