/** What happened to an order, told from how it stood before and how it stands now. */

import type { Order } from "./city";
import { shortId } from "./words";

export type NewsKind =
  | "placed"
  | "status"
  | "offered"
  | "unserved"
  | "assigned"
  | "reached"
  | "delivered"
  | "settled"
  | "stopped";

export interface News {
  kind: NewsKind;
  order: Order;
  text: string;
  /** Unix ms. */
  ts: number;
}

const END_WORD: Record<string, string> = {
  DELIVERED: "delivered",
  FUNDS_DISTRIBUTED: "settled",
};
/** The statuses that end as a kind of their own; all others are told as `A → B`. */
const KIND_OF_STATUS: Record<string, NewsKind> = {
  DELIVERED: "delivered",
  FUNDS_DISTRIBUTED: "settled",
  REJECTED: "stopped",
  CANCELLED: "stopped",
};

export function tellPlaced(order: Order): News {
  return { kind: "placed", order, text: "placed", ts: order.updatedAt };
}

/** In the order in which they must have happened. */
export function tellChanges(before: Order, after: Order): News[] {
  const news: News[] = [];
  const say = (kind: NewsKind, text: string) =>
    news.push({ kind, order: after, text, ts: after.updatedAt });
  if (before.status !== after.status) {
    const word = END_WORD[after.status] ?? `${before.status} → ${after.status}`;
    say(KIND_OF_STATUS[after.status] ?? "status", word);
  }
  const asked = after.offeredTo.filter((rider) => !before.offeredTo.includes(rider));
  if (asked.length === 1) say("offered", `offered to ${shortId(asked[0]!)}`);
  if (asked.length > 1) say("offered", `offered to ${asked.length} riders`);
  if (before.riderId !== after.riderId && after.riderId) {
    say("assigned", `assigned to ${shortId(after.riderId)}`);
  } else if (before.riderId && !after.riderId) {
    say("status", `given back by ${shortId(before.riderId)}`);
  }
  if (before.dispatch !== after.dispatch) {
    if (after.dispatch === "AT_PICKUP") say("reached", "rider at the pickup");
    if (after.dispatch === "AT_DROPOFF") say("reached", "rider at the door");
    if (after.dispatch === "EXHAUSTED") say("unserved", "no rider found");
  }
  return news;
}
