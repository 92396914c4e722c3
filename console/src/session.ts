/** The operator's session: its token comes from the URL, this tab or the server. */

const KEY = "reeyo.token";

/** `fetch`: a server under --dev issues a new token on every request. */
export type Session = { source: "fetch" } | { source: "pasted"; token: string } | { source: "none" };

/** Find the session: `#token=…` in the URL (removed from it), this tab's storage, the server. */
export function findSession(): Session {
  const fromUrl = tokenFromUrl();
  if (fromUrl) return storeSession(fromUrl);
  const stored = sessionStorage.getItem(KEY);
  if (stored) return { source: "pasted", token: stored };
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

/** The token to connect with; a new one if the server issues them. */
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
