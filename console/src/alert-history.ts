/** Alerts that this page has got, each once, and how many of them were not looked at yet. */

import type { Alert } from "./wire";

export class AlertHistory {
  private readonly known = new Set<string>();
  private unseenCount = 0;

  /** Alerts since the list was last shown. */
  get unseen(): number {
    return this.unseenCount;
  }

  /** Whether the alert is new: the server sends its last ones again after every reconnect. */
  add(alert: Alert): boolean {
    const key = JSON.stringify([alert.kind, alert.orderId, alert.riderId, alert.ts, alert.message]);
    if (this.known.has(key)) return false;
    this.known.add(key);
    this.unseenCount += 1;
    return true;
  }

  /** The operator has the list in front of them. */
  markSeen(): void {
    this.unseenCount = 0;
  }
}
