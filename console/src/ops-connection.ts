/** Connection to /ops: reconnects by itself and reports its state. */

import { io, type Socket } from "socket.io-client";
import { currentToken, type Session } from "./session";
import type { Ack, Alert, AreaSnapshot, Bbox } from "./wire";

export type ConnectionState = "idle" | "connecting" | "live" | "lost";

export interface ConnectionHandlers {
  onState(state: ConnectionState, note: string): void;
  onSnapshot(area: AreaSnapshot): void;
  onDelta(area: AreaSnapshot): void;
  onAlert(alert: Alert): void;
  /** The token was refused; the operator must enter another. */
  onRefused(code: string): void;
}

/** Source: docs/contract.md, the message of a refused connect is one of these. */
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

  constructor(private readonly handlers: ConnectionHandlers) {}

  /** Connect with the session's token; an earlier connection is closed. */
  connect(session: Session): void {
    this.disconnect();
    this.session = session;
    const socket = io("/ops", {
      // Live updates need a WebSocket; polling would only hide that it is unavailable.
      transports: ["websocket"],
      auth: (send) => void this.sendToken(send),
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      forceNew: true,
    });
    this.socket = socket;
    this.handlers.onState("connecting", "");
    socket.on("connect", () => this.onConnect());
    socket.on("connect_error", (error) => this.onConnectError(error));
    socket.on("disconnect", (reason) => this.onDisconnect(reason));
    socket.on("area_delta", (area: AreaSnapshot) => this.handlers.onDelta(area));
    socket.on("alert", (alert: Alert) => this.handlers.onAlert(alert));
    socket.on("resync", () => void this.requestSnapshot());
    socket.on("server_draining", () => this.handlers.onState("live", "server restarts"));
  }

  disconnect(): void {
    clearTimeout(this.retryTimer);
    this.socket?.removeAllListeners();
    this.socket?.disconnect();
    this.socket = null;
  }

  /** Watch this area of the map from now on. */
  watchArea(bbox: Bbox): void {
    this.bbox = bbox;
    if (this.socket?.connected) void this.requestSnapshot();
  }

  private async sendToken(send: (auth: object) => void): Promise<void> {
    try {
      send({ token: await currentToken(this.session) });
    } catch (error) {
      console.warn("no token from the server:", error);
      send({});
    }
  }

  private onConnect(): void {
    this.handlers.onState("live", "");
    void this.requestSnapshot();
  }

  private onDisconnect(reason: string): void {
    this.handlers.onState("lost", reason === "io server disconnect" ? "closed by the server" : "");
    // The library reconnects by itself after every other reason.
    if (reason === "io server disconnect") this.reconnectLater();
  }

  private onConnectError(error: Error): void {
    const isTokenError = TOKEN_CODES.has(error.message);
    if (isTokenError && this.session.source !== "fetch") {
      this.disconnect();
      this.handlers.onState("idle", "");
      this.handlers.onRefused(error.message);
      return;
    }
    this.handlers.onState("lost", isTokenError ? error.message : "");
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
      // Timed out or disconnected: a reconnect requests a snapshot anyway, a slow server is asked again.
      return this.requestLater(bbox);
    }
    if (bbox !== this.bbox) return;
    if (ack.ok) return this.handlers.onSnapshot(ack.data);
    this.handlers.onState("live", ack.error.message);
    if (ack.error.retryable) this.requestLater(bbox);
  }

  private requestLater(bbox: Bbox): void {
    window.setTimeout(() => {
      if (bbox === this.bbox && this.socket?.connected) void this.requestSnapshot();
    }, RETRY_MS);
  }
}
