/** The newest events, as a log that grows at its top. */

import { OFFER_COLOR, statusColor } from "../look";
import type { News } from "../news";
import { clock, money, shortId } from "../words";
import { byId, make } from "./dom";

/** Older lines leave at the bottom. */
const LINES_MAX = 150;

export class EventLog {
  private readonly list = make("ol", { "aria-label": "Newest events, the latest first" });

  constructor(private readonly onPick: (orderId: string) => void) {
    byId("events").append(this.list);
  }

  add(news: News[]): void {
    if (news.length === 0) return;
    const newest = news.slice(-LINES_MAX).reverse();
    this.list.prepend(...newest.map((item) => this.line(item)));
    while (this.list.childElementCount > LINES_MAX) this.list.lastElementChild?.remove();
  }

  private line({ kind, order, text, ts }: News): HTMLLIElement {
    const mark = make("i");
    mark.style.background = kind === "offered" ? OFFER_COLOR : statusColor(order.status);
    const amount = kind === "settled" || kind === "placed" ? ` · ${money(order.total)}` : "";
    const button = make(
      "button",
      { type: "button", class: "event", "data-kind": kind },
      mark,
      make("time", {}, clock(ts)),
      make("span", {}, make("strong", {}, shortId(order.id)), ` ${text}${amount}`),
    );
    button.addEventListener("click", () => this.onPick(order.id));
    return make("li", {}, button);
  }
}
