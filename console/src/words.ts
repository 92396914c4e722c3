/** Words and figures for people: names of states, ids in short, money, ages. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const STATUS_WORD: Record<string, string> = {
  PENDING: "Placed",
  ACCEPTED: "Accepted",
  PREPARING: "Preparing",
  READY: "Ready for pickup",
  IN_TRANSIT: "On the way",
  DELIVERED: "Delivered",
  FUNDS_DISTRIBUTED: "Settled",
  REJECTED: "Rejected",
  CANCELLED: "Cancelled",
};

export const DISPATCH_WORD: Record<string, string> = {
  SEARCHING: "searching a rider",
  OFFERED: "offered",
  ASSIGNED: "rider is coming",
  AT_PICKUP: "rider at the pickup",
  PICKED_UP: "picked up",
  AT_DROPOFF: "rider at the door",
  DONE: "done",
  EXHAUSTED: "no rider found",
};

export const DUTY_WORD: Record<string, string> = { off: "Off duty", idle: "Free", busy: "Carrying" };
export const STATE_WORD: Record<string, string> = {
  live: "live",
  stale: "no fix for a while",
  lost: "signal lost",
};
export const SERVICE_WORD: Record<string, string> = { FOOD: "Food", MART: "Mart", PACKAGE: "Package" };

export function whole(value: number): string {
  return WHOLE.format(value);
}

export function money(xaf: number): string {
  return `${WHOLE.format(xaf)} XAF`;
}

/** Long ids differ at their end: `ord_0193…a41f` is `ord_…9fa41f`. */
export function shortId(id: string): string {
  if (id.length <= 14) return id;
  const prefix = id.includes("_") ? `${id.split("_", 1)[0]}_` : "";
  return `${prefix}…${id.slice(-6)}`;
}

/** How long ago, in one unit. */
export function age(thenMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - thenMs) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}
