// The main job, told by the official JavaScript client: FOOD by wallet, MART by cash, PACKAGE by
// mobile money, and what happens at the edges of each.
import assert from "node:assert/strict";
import { App, call, http, refusal, story } from "./app_client.mjs";

const run = Date.now().toString(36);
const ADMIN = ["ADMIN", "adm_1"];
const USER = ["USER", `usr_${run}`];
const VENDOR = ["VENDOR", `ven_${run}`];
const RIDER = ["RIDER", `rdr_${run}`];
// A corner of its own in the middle of the river, so that no other story's riders are near.
const AT = { lat: 4.05 + Math.random() * 0.02, lng: 9.62 + Math.random() * 0.02 };
const near = (metres) => ({ lat: AT.lat + metres / 111_195.08, lng: AT.lng });

let user, vendor, rider, ops, food;
let fixes = 0;

const report = (metres, speed = 6) => {
  fixes += 1;
  return rider.say("location_update", {
    ...near(metres), accuracy: 8, heading: 10, speed, seq: fixes, ts: Date.now(),
  });
};
const drive = async (places, speed) => {
  for (const metres of places) {
    const answer = await report(metres, speed);
    assert.equal(answer?.dropped, undefined, `${metres} m: ${answer?.dropped}`);
  }
};
const balance = (as) => call("GET", "/wallet/balance", { as });
const order = (id, as = USER) => call("GET", `/orders/${id}`, { as });
const goods = (type, items, paymentMethod) => ({
  orderType: type, vendorId: VENDOR[1], items,
  deliveryAddress: { ...near(1500), address: "Rue Joffre" }, paymentMethod,
});

async function settled(id, parts) {
  for (const [app, amount] of parts)
    assert.equal((await app.next("order_settled", (e) => e.orderId === id)).amount, amount);
  assert.equal((await order(id)).status, "FUNDS_DISTRIBUTED");
}

async function carry(id, { cash, ready } = {}) {
  const offer = await rider.next("delivery_request", (e) => e.orderId === id);
  assert.ok(offer.expiresInMs > 5_000 && offer.distance < 5);
  assert.equal(offer.cashToCollect, cash);
  const taken = await rider.say("accept_delivery", { orderId: id, offerId: offer.offerId });
  assert.equal(taken.dispatch.riderId, RIDER[1]);
  const assigned = await user.next("rider_assigned", (e) => e.orderId === id);
  assert.equal(assigned.name, "Paul Biya Junior");
  await rider.say("arrived_pickup", { orderId: id });
  assert.equal((await user.next("rider_arrived", (e) => e.orderId === id)).at, "pickup");
  if (ready) await ready();
  await rider.say("pick_up", { orderId: id });
  await user.next("order_picked_up", (e) => e.orderId === id);
  await rider.say("arrived_dropoff", { orderId: id });
  await rider.say("complete_delivery", { orderId: id, ...(cash && { cashCollected: cash }) });
  await user.next("order_delivered", (e) => e.orderId === id);
}

