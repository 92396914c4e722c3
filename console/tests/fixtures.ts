/** Sample messages of the server. */

import type { AreaSnapshot, OrderSnapshot, RiderSnapshot, Totals } from "../src/wire";

export const AKWA = { lat: 4.049, lng: 9.701 };
export const BALI = { lat: 4.0385, lng: 9.7 };
export const ZERO_TOTALS: Totals = {
  ordersPlaced: 0,
  ordersDelivered: 0,
  ordersCancelled: 0,
  ordersOpen: 0,
  offersMade: 0,
  fixes: 0,
  settledXaf: 0,
  ridersOnline: 0,
};

export function sampleArea(riders: RiderSnapshot[], orders: OrderSnapshot[], ts = 1_000_000): AreaSnapshot {
  return { riders, orders, totals: ZERO_TOTALS, ts };
}

export function sampleOrder(version: number, changes: Partial<OrderSnapshot> = {}): OrderSnapshot {
  return {
    orderId: "ord_1",
    orderType: "FOOD",
    status: "PENDING",
    pickup: AKWA,
    dropoff: BALI,
    total: 4_500,
    version,
    updatedAt: 1_000_000 + version,
    ...changes,
  };
}
