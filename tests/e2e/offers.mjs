// How offers reach riders: no rider, a decline, a client that shows nothing, a give-back, and an
// operator's assignment.
import assert from "node:assert/strict";
import { AppClient, requestData, requestRefusal, runSteps } from "./app_client.mjs";

const run = Date.now().toString(36);
const ADMIN = ["ADMIN", "adm_1"];
const USER = ["USER", `usr_o${run}`];
const VENDOR = ["VENDOR", `ven_o${run}`];
// Far from the riders of the other scripts.
const AT = { lat: 4.15 + Math.random() * 0.02, lng: 9.85 + Math.random() * 0.02 };
const near = (metres) => ({ lat: AT.lat + metres / 111_195, lng: AT.lng });

let user, vendor, ops;
const riders = {};

async function rider(name, metres, options) {
  const app = await new AppClient("RIDER", `rdr_${name}${run}`, options).connected();
  await app.command("set_availability", { available: true });
  await app.command("location_update", { ...near(metres), accuracy: 5 });
  app.positionTimer = setInterval(() => app.socket.emit("location_update", { ...near(metres), accuracy: 5 }), 3_000);
  riders[name] = app;
  return app;
}

async function order() {
  const body = {
    orderType: "FOOD", vendorId: VENDOR[1], items: [{ itemId: "ndole", quantity: 1 }],
    deliveryAddress: { ...near(1500), address: "Rue Joffre" }, paymentMethod: "WALLET",
  };
  const { orderId } = await requestData("POST", "/orders", { as: USER, body });
  await vendor.command("accept_order", { orderId });
  return orderId;
}

const offered = (app, id) => app.nextEvent("delivery_request", (e) => e.orderId === id);
const closed = (app, id) => app.nextEvent("delivery_request_closed", (e) => e.orderId === id);
const status = (id, state) => user.nextEvent("dispatch_status", (e) => e.orderId === id && e.state === state);
let first;

await runSteps([
  ["without a rider an order's dispatch state is no_riders", async () => {
    await requestData("PUT", "/vendor/profile", { as: VENDOR, body: { name: "Chez Wou", location: { ...AT, address: "x" }, online: true } });
    await requestData("PUT", "/vendor/items/ndole", { as: VENDOR, body: { name: "Ndole", price: 4000 } });
    await requestData("POST", "/wallet/topup", { as: USER, body: { amount: 60_000, provider: "sandbox" } });
    vendor = await new AppClient(...VENDOR).connected();
    user = await new AppClient(...USER).connected();
    first = await order();
    await status(first, "no_riders");
  }],
  ["a rider who comes later gets the offer automatically", async () => {
    const anna = await rider("anna", 300);
    const offer = await offered(anna, first);
    await status(first, "offered");
    assert.equal(offer.expiresInMs, 15_000);
    assert.ok(Math.abs(offer.expiresAt - offer.ts - 15_000) < 2_000);
    assert.ok(Math.abs(offer.distance - 0.3) < 0.05);
  }],
  ["a decline ends an offer, which cannot be accepted any more", async () => {
    const ben = await rider("ben", 600);
        const second = await order();
    const offer = await offered(ben, second);
    await ben.command("decline_delivery", { orderId: second, offerId: offer.offerId, reason: "too far" });
    assert.equal((await ben.refusedCommand("accept_delivery", { orderId: second, offerId: offer.offerId })).code, "offer_expired");
    await requestData("POST", `/orders/${second}/cancel`, { as: USER, body: {} });
    await requestData("POST", `/orders/${first}/cancel`, { as: USER, body: {} });
    assert.equal((await closed(riders.anna, first)).reason, "cancelled");
  }],
  ["an offer that a client does not acknowledge goes to the next rider", async () => {
    riders.anna.acknowledges = false;
    const id = await order();
    await offered(riders.anna, id);
    assert.equal((await closed(riders.anna, id)).reason, "expired");
    const { offerId } = await offered(riders.ben, id);
    await riders.ben.command("accept_delivery", { orderId: id, offerId });
    assert.equal((await user.nextEvent("rider_assigned", (e) => e.orderId === id)).riderId, riders.ben.id);
    first = id;
    riders.anna.acknowledges = true;
  }],
  ["after a give-back the order is offered to another rider", async () => {
    await riders.ben.command("release_delivery", { orderId: first, reason: "flat tyre" });
    await status(first, "searching");
    const cleo = await rider("cleo", 900);
    const { offerId } = await offered(cleo, first);
    await cleo.command("accept_delivery", { orderId: first, offerId });
    assert.equal((await riders.ben.refusedCommand("pick_up", { orderId: first })).code, "not_found");
  }],
  ["an operator reassigns the order to a chosen rider", async () => {
    ops = await new AppClient(...ADMIN).connected();
    const dan = await rider("dan", 2_000);
    await ops.command("reassign", { orderId: first, riderId: dan.id });
    const { offerId } = await offered(dan, first);
    await dan.command("accept_delivery", { orderId: first, offerId });
    assert.equal((await riders.cleo.refusedCommand("pick_up", { orderId: first })).code, "not_found");
    assert.equal((await riders.cleo.nextEvent("delivery_request_closed", (e) => e.orderId === first)).reason, "cancelled");
  }],
  ["the order's decisions list each offer, its outcome, and why others were excluded", async () => {
    const { items, notKept } = await requestData("GET", `/admin/orders/${first}/decisions`, { as: ADMIN });
    const name = (id) => Object.keys(riders).find((each) => riders[each].id === id);
    const outcomes = items.flatMap((d) => d.candidates.filter((c) => c.offerId).map((c) => [name(c.riderId), c.outcome]));
    assert.deepEqual(outcomes, [["anna", "unread"], ["ben", "released"], ["cleo", "released"], ["dan", "accepted"]]);
    assert.equal(notKept, 0);
    const [firstWave, secondWave] = items;
    assert.deepEqual([firstWave.wave, firstWave.radiusKm, firstWave.chosen], [1, 1.5, [riders.anna.id]]);
    const sum = Object.values(firstWave.candidates[0].parts).reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - firstWave.candidates[0].score) < 0.011);
    const anna = secondWave.candidates.find((c) => c.riderId === riders.anna.id);
    assert.equal(anna.excluded, "asked before: unread");
    const refusal = await requestRefusal("GET", `/admin/orders/${first}/decisions`, { as: USER });
    assert.equal(refusal.status, 403);
  }],
  ["an operator changes the offer policy while the server runs", async () => {
    const path = "/admin/config/offers/food";
    const before = await requestData("GET", path, { as: ADMIN });
    const after = await requestData("PUT", path, { as: ADMIN, body: { staggerMs: 2_000 } });
    assert.deepEqual([after.staggerMs, after.version], [2_000, before.version + 1]);
    await requestData("PUT", path, { as: ADMIN, body: { staggerMs: before.staggerMs } });
  }],
  ["a rider off duty gets no offers", async () => {
    for (const name of ["anna", "ben", "cleo"]) {
      await riders[name].command("set_availability", { available: false });
      clearInterval(riders[name].positionTimer);
    }
    const id = await order();
    await status(id, "no_riders");
    await requestData("POST", `/orders/${id}/cancel`, { as: USER, body: {} });
  }],
]);
