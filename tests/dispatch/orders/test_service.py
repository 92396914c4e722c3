"""The steps on real engines: one write decides, money follows, and nothing happens twice."""

import asyncio

import msgspec
import pytest

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import Receipt
from dispatch.model import Position
from dispatch.orders.store import Orders
from dispatch.orders.transitions.context import OffersMade
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.wire import commands
from dispatch.wire.http import requests
from matching.eta import travel_seconds, vehicle_mps
from matching.speeds import hour_of
from tests.dispatch.conftest import Shop
from tests.factories import an_offer

pytestmark = pytest.mark.engines


async def refusal_of(step):
    try:
        await step
    except Refused as refused:
        return refused.code
    return "ok"


async def test_an_order_goes_its_way_and_the_money_follows(shop: Shop):
    """Placed, accepted, carried, delivered, settled: each is told and each franc arrives."""
    order_id = await shop.place()
    await shop.accept(order_id)
    await shop.carry(order_id)
    await shop.settler.settle(order_id)

    assert await shop.status(order_id) == "FUNDS_DISTRIBUTED"
    assert await shop.has("USER", "usr_1") == 100_000 - 9_500
    assert await shop.has("VENDOR", "ven_1") == 6_800
    assert await shop.has("RIDER", "rdr_1") == 1_500
    assert (await shop.statements.trial_balance())["total"] == 0
    assert await shop.told("user:usr_1") == [
        "order_accepted", "dispatch_status", "dispatch_status", "rider_assigned",
        "rider_arrived", "order_ready", "order_picked_up", "order_delivered",
    ]  # fmt: skip
    assert await shop.told("rider:rdr_1") == [
        "delivery_request", "order_ready_for_pickup", "order_settled",
    ]  # fmt: skip
    assert (await shop.told("vendor:ven_1"))[-1] == "order_settled"


async def test_exactly_one_of_twenty_riders_wins(shop: Shop):
    """Twenty accepts of one order at once, each sent twice: one rider has it, the rest lost."""
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, *(f"rdr_{i}" for i in range(20)))
    asked = [(rider, offer) for rider, offer in offers.items() for _ in range(2)]
    codes = await asyncio.gather(*(refusal_of(shop.take(order_id, *one)) for one in asked))
    order = await shop.orders.get(order_id)
    won = [rider for (rider, _), code in zip(asked, codes, strict=True) if code == "ok"]

    assert won == [order.rider_id] * 2
    assert set(codes) == {"ok", Refusal.OFFER_TAKEN}
    busy = [r for r in offers if (await shop.riders.duty(r)).orders]
    assert busy == [order.rider_id]


async def test_who_is_assigned_comes_as_fast_as_the_streets_are(shop: Shop):
    """Two kilometres over slow streets take what was learned there, not what vehicles can do."""
    order_id = await shop.place()
    await shop.accept(order_id)
    at = shop.whereabouts.at = Position(lat=4.069, lng=9.708, ts=0, received_at=0)
    street = (cell_of(at.lat, at.lng), hour_of(shop.clock.now_ms()), None)
    shop.speeds.learn(street, 3_000.0, 1_500.0)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])

    told = {entry.name: entry.body for entry in await shop.entries("user:usr_1")}
    slow_s = travel_seconds(2_001.5, shop.speeds.speed_mps(street))
    assert msgspec.json.decode(told["rider_assigned"])["etaSeconds"] == pytest.approx(slow_s, abs=1)
    assert slow_s > 2.5 * travel_seconds(2_001.5, vehicle_mps(None))


async def test_a_rider_carries_one_order_at_a_time(shop: Shop):
    """Two orders offered to the same rider: he gets the first he takes."""
    first, second = await shop.place(), await shop.place()
    await shop.accept(first)
    await shop.accept(second)
    one, two = await shop.offer(first, "rdr_1"), await shop.offer(second, "rdr_1")
    codes = await asyncio.gather(
        refusal_of(shop.take(first, "rdr_1", one["rdr_1"])),
        refusal_of(shop.take(second, "rdr_1", two["rdr_1"])),
    )

    assert sorted(codes, key=str) == sorted(["ok", Refusal.CONFLICT], key=str)


