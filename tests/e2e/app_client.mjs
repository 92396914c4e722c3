// What an app needs to speak the public contract: tokens, HTTP, sockets that remember what they heard.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { io } from "socket.io-client";

const BASE = process.env.REEYO_URL;
const SECRET = process.env.JWT_SECRET;
// Far above what any answer takes; whoever waits so long has found a fault.
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

/** One HTTP request; answers {status, body}. */
export async function http(method, path, { as, body, key, raw } = {}) {
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

/** One HTTP request that must succeed; answers its data. */
export async function call(method, path, options) {
  const { status, body } = await http(method, path, options);
  assert.ok(body.success, `${method} ${path} answered ${status} ${JSON.stringify(body)}`);
  return body.data;
}

/** One HTTP request that must be refused; answers {status, code}. */
export async function refusal(method, path, options) {
  const { status, body } = await http(method, path, options);
  assert.equal(body.success, false, `${method} ${path} was not refused`);
  assert.ok(body.error.message.length > 0, "a refusal says why");
  return { status, code: body.error.code };
}

/** A connected app that keeps every event it hears until somebody asks for it. */
export class App {
  constructor(userType, id, options = {}) {
    this.id = id;
    this.heard = [];
    this.waiting = [];
    this.acks = true;
    this.mark = undefined;
    this.socket = io(`${BASE}${AUDIENCE[userType]}`, {
      transports: ["websocket"],
      forceNew: true,
      auth: (give) => give({ token: token(userType, id), ...(this.mark && { resume: this.mark }) }),
      ...options,
    });
    this.socket.onAny((name, data, ack) => this.hear(name, data, ack));
  }

  hear(name, data, ack) {
    if (typeof ack === "function" && this.acks) ack();
    if (data?.seq !== undefined && data?.epoch) this.mark = { epoch: data.epoch, seq: data.seq };
    this.heard.push({ name, data });
    this.waiting = this.waiting.filter((wait) => !wait());
  }

  async connected() {
    if (!this.socket.connected)
      await new Promise((done, fail) => {
        this.socket.once("connect", done);
        this.socket.once("connect_error", fail);
      });
    return this;
  }

  /** The next event of that name (and order) not asked for yet; events before it stay. */
  next(name, fits = () => true) {
    const take = () => {
      const at = this.heard.findIndex((e) => e.name === name && fits(e.data));
      return at < 0 ? undefined : this.heard.splice(at, 1)[0].data;
    };
    return new Promise((done, fail) => {
      const late = setTimeout(() => {
        const heard = this.heard.map((e) => e.name).join(" ");
        fail(new Error(`${this.id} never heard ${name}; heard: ${heard || "nothing"}`));
      }, DEADLINE_MS);
      const look = () => {
        const found = take();
        if (found === undefined) return false;
        clearTimeout(late);
        done(found);
        return true;
      };
      if (!look()) this.waiting.push(look);
    });
  }

  /** One command; answers the ack envelope. */
  ask(name, ...args) {
    return this.socket.timeout(DEADLINE_MS).emitWithAck(name, ...args);
  }

  /** One command that must succeed; answers its data. */
  async say(name, ...args) {
    const ack = await this.ask(name, ...args);
    assert.equal(ack.ok, true, `${name} was refused: ${JSON.stringify(ack)}`);
    return ack.data;
  }

  /** One command that must be refused; answers the error. */
  async refused(name, ...args) {
    const ack = await this.ask(name, ...args);
    assert.equal(ack.ok, false, `${name} was not refused: ${JSON.stringify(ack)}`);
    assert.equal(typeof ack.error.retryable, "boolean");
    return ack.error;
  }

  close() {
    this.socket.disconnect();
  }
}

/** Runs the steps in their order, says each, and exits non-zero at the first that fails. */
export async function story(steps) {
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
