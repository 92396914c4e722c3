/** The connection to /ops: it comes back by itself, and says in which state it is. */

import { io, type Socket } from "socket.io-client";
import { currentToken, type Session } from "./session";
import type { Ack, Alert, AreaSnapshot, Bbox } from "./wire";

export type ConnectionState = "idle" | "connecting" | "live" | "lost";

export interface ConnectionHandlers {
  onState(state: ConnectionState, note: string): void;
  onSnapshot(area: AreaSnapshot): void;
  onDelta(area: AreaSnapshot): void;
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

export class OpsConnection {
  private socket: Socket | null = null;
  private session: Session = { source: "none" };
  private bbox: Bbox | null = null;
  private retryTimer: number | undefined;

  constructor(private readonly hooks: ConnectionHandlers) {}

  /** Connect as the session's operator; an earlier connection ends. */
  connect(session: Session): void {
    this.disconnect();
    this.session = session;
    const socket = io("/ops", {
      // The live picture needs a WebSocket anyway; polling would only hide that one is missing.
      transports: ["websocket"],
      auth: (say) => void this.sendToken(say),
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      forceNew: true,
    });
    this.socket = socket;
    this.hooks.onState("connecting", "");
    socket.on("connect", () => this.onConnect());
    socket.on("connect_error", (error) => this.onConnectError(error));
    socket.on("disconnect", (reason) => this.onDisconnect(reason));
    socket.on("area_delta", (area: AreaSnapshot) => this.hooks.onDelta(area));
    socket.on("alert", (alert: Alert) => this.hooks.onAlert(alert));
    socket.on("resync", () => void this.requestSnapshot());
    socket.on("server_draining", () => this.hooks.onState("live", "server restarts"));
  }

  disconnect(): void {
    clearTimeout(this.retryTimer);
    this.socket?.removeAllListeners();
    this.socket?.disconnect();
    this.socket = null;
  }

  /** Watch this window of the map from now on. */
  watchArea(bbox: Bbox): void {
    this.bbox = bbox;
    if (this.socket?.connected) void this.requestSnapshot();
  }

  private async sendToken(say: (auth: object) => void): Promise<void> {
    try {
      say({ token: await currentToken(this.session) });
    } catch (error) {
      console.warn("no token from the server:", error);
      say({});
    }
  }

  private onConnect(): void {
    this.hooks.onState("live", "");
    void this.requestSnapshot();
  }

  private onDisconnect(reason: string): void {
    this.hooks.onState("lost", reason === "io server disconnect" ? "closed by the server" : "");
    // The library comes back by itself from everything but this.
    if (reason === "io server disconnect") this.reconnectLater();
  }

  private onConnectError(error: Error): void {
    const isTokenMatter = TOKEN_CODES.has(error.message);
    if (isTokenMatter && this.session.source !== "fetch") {
      this.disconnect();
      this.hooks.onState("idle", "");
      this.hooks.onRefused(error.message);
      return;
    }
    this.hooks.onState("lost", isTokenMatter ? error.message : "");
    if (!this.socket?.active) this.reconnectLater();
  }

  private reconnectLater(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = window.setTimeout(() => this.socket?.connect(), RETRY_MS);
  }

  private async requestSnapshot(): Promise<void> {
    const socket = this.socket;
    const bbox = this.bbox;
    if (!socket || !bbox) return;
    let ack: Ack<AreaSnapshot>;
    try {
      ack = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("watch_area", { bbox });
    } catch {
      // Timed out or cut off meanwhile; a reconnect asks anyway, a slow server is asked again.
      return this.requestLater(bbox);
    }
    if (bbox !== this.bbox) return;
    if (ack.ok) return this.hooks.onSnapshot(ack.data);
    this.hooks.onState("live", ack.error.message);
    if (ack.error.retryable) this.requestLater(bbox);
  }

  private requestLater(bbox: Bbox): void {
    window.setTimeout(() => {
      if (bbox === this.bbox && this.socket?.connected) void this.requestSnapshot();
    }, RETRY_MS);
  }
}