async def test_a_repeated_command_has_one_effect_and_the_first_answer(shop: Shop):
    """Fifty copies of one accept at once change the order once and hear the same."""
    order_id = await shop.place()
    answers = await asyncio.gather(*(shop.accept(order_id, key="cmd_1") for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert (await shop.orders.get(order_id)).version == 2
    assert (await shop.told("user:usr_1")).count("order_accepted") == 1


async def test_a_repeated_delivery_accept_hears_all_of_the_first_answer(shop: Shop):
    """Whoever wins hears the whole order; his repeats once heard it in brief only."""
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1", "rdr_2")
    first = await shop.take(order_id, "rdr_1", offers["rdr_1"], key="cmd_1")
    again = [await shop.take(order_id, "rdr_1", offers["rdr_1"], key) for key in ("cmd_1", None)]

    assert first["locations"]["pickup"]["lat"] == 4.051
    assert {msgspec.json.encode(answer) for answer in (first, *again)} == {
        msgspec.json.encode(first)
    }


async def test_rivals_of_one_node_do_not_race_to_the_table(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    """Twenty riders accept at once: one is written, the others are refused without a write.

    When they raced, each of them sent a transaction that could only fail.
    """
    order_id = await shop.place()
    await shop.accept(order_id)
    riders = [f"rdr_{n}" for n in range(20)]
    offers = await shop.offer(order_id, *riders)
    sent, transact = [], shop.table.transact
    monkeypatch.setattr(shop.table, "transact", lambda writes: sent.append(1) or transact(writes))
    codes = await asyncio.gather(
        *(refusal_of(shop.take(order_id, rider, offers[rider])) for rider in riders)
    )

    assert sorted(codes, key=str) == sorted(["ok", *[Refusal.OFFER_TAKEN] * 19], key=str)
    assert len(sent) == 1


async def test_a_repeated_placement_takes_the_money_once(shop: Shop):
    """The same key places one order, whatever the network does."""
    placed = await asyncio.gather(*(shop.place(key="k_1") for _ in range(10)))

    assert len(set(placed)) == 1
    assert await shop.has("USER", "usr_1") == 100_000 - 9_500


async def test_the_same_key_for_another_request_is_a_conflict(shop: Shop):
    """A key names one request for ever."""
    order_id = await shop.place()
    await shop.accept(order_id, key="cmd_1")
    other = shop.as_("vendor", "ven_1", "cmd_1")
    assert other.receipt is not None
    changed = Receipt(owner=other.receipt.owner, name="cmd_1", body_hash="different")
    caller = type(other)(audience="vendor", id="ven_1", receipt=changed)
    step = shop.flow.order_preparing(caller, commands.OrderPreparing(order_id=order_id))

    assert await refusal_of(step) is Refusal.CONFLICT


async def test_a_wallet_too_small_leaves_no_order_behind(shop: Shop):
    """Refused money is a refused order: nothing is listed, told or reserved."""
    assert await refusal_of(shop.place(quantity=500)) is Refusal.INSUFFICIENT_FUNDS
    orders, _ = await shop.orders.list_for("user", "usr_1", None, (10, None))

    assert orders == []
    assert await shop.told("vendor:ven_1") == []


async def test_the_last_portion_is_sold_once(shop: Shop):
    """Five customers want the last two portions, two each: one of them eats."""
    await shop.open(stock=3)
    codes = await asyncio.gather(*(refusal_of(shop.place()) for _ in range(5)))

    assert sorted(map(str, codes)) == [*["item_unavailable"] * 4, "ok"]


async def test_a_cancelled_order_gives_everything_back(shop: Shop):
    """Money, stock and the rider's hands are as they were before."""
    await shop.open(stock=10)
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])
    cancel = commands.CancelOrder(order_id=order_id)
    await shop.flow.cancel_order(shop.as_("user", "usr_1"), cancel)

    assert await shop.status(order_id) == "CANCELLED"
    assert (await shop.riders.duty("rdr_1")).orders == ()
    assert (await shop.catalogue.items_by_id("ven_1", ["ndole"]))["ndole"].stock == 10
    assert await shop.has("USER", "usr_1") == 200_000 - 100_000
    assert (await shop.statements.trial_balance())["total"] == 0


async def test_cancel_and_accept_at_once_have_one_winner(shop: Shop):
    """Either the rider carries the order or the customer has his money back, never both."""
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    cancel = commands.CancelOrder(order_id=order_id)
    await asyncio.gather(
        refusal_of(shop.take(order_id, "rdr_1", offers["rdr_1"])),
        refusal_of(shop.flow.cancel_order(shop.as_("user", "usr_1"), cancel)),
    )
    order = await shop.orders.get(order_id)

    assert order.status.value == "CANCELLED"
    assert (await shop.riders.duty("rdr_1")).orders == ()
    assert await shop.has("USER", "usr_1") == 100_000


async def test_cash_is_bounded_by_what_a_rider_may_carry(shop: Shop):
    """A rider whose limit would be passed does not get the order."""
    order_id = await shop.place(method="CASH", quantity=13)
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")

    assert await refusal_of(shop.take(order_id, "rdr_1", offers["rdr_1"])) is Refusal.CASH_LIMIT
    assert (await shop.riders.duty("rdr_1")).orders == ()


async def test_cash_settles_against_the_riders_debt(shop: Shop):
    """The rider owes what he collected; vendor and rider are paid; the sum is zero."""
    order_id = await shop.place(method="CASH")
    await shop.accept(order_id)
    await shop.carry(order_id)
    await shop.settler.settle(order_id)
    trial = await shop.statements.trial_balance()
    balances = {line["account"]: line["balance"] for line in trial["accounts"]}

    assert balances["RIDERCASH#rdr_1"] == -9_500
    assert trial["total"] == 0


async def test_a_released_order_frees_rider_and_cash(shop: Shop):
    """The order searches again and its rider may take another."""
    order_id = await shop.place(method="CASH", quantity=10)
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])
    give_back = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await shop.flow.release_delivery(shop.as_("rider", "rdr_1"), give_back)
    other = await shop.place(method="CASH", quantity=11)
    await shop.accept(other)
    again = await shop.offer(other, "rdr_1")

    assert await refusal_of(shop.take(other, "rdr_1", again["rdr_1"])) == "ok"


