/** What happened to an order, told from how it stood before and how it stands now. */

import type { Order } from "./model";
import { shortenId } from "./format";

export type OrderChangeKind =
  | "placed"
  | "status"
  | "offered"
  | "unserved"
  | "assigned"
  | "reached"
  | "delivered"
  | "settled"
  | "stopped";

export interface OrderChange {
  kind: OrderChangeKind;
  order: Order;
  text: string;
  /** Unix ms. */
  ts: number;
}

const END_TEXT: Record<string, string> = {
  DELIVERED: "delivered",
  FUNDS_DISTRIBUTED: "settled",
};
/** The statuses that end as a kind of their own; all others are told as `A → B`. */
const KIND_OF_STATUS: Record<string, OrderChangeKind> = {
  DELIVERED: "delivered",
  FUNDS_DISTRIBUTED: "settled",
  REJECTED: "stopped",
  CANCELLED: "stopped",
};

export function placedChange(order: Order): OrderChange {
  return { kind: "placed", order, text: "placed", ts: order.updatedAt };
}

/** In the order in which they must have happened. */
export function diffOrder(before: Order, after: Order): OrderChange[] {
  const changes: OrderChange[] = [];
  const say = (kind: OrderChangeKind, text: string) =>
    changes.push({ kind, order: after, text, ts: after.updatedAt });
  if (before.status !== after.status) {
    const word = END_TEXT[after.status] ?? `${before.status} → ${after.status}`;
    say(KIND_OF_STATUS[after.status] ?? "status", word);
  }
  const asked = after.offeredTo.filter((rider) => !before.offeredTo.includes(rider));
  if (asked.length === 1) say("offered", `offered to ${shortenId(asked[0]!)}`);
  if (asked.length > 1) say("offered", `offered to ${asked.length} riders`);
  if (before.riderId !== after.riderId && after.riderId) {
    say("assigned", `assigned to ${shortenId(after.riderId)}`);
  } else if (before.riderId && !after.riderId) {
    say("status", `given back by ${shortenId(before.riderId)}`);
  }
  if (before.dispatch !== after.dispatch) {
    if (after.dispatch === "AT_PICKUP") say("reached", "rider at the pickup");
    if (after.dispatch === "AT_DROPOFF") say("reached", "rider at the door");
    if (after.dispatch === "EXHAUSTED") say("unserved", "no rider found");
  }
  return changes;
}
