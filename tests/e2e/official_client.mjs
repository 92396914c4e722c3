// The official Socket.IO client: both transports, reconnects, acknowledgements, refused input.
import assert from "node:assert/strict";
import { AppClient, runSteps } from "./app_client.mjs";

const run = Date.now().toString(36);
const rider = (name, options) => new AppClient("RIDER", `rdr_${name}${run}`, options);
const once = (emitter, name) => new Promise((done) => emitter.once(name, done));
// Shorter than the client's default of a second and more.
const FAST_RECONNECT = { reconnectionDelay: 50, reconnectionDelayMax: 100 };
const AVAILABLE = { available: true };

const expectAnswer = async (app) => {
  const answer = await app.socket.timeout(5_000).emitWithAck("set_availability", AVAILABLE);
  assert.deepEqual(answer, { ok: true, data: AVAILABLE });
};

await runSteps([
  ["a WebSocket from the start", async () => {
    const app = await rider("ws").connected();
    assert.equal(app.socket.io.engine.transport.name, "websocket");
    await expectAnswer(app);
    app.socket.close();
  }],
  ["polling upgrades to a WebSocket without losing an answer", async () => {
    const app = rider("up", { transports: ["polling", "websocket"] });
    const upgraded = new Promise((done) => app.socket.io.once("open", () => app.socket.io.engine.once("upgrade", done)));
    await app.connected();
    const answers = Promise.all(Array.from({ length: 20 }, () => expectAnswer(app)));
    await upgraded;
    assert.equal(app.socket.io.engine.transport.name, "websocket");
    await answers;
    app.socket.close();
  }],
  ["polling alone", async () => {
    const app = await rider("poll", { transports: ["polling"] }).connected();
    await expectAnswer(app);
    assert.equal(app.socket.io.engine.transport.name, "polling");
    app.socket.close();
  }],
  ["a connection lost ten times is restored ten times", async () => {
    const app = await rider("breaks", FAST_RECONNECT).connected();
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const reconnected = once(app.socket, "connect");
      app.socket.io.engine.close();
      await reconnected;
      await expectAnswer(app);
    }
    app.socket.close();
  }],
  ["commands sent while disconnected are answered after the reconnect", async () => {
    const app = await rider("buffers", FAST_RECONNECT).connected();
    const disconnected = once(app.socket, "disconnect");
    app.socket.io.engine.close();
    await disconnected;
    await expectAnswer(app);
    app.socket.close();
  }],
  ["a command that the client retries has one answer", async () => {
    const app = await rider("retries", { ...FAST_RECONNECT, retries: 5, ackTimeout: 2_000 }).connected();
    const answer = app.socket.emitWithAck("set_availability", { ...AVAILABLE, commandId: "cmd_1" });
    app.socket.io.engine.close();
    assert.deepEqual(await answer, { ok: true, data: AVAILABLE });
    app.socket.close();
  }],
  ["an unknown command is refused", async () => {
    const app = await rider("unknown").connected();
    const answer = await app.socket.timeout(2_000).emitWithAck("fly", {});
    assert.deepEqual([answer.ok, answer.error.code, answer.error.retryable], [false, "malformed", false]);
    app.socket.close();
  }],
  ["a binary event closes the connection, and the client reconnects", async () => {
    const app = await rider("binary", FAST_RECONNECT).connected();
    const disconnected = once(app.socket, "disconnect");
    const reconnected = disconnected.then(() => once(app.socket, "connect"));
    app.socket.emit("location_update", Buffer.from([1, 2, 3, 4]));
    assert.match(await disconnected, /transport/);
    await reconnected;
    await expectAnswer(app);
    app.socket.close();
  }],
  ["a frame that is too long closes the connection, and the client reconnects", async () => {
    const app = await rider("long", FAST_RECONNECT).connected();
    const disconnected = once(app.socket, "disconnect");
    const reconnected = disconnected.then(() => once(app.socket, "connect"));
    app.socket.emit("location_update", { lat: 4, lng: 9, note: "x".repeat(80_000) });
    await disconnected;
    await reconnected;
    await expectAnswer(app);
    app.socket.close();
  }],
  ["an invalid token is refused with its code, and the client does not retry", async () => {
    const app = rider("forged", { auth: { token: "forged" } });
    const error = await once(app.socket, "connect_error");
    assert.equal(error.message, "token_invalid");
    assert.equal(app.socket.active, false);
    app.socket.close();
  }],
]);
