// Test client of the public contract: tokens, HTTP requests, and sockets that record their events.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { io } from "socket.io-client";

const BASE = process.env.REEYO_URL;
const SECRET = process.env.JWT_SECRET;
// Far above the time of any answer; exceeding it is a failure.
const DEADLINE_MS = 15_000;
const AUDIENCE = { USER: "/user", VENDOR: "/vendor", RIDER: "/rider", ADMIN: "/ops" };

const base64url = (text) => Buffer.from(text).toString("base64url");

export function token(userType, userId, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const head = base64url(JSON.stringify({ alg: "HS256", typ: "JWT" }));
  const body = base64url(
    JSON.stringify({ userId, userType, iat: now, exp: now + 3600, ...claims }),
  );
  const mac = createHmac("sha256", SECRET).update(`${head}.${body}`).digest("base64url");
  return `${head}.${body}.${mac}`;
}

/** Send an HTTP request; resolves to {status, body, headers}. */
export async function request(method, path, { as, body, key, raw } = {}) {
  const headers = { "content-type": "application/json" };
  if (as) headers.authorization = `Bearer ${token(...as)}`;
  if (key) headers["idempotency-key"] = key;
  const answer = await fetch(`${BASE}/api/v1${path}`, {
    method,
    headers,
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
  });
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

/** Send an HTTP request that must succeed; resolves to its data. */
export async function requestData(method, path, options) {
  const { status, body } = await request(method, path, options);
  assert.ok(body.success, `${method} ${path} answered ${status} ${JSON.stringify(body)}`);
  return body.data;
}

/** Send an HTTP request that must be refused; resolves to {status, code}. */
export async function requestRefusal(method, path, options) {
  const { status, body } = await request(method, path, options);
  assert.equal(body.success, false, `${method} ${path} was not refused`);
  assert.ok(body.error.message.length > 0, "a refusal has a message");
  return { status, code: body.error.code };
}

/** A connected client that keeps every event until a test takes it. */
export class AppClient {
  constructor(userType, id, options = {}) {
    this.id = id;
    this.events = [];
    this.waiters = [];
    this.acknowledges = true;
    this.resumePoint = undefined;
    this.socket = io(`${BASE}${AUDIENCE[userType]}`, {
      transports: ["websocket"],
      forceNew: true,
      auth: (send) => send({ token: token(userType, id), ...(this.resumePoint && { resume: this.resumePoint }) }),
      ...options,
    });
    this.socket.onAny((name, data, ack) => this.onEvent(name, data, ack));
  }

  onEvent(name, data, ack) {
    if (typeof ack === "function" && this.acknowledges) ack();
    if (data?.seq !== undefined && data?.epoch) this.resumePoint = { epoch: data.epoch, seq: data.seq };
    this.events.push({ name, data });
    this.waiters = this.waiters.filter((check) => !check());
  }

  async connected() {
    if (!this.socket.connected)
      await new Promise((done, fail) => {
        this.socket.once("connect", done);
        this.socket.once("connect_error", fail);
      });
    return this;
  }

  /** Take the next event with this name that matches; the events before it stay. */
  nextEvent(name, matches = () => true) {
    const take = () => {
      const at = this.events.findIndex((e) => e.name === name && matches(e.data));
      return at < 0 ? undefined : this.events.splice(at, 1)[0].data;
    };
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        const names = this.events.map((e) => e.name).join(" ");
        fail(new Error(`${this.id} never received ${name}; received: ${names || "nothing"}`));
      }, DEADLINE_MS);
      const check = () => {
        const found = take();
        if (found === undefined) return false;
        clearTimeout(timer);
        done(found);
        return true;
      };
      if (!check()) this.waiters.push(check);
    });
  }

  /** Send a command; resolves to its acknowledgement. */
  sendCommand(name, ...args) {
    return this.socket.timeout(DEADLINE_MS).emitWithAck(name, ...args);
  }

  /** Send a command that must succeed; resolves to its data. */
  async command(name, ...args) {
    const ack = await this.sendCommand(name, ...args);
    assert.equal(ack.ok, true, `${name} was refused: ${JSON.stringify(ack)}`);
    return ack.data;
  }

  /** Send a command that must be refused; resolves to the error. */
  async refusedCommand(name, ...args) {
    const ack = await this.sendCommand(name, ...args);
    assert.equal(ack.ok, false, `${name} was not refused: ${JSON.stringify(ack)}`);
    assert.equal(typeof ack.error.retryable, "boolean");
    return ack.error;
  }

  close() {
    this.socket.disconnect();
  }
}

/** Run the steps in order and print each; exit with 1 at the first that fails. */
export async function runSteps(steps) {
  for (const [claim, step] of steps) {
    try {
      await step();
      console.log(`ok   ${claim}`);
    } catch (error) {
      console.log(`FAIL ${claim}\n${error.stack}`);
      process.exit(1);
    }
  }
  console.log(`${steps.length} passed, 0 failed`);
  process.exit(0);
}
