/** Alerts as toasts, which disappear unless hovered or focused; the list of alerts keeps them. */

import { selectionOf, type Selection } from "../selection";
import type { Alert } from "../wire";
import { byId, createElement } from "./dom";

const VISIBLE_MS = 9_000;
/** The oldest is removed first. */
const TOASTS_MAX = 4;

export class Toasts {
  private readonly root = byId("toasts");

  constructor(private readonly onSelect: (target: Selection) => void) {}

  show(alert: Alert): void {
    const toast = createElement("div", { class: "toast card", "data-kind": alert.kind });
    const message = createElement("p", {}, createElement("strong", {}, alert.kind.replaceAll("_", " ")), alert.message);
    toast.append(createElement("i"), message);
    const target = selectionOf(alert);
    if (target) {
      const show = createElement("button", { type: "button", class: "secondary" }, "Show");
      show.addEventListener("click", () => this.onSelect(target));
      toast.append(show);
    }
    const close = createElement("button", { type: "button", class: "close", "aria-label": "Dismiss" }, "×");
    close.addEventListener("click", () => toast.remove());
    toast.append(close);
    this.root.append(toast);
    while (this.root.childElementCount > TOASTS_MAX) this.root.firstElementChild?.remove();
    removeLater(toast);
  }
}

function removeLater(toast: HTMLElement): void {
  window.setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) return removeLater(toast);
    toast.remove();
  }, VISIBLE_MS);
}
