/** The connection to /ops: it comes back by itself, and says in which state it is. */

import { io, type Socket } from "socket.io-client";
import { currentToken, type Session } from "./session";
import type { Ack, Alert, Area, Bbox } from "./wire";

export type LinkState = "idle" | "connecting" | "live" | "lost";

export interface Hooks {
  onState(state: LinkState, note: string): void;
  onSnapshot(area: Area): void;
  onDelta(area: Area): void;
  onAlert(alert: Alert): void;
  /** The token does not open this door; a person must bring another. */
  onRefused(code: string): void;
}

/** Source: wire contract, a refused connect carries one of these as its message. */
const TOKEN_CODES = new Set([
  "token_required",
  "token_invalid",
  "token_expired",
  "wrong_user_type",
]);
const ACK_TIMEOUT_MS = 8_000;
const RETRY_MS = 2_000;

export class Link {
  private socket: Socket | null = null;
  private session: Session = { from: "nobody" };
  private bbox: Bbox | null = null;
  private retryTimer: number | undefined;

  constructor(private readonly hooks: Hooks) {}

  /** Connect as the session's operator; an earlier connection ends. */
  open(session: Session): void {
    this.close();
    this.session = session;
    const socket = io("/ops", {
      // The live picture needs a WebSocket anyway; polling would only hide that one is missing.
      transports: ["websocket"],
      auth: (say) => void this.sayToken(say),
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      forceNew: true,
    });
    this.socket = socket;
    this.hooks.onState("connecting", "");
    socket.on("connect", () => this.onConnect());
    socket.on("connect_error", (error) => this.onConnectError(error));
    socket.on("disconnect", (reason) => this.onDisconnect(reason));
    socket.on("area_delta", (area: Area) => this.hooks.onDelta(area));
    socket.on("alert", (alert: Alert) => this.hooks.onAlert(alert));
    socket.on("resync", () => void this.ask());
    socket.on("server_draining", () => this.hooks.onState("live", "server restarts"));
  }

  close(): void {
    clearTimeout(this.retryTimer);
    this.socket?.removeAllListeners();
    this.socket?.disconnect();
    this.socket = null;
  }

  /** Watch this window of the map from now on. */
  watch(bbox: Bbox): void {
    this.bbox = bbox;
    if (this.socket?.connected) void this.ask();
  }

  private async sayToken(say: (auth: object) => void): Promise<void> {
    try {
      say({ token: await currentToken(this.session) });
    } catch (error) {
      console.warn("no token from the server:", error);
      say({});
    }
  }

  private onConnect(): void {
    this.hooks.onState("live", "");
    void this.ask();
  }

  private onDisconnect(reason: string): void {
    this.hooks.onState("lost", reason === "io server disconnect" ? "closed by the server" : "");
    // The library comes back by itself from everything but this.
    if (reason === "io server disconnect") this.retry();
  }

  private onConnectError(error: Error): void {
    const isTokenMatter = TOKEN_CODES.has(error.message);
    if (isTokenMatter && this.session.from !== "fetch") {
      this.close();
      this.hooks.onState("idle", "");
      this.hooks.onRefused(error.message);
      return;
    }
    this.hooks.onState("lost", isTokenMatter ? error.message : "");
    if (!this.socket?.active) this.retry();
  }

  private retry(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = window.setTimeout(() => this.socket?.connect(), RETRY_MS);
  }

  private async ask(): Promise<void> {
    const socket = this.socket;
    const bbox = this.bbox;
    if (!socket || !bbox) return;
    let ack: Ack<Area>;
    try {
      ack = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("watch_area", { bbox });
    } catch {
      // Timed out or cut off meanwhile; a reconnect asks anyway, a slow server is asked again.
      return this.askLater(bbox);
    }
    if (bbox !== this.bbox) return;
    if (ack.ok) return this.hooks.onSnapshot(ack.data);
    this.hooks.onState("live", ack.error.message);
    if (ack.error.retryable) this.askLater(bbox);
  }

  private askLater(bbox: Bbox): void {
    window.setTimeout(() => {
      if (bbox === this.bbox && this.socket?.connected) void this.ask();
    }, RETRY_MS);
  }
}
