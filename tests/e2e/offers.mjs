// How riders are asked: nobody there, one who says no, one whose app is dead, one who gives back,
// and one whom an operator wants.
import assert from "node:assert/strict";
import { App, call, refusal, story } from "./app_client.mjs";

const run = Date.now().toString(36);
const ADMIN = ["ADMIN", "adm_1"];
const USER = ["USER", `usr_o${run}`];
const VENDOR = ["VENDOR", `ven_o${run}`];
// Far from the other stories' riders.
const AT = { lat: 4.15 + Math.random() * 0.02, lng: 9.85 + Math.random() * 0.02 };
const near = (metres) => ({ lat: AT.lat + metres / 111_195, lng: AT.lng });

let user, vendor, ops;
const riders = {};

async function rider(name, metres, options) {
  const app = await new App("RIDER", `rdr_${name}${run}`, options).connected();
  await app.say("set_availability", { available: true });
  await app.say("location_update", { ...near(metres), accuracy: 5 });
  app.beat = setInterval(() => app.socket.emit("location_update", { ...near(metres), accuracy: 5 }), 3_000);
  riders[name] = app;
  return app;
}

async function order() {
  const body = {
    orderType: "FOOD", vendorId: VENDOR[1], items: [{ itemId: "ndole", quantity: 1 }],
    deliveryAddress: { ...near(1500), address: "Rue Joffre" }, paymentMethod: "WALLET",
  };
  const { orderId } = await call("POST", "/orders", { as: USER, body });
  await vendor.say("accept_order", { orderId });
  return orderId;
}

const offered = (app, id) => app.next("delivery_request", (e) => e.orderId === id);
const closed = (app, id) => app.next("delivery_request_closed", (e) => e.orderId === id);
const status = (id, state) => user.next("dispatch_status", (e) => e.orderId === id && e.state === state);
let first;

await story([
  ["a vendor and a customer are there, and no rider", async () => {
    await call("PUT", "/vendor/profile", { as: VENDOR, body: { name: "Chez Wou", location: { ...AT, address: "x" }, online: true } });
    await call("PUT", "/vendor/items/ndole", { as: VENDOR, body: { name: "Ndole", price: 4000 } });
    await call("POST", "/wallet/topup", { as: USER, body: { amount: 60_000, provider: "sandbox" } });
    vendor = await new App(...VENDOR).connected();
    user = await new App(...USER).connected();
    first = await order();
    await status(first, "no_riders");
  }],
  ["a rider who comes later is asked without anybody's doing", async () => {
    const anna = await rider("anna", 300);
    const offer = await offered(anna, first);
    await status(first, "offered");
    assert.equal(offer.expiresInMs, 15_000);
    assert.ok(Math.abs(offer.expiresAt - offer.ts - 15_000) < 2_000);
    assert.ok(Math.abs(offer.distance - 0.3) < 0.05);
  }],
  ["a no goes on to the next rider, and a second no of the same offer is too late", async () => {
    const ben = await rider("ben", 600);
    const { offerId } = riders.anna.last ?? {};
    const again = await order();
    const asked = await offered(ben, again);
    await ben.say("decline_delivery", { orderId: again, offerId: asked.offerId, reason: "too far" });
    assert.equal((await ben.refused("accept_delivery", { orderId: again, offerId: asked.offerId })).code, "offer_expired");
    assert.equal(offerId, undefined);
    await call("POST", `/orders/${again}/cancel`, { as: USER, body: {} });
    await call("POST", `/orders/${first}/cancel`, { as: USER, body: {} });
    assert.equal((await closed(riders.anna, first)).reason, "cancelled");
  }],
  ["an app that shows nothing is passed over within seconds", async () => {
    riders.anna.acks = false;
    const id = await order();
    await offered(riders.anna, id);
    assert.equal((await closed(riders.anna, id)).reason, "expired");
    const { offerId } = await offered(riders.ben, id);
    await riders.ben.say("accept_delivery", { orderId: id, offerId });
    assert.equal((await user.next("rider_assigned", (e) => e.orderId === id)).riderId, riders.ben.id);
    first = id;
    riders.anna.acks = true;
  }],
  ["a rider who gives back is freed, and the order finds another", async () => {
    await riders.ben.say("release_delivery", { orderId: first, reason: "flat tyre" });
    await status(first, "searching");
    const cleo = await rider("cleo", 900);
    const { offerId } = await offered(cleo, first);
    await cleo.say("accept_delivery", { orderId: first, offerId });
    assert.equal((await riders.ben.refused("pick_up", { orderId: first })).code, "not_found");
  }],
  ["an operator gives the order to the rider he wants", async () => {
    ops = await new App(...ADMIN).connected();
    const dan = await rider("dan", 2_000);
    await ops.say("reassign", { orderId: first, riderId: dan.id });
    const { offerId } = await offered(dan, first);
    await dan.say("accept_delivery", { orderId: first, offerId });
    assert.equal((await riders.cleo.refused("pick_up", { orderId: first })).code, "not_found");
    assert.equal((await riders.cleo.next("delivery_request_closed", (e) => e.orderId === first)).reason, "cancelled");
  }],
  ["the order says whom it asked, what came of it, and why not the others", async () => {
    const { items, notKept } = await call("GET", `/admin/orders/${first}/decisions`, { as: ADMIN });
    const name = (id) => Object.keys(riders).find((each) => riders[each].id === id);
    const asked = items.flatMap((d) => d.candidates.filter((c) => c.offerId).map((c) => [name(c.riderId), c.outcome]));
    assert.deepEqual(asked, [["anna", "unread"], ["ben", "released"], ["cleo", "released"], ["dan", "accepted"]]);
    assert.equal(notKept, 0);
    const [one, two] = items;
    assert.deepEqual([one.wave, one.radiusKm, one.chosen], [1, 1.5, [riders.anna.id]]);
    const sum = Object.values(one.candidates[0].parts).reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - one.candidates[0].score) < 0.011);
    const anna = two.candidates.find((c) => c.riderId === riders.anna.id);
    assert.equal(anna.excluded, "asked before: unread");
    const refused = await refusal("GET", `/admin/orders/${first}/decisions`, { as: USER });
    assert.equal(refused.status, 403);
  }],
  ["an operator changes how riders are asked while the server runs", async () => {
    const at = "/admin/config/offers/food";
    const before = await call("GET", at, { as: ADMIN });
    const after = await call("PUT", at, { as: ADMIN, body: { staggerMs: 2_000 } });
    assert.deepEqual([after.staggerMs, after.version], [2_000, before.version + 1]);
    await call("PUT", at, { as: ADMIN, body: { staggerMs: before.staggerMs } });
  }],
  ["a rider off duty is not asked", async () => {
    for (const name of ["anna", "ben", "cleo"]) {
      await riders[name].say("set_availability", { available: false });
      clearInterval(riders[name].beat);
    }
    const id = await order();
    await status(id, "no_riders");
    await call("POST", `/orders/${id}/cancel`, { as: USER, body: {} });
  }],
]);
