/** Alerts, as cards that leave by themselves unless somebody is reading them. */

import type { Target } from "../look";
import type { Alert } from "../wire";
import { byId, make } from "./dom";

const STAY_MS = 9_000;
/** The oldest gives way. */
const TOASTS_MAX = 4;

export class Toasts {
  private readonly root = byId("toasts");

  constructor(private readonly onPick: (target: Target) => void) {}

  show(alert: Alert): void {
    const toast = make("div", { class: "toast card", "data-kind": alert.kind });
    const words = make("p", {}, make("strong", {}, alert.kind.replaceAll("_", " ")), alert.message);
    toast.append(make("i"), words);
    const target = targetOf(alert);
    if (target) {
      const show = make("button", { type: "button", class: "quiet" }, "Show");
      show.addEventListener("click", () => this.onPick(target));
      toast.append(show);
    }
    const close = make("button", { type: "button", class: "close", "aria-label": "Dismiss" }, "×");
    close.addEventListener("click", () => toast.remove());
    toast.append(close);
    this.root.append(toast);
    while (this.root.childElementCount > TOASTS_MAX) this.root.firstElementChild?.remove();
    leaveLater(toast);
  }
}

function leaveLater(toast: HTMLElement): void {
  window.setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) return leaveLater(toast);
    toast.remove();
  }, STAY_MS);
}

function targetOf(alert: Alert): Target | null {
  if (alert.orderId) return { kind: "order", id: alert.orderId };
  return alert.riderId ? { kind: "rider", id: alert.riderId } : null;
}
