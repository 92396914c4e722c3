/** Colors of statuses, duties and offers, the same on the map and in the lists. */

export const STATUS_COLOR: Record<string, string> = {
  PENDING: "#f472b6",
  ACCEPTED: "#d08bfa",
  PREPARING: "#a78bfa",
  READY: "#8096ff",
  IN_TRANSIT: "#38bdf8",
  DELIVERED: "#4ade80",
  FUNDS_DISTRIBUTED: "#34d399",
  REJECTED: "#fb7185",
  CANCELLED: "#fb7185",
};
export const DUTY_COLOR: Record<string, string> = {
  idle: "#86efc5",
  busy: "#ffb83d",
  off: "#7b8aa0",
};
export const OFFER_COLOR = "#fde047";
export const SETTLED_COLOR = "#34d399";
export const UNKNOWN_COLOR = "#94a3b8";

export function statusColor(status: string): string {
  return STATUS_COLOR[status] ?? UNKNOWN_COLOR;
}
