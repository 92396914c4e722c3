/** The rider or order that the operator has selected. */

import type { Alert } from "./wire";

export interface Selection {
  kind: "rider" | "order";
  id: string;
}

export function isSameSelection(a: Selection | null, b: Selection | null): boolean {
  return a?.kind === b?.kind && a?.id === b?.id;
}

/** What an alert is about, null where it is about neither an order nor a rider. */
export function selectionOf(alert: Alert): Selection | null {
  if (alert.orderId) return { kind: "order", id: alert.orderId };
  return alert.riderId ? { kind: "rider", id: alert.riderId } : null;
}
