// The official client on its own: both ways in, lines that break, answers in time, nothing binary.
import assert from "node:assert/strict";
import { App, story } from "./app_client.mjs";

const run = Date.now().toString(36);
const rider = (name, options) => new App("RIDER", `rdr_${name}${run}`, options);
const once = (emitter, name) => new Promise((done) => emitter.once(name, done));
// The client waits a second and more by default; a test need not.
const SOON = { reconnectionDelay: 50, reconnectionDelayMax: 100 };
const on = { available: true };

const works = async (app) => {
  const answer = await app.socket.timeout(5_000).emitWithAck("set_availability", on);
  assert.deepEqual(answer, { ok: true, data: on });
};

await story([
  ["a WebSocket from the start", async () => {
    const app = await rider("ws").connected();
    assert.equal(app.socket.io.engine.transport.name, "websocket");
    await works(app);
    app.socket.close();
  }],
  ["polling becomes a WebSocket, and an answer is lost on neither", async () => {
    const app = rider("up", { transports: ["polling", "websocket"] });
    const moved = new Promise((done) => app.socket.io.once("open", () => app.socket.io.engine.once("upgrade", done)));
    await app.connected();
    const answers = Promise.all(Array.from({ length: 20 }, () => works(app)));
    await moved;
    assert.equal(app.socket.io.engine.transport.name, "websocket");
    await answers;
    app.socket.close();
  }],
  ["polling alone", async () => {
    const app = await rider("poll", { transports: ["polling"] }).connected();
    await works(app);
    assert.equal(app.socket.io.engine.transport.name, "polling");
    app.socket.close();
  }],
  ["a line that breaks ten times comes back ten times", async () => {
    const app = await rider("breaks", SOON).connected();
    for (let at = 0; at < 10; at += 1) {
      const back = once(app.socket, "connect");
      app.socket.io.engine.close();
      await back;
      await works(app);
    }
    app.socket.close();
  }],
  ["commands said while the line is down are answered when it is back", async () => {
    const app = await rider("buffers", SOON).connected();
    const gone = once(app.socket, "disconnect");
    app.socket.io.engine.close();
    await gone;
    await works(app);
    app.socket.close();
  }],
  ["a command that is repeated by the client itself has one effect and one answer", async () => {
    const app = await rider("retries", { ...SOON, retries: 5, ackTimeout: 2_000 }).connected();
    const answer = app.socket.emitWithAck("set_availability", { ...on, commandId: "cmd_1" });
    app.socket.io.engine.close();
    assert.deepEqual(await answer, { ok: true, data: on });
    app.socket.close();
  }],
  ["an unknown command is answered in time, too", async () => {
    const app = await rider("unknown").connected();
    const answer = await app.socket.timeout(2_000).emitWithAck("fly", {});
    assert.deepEqual([answer.ok, answer.error.code, answer.error.retryable], [false, "malformed", false]);
    app.socket.close();
  }],
  ["something binary ends the connection, and the client comes back", async () => {
    const app = await rider("binary", SOON).connected();
    const gone = once(app.socket, "disconnect");
    const back = gone.then(() => once(app.socket, "connect"));
    app.socket.emit("location_update", Buffer.from([1, 2, 3, 4]));
    assert.match(await gone, /transport/);
    await back;
    await works(app);
    app.socket.close();
  }],
  ["a frame that is too long ends the connection, and the client comes back", async () => {
    const app = await rider("long", SOON).connected();
    const gone = once(app.socket, "disconnect");
    const back = gone.then(() => once(app.socket, "connect"));
    app.socket.emit("location_update", { lat: 4, lng: 9, note: "x".repeat(20_000) });
    await gone;
    await back;
    await works(app);
    app.socket.close();
  }],
  ["a bad token is told by its code, and the client stays away", async () => {
    const app = rider("forged", { auth: { token: "forged" } });
    const error = await once(app.socket, "connect_error");
    assert.equal(error.message, "token_invalid");
    assert.equal(app.socket.active, false);
    app.socket.close();
  }],
]);
