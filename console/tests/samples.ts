/** Dots as the server sends them. */

import type { Area, OrderDot, RiderDot, Totals } from "../src/wire";

export const AKWA = { lat: 4.049, lng: 9.701 };
export const BALI = { lat: 4.0385, lng: 9.7 };
export const NOTHING_YET: Totals = {
  ordersPlaced: 0,
  ordersDelivered: 0,
  ordersCancelled: 0,
  ordersOpen: 0,
  offersMade: 0,
  fixes: 0,
  settledXaf: 0,
  ridersOnline: 0,
};

export function area(riders: RiderDot[], orders: OrderDot[], ts = 1_000_000): Area {
  return { riders, orders, totals: NOTHING_YET, ts };
}

export function order(version: number, changes: Partial<OrderDot> = {}): OrderDot {
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
