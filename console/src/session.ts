/** Where the operator's token comes from and where it is kept: this tab, until it is closed. */

const KEY = "reeyo.token";

/** `fetch`: a server under --dev hands one out, a new one whenever it is asked. */
export type Session = { source: "fetch" } | { source: "pasted"; token: string } | { source: "none" };

/** Find the session: the address (`#token=…`, removed from it), this tab, the server. */
export function findSession(): Session {
  const given = tokenFromUrl();
  if (given) return storeSession(given);
  const kept = sessionStorage.getItem(KEY);
  if (kept) return { source: "pasted", token: kept };
  const marker = document.querySelector<HTMLMetaElement>('meta[name="reeyo-session"]');
  return marker?.content === "fetch" ? { source: "fetch" } : { source: "none" };
}

export function storeSession(token: string): Session {
  sessionStorage.setItem(KEY, token);
  return { source: "pasted", token };
}

export function clearSession(): void {
  sessionStorage.removeItem(KEY);
}

/** A token to connect with, fresh where the server hands them out. */
export async function currentToken(session: Session): Promise<string> {
  if (session.source === "pasted") return session.token;
  if (session.source === "none") return "";
  const response = await fetch("session.json", { cache: "no-store" });
  if (!response.ok) throw new Error(`session.json answered ${response.status}`);
  const body = (await response.json()) as { token: string };
  return body.token;
}

function tokenFromUrl(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
  return token.trim() || null;
}
