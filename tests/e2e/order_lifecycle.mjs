// Orders from placing to settlement by the official JavaScript client: FOOD by wallet, MART by cash,
// PACKAGE by mobile money, and the refusals and refunds around them.
import assert from "node:assert/strict";
import { AppClient, request, requestData, requestRefusal, runSteps } from "./app_client.mjs";

const run = Date.now().toString(36);
const ADMIN = ["ADMIN", "adm_1"];
const USER = ["USER", `usr_${run}`];
const VENDOR = ["VENDOR", `ven_${run}`];
const RIDER = ["RIDER", `rdr_${run}`];
// In the middle of the river, so that no other script's riders are near.
const AT = { lat: 4.05 + Math.random() * 0.02, lng: 9.62 + Math.random() * 0.02 };
const near = (metres) => ({ lat: AT.lat + metres / 111_195.08, lng: AT.lng });

let user, vendor, rider, ops, food;
let fixes = 0;

const report = (metres, speed = 6) => {
  fixes += 1;
  return rider.command("location_update", {
    ...near(metres), accuracy: 8, heading: 10, speed, seq: fixes, ts: Date.now(),
  });
};
const drive = async (distances, speed) => {
  for (const metres of distances) {
    const answer = await report(metres, speed);
    assert.equal(answer?.dropped, undefined, `${metres} m: ${answer?.dropped}`);
  }
};
const balance = (as) => requestData("GET", "/wallet/balance", { as });
const order = (id, as = USER) => requestData("GET", `/orders/${id}`, { as });
const orderBody = (type, items, paymentMethod) => ({
  orderType: type, vendorId: VENDOR[1], items,
  deliveryAddress: { ...near(1500), address: "Rue Joffre" }, paymentMethod,
});

async function expectSettled(id, parts) {
  for (const [app, amount] of parts)
    assert.equal((await app.nextEvent("order_settled", (e) => e.orderId === id)).amount, amount);
  assert.equal((await order(id)).status, "FUNDS_DISTRIBUTED");
}

async function deliver(id, { cash, ready } = {}) {
  const offer = await rider.nextEvent("delivery_request", (e) => e.orderId === id);
  assert.ok(offer.expiresInMs > 5_000 && offer.distance < 5);
  assert.equal(offer.cashToCollect, cash);
  const accepted = await rider.command("accept_delivery", { orderId: id, offerId: offer.offerId });
  assert.equal(accepted.dispatch.riderId, RIDER[1]);
  const assigned = await user.nextEvent("rider_assigned", (e) => e.orderId === id);
  assert.equal(assigned.name, "Paul Biya Junior");
  await rider.command("arrived_pickup", { orderId: id });
  assert.equal((await user.nextEvent("rider_arrived", (e) => e.orderId === id)).at, "pickup");
  if (ready) await ready();
  await rider.command("pick_up", { orderId: id });
  await user.nextEvent("order_picked_up", (e) => e.orderId === id);
  await rider.command("arrived_dropoff", { orderId: id });
  await rider.command("complete_delivery", { orderId: id, ...(cash && { cashCollected: cash }) });
  await user.nextEvent("order_delivered", (e) => e.orderId === id);
}

