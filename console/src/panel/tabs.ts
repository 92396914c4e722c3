/** Accessible tabs: arrow keys move the selection, one panel is shown. Source: WAI-ARIA practices, "Tabs". */

import { byId } from "./dom";

export class Tabs {
  private readonly tabs = [...byId("tabs").querySelectorAll<HTMLButtonElement>("[role=tab]")];

  constructor(private readonly onOpen: () => void) {
    this.tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.open(index));
      tab.addEventListener("keydown", (event) => this.onKey(event, index));
    });
    this.open(0);
  }

  private open(index: number): void {
    this.tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      byId(tab.getAttribute("aria-controls")!).hidden = i !== index;
    });
    this.onOpen();
  }

  private onKey(event: KeyboardEvent, index: number): void {
    const last = this.tabs.length - 1;
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const wrapped = (next + this.tabs.length) % this.tabs.length;
    this.open(wrapped);
    this.tabs[wrapped]!.focus();
  }
}