async def test_a_crash_between_write_and_telling_loses_nothing(shop: Shop):
    """What was written and never relayed is told by the sweep, once."""
    order_id = await shop.place()
    await shop.accept(order_id)

    assert await shop.told("vendor:ven_1") == ["new_order"]
    assert await shop.told("vendor:ven_1") == ["new_order"]
    assert (await shop.timers.claim(shop.clock.now_ms(), 10, 1))[0] == [order_id]


async def test_a_delivery_that_nobody_settled_is_swept(shop: Shop):
    """A node that died right after the delivery leaves the money to the sweep."""
    order_id = await shop.place()
    await shop.accept(order_id)
    await shop.carry(order_id)
    shop.clock.advance(10_001)

    assert await shop.settler.sweep_once() == 1
    assert await shop.settler.sweep_once() == 0
    assert await shop.status(order_id) == "FUNDS_DISTRIBUTED"


async def test_mobile_money_waits_for_the_provider(shop: Shop):
    """The vendor hears of the order when the money is there, and once."""
    order_id = await shop.place(method="MOBILE_MONEY")
    assert await shop.told("vendor:ven_1") == []
    await shop.flow.payment_confirmed(order_id)
    await shop.flow.payment_confirmed(order_id)

    assert await shop.told("vendor:ven_1") == ["new_order"]


async def test_money_for_an_order_that_was_called_off_goes_into_the_wallet(shop: Shop):
    """A payment that comes too late is the customer's own money."""
    order_id = await shop.place(method="MOBILE_MONEY")
    cancel = commands.CancelOrder(order_id=order_id)
    await shop.flow.cancel_order(shop.as_("user", "usr_1"), cancel)
    await shop.flow.payment_confirmed(order_id)
    await shop.flow.payment_confirmed(order_id)

    assert await shop.has("USER", "usr_1") == 100_000 + 9_500


