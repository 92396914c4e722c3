/** On a narrow screen the panel is a sheet at the bottom, which its handle opens and closes. */

import { byId } from "./dom";

export const NARROW_SCREEN = matchMedia("(max-width: 760px)");

export class BottomSheet {
  private readonly panel = byId("panel");
  private readonly handle = byId<HTMLButtonElement>("sheet-handle");

  constructor(private readonly onChange: () => void) {
    this.handle.addEventListener("click", () => this.toggle(!this.isOpen()));
    NARROW_SCREEN.addEventListener("change", () => this.onChange());
  }

  /** Show the map again, e.g. after a selection in a list. */
  close(): void {
    if (NARROW_SCREEN.matches && this.isOpen()) this.toggle(false);
  }

  private isOpen(): boolean {
    return this.handle.getAttribute("aria-expanded") === "true";
  }

  private toggle(isOpen: boolean): void {
    this.handle.setAttribute("aria-expanded", String(isOpen));
    this.handle.lastElementChild!.textContent = isOpen ? "Hide the lists" : "Show the lists";
    this.panel.classList.toggle("open", isOpen);
    this.onChange();
  }
}
