/** On a phone the panel is a sheet at the bottom: its grip opens and closes it. */

import { byId } from "./dom";

export const NARROW_SCREEN = matchMedia("(max-width: 760px)");

export class BottomSheet {
  private readonly panel = byId("panel");
  private readonly grip = byId<HTMLButtonElement>("grip");

  constructor(private readonly onChange: () => void) {
    this.grip.addEventListener("click", () => this.toggle(!this.isOpen()));
    NARROW_SCREEN.addEventListener("change", () => this.onChange());
  }

  /** Show the map again, e.g. to see what was just picked in a list. */
  close(): void {
    if (NARROW_SCREEN.matches && this.isOpen()) this.toggle(false);
  }

  private isOpen(): boolean {
    return this.grip.getAttribute("aria-expanded") === "true";
  }

  private toggle(isOpen: boolean): void {
    this.grip.setAttribute("aria-expanded", String(isOpen));
    this.grip.lastElementChild!.textContent = isOpen ? "Hide the lists" : "Show the lists";
    this.panel.classList.toggle("open", isOpen);
    this.onChange();
  }
}
