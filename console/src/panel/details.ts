/** The card about the rider or the order that is picked. */

import { isOpen, type City, type Order, type Rider } from "../city";
import { DUTY_COLOR, UNKNOWN_COLOR, statusColor, type Target } from "../look";
import * as words from "../words";
import { byId, make } from "./dom";

export interface Hooks {
  onPick(target: Target): void;
  onFollow(): void;
  onClose(): void;
}

type Value = string | Target[];

/** Source: wire contract, order states. */
const STEPS = [
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
  private readonly mark = make("i", { class: "mark" });
  private readonly title = make("h2");
  private readonly kind = make("p");
  private readonly steps = make("ol", { class: "steps", "aria-label": "Progress" });
  private readonly facts = make("dl");
  private readonly followButton = make("button", { type: "button", class: "quiet" }, "Follow");
  private target: Target | null = null;
  private written = "";

  constructor(
    private readonly city: City,
    private readonly hooks: Hooks,
  ) {
    const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => hooks.onClose());
    this.followButton.addEventListener("click", () => hooks.onFollow());
    const head = make("header", {}, this.mark, make("div", {}, this.title, this.kind), close);
    this.root.append(head, this.steps, this.facts, this.followButton);
  }

  pick(target: Target | null): void {
    this.target = target;
    this.written = "";
    this.root.hidden = target === null;
  }

  follow(isFollowing: boolean): void {
    this.followButton.setAttribute("aria-pressed", String(isFollowing));
    this.followButton.textContent = isFollowing ? "Following" : "Follow";
  }

  show(nowMs: number): void {
    if (!this.target) return;
    const { kind, id } = this.target;
    const rider = kind === "rider" ? this.city.riders.get(id) : undefined;
    const order = kind === "order" ? this.city.orders.get(id) : undefined;
    this.followButton.hidden = !rider && !(order && isOpen(order));
    if (rider) return this.showRider(rider, nowMs);
    if (order) return this.showOrder(order, nowMs);
    this.head(UNKNOWN_COLOR, id, "Not on the map any more");
    this.progress(null);
    this.write([]);
  }

  private showRider(rider: Rider, nowMs: number): void {
    const color = DUTY_COLOR[rider.duty] ?? UNKNOWN_COLOR;
    this.head(color, rider.id, `Rider · ${words.DUTY_WORD[rider.duty] ?? rider.duty}`);
    this.progress(null);
    const orders = [...this.city.orders.values()].filter(isOpen);
    const carries = orders.filter((order) => order.riderId === rider.id);
    const asked = orders.filter((order) => order.offeredTo.includes(rider.id));
    const speed = rider.speed === null ? null : rider.speed * METRES_PER_S_IN_KM_PER_H;
    this.write([
      ["Signal", words.STATE_WORD[rider.state] ?? rider.state],
      ["Last fix", `${words.age(rider.ts, nowMs)} ago`],
      ["Speed", speed === null ? "–" : `${words.whole(speed)} km/h`],
      ["Position", `${rider.at.lat.toFixed(4)} N, ${rider.at.lng.toFixed(4)} E`],
      ["Orders", targets("order", carries.map((order) => order.id))],
      ["Asked for", targets("order", asked.map((order) => order.id))],
    ]);
  }

  private showOrder(order: Order, nowMs: number): void {
    const service = words.SERVICE_WORD[order.type] ?? order.type;
    const status = words.STATUS_WORD[order.status] ?? order.status;
    this.head(statusColor(order.status), order.id, `${service} order · ${status}`);
    this.progress(order);
    const dispatch = order.dispatch ?? "";
    this.write([
      ["Total", words.money(order.total)],
      ["Dispatch", words.DISPATCH_WORD[dispatch] ?? (dispatch || "not begun")],
      ["Rider", targets("rider", order.riderId ? [order.riderId] : [])],
      ["Offered to", targets("rider", order.offeredTo)],
      ["Changed", `${words.age(order.updatedAt, nowMs)} ago`],
    ]);
  }

  private head(color: string, id: string, kind: string): void {
    this.mark.style.background = color;
    this.title.textContent = words.shortId(id);
    this.title.title = id;
    this.kind.textContent = kind;
  }

  private progress(order: Order | null): void {
    const reached = order ? STEPS.indexOf(order.status) : -1;
    this.steps.hidden = reached < 0;
    if (reached < 0) return;
    const items = STEPS.map((status, i) => {
      const done = i < reached ? "done" : i === reached ? "now" : "ahead";
      const item = make("li", { "data-step": done, title: words.STATUS_WORD[status] ?? status });
      if (done === "now") item.setAttribute("aria-current", "step");
      item.append(make("span", { class: "unseen" }, words.STATUS_WORD[status] ?? status));
      return item;
    });
    this.steps.style.setProperty("--tone", statusColor(order!.status));
    this.steps.replaceChildren(...items);
  }

  /** Rows without a value are left out. Unchanged facts keep their elements, and the focus in them. */
  private write(facts: [name: string, value: Value][]): void {
    const text = JSON.stringify(facts);
    if (text === this.written) return;
    this.written = text;
    const focused = document.activeElement?.getAttribute("data-target");
    this.facts.replaceChildren(
      ...facts
        .filter(([, value]) => value.length > 0)
        .map(([name, value]) => make("div", {}, make("dt", {}, name), this.value(value))),
    );
    if (focused) this.facts.querySelector<HTMLElement>(`[data-target="${focused}"]`)?.focus();
  }

  private value(value: Value): HTMLElement {
    if (typeof value === "string") return make("dd", {}, value);
    const buttons = value.map((target) => {
      const attributes = { type: "button", class: "link", "data-target": target.id };
      const button = make("button", attributes, words.shortId(target.id));
      button.addEventListener("click", () => this.hooks.onPick(target));
      return button;
    });
    return make("dd", {}, ...buttons);
  }
}

function targets(kind: Target["kind"], ids: string[]): Target[] {
  return ids.map((id) => ({ kind, id }));
}
