/** Card with the details of the selected rider or order. */

import type { LiveState } from "../live-state";
import { isOpen, type Order, type Rider } from "../model";
import { DUTY_COLOR, UNKNOWN_COLOR, statusColor } from "../colors";
import type { Selection } from "../selection";
import * as format from "../format";
import * as labels from "../labels";
import { byId, createElement } from "./dom";

export interface DetailsHandlers {
  onSelect(target: Selection): void;
  onFollow(): void;
  onClose(): void;
}

type Value = string | Selection[];

/** Source: docs/contract.md, order states. */
const STATUS_STEPS = [
  "PENDING",
  "ACCEPTED",
  "PREPARING",
  "READY",
  "IN_TRANSIT",
  "DELIVERED",
  "FUNDS_DISTRIBUTED",
];
const METRES_PER_S_IN_KM_PER_H = 3.6;

export class Details {
  private readonly root = byId("details");
  private readonly mark = createElement("i", { class: "mark" });
  private readonly title = createElement("h2");
  private readonly kind = createElement("p");
  private readonly steps = createElement("ol", { class: "steps", "aria-label": "Progress" });
  private readonly facts = createElement("dl");
  private readonly followButton = createElement("button", { type: "button", class: "secondary" }, "Follow");
  private target: Selection | null = null;
  private renderedText = "";

  constructor(
    private readonly state: LiveState,
    private readonly handlers: DetailsHandlers,
  ) {
    const close = createElement("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => handlers.onClose());
    this.followButton.addEventListener("click", () => handlers.onFollow());
    const head = createElement("header", {}, this.mark, createElement("div", {}, this.title, this.kind), close);
    this.root.append(head, this.steps, this.facts, this.followButton);
  }

  select(target: Selection | null): void {
    this.target = target;
    this.renderedText = "";
    this.root.hidden = target === null;
  }

  follow(isFollowing: boolean): void {
    this.followButton.setAttribute("aria-pressed", String(isFollowing));
    this.followButton.textContent = isFollowing ? "Following" : "Follow";
  }

  render(nowMs: number): void {
    if (!this.target) return;
    const { kind, id } = this.target;
    const rider = kind === "rider" ? this.state.riders.get(id) : undefined;
    const order = kind === "order" ? this.state.orders.get(id) : undefined;
    this.followButton.hidden = !rider && !(order && isOpen(order));
    if (rider) return this.showRider(rider, nowMs);
    if (order) return this.showOrder(order, nowMs);
    this.renderHeader(UNKNOWN_COLOR, id, "No longer in the watched area");
    this.renderProgress(null);
    this.renderFacts([]);
  }

  private showRider(rider: Rider, nowMs: number): void {
    const color = DUTY_COLOR[rider.duty] ?? UNKNOWN_COLOR;
    this.renderHeader(color, rider.id, `Rider · ${labels.DUTY_LABEL[rider.duty] ?? rider.duty}`);
    this.renderProgress(null);
    const orders = [...this.state.orders.values()].filter(isOpen);
    const carried = orders.filter((order) => order.riderId === rider.id);
    const offered = orders.filter((order) => order.offeredTo.includes(rider.id));
    const speed = rider.speedMps === null ? null : rider.speedMps * METRES_PER_S_IN_KM_PER_H;
    this.renderFacts([
      ["Signal", labels.FRESHNESS_LABEL[rider.state] ?? rider.state],
      ["Last fix", `${format.formatAge(rider.ts, nowMs)} ago`],
      ["Speed", speed === null ? "–" : `${format.formatWhole(speed)} km/h`],
      ["Position", `${rider.position.lat.toFixed(4)} N, ${rider.position.lng.toFixed(4)} E`],
      ["Orders", selections("order", carried.map((order) => order.id))],
      ["Offered", selections("order", offered.map((order) => order.id))],
    ]);
  }

  private showOrder(order: Order, nowMs: number): void {
    const service = labels.SERVICE_LABEL[order.type] ?? order.type;
    const status = labels.STATUS_LABEL[order.status] ?? order.status;
    this.renderHeader(statusColor(order.status), order.id, `${service} order · ${status}`);
    this.renderProgress(order);
    const dispatch = order.dispatch ?? "";
    this.renderFacts([
      ["Total", format.formatXaf(order.total)],
      ["Dispatch", labels.DISPATCH_LABEL[dispatch] ?? (dispatch || "not begun")],
      ["Rider", selections("rider", order.riderId ? [order.riderId] : [])],
      ["Offered to", selections("rider", order.offeredTo)],
      ["Changed", `${format.formatAge(order.updatedAt, nowMs)} ago`],
    ]);
  }

  private renderHeader(color: string, id: string, kind: string): void {
    this.mark.style.background = color;
    this.title.textContent = format.shortenId(id);
    this.title.title = id;
    this.kind.textContent = kind;
  }

  private renderProgress(order: Order | null): void {
    const reached = order ? STATUS_STEPS.indexOf(order.status) : -1;
    this.steps.hidden = reached < 0;
    if (reached < 0) return;
    const items = STATUS_STEPS.map((status, i) => {
      const done = i < reached ? "done" : i === reached ? "now" : "ahead";
      const item = createElement("li", { "data-step": done, title: labels.STATUS_LABEL[status] ?? status });
      if (done === "now") item.setAttribute("aria-current", "step");
      item.append(createElement("span", { class: "visually-hidden" }, labels.STATUS_LABEL[status] ?? status));
      return item;
    });
    this.steps.style.setProperty("--tone", statusColor(order!.status));
    this.steps.replaceChildren(...items);
  }

  /** Rows without a value are left out. Unchanged facts keep their elements and the focus. */
  private renderFacts(facts: [name: string, value: Value][]): void {
    const text = JSON.stringify(facts);
    if (text === this.renderedText) return;
    this.renderedText = text;
    const focused = document.activeElement?.getAttribute("data-target");
    this.facts.replaceChildren(
      ...facts
        .filter(([, value]) => value.length > 0)
        .map(([name, value]) => createElement("div", {}, createElement("dt", {}, name), this.renderValue(value))),
    );
    if (focused) this.facts.querySelector<HTMLElement>(`[data-target="${focused}"]`)?.focus();
  }

  private renderValue(value: Value): HTMLElement {
    if (typeof value === "string") return createElement("dd", {}, value);
    const buttons = value.map((target) => {
      const attributes = { type: "button", class: "link", "data-target": target.id };
      const button = createElement("button", attributes, format.shortenId(target.id));
      button.addEventListener("click", () => this.handlers.onSelect(target));
      return button;
    });
    return createElement("dd", {}, ...buttons);
  }
}

function selections(kind: Selection["kind"], ids: string[]): Selection[] {
  return ids.map((id) => ({ kind, id }));
}
