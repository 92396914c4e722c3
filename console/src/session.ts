/** Where the operator's token comes from and where it is kept: this tab, until it is closed. */

const KEY = "reeyo.token";

/** `fetch`: a server under --dev hands one out, a new one whenever it is asked. */
export type Session = { from: "fetch" } | { from: "person"; token: string } | { from: "nobody" };

/** Find the session: the address (`#token=…`, removed from it), this tab, the server. */
export function findSession(): Session {
  const given = takeFromAddress();
  if (given) return keepSession(given);
  const kept = sessionStorage.getItem(KEY);
  if (kept) return { from: "person", token: kept };
  const marker = document.querySelector<HTMLMetaElement>('meta[name="reeyo-session"]');
  return marker?.content === "fetch" ? { from: "fetch" } : { from: "nobody" };
}

export function keepSession(token: string): Session {
  sessionStorage.setItem(KEY, token);
  return { from: "person", token };
}

export function forgetSession(): void {
  sessionStorage.removeItem(KEY);
}

/** A token to connect with, fresh where the server hands them out. */
export async function currentToken(session: Session): Promise<string> {
  if (session.from === "person") return session.token;
  if (session.from === "nobody") return "";
  const response = await fetch("session.json", { cache: "no-store" });
  if (!response.ok) throw new Error(`session.json answered ${response.status}`);
  const body = (await response.json()) as { token: string };
  return body.token;
}

function takeFromAddress(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
  return token.trim() || null;
}
