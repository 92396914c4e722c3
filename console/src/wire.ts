/** Messages of the server on /ops. A field that is left out has its default. Source: docs/contract.md. */

export interface LatLng {
  lat: number;
  lng: number;
}

export type Freshness = "live" | "stale" | "lost";
export type Duty = "off" | "idle" | "busy";

/** `ts` in Unix ms, `heading` in degrees from north. */
export interface RiderSnapshot {
  riderId: string;
  lat?: number;
  lng?: number;
  heading?: number | null;
  ts?: number;
  state?: Freshness;
  duty?: Duty;
  gone?: boolean;
}

/** `total` in whole XAF, `updatedAt` in Unix ms. */
export interface OrderSnapshot {
  orderId: string;
  orderType?: string;
  status?: string;
  dispatchState?: string | null;
  riderId?: string | null;
  offeredTo?: string[];
  pickup?: LatLng | null;
  dropoff?: LatLng | null;
  total?: number;
  version?: number;
  updatedAt?: number;
  gone?: boolean;
}

export interface Totals {
  ordersPlaced: number;
  ordersDelivered: number;
  ordersCancelled: number;
  ordersOpen: number;
  offersMade: number;
  fixes: number;
  settledXaf: number;
  ridersOnline: number;
}

/** A snapshot (everything in the area) or a delta (what has changed since). */
export interface AreaSnapshot {
  riders: RiderSnapshot[];
  orders: OrderSnapshot[];
  totals: Totals;
  ts: number;
}

export interface Alert {
  kind: string;
  message: string;
  orderId?: string | null;
  riderId?: string | null;
  ts?: number;
}

/** Degrees WGS 84. */
export interface Bbox {
  south: number;
  west: number;
  north: number;
  east: number;
}

export type Ack<T> =
  | { ok: true; data: T }
  | { ok: false; error: { code: string; message: string; retryable: boolean } };