await runSteps([
  ["an operator switches mart and packages on", async () => {
    const off = await requestRefusal("GET", "/config/service/packages", { as: USER }).catch(() => null);
    assert.ok(off === null || (off.status === 503 && off.code === "service_disabled"));
    for (const name of ["mart", "packages"])
      await requestData("PUT", `/admin/config/services/${name}`, { as: ADMIN, body: { enabled: true } });
    const config = JSON.stringify(await requestData("GET", "/config", { as: USER }));
    assert.ok(!/commission/i.test(config), "customers do not see the rates");
  }],
  ["a vendor goes online with a catalogue", async () => {
    await requestData("PUT", "/vendor/profile", {
      as: VENDOR, body: { name: "Chez Wou", location: { ...near(0), address: "Akwa" } },
    });
    for (const [id, price] of [["ndole", 4000], ["poulet", 3000]])
      await requestData("PUT", `/vendor/items/${id}`, { as: VENDOR, body: { name: id, price } });
    vendor = await new AppClient(...VENDOR).connected();
    await vendor.command("set_online", { online: true });
    const { items } = await requestData("GET", `/vendors/${VENDOR[1]}/items`, { as: USER });
    assert.deepEqual(items.map((i) => [i.itemId, i.price]), [["ndole", 4000], ["poulet", 3000]]);
  }],
  ["a rider goes on duty and reports its position", async () => {
    await requestData("PUT", "/rider/profile", {
      as: RIDER, body: { name: "Paul Biya Junior", vehicle: "MOTORBIKE" },
    });
    rider = await new AppClient(...RIDER).connected();
    await rider.command("set_availability", { available: true });
    await report(300);
  }],
  ["an order without enough money is refused and not stored", async () => {
    user = await new AppClient(...USER).connected();
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    assert.deepEqual(await requestRefusal("POST", "/orders", { as: USER, body }), {
      status: 402, code: "insufficient_funds",
    });
    assert.deepEqual((await requestData("GET", "/orders", { as: USER })).items, []);
  }],
  ["a top-up arrives through the sandbox", async () => {
    await requestData("POST", "/wallet/topup", { as: USER, body: { amount: 50_000, provider: "sandbox" } });
    for (let i = 0; i < 50 && (await balance(USER)).availableBalance < 50_000; i += 1)
      await new Promise((done) => setTimeout(done, 50));
    assert.deepEqual(
      { ...(await balance(USER)), totalEarned: 0 },
      { availableBalance: 50_000, pendingBalance: 0, totalEarned: 0, currency: "XAF" },
    );
  }],
  ["quote and order agree, and an idempotency key places it once", async () => {
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 2 }, { itemId: "poulet", quantity: 1 }], "WALLET");
    const quote = await requestData("POST", "/orders/quote", { as: USER, body });
    const first = await request("POST", "/orders", { as: USER, body, key: `k_${run}` });
    const repeated = await request("POST", "/orders", { as: USER, body, key: `k_${run}` });
    assert.equal(first.status, 201);
    assert.deepEqual(repeated.body, first.body);
    food = first.body.data;
    assert.equal(food.status, "PENDING");
    assert.deepEqual(
      [food.pricing.subtotal, food.pricing.deliveryFee, food.pricing.total], [11_000, 1_500, 12_500],
    );
    assert.equal((quote.pricing ?? quote).total, 12_500);
    const other = { ...body, paymentMethod: "CASH" };
    assert.deepEqual(await requestRefusal("POST", "/orders", { as: USER, body: other, key: `k_${run}` }), {
      status: 409, code: "conflict",
    });
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["the vendor is notified and accepts, and dispatch begins", async () => {
    const event = await vendor.nextEvent("new_order", (e) => e.orderId === food.orderId);
    assert.ok(Number.isInteger(event.seq) && event.epoch && event.ts);
    await vendor.command("accept_order", { orderId: food.orderId, prepMinutes: 10 });
    await user.nextEvent("order_accepted", (e) => e.orderId === food.orderId);
    assert.equal((await user.nextEvent("dispatch_status")).state, "searching");
    assert.equal((await vendor.refusedCommand("accept_order", { orderId: food.orderId })).code, "wrong_state");
  }],
  ["FOOD by wallet is offered, watched, delivered and settled", async () => {
    const id = food.orderId;
    const snapshot = await user.command("subscribe_order", id);
    assert.equal(snapshot.orderId, id);
    await deliver(id, {
      ready: async () => {
        await report(200);
        const position = await user.nextEvent("rider_location_update");
        assert.deepEqual([position.orderId, position.riderId, position.state], [id, RIDER[1], "live"]);
        await vendor.command("order_preparing", { orderId: id });
        await vendor.command("order_ready", { orderId: id });
        await user.nextEvent("order_ready");
        await rider.nextEvent("order_ready_for_pickup");
      },
    });
    await expectSettled(id, [[vendor, 9_350], [rider, 1_500]]);
    assert.equal((await balance(VENDOR)).availableBalance, 9_350);
    assert.equal((await balance(RIDER)).availableBalance, 1_500);
  }],
  ["the customer's wallet lists its transactions", async () => {
    const { items } = await requestData("GET", "/wallet/transactions", { as: USER });
    assert.deepEqual(
      items.map((t) => [t.seq, t.type, t.amount, t.balanceBefore, t.balanceAfter]),
      [[2, "DEBIT", 12_500, 50_000, 37_500], [1, "CREDIT", 50_000, 0, 50_000]],
    );
  }],
  ["a delivered order can be rated", async () => {
    await user.command("rate_order", { orderId: food.orderId, rating: 5 });
    assert.equal((await order(food.orderId)).rating, 5);
  }],
  ["MART by cash is collected by the rider and settled", async () => {
    const body = orderBody("MART", [{ itemId: "poulet", quantity: 2 }], "CASH");
    const { orderId, pricing } = await requestData("POST", "/orders", { as: USER, body });
    assert.equal(pricing.total, 8_000);
    await vendor.nextEvent("new_order", (e) => e.orderId === orderId);
    await vendor.command("accept_order", { orderId });
    await vendor.command("order_preparing", { orderId });
    await vendor.command("order_ready", { orderId });
    await deliver(orderId, { cash: 8_000 });
    await expectSettled(orderId, [[vendor, 5_400], [rider, 2_000]]);
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["PACKAGE by mobile money is dispatched once paid, delivered and settled", async () => {
    const body = {
      orderType: "PACKAGE", pickup: { ...near(0), address: "A" }, dropoff: { ...near(2000), address: "B" },
      packageDetails: { category: "documents", weight: 1.5, isFragile: true },
      recipient: { name: "Awa", phone: "+237600000000" }, paymentMethod: "MOBILE_MONEY",
    };
    const placed = await requestData("POST", "/orders", { as: USER, body });
    assert.equal(placed.pricing.total, 2_000 + 1_000 + 1_000);
    await deliver(placed.orderId);
    await expectSettled(placed.orderId, [[rider, 3_200]]);
  }],
  ["a cancelled order is refunded", async () => {
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await requestData("POST", "/orders", { as: USER, body });
    assert.equal((await balance(USER)).availableBalance, 32_000);
    await user.command("cancel_order", { orderId, reason: "changed my mind" });
    const event = await vendor.nextEvent("order_cancelled", (e) => e.orderId === orderId);
    assert.equal(event.refundAmount, 5_500);
    assert.equal((await order(orderId)).status, "CANCELLED");
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["a rejected order is refunded", async () => {
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await requestData("POST", "/orders", { as: USER, body });
    await vendor.command("reject_order", { orderId, reason: "no fish today" });
    const event = await user.nextEvent("order_rejected", (e) => e.orderId === orderId);
    assert.deepEqual([event.reason, event.refundAmount], ["no fish today", 5_500]);
    assert.equal((await balance(USER)).availableBalance, 37_500);
  }],
  ["events missed while disconnected arrive on resume", async () => {
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await requestData("POST", "/orders", { as: USER, body });
    user.close();
    await vendor.command("accept_order", { orderId });
    await requestData("POST", `/orders/${orderId}/cancel`, { as: USER, body: { reason: "late" } });
    await vendor.nextEvent("order_cancelled", (e) => e.orderId === orderId);
    user.events = [];
    user.socket.connect();
    await user.nextEvent("order_cancelled", (e) => e.orderId === orderId);
    await user.nextEvent("order_accepted", (e) => e.orderId === orderId);
  }],
  ["a resume from an unknown epoch is answered with resync", async () => {
    user.resumePoint = { epoch: "another-epoch", seq: 3 };
    user.socket.disconnect().connect();
    assert.ok((await user.nextEvent("resync")).epoch);
  }],
  ["a repeated command has one effect and the first answer", async () => {
    const body = orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET");
    const { orderId } = await requestData("POST", "/orders", { as: USER, body });
    const command = { orderId, commandId: `cmd_${run}` };
    const [first, second] = await Promise.all([
      vendor.command("accept_order", command), vendor.command("accept_order", command),
    ]);
    assert.deepEqual(second, first);
    await user.command("cancel_order", { orderId });
  }],
  ["orders of others are not found, and malformed commands are refused", async () => {
    const stranger = await new AppClient("USER", `usr_x${run}`).connected();
    assert.equal((await stranger.refusedCommand("subscribe_order", food.orderId)).code, "not_found");
    assert.equal((await stranger.refusedCommand("subscribe_order", "ord_none")).code, "not_found");
    assert.equal((await stranger.refusedCommand("subscribe_order", { orderId: 7 })).code, "malformed");
    assert.equal((await stranger.refusedCommand("no_such_command", {})).code, "malformed");
    assert.equal((await rider.refusedCommand("location_update", { lat: 91, lng: 9.7 })).code, "malformed");
    assert.equal((await rider.refusedCommand("location_update", { lat: "x", lng: 9.7 })).code, "malformed");
    stranger.close();
  }],
  ["invalid tokens are refused with the contract's codes", async () => {
    const tryConnect = (type, id, options) => new AppClient(type, id, options).connected().then(
      () => "connected", (error) => error.message,
    );
    assert.equal(await tryConnect("RIDER", "rdr_1", { auth: {} }), "token_required");
    assert.equal(await tryConnect("RIDER", "rdr_1", { auth: { token: "x.y.z" } }), "token_invalid");
    const { token } = await import("./app_client.mjs");
    const old = Math.floor(Date.now() / 1000) - 60;
    const late = token("RIDER", "rdr_1", { iat: old - 60, exp: old });
    assert.equal(await tryConnect("RIDER", "rdr_1", { auth: { token: late } }), "token_expired");
    const other = { auth: { token: token("USER", "usr_1") } };
    assert.equal(await tryConnect("RIDER", "rdr_1", other), "wrong_user_type");
  }],
  ["an operator's area shows riders and counters live", async () => {
    ops = await new AppClient(...ADMIN).connected();
    const bbox = { south: AT.lat - 0.05, west: AT.lng - 0.05, north: AT.lat + 0.05, east: AT.lng + 0.05 };
    const snapshot = await ops.command("watch_area", { bbox });
    assert.ok(snapshot.riders.some((r) => r.riderId === RIDER[1]));
    await report(250);
    const moved = await ops.nextEvent("area_delta", (d) => d.riders.some((r) => r.riderId === RIDER[1]));
    assert.ok(moved.totals.ordersPlaced >= 5);
    ops.close();
  }],
  ["a driving rider gets a reporting interval, ETAs and arrivals, and its trail is stored", async () => {
    const isMine = (event) => event.orderId === id;
    const nextEta = (to) => user.nextEvent("eta_update", (event) => isMine(event) && event.to === to);
    const body = {
      ...orderBody("FOOD", [{ itemId: "ndole", quantity: 1 }], "WALLET"),
      deliveryAddress: { ...near(300), address: "Rue Joffre" },
    };
    await report(250);
    const { orderId: id } = await requestData("POST", "/orders", { as: USER, body });
    await user.command("subscribe_order", id);
    await vendor.command("accept_order", { orderId: id });
    const { offerId } = await rider.nextEvent("delivery_request", isMine);
    rider.events = [];
    await rider.command("accept_delivery", { orderId: id, offerId });
    assert.ok((await user.nextEvent("rider_assigned", isMine)).etaSeconds > 0);
    await report(250);
    assert.equal((await rider.nextEvent("tracking_policy", (p) => p.intervalMs < 15_000)).intervalMs, 2_000);
    const first = (await nextEta("pickup")).etaSeconds;
    const later = nextEta("pickup");
    let nearer;
    later.then((event) => (nearer = event.etaSeconds), () => (nearer = NaN));
    while (nearer === undefined) {
      // The same place at a speed is taken for a receiver that hangs.
      await report(150 - (fixes % 5));
      await new Promise((done) => setTimeout(done, 500));
    }
    assert.ok(nearer < first, `${nearer} s is not less than ${first} s`);
    await drive([80, 20, 10, 10], 1);
    assert.equal((await user.nextEvent("rider_arrived", isMine)).at, "pickup");
    await rider.command("arrived_pickup", { orderId: id });
    await vendor.command("order_preparing", { orderId: id });
    await vendor.command("order_ready", { orderId: id });
    await rider.command("pick_up", { orderId: id });
    await user.nextEvent("order_picked_up", isMine);
    await drive([100, 190]);
    assert.ok((await nextEta("dropoff")).etaSeconds > 0);
    await drive([280, 295, 298, 298], 1);
    assert.equal((await user.nextEvent("rider_arrived", isMine)).at, "dropoff");
    await rider.command("complete_delivery", { orderId: id });
    await user.nextEvent("order_delivered", isMine);
    await report(298);
    assert.equal((await rider.nextEvent("tracking_policy", (p) => p.intervalMs > 2_000)).intervalMs, 15_000);
    const repeated = user.events.filter((event) => event.name === "rider_arrived" && isMine(event.data));
    assert.deepEqual(repeated, [], "each arrival is sent once");
    // Fixes reach the store with a delay; five seconds later the trail is complete.
    const completeAt = Date.now() + 5_000;
    const readTrail = () => requestData("GET", `/orders/${id}/trail`, { as: USER });
    let trail = await readTrail();
    while (trail.distanceM <= 400 && Date.now() < completeAt + 5_000) {
      await new Promise((done) => setTimeout(done, 250));
      trail = await readTrail();
    }
    assert.equal(trail.riderId, RIDER[1]);
    assert.ok(trail.points >= 2 && trail.distanceM > 400 && trail.distanceM < 700, JSON.stringify(trail));
  }],
  ["after all of it the ledger balances", async () => {
    const trial = await requestData("GET", "/admin/ledger/trial-balance", { as: ADMIN });
    assert.equal(trial.total, 0);
    assert.ok(trial.entries >= 10);
  }],
]);
