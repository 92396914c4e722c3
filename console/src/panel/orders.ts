/** The list of orders, the newest first. */

import { isOpen, type Order } from "../city";
import { statusColor } from "../look";
import { DISPATCH_WORD, STATUS_WORD, age, money, shortId } from "../words";
import { byId } from "./dom";
import { FilterList, type Filter } from "./list";

const IN_KITCHEN = new Set(["ACCEPTED", "PREPARING", "READY"]);
const STOPPED = new Set(["REJECTED", "CANCELLED"]);
const SEARCHING = new Set(["SEARCHING", "OFFERED", "EXHAUSTED"]);

const FILTERS: Filter<Order>[] = [
  { name: "Open", takes: isOpen },
  { name: "Waiting", takes: (order) => order.status === "PENDING" },
  { name: "Kitchen", takes: (order) => IN_KITCHEN.has(order.status) },
  { name: "No rider yet", takes: (order) => isOpen(order) && SEARCHING.has(order.dispatch ?? "") },
  { name: "On the way", takes: (order) => order.status === "IN_TRANSIT" },
  { name: "Done", takes: (order) => !isOpen(order) && !STOPPED.has(order.status) },
  { name: "Called off", takes: (order) => STOPPED.has(order.status) },
];

export class OrderList {
  private readonly list: FilterList<Order>;
  private nowMs = 0;

  constructor(onPick: (orderId: string) => void) {
    this.list = new FilterList<Order>({
      root: byId("orders"),
      filters: FILTERS,
      placeholder: "Find an order or a rider",
      row: (order) => this.row(order),
      onPick,
    });
  }

  show(orders: Iterable<Order>, nowMs: number): void {
    this.nowMs = nowMs;
    this.list.show([...orders].sort((a, b) => b.seenAt - a.seenAt || (a.id < b.id ? 1 : -1)));
  }

  pick(orderId: string | null): void {
    this.list.pick(orderId);
  }

  private row(order: Order) {
    const status = STATUS_WORD[order.status] ?? order.status;
    return {
      key: order.id,
      color: statusColor(order.status),
      title: shortId(order.id),
      side: money(order.total),
      note: `${status} · ${search(order)}${age(order.updatedAt, this.nowMs)}`,
      words: `${order.id} ${order.riderId ?? ""} ${status} ${order.type}`,
    };
  }
}

/** How the search stands, as far as the status does not say it. */
function search(order: Order): string {
  if (!isOpen(order) || order.dispatch === null) return "";
  if (order.dispatch === "OFFERED") return `offered to ${order.offeredTo.length} · `;
  const rider = order.riderId ? `${shortId(order.riderId)} · ` : "";
  return rider || `${DISPATCH_WORD[order.dispatch] ?? order.dispatch} · `;
}