await story([
  ["an operator switches mart and packages on", async () => {
    const off = await refusal("GET", "/config/service/packages", { as: USER }).catch(() => null);
    assert.ok(off === null || (off.status === 503 && off.code === "service_disabled"));
    for (const name of ["mart", "packages"])
      await call("PUT", `/admin/config/services/${name}`, { as: ADMIN, body: { enabled: true } });
    const config = JSON.stringify(await call("GET", "/config", { as: USER }));
    assert.ok(!/commission/i.test(config), "rates are not the customer's to see");
  }],
  ["a vendor opens with a catalogue at the server's prices", async () => {
    await call("PUT", "/vendor/profile", {
      as: VENDOR, body: { name: "Chez Wou", location: { ...near(0), address: "Akwa" } },
    });
    for (const [id, price] of [["ndole", 4000], ["poulet", 3000]])
      await call("PUT", `/vendor/items/${id}`, { as: VENDOR, body: { name: id, price } });
    vendor = await new App(...VENDOR).connected();
    await vendor.say("set_online", { online: true });
    const { items } = await call("GET", `/vendors/${VENDOR[1]}/items`, { as: USER });
    assert.deepEqual(items.map((i) => [i.itemId, i.price]), [["ndole", 4000], ["poulet", 3000]]);
  }],
  ["a rider goes on duty and streams", async () => {
    await call("PUT", "/rider/profile", {
      as: RIDER, body: { name: "Paul Biya Junior", vehicle: "MOTORBIKE" },
    });
    rider = await new App(...RIDER).connected();
    await rider.say("set_availability", { available: true });
    await report(300);
  }],
  ["a customer without money is refused and nothing is left behind", async () => {
    user = await new App(...USER).connected();
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    assert.deepEqual(await refusal("POST", "/orders", { as: USER, body }), {
      status: 402, code: "insufficient_funds",
    });
    assert.deepEqual((await call("GET", "/orders", { as: USER })).items, []);
  }],
  ["a top-up arrives through the sandbox", async () => {
    await call("POST", "/wallet/topup", { as: USER, body: { amount: 50_000, provider: "sandbox" } });
    for (let i = 0; i < 50 && (await balance(USER)).availableBalance < 50_000; i += 1)
      await new Promise((done) => setTimeout(done, 50));
    assert.deepEqual(
      { ...(await balance(USER)), totalEarned: 0 },
      { availableBalance: 50_000, pendingBalance: 0, totalEarned: 0, currency: "XAF" },
    );
  }],
  ["a quote and the order agree, and the same key places it once", async () => {
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 2 }, { itemId: "poulet", quantity: 1 }], "WALLET");
    const quote = await call("POST", "/orders/quote", { as: USER, body });
    const first = await http("POST", "/orders", { as: USER, body, key: `k_${run}` });
    const again = await http("POST", "/orders", { as: USER, body, key: `k_${run}` });
    assert.equal(first.status, 201);
    assert.deepEqual(again.body, first.body);
    food = first.body.data;
    assert.equal(food.status, "PENDING");
    assert.deepEqual(
      [food.pricing.subtotal, food.pricing.deliveryFee, food.pricing.total], [11_000, 1_500, 12_500],
    );
    assert.equal((quote.pricing ?? quote).total, 12_500);
    const other = { ...body, paymentMethod: "CASH" };
    assert.deepEqual(await refusal("POST", "/orders", { as: USER, body: other, key: `k_${run}` }), {
      status: 409, code: "conflict",
    });
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["the vendor hears it, accepts, and the rider is asked", async () => {
    const heard = await vendor.next("new_order", (e) => e.orderId === food.orderId);
    assert.ok(Number.isInteger(heard.seq) && heard.epoch && heard.ts);
    await vendor.say("accept_order", { orderId: food.orderId, prepMinutes: 10 });
    await user.next("order_accepted", (e) => e.orderId === food.orderId);
    assert.equal((await user.next("dispatch_status")).state, "searching");
    assert.equal((await vendor.refused("accept_order", { orderId: food.orderId })).code, "wrong_state");
  }],
  ["FOOD by wallet: offered, carried, watched, delivered and settled", async () => {
    const id = food.orderId;
    const snapshot = await user.say("subscribe_order", id);
    assert.equal(snapshot.orderId, id);
    await carry(id, {
      ready: async () => {
        await report(200);
        const seen = await user.next("rider_location_update");
        assert.deepEqual([seen.orderId, seen.riderId, seen.state], [id, RIDER[1], "live"]);
        assert.equal((await rider.refused("pick_up", { orderId: id })).code, "wrong_state");
        await vendor.say("order_preparing", { orderId: id });
        await vendor.say("order_ready", { orderId: id });
        await user.next("order_ready");
        await rider.next("order_ready_for_pickup");
      },
    });
    await settled(id, [[vendor, 9_350], [rider, 1_500]]);
    assert.equal((await balance(VENDOR)).availableBalance, 9_350);
    assert.equal((await balance(RIDER)).availableBalance, 1_500);
  }],
  ["the customer's wallet tells its story line by line", async () => {
    const { items } = await call("GET", "/wallet/transactions", { as: USER });
    assert.deepEqual(
      items.map((t) => [t.seq, t.type, t.amount, t.balanceBefore, t.balanceAfter]),
      [[2, "DEBIT", 12_500, 50_000, 37_500], [1, "CREDIT", 50_000, 0, 50_000]],
    );
  }],
  ["a rating counts once the food is there", async () => {
    await user.say("rate_order", { orderId: food.orderId, rating: 5 });
    assert.equal((await order(food.orderId)).rating, 5);
  }],
  ["MART by cash: the rider collects, and owes what he collected", async () => {
    const body = goods("MART", [{ itemId: "poulet", quantity: 2 }], "CASH");
    const { orderId, pricing } = await call("POST", "/orders", { as: USER, body });
    assert.equal(pricing.total, 8_000);
    await vendor.next("new_order", (e) => e.orderId === orderId);
    await vendor.say("accept_order", { orderId });
    await vendor.say("order_preparing", { orderId });
    await vendor.say("order_ready", { orderId });
    await carry(orderId, { cash: 8_000 });
    await settled(orderId, [[vendor, 5_400], [rider, 2_000]]);
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["PACKAGE by mobile money: searched for as soon as it is paid", async () => {
    const body = {
      orderType: "PACKAGE", pickup: { ...near(0), address: "A" }, dropoff: { ...near(2000), address: "B" },
      packageDetails: { category: "documents", weight: 1.5, isFragile: true },
      recipient: { name: "Awa", phone: "+237600000000" }, paymentMethod: "MOBILE_MONEY",
    };
    const placed = await call("POST", "/orders", { as: USER, body });
    assert.equal(placed.pricing.total, 2_000 + 1_000 + 1_000);
    await carry(placed.orderId);
    await settled(placed.orderId, [[rider, 3_200]]);
  }],
  ["a cancelled order gives the money back", async () => {
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await call("POST", "/orders", { as: USER, body });
    assert.equal((await balance(USER)).availableBalance, 32_000);
    await user.say("cancel_order", { orderId, reason: "changed my mind" });
    const told = await vendor.next("order_cancelled", (e) => e.orderId === orderId);
    assert.equal(told.refundAmount, 5_500);
    assert.equal((await order(orderId)).status, "CANCELLED");
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["a rejected order gives the money back", async () => {
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await call("POST", "/orders", { as: USER, body });
    await vendor.say("reject_order", { orderId, reason: "no fish today" });
    const told = await user.next("order_rejected", (e) => e.orderId === orderId);
    assert.deepEqual([told.reason, told.refundAmount], ["no fish today", 5_500]);
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["what an app missed comes back on resume, in order and once", async () => {
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await call("POST", "/orders", { as: USER, body });
    user.close();
    await vendor.say("accept_order", { orderId });
    await call("POST", `/orders/${orderId}/cancel`, { as: USER, body: { reason: "late" } });
    await vendor.next("order_cancelled", (e) => e.orderId === orderId);
    user.heard = [];
    user.socket.connect();
    await user.next("order_cancelled", (e) => e.orderId === orderId);
    await user.next("order_accepted", (e) => e.orderId === orderId);
  }],
  ["a past that is gone is answered with resync", async () => {
    user.mark = { epoch: "another-life", seq: 3 };
    user.socket.disconnect().connect();
    assert.ok((await user.next("resync")).epoch);
  }],
  ["a repeated command has one effect and the first answer", async () => {
    const body = goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await call("POST", "/orders", { as: USER, body });
    const command = { orderId, commandId: `cmd_${run}` };
    const [first, second] = await Promise.all([
      vendor.say("accept_order", command), vendor.say("accept_order", command),
    ]);
    assert.deepEqual(second, first);
    await user.say("cancel_order", { orderId });
  }],
  ["strangers see nothing, and what is malformed changes nothing", async () => {
    const stranger = await new App("USER", `usr_x${run}`).connected();
    assert.equal((await stranger.refused("subscribe_order", food.orderId)).code, "not_found");
    assert.equal((await stranger.refused("subscribe_order", "ord_none")).code, "not_found");
    assert.equal((await stranger.refused("subscribe_order", { orderId: 7 })).code, "malformed");
    assert.equal((await stranger.refused("no_such_command", {})).code, "malformed");
    assert.equal((await rider.refused("location_update", { lat: 91, lng: 9.7 })).code, "malformed");
    assert.equal((await rider.refused("location_update", { lat: "x", lng: 9.7 })).code, "malformed");
    stranger.close();
  }],
  ["wrong doors stay shut with the contract's codes", async () => {
    const knock = (type, id, options) => new App(type, id, options).connected().then(
      () => "let in", (error) => error.message,
    );
    assert.equal(await knock("RIDER", "rdr_1", { auth: {} }), "token_required");
    assert.equal(await knock("RIDER", "rdr_1", { auth: { token: "x.y.z" } }), "token_invalid");
    const { token } = await import("./app_client.mjs");
    const old = Math.floor(Date.now() / 1000) - 60;
    const late = token("RIDER", "rdr_1", { iat: old - 60, exp: old });
    assert.equal(await knock("RIDER", "rdr_1", { auth: { token: late } }), "token_expired");
    const other = { auth: { token: token("USER", "usr_1") } };
    assert.equal(await knock("RIDER", "rdr_1", other), "wrong_user_type");
  }],
  ["an operator sees riders and orders move", async () => {
    ops = await new App(...ADMIN).connected();
    const bbox = { south: AT.lat - 0.05, west: AT.lng - 0.05, north: AT.lat + 0.05, east: AT.lng + 0.05 };
    const snapshot = await ops.say("watch_area", { bbox });
    assert.ok(snapshot.riders.some((r) => r.riderId === RIDER[1]));
    await report(250);
    const moved = await ops.next("area_delta", (d) => d.riders.some((r) => r.riderId === RIDER[1]));
    assert.ok(moved.totals.ordersPlaced >= 5);
    ops.close();
  }],
  ["a rider who drives is told how to report, foretold, seen to arrive, and his way is kept", async () => {
    const mine = (event) => event.orderId === id;
    const foretold = (to) => user.next("eta_update", (event) => mine(event) && event.to === to);
    const body = {
      ...goods("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET"),
      deliveryAddress: { ...near(300), address: "Rue Joffre" },
    };
    await report(250);
    const { orderId: id } = await call("POST", "/orders", { as: USER, body });
    await user.say("subscribe_order", id);
    await vendor.say("accept_order", { orderId: id });
    const { offerId } = await rider.next("delivery_request", mine);
    rider.heard = [];
    await rider.say("accept_delivery", { orderId: id, offerId });
    assert.ok((await user.next("rider_assigned", mine)).etaSeconds > 0);
    await report(250);
    assert.equal((await rider.next("tracking_policy", (p) => p.intervalMs < 15_000)).intervalMs, 2_000);
    const first = (await foretold("pickup")).etaSeconds;
    const later = foretold("pickup");
    let nearer;
    later.then((told) => (nearer = told.etaSeconds), () => (nearer = NaN));
    while (nearer === undefined) {
      await report(150);
      await new Promise((done) => setTimeout(done, 500));
    }
    assert.ok(nearer < first, `${nearer} s is not less than ${first} s`);
    await drive([80, 20, 10, 10], 1);
    assert.equal((await user.next("rider_arrived", mine)).at, "pickup");
    await rider.say("arrived_pickup", { orderId: id });
    await vendor.say("order_preparing", { orderId: id });
    await vendor.say("order_ready", { orderId: id });
    await rider.say("pick_up", { orderId: id });
    await user.next("order_picked_up", mine);
    await drive([100, 190]);
    assert.ok((await foretold("dropoff")).etaSeconds > 0);
    await drive([280, 295, 298, 298], 1);
    assert.equal((await user.next("rider_arrived", mine)).at, "dropoff");
    await rider.say("complete_delivery", { orderId: id });
    await user.next("order_delivered", mine);
    await report(298);
    assert.equal((await rider.next("tracking_policy", (p) => p.intervalMs > 2_000)).intervalMs, 15_000);
    const again = user.heard.filter((event) => event.name === "rider_arrived" && mine(event.data));
    assert.deepEqual(again, [], "an arrival is told once");
    // Fixes are on their way to the store for a moment; five seconds later the trail is whole.
    const wholeAt = Date.now() + 5_000;
    const way = () => call("GET", `/orders/${id}/trail`, { as: USER });
    let trail = await way();
    while (trail.distanceM <= 400 && Date.now() < wholeAt + 5_000) {
      await new Promise((done) => setTimeout(done, 250));
      trail = await way();
    }
    assert.equal(trail.riderId, RIDER[1]);
    assert.ok(trail.points >= 2 && trail.distanceM > 400 && trail.distanceM < 700, JSON.stringify(trail));
  }],
  ["after all of it the ledger balances", async () => {
    const trial = await call("GET", "/admin/ledger/trial-balance", { as: ADMIN });
    assert.equal(trial.total, 0);
    assert.ok(trial.entries >= 10);
  }],
]);
