/** Riders and orders as the console knows them. */

import type { Track } from "./motion";
import type { Duty, Freshness, LatLng } from "./wire";

export interface Rider {
  id: string;
  position: LatLng;
  /** Degrees from north; null while nobody knows. */
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
  /** Unix ms of the first sight of it here. */
  firstSeenMs: number;
}

/** Nothing is left to deliver. Source: docs/contract.md, order states. */
const CLOSED_STATUSES = new Set(["DELIVERED", "FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"]);

/** Whether there is still something to deliver. */
export function isOpen(order: Order): boolean {
  return !CLOSED_STATUSES.has(order.status);
}
