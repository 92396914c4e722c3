/** Connection status: whether the data is live, and how old it is if not. */

import type { ConnectionState } from "../ops-connection";
import { formatAge } from "../format";
import { byId, setText } from "./dom";

const STATE_LABEL: Record<ConnectionState, string> = {
  idle: "Not connected",
  connecting: "Connecting …",
  live: "Live",
  lost: "Reconnecting …",
};
/** Deltas come about once a second; after this long without one the data is stale. */
const STALE_MS = 5_000;
const STEP_MS = 10_000;

export class ConnectionStatus {
  private readonly root = byId("link");
  private readonly text = this.root.lastElementChild!;
  private state: ConnectionState = "idle";
  private note = "";
  private lastUpdateMs: number | null = null;

  set(state: ConnectionState, note: string, nowMs: number): void {
    this.state = state;
    this.note = note;
    this.show(nowMs);
  }

  onUpdate(nowMs: number): void {
    this.lastUpdateMs = nowMs;
    this.root.dataset["beat"] = this.root.dataset["beat"] === "0" ? "1" : "0";
    this.note = "";
    this.show(nowMs);
  }

  show(nowMs: number): void {
    const silentMs = this.lastUpdateMs === null ? 0 : nowMs - this.lastUpdateMs;
    const isStale = this.state === "live" && silentMs > STALE_MS;
    this.root.dataset["state"] = isStale ? "stale" : this.state;
    const notes = [isStale ? "No updates" : STATE_LABEL[this.state]];
    if (this.note) notes.push(this.note.replaceAll("_", " "));
    if (silentMs > STALE_MS) notes.push(`data is ${staleFor(silentMs)} old`);
    setText(this.text, notes.join(" · "));
  }
}

/** Age in steps, because a screen reader announces every change. */
function staleFor(silentMs: number): string {
  return silentMs < STEP_MS ? formatAge(0, STALE_MS) : formatAge(0, silentMs - (silentMs % STEP_MS));
}
