/** List of alerts, the newest at the top, with a count of new ones on its tab. */

import { AlertHistory } from "../alert-history";
import { formatTime, shortenId } from "../format";
import { selectionOf, type Selection } from "../selection";
import type { Alert } from "../wire";
import { byId, createElement } from "./dom";

/** Older lines are removed at the bottom. */
const LINES_MAX = 200;

export class AlertList {
  private readonly panel = byId("alerts");
  private readonly list = createElement("ol", { "aria-label": "Alerts, the latest first" });
  private readonly empty = createElement("p", { class: "list-footer" }, "No alerts");
  private readonly badge = createElement("b", { class: "badge" });
  private readonly history = new AlertHistory();

  constructor(private readonly onSelect: (target: Selection) => void) {
    this.panel.append(this.empty, this.list);
    byId("tab-alerts").append(this.badge);
    this.showCount();
  }

  /** Add an alert; whether it is new here. */
  add(alert: Alert): boolean {
    if (!this.history.add(alert)) return false;
    this.empty.hidden = true;
    this.list.prepend(this.line(alert));
    while (this.list.childElementCount > LINES_MAX) this.list.lastElementChild?.remove();
    this.showCount();
    return true;
  }

  /** Count the alerts as seen where the list is shown. */
  showCount(): void {
    if (!this.panel.hidden) this.history.markSeen();
    const { unseen } = this.history;
    this.badge.hidden = unseen === 0;
    this.badge.textContent = unseen > 99 ? "99+" : String(unseen);
    this.badge.setAttribute("aria-label", `${unseen} new`);
  }

  private line(alert: Alert): HTMLLIElement {
    const subject = alert.orderId ?? alert.riderId;
    const button = createElement(
      "button",
      { type: "button", class: "event alert", "data-kind": alert.kind },
      createElement("i"),
      createElement("time", {}, formatTime(alert.ts ?? 0)),
      createElement(
        "span",
        {},
        createElement("strong", {}, alert.kind.replaceAll("_", " ")),
        subject ? ` ${shortenId(subject)} · ${alert.message}` : ` ${alert.message}`,
      ),
    );
    const target = selectionOf(alert);
    if (target) button.addEventListener("click", () => this.onSelect(target));
    else button.disabled = true;
    return createElement("li", {}, button);
  }
}
