/** Log of order changes, the newest at the top. */

import { OFFER_COLOR, statusColor } from "../colors";
import type { OrderChange } from "../order-changes";
import { formatTime, formatXaf, shortenId } from "../format";
import { byId, createElement } from "./dom";

/** Older lines are removed at the bottom. */
const LINES_MAX = 150;

export class EventLog {
  private readonly list = createElement("ol", { "aria-label": "Newest events, the latest first" });

  constructor(private readonly onSelect: (orderId: string) => void) {
    byId("events").append(this.list);
  }

  add(changes: OrderChange[]): void {
    if (changes.length === 0) return;
    const newest = changes.slice(-LINES_MAX).reverse();
    this.list.prepend(...newest.map((item) => this.line(item)));
    while (this.list.childElementCount > LINES_MAX) this.list.lastElementChild?.remove();
  }

  private line({ kind, order, text, ts }: OrderChange): HTMLLIElement {
    const mark = createElement("i");
    mark.style.background = kind === "offered" ? OFFER_COLOR : statusColor(order.status);
    const amount = kind === "settled" || kind === "placed" ? ` · ${formatXaf(order.total)}` : "";
    const button = createElement(
      "button",
      { type: "button", class: "event", "data-kind": kind },
      mark,
      createElement("time", {}, formatTime(ts)),
      createElement("span", {}, createElement("strong", {}, shortenId(order.id)), ` ${text}${amount}`),
    );
    button.addEventListener("click", () => this.onSelect(order.id));
    return createElement("li", {}, button);
  }
}
