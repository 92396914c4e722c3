/** Numbers, money, ids and times as text. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function formatWhole(value: number): string {
  return WHOLE.format(value);
}

export function formatXaf(xaf: number): string {
  return `${WHOLE.format(xaf)} XAF`;
}

/** Long ids differ at their end: `ord_0193…a41f` is `ord_…9fa41f`. */
export function shortenId(id: string): string {
  if (id.length <= 14) return id;
  const prefix = id.includes("_") ? `${id.split("_", 1)[0]}_` : "";
  return `${prefix}…${id.slice(-6)}`;
}

/** Time since a moment, in one unit. Units: ms. */
export function formatAge(sinceMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - sinceMs) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export function formatTime(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}