async def test_a_parcel_needs_no_vendor(shop: Shop):
    """PACKAGE is searched for at once and pays platform and rider."""
    here = requests.Address(lat=4.05, lng=9.70)
    body = requests.PackageOrder(
        order_type="PACKAGE",
        pickup=here,
        dropoff=requests.Address(lat=4.068, lng=9.70),
        package_details=requests.ParcelDetails(category="documents", weight=1.0),
        recipient=requests.Addressee(name="Awa", phone="+237600000000"),
        payment_method="WALLET",
    )
    placed = await shop.flow.place_order(shop.as_("user", "usr_1"), body)
    offers = await shop.offer(placed["orderId"], "rdr_1")
    await shop.take(placed["orderId"], "rdr_1", offers["rdr_1"])
    him = shop.as_("rider", "rdr_1")
    await shop.flow.pick_up(him, commands.PickUp(order_id=placed["orderId"]))
    done = commands.CompleteDelivery(order_id=placed["orderId"])
    await shop.flow.complete_delivery(him, done)
    await shop.settler.settle(placed["orderId"])
    total = placed["pricing"]["total"]

    assert await shop.has("RIDER", "rdr_1") == total - total // 5


@pytest.mark.parametrize("audience", ["user", "vendor", "rider"])
async def test_somebody_elses_order_is_not_there(shop: Shop, audience):
    """A stranger of any audience gets the answer of an order that does not exist."""
    order_id = await shop.place()
    steps = {
        "user": lambda who, o: shop.flow.cancel_order(who, commands.CancelOrder(order_id=o)),
        "vendor": lambda who, o: shop.flow.accept_order(who, commands.AcceptOrder(order_id=o)),
        "rider": lambda who, o: shop.flow.pick_up(who, commands.PickUp(order_id=o)),
    }
    stranger = shop.as_(audience, "stranger")

    assert await refusal_of(steps[audience](stranger, order_id)) is Refusal.NOT_FOUND
    assert await refusal_of(steps[audience](stranger, "ord_none")) is Refusal.NOT_FOUND


@pytest.mark.parametrize("method", ["WALLET", "CASH"])
async def test_a_settlement_does_not_read_the_money_it_splits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, method
):
    """What the order says of its money is what the condition checks, so nothing is read first."""
    order_id = await shop.place(method=method)
    await shop.accept(order_id)
    await shop.carry(order_id)
    reads = []
    monkeypatch.setattr(shop.ledger, "fin", reads.append)
    await shop.flow.settle(order_id)

    assert reads == []
    assert await shop.status(order_id) == "FUNDS_DISTRIBUTED"


async def read_by_engine(shop):
    """An order that waits for a rider, as the engine has read it."""
    order_id = await shop.place()
    await shop.accept(order_id)
    return await shop.orders.get(order_id)


async def offer_as_read(shop, known):
    """The engine offers an order as it has read it."""
    now_ms = shop.clock.now_ms()
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=now_ms)}
    made = OffersMade(trip_km=2.0, due_at_ms=now_ms + 2_000)
    return await shop.flow.make_offers(known.order_id, offers, made, known)


async def test_an_order_that_the_engine_has_read_is_not_read_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    """From a vendor's yes to a rider's phone every round trip counts."""
    known = await read_by_engine(shop)
    reads = []
    monkeypatch.setattr(Orders, "get", reads.append)
    offered = await offer_as_read(shop, known)

    assert reads == []
    assert offered.version == known.version + 1


async def test_an_order_that_changed_after_the_engine_read_it_is_read_again(shop: Shop):
    """The kitchen began meanwhile: that is kept, and the order is offered."""
    known = await read_by_engine(shop)
    vendor = shop.as_("vendor", "ven_1")
    await shop.flow.order_preparing(vendor, commands.OrderPreparing(order_id=known.order_id))
    offered = await offer_as_read(shop, known)

    assert await shop.status(known.order_id) == "PREPARING"
    assert offered.version == known.version + 2
    assert await refusal_of(shop.take(known.order_id, "rdr_1", "ofr_1")) == "ok"


async def test_an_order_that_was_called_off_after_the_engine_read_it_is_not_offered(shop: Shop):
    """What the engine remembers decides nothing."""
    known = await read_by_engine(shop)
    customer = shop.as_("user", "usr_1")
    await shop.flow.cancel_order(customer, commands.CancelOrder(order_id=known.order_id))

    assert await refusal_of(offer_as_read(shop, known)) is Refusal.WRONG_STATE
    assert "delivery_request" not in await shop.told("rider:rdr_1")
