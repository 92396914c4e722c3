/** List of orders, the newest first. */

import { isOpen, type Order } from "../model";
import { statusColor } from "../colors";
import { DISPATCH_LABEL, STATUS_LABEL } from "../labels";
import { formatAge, formatXaf, shortenId } from "../format";
import { byId } from "./dom";
import { FilterList, type Filter } from "./filter-list";

const PREPARING_STATUSES = new Set(["ACCEPTED", "PREPARING", "READY"]);
const CANCELLED_STATUSES = new Set(["REJECTED", "CANCELLED"]);
const SEARCHING_STATES = new Set(["SEARCHING", "OFFERED", "EXHAUSTED"]);

const FILTERS: Filter<Order>[] = [
  { name: "Open", matches: isOpen },
  { name: "Waiting", matches: (order) => order.status === "PENDING" },
  { name: "Kitchen", matches: (order) => PREPARING_STATUSES.has(order.status) },
  { name: "No rider yet", matches: (order) => isOpen(order) && SEARCHING_STATES.has(order.dispatch ?? "") },
  { name: "On the way", matches: (order) => order.status === "IN_TRANSIT" },
  { name: "Done", matches: (order) => !isOpen(order) && !CANCELLED_STATUSES.has(order.status) },
  { name: "Cancelled", matches: (order) => CANCELLED_STATUSES.has(order.status) },
];

export class OrderList {
  private readonly list: FilterList<Order>;
  private nowMs = 0;

  constructor(onSelect: (orderId: string) => void) {
    this.list = new FilterList<Order>({
      root: byId("orders"),
      filters: FILTERS,
      placeholder: "Find an order or a rider",
      row: (order) => this.row(order),
      onSelect,
    });
  }

  show(orders: Iterable<Order>, nowMs: number): void {
    this.nowMs = nowMs;
    this.list.show([...orders].sort((a, b) => b.firstSeenMs - a.firstSeenMs || (a.id < b.id ? 1 : -1)));
  }

  select(orderId: string | null): void {
    this.list.select(orderId);
  }

  private row(order: Order) {
    const status = STATUS_LABEL[order.status] ?? order.status;
    return {
      key: order.id,
      color: statusColor(order.status),
      title: shortenId(order.id),
      aside: formatXaf(order.total),
      note: `${status} · ${dispatchText(order)}${formatAge(order.updatedAt, this.nowMs)}`,
      searchText: `${order.id} ${order.riderId ?? ""} ${status} ${order.type}`,
    };
  }
}

/** The dispatch state, unless the status already shows it. */
function dispatchText(order: Order): string {
  if (!isOpen(order) || order.dispatch === null) return "";
  if (order.dispatch === "OFFERED") return `offered to ${order.offeredTo.length} · `;
  const rider = order.riderId ? `${shortenId(order.riderId)} · ` : "";
  return rider || `${DISPATCH_LABEL[order.dispatch] ?? order.dispatch} · `;
}
