/** Tiles with the server's counters. */

import type { Totals } from "../wire";
import { formatWhole } from "../format";
import { byId, createElement, setText } from "./dom";

const TILES: [name: keyof Totals, label: string][] = [
  ["ordersOpen", "Open orders"],
  ["ridersOnline", "Riders online"],
  ["offersMade", "Offers made"],
  ["ordersPlaced", "Placed"],
  ["ordersDelivered", "Delivered"],
  ["ordersCancelled", "Cancelled"],
];

export class Counters {
  private readonly values = new Map<keyof Totals, HTMLElement>();

  constructor() {
    const root = byId("counters");
    for (const [name, label] of TILES) {
      const value = createElement("dd", { "data-counter": name }, "–");
      this.values.set(name, value);
      root.append(createElement("div", {}, createElement("dt", {}, label), value));
    }
  }

  show(totals: Totals): void {
    for (const [name, value] of this.values) setText(value, formatWhole(totals[name]));
  }
}
