/** Labels of statuses, states and services. */

export const STATUS_LABEL: Record<string, string> = {
  PENDING: "Placed",
  ACCEPTED: "Accepted",
  PREPARING: "Preparing",
  READY: "Ready for pickup",
  IN_TRANSIT: "On the way",
  DELIVERED: "Delivered",
  FUNDS_DISTRIBUTED: "Settled",
  REJECTED: "Rejected",
  CANCELLED: "Cancelled",
};

export const DISPATCH_LABEL: Record<string, string> = {
  SEARCHING: "searching a rider",
  OFFERED: "offered",
  ASSIGNED: "rider is coming",
  AT_PICKUP: "rider at the pickup",
  PICKED_UP: "picked up",
  AT_DROPOFF: "rider at the door",
  DONE: "done",
  EXHAUSTED: "no rider found",
};

export const DUTY_LABEL: Record<string, string> = { off: "Off duty", idle: "Free", busy: "Carrying" };
export const FRESHNESS_LABEL: Record<string, string> = {
  live: "live",
  stale: "no fix for a while",
  lost: "signal lost",
};
export const SERVICE_LABEL: Record<string, string> = { FOOD: "Food", MART: "Mart", PACKAGE: "Package" };
