/** Whether the picture is live, and how old it is if not. */

import type { LinkState } from "../link";
import { age } from "../words";
import { byId, say } from "./dom";

const WORD: Record<LinkState, string> = {
  idle: "Not connected",
  connecting: "Connecting …",
  live: "Live",
  lost: "Reconnecting …",
};
/** Deltas come about once a second; after this long without one it is not live. */
const QUIET_MS = 5_000;
const STEP_MS = 10_000;

export class Status {
  private readonly root = byId("link");
  private readonly text = this.root.lastElementChild!;
  private state: LinkState = "idle";
  private note = "";
  private heardMs: number | null = null;

  set(state: LinkState, note: string, nowMs: number): void {
    this.state = state;
    this.note = note;
    this.show(nowMs);
  }

  heard(nowMs: number): void {
    this.heardMs = nowMs;
    this.root.dataset["beat"] = this.root.dataset["beat"] === "0" ? "1" : "0";
    this.note = "";
    this.show(nowMs);
  }

  show(nowMs: number): void {
    const silentMs = this.heardMs === null ? 0 : nowMs - this.heardMs;
    const isQuiet = this.state === "live" && silentMs > QUIET_MS;
    this.root.dataset["state"] = isQuiet ? "quiet" : this.state;
    const notes = [isQuiet ? "No news" : WORD[this.state]];
    if (this.note) notes.push(this.note.replaceAll("_", " "));
    if (silentMs > QUIET_MS) notes.push(`picture is ${oldness(silentMs)} old`);
    say(this.text, notes.join(" · "));
  }
}

/** In steps, because it is read aloud whenever it changes. */
function oldness(silentMs: number): string {
  return silentMs < STEP_MS ? age(0, QUIET_MS) : age(0, silentMs - (silentMs % STEP_MS));
}
