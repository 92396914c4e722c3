/** What happened to an order between two of its states, as text. */

import type { Order } from "./model";
import { shortenId } from "./format";

export type OrderChangeKind =
  | "placed"
  | "status"
  | "offered"
  | "no_rider"
  | "assigned"
  | "arrived"
  | "delivered"
  | "settled"
  | "closed";

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
/** Statuses with a kind of their own; all others are shown as `A → B`. */
const KIND_OF_STATUS: Record<string, OrderChangeKind> = {
  DELIVERED: "delivered",
  FUNDS_DISTRIBUTED: "settled",
  REJECTED: "closed",
  CANCELLED: "closed",
};

export function placedChange(order: Order): OrderChange {
  return { kind: "placed", order, text: "placed", ts: order.updatedAt };
}

/** The changes, in the order in which they must have happened. */
export function diffOrder(before: Order, after: Order): OrderChange[] {
  const changes: OrderChange[] = [];
  const add = (kind: OrderChangeKind, text: string) =>
    changes.push({ kind, order: after, text, ts: after.updatedAt });
  if (before.status !== after.status) {
    const text = END_TEXT[after.status] ?? `${before.status} → ${after.status}`;
    add(KIND_OF_STATUS[after.status] ?? "status", text);
  }
  const newlyOffered = after.offeredTo.filter((rider) => !before.offeredTo.includes(rider));
  if (newlyOffered.length === 1) add("offered", `offered to ${shortenId(newlyOffered[0]!)}`);
  if (newlyOffered.length > 1) add("offered", `offered to ${newlyOffered.length} riders`);
  if (before.riderId !== after.riderId && after.riderId) {
    add("assigned", `assigned to ${shortenId(after.riderId)}`);
  } else if (before.riderId && !after.riderId) {
    add("status", `given back by ${shortenId(before.riderId)}`);
  }
  if (before.dispatch !== after.dispatch) {
    if (after.dispatch === "AT_PICKUP") add("arrived", "rider at the pickup");
    if (after.dispatch === "AT_DROPOFF") add("arrived", "rider at the door");
    if (after.dispatch === "EXHAUSTED") add("no_rider", "no rider found");
  }
  return changes;
}
