"""The steps on real engines: one write decides, money follows, and nothing happens twice."""

import asyncio

import msgspec
import pytest

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey
from dispatch.model import Position
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.context import OfferFacts
from dispatch.storage.paging import PageRequest
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.wire import commands
from dispatch.wire.http.base import Address
from dispatch.wire.http.orders import PackageOrder, ParcelDetails, Recipient
from matching.eta import travel_seconds, vehicle_mps
from matching.speeds import hour_of
from tests.dispatch.conftest import OrderScenario
from tests.factories import an_offer

pytestmark = pytest.mark.engines


async def refusal_of(step):
    try:
        await step
    except Refused as refused:
        return refused.code
    return "ok"


async def test_an_order_is_delivered_and_settled(order_scenario: OrderScenario):
    """Placed, accepted, carried, delivered, settled: each is told and each franc arrives."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    await order_scenario.settlement_worker.settle(order_id)

    assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 - 9_500
    assert await order_scenario.wallet_balance("VENDOR", "ven_1") == 6_800
    assert await order_scenario.wallet_balance("RIDER", "rdr_1") == 1_500
    assert (await order_scenario.statements.trial_balance())["total"] == 0
    assert await order_scenario.event_names("user:usr_1") == [
        "order_accepted", "dispatch_status", "dispatch_status", "rider_assigned",
        "rider_arrived", "order_ready", "order_picked_up", "order_delivered",
    ]  # fmt: skip
    assert await order_scenario.event_names("rider:rdr_1") == [
        "delivery_request", "order_ready_for_pickup", "order_settled",
    ]  # fmt: skip
    assert (await order_scenario.event_names("vendor:ven_1"))[-1] == "order_settled"


async def test_exactly_one_of_twenty_riders_wins(order_scenario: OrderScenario):
    """Twenty accepts of one order at once, each sent twice: one rider has it, the rest lost."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, *(f"rdr_{i}" for i in range(20)))
    asked = [(rider, offer) for rider, offer in offers.items() for _ in range(2)]
    codes = await asyncio.gather(
        *(refusal_of(order_scenario.accept_delivery(order_id, *one)) for one in asked)
    )
    order = await order_scenario.orders.get(order_id)
    won = [rider for (rider, _), code in zip(asked, codes, strict=True) if code == "ok"]

    assert won == [order.rider_id] * 2
    assert set(codes) == {"ok", Refusal.OFFER_TAKEN}
    busy = [r for r in offers if (await order_scenario.riders.workload(r)).orders]
    assert busy == [order.rider_id]


async def test_eta_uses_learned_speeds(order_scenario: OrderScenario):
    """Two kilometres over slow streets take what was learned there, not what vehicles can do."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    at = order_scenario.positions.position = Position(lat=4.069, lng=9.708, ts=0, received_at=0)
    street = (cell_of(at.lat, at.lng), hour_of(order_scenario.clock.now_ms()), None)
    order_scenario.speeds.learn(street, 3_000.0, 1_500.0)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])

    told = {entry.name: entry.body for entry in await order_scenario.inbox_entries("user:usr_1")}
    slow_s = travel_seconds(2_001.5, order_scenario.speeds.speed_mps(street))
    assert msgspec.json.decode(told["rider_assigned"])["etaSeconds"] == pytest.approx(slow_s, abs=1)
    assert slow_s > 2.5 * travel_seconds(2_001.5, vehicle_mps(None))


async def test_a_rider_carries_one_order_at_a_time(order_scenario: OrderScenario):
    """Two orders offered to the same rider: he gets the first he takes."""
    first, second = await order_scenario.place_order(), await order_scenario.place_order()
    await order_scenario.accept_order(first)
    await order_scenario.accept_order(second)
    one, two = (
        await order_scenario.make_offers(first, "rdr_1"),
        await order_scenario.make_offers(second, "rdr_1"),
    )
    codes = await asyncio.gather(
        refusal_of(order_scenario.accept_delivery(first, "rdr_1", one["rdr_1"])),
        refusal_of(order_scenario.accept_delivery(second, "rdr_1", two["rdr_1"])),
    )

    assert sorted(codes, key=str) == sorted(["ok", Refusal.CONFLICT], key=str)


async def test_a_repeated_command_has_one_effect_and_the_first_answer(
    order_scenario: OrderScenario,
):
    """Fifty copies of one accept at once change the order once and hear the same."""
    order_id = await order_scenario.place_order()
    answers = await asyncio.gather(
        *(order_scenario.accept_order(order_id, key="cmd_1") for _ in range(50))
    )

    assert all(answer == answers[0] for answer in answers)
    assert (await order_scenario.orders.get(order_id)).version == 2
    assert (await order_scenario.event_names("user:usr_1")).count("order_accepted") == 1


async def test_a_repeated_delivery_accept_gets_the_whole_first_answer(
    order_scenario: OrderScenario,
):
    """Whoever wins hears the whole order; his repeats once heard it in brief only."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1", "rdr_2")
    first = await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"], key="cmd_1")
    again = [
        await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"], key)
        for key in ("cmd_1", None)
    ]

    assert first["locations"]["pickup"]["lat"] == 4.051
    assert {msgspec.json.encode(answer) for answer in (first, *again)} == {
        msgspec.json.encode(first)
    }


async def test_concurrent_accepts_on_one_node_send_one_transaction(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """Twenty riders accept at once: one is written, the others are refused without a write.

    When they raced, each of them sent a transaction that could only fail.
    """
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    riders = [f"rdr_{n}" for n in range(20)]
    offers = await order_scenario.make_offers(order_id, *riders)
    sent, transact = [], order_scenario.table.transact
    monkeypatch.setattr(
        order_scenario.table, "transact", lambda writes: sent.append(1) or transact(writes)
    )
    codes = await asyncio.gather(
        *(
            refusal_of(order_scenario.accept_delivery(order_id, rider, offers[rider]))
            for rider in riders
        )
    )

    assert sorted(codes, key=str) == sorted(["ok", *[Refusal.OFFER_TAKEN] * 19], key=str)
    assert len(sent) == 1


async def test_a_repeated_placement_takes_the_money_once(order_scenario: OrderScenario):
    """The same key places one order, whatever the network does."""
    placed = await asyncio.gather(*(order_scenario.place_order(key="k_1") for _ in range(10)))

    assert len(set(placed)) == 1
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 - 9_500


async def test_the_same_key_for_another_request_is_a_conflict(order_scenario: OrderScenario):
    """A key names one request for ever."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id, key="cmd_1")
    other = order_scenario.caller("vendor", "ven_1", "cmd_1")
    assert other.request_key is not None
    changed = RequestKey(owner=other.request_key.owner, name="cmd_1", body_hash="different")
    caller = type(other)(audience="vendor", id="ven_1", request_key=changed)
    step = order_scenario.order_service.order_preparing(
        caller, commands.OrderPreparing(order_id=order_id)
    )

    assert await refusal_of(step) is Refusal.CONFLICT


async def test_a_wallet_too_small_leaves_no_order_behind(order_scenario: OrderScenario):
    """Refused money is a refused order: nothing is listed, told or reserved."""
    assert await refusal_of(order_scenario.place_order(quantity=500)) is Refusal.INSUFFICIENT_FUNDS
    orders, _ = await order_scenario.orders.list_for("user", "usr_1", None, PageRequest(10))

    assert orders == []
    assert await order_scenario.event_names("vendor:ven_1") == []


async def test_the_last_portion_is_sold_once(order_scenario: OrderScenario):
    """Five customers want the last two portions, two each: one of them eats."""
    await order_scenario.open_vendor(stock=3)
    codes = await asyncio.gather(*(refusal_of(order_scenario.place_order()) for _ in range(5)))

    assert sorted(map(str, codes)) == [*["item_unavailable"] * 4, "ok"]


async def test_cancellation_returns_money_stock_and_rider(order_scenario: OrderScenario):
    """Money, stock and the rider's hands are as they were before."""
    await order_scenario.open_vendor(stock=10)
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    cancel = commands.CancelOrder(order_id=order_id)
    await order_scenario.order_service.cancel_order(order_scenario.caller("user", "usr_1"), cancel)

    assert await order_scenario.status(order_id) == "CANCELLED"
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()
    assert (await order_scenario.catalogue.items_by_id("ven_1", ["ndole"]))["ndole"].stock == 10
    assert await order_scenario.wallet_balance("USER", "usr_1") == 200_000 - 100_000
    assert (await order_scenario.statements.trial_balance())["total"] == 0


async def test_cancel_and_accept_at_once_have_one_winner(order_scenario: OrderScenario):
    """Either the rider carries the order or the customer has his money back, never both."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    cancel = commands.CancelOrder(order_id=order_id)
    await asyncio.gather(
        refusal_of(order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])),
        refusal_of(
            order_scenario.order_service.cancel_order(
                order_scenario.caller("user", "usr_1"), cancel
            )
        ),
    )
    order = await order_scenario.orders.get(order_id)

    assert order.status.value == "CANCELLED"
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000


async def test_cash_is_bounded_by_what_a_rider_may_carry(order_scenario: OrderScenario):
    """A rider whose limit would be passed does not get the order."""
    order_id = await order_scenario.place_order(method="CASH", quantity=13)
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")

    assert (
        await refusal_of(order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"]))
        is Refusal.CASH_LIMIT
    )
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()


async def test_cash_settles_against_the_riders_debt(order_scenario: OrderScenario):
    """The rider owes what he collected; vendor and rider are paid; the sum is zero."""
    order_id = await order_scenario.place_order(method="CASH")
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    await order_scenario.settlement_worker.settle(order_id)
    trial = await order_scenario.statements.trial_balance()
    balances = {line["account"]: line["balance"] for line in trial["accounts"]}

    assert balances["RIDERCASH#rdr_1"] == -9_500
    assert trial["total"] == 0


async def test_a_released_order_frees_rider_and_cash(order_scenario: OrderScenario):
    """The order searches again and its rider may take another."""
    order_id = await order_scenario.place_order(method="CASH", quantity=10)
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    give_back = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await order_scenario.order_service.release_delivery(
        order_scenario.caller("rider", "rdr_1"), give_back
    )
    other = await order_scenario.place_order(method="CASH", quantity=11)
    await order_scenario.accept_order(other)
    again = await order_scenario.make_offers(other, "rdr_1")

    assert await refusal_of(order_scenario.accept_delivery(other, "rdr_1", again["rdr_1"])) == "ok"


async def test_a_crash_between_write_and_relay_loses_nothing(order_scenario: OrderScenario):
    """What was written and never relayed is told by the sweep, once."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)

    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]
    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]
    assert (await order_scenario.timers.claim(order_scenario.clock.now_ms(), 10, 1))[0] == [
        order_id
    ]


async def test_an_unsettled_delivery_is_swept(order_scenario: OrderScenario):
    """A node that died right after the delivery leaves the money to the sweep."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    order_scenario.clock.advance(10_001)

    assert await order_scenario.settlement_worker.sweep_once() == 1
    assert await order_scenario.settlement_worker.sweep_once() == 0
    assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"


async def test_mobile_money_waits_for_the_provider(order_scenario: OrderScenario):
    """The vendor hears of the order when the money is there, and once."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")
    assert await order_scenario.event_names("vendor:ven_1") == []
    await order_scenario.order_service.payment_confirmed(order_id)
    await order_scenario.order_service.payment_confirmed(order_id)

    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]


async def test_a_late_payment_of_a_cancelled_order_goes_into_the_wallet(
    order_scenario: OrderScenario,
):
    """A payment that comes too late is the customer's own money."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")
    cancel = commands.CancelOrder(order_id=order_id)
    await order_scenario.order_service.cancel_order(order_scenario.caller("user", "usr_1"), cancel)
    await order_scenario.order_service.payment_confirmed(order_id)
    await order_scenario.order_service.payment_confirmed(order_id)

    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 + 9_500


async def test_a_parcel_needs_no_vendor(order_scenario: OrderScenario):
    """PACKAGE is searched for at once and pays platform and rider."""
    here = Address(lat=4.05, lng=9.70)
    body = PackageOrder(
        order_type="PACKAGE",
        pickup=here,
        dropoff=Address(lat=4.068, lng=9.70),
        package_details=ParcelDetails(category="documents", weight=1.0),
        recipient=Recipient(name="Awa", phone="+237600000000"),
        payment_method="WALLET",
    )
    placed = await order_scenario.order_service.place_order(
        order_scenario.caller("user", "usr_1"), body
    )
    offers = await order_scenario.make_offers(placed["orderId"], "rdr_1")
    await order_scenario.accept_delivery(placed["orderId"], "rdr_1", offers["rdr_1"])
    him = order_scenario.caller("rider", "rdr_1")
    await order_scenario.order_service.pick_up(him, commands.PickUp(order_id=placed["orderId"]))
    done = commands.CompleteDelivery(order_id=placed["orderId"])
    await order_scenario.order_service.complete_delivery(him, done)
    await order_scenario.settlement_worker.settle(placed["orderId"])
    total = placed["pricing"]["total"]

    assert await order_scenario.wallet_balance("RIDER", "rdr_1") == total - total // 5


@pytest.mark.parametrize("audience", ["user", "vendor", "rider"])
async def test_another_owners_order_is_not_found(order_scenario: OrderScenario, audience):
    """A stranger of any audience gets the answer of an order that does not exist."""
    order_id = await order_scenario.place_order()
    steps = {
        "user": lambda who, o: order_scenario.order_service.cancel_order(
            who, commands.CancelOrder(order_id=o)
        ),
        "vendor": lambda who, o: order_scenario.order_service.accept_order(
            who, commands.AcceptOrder(order_id=o)
        ),
        "rider": lambda who, o: order_scenario.order_service.pick_up(
            who, commands.PickUp(order_id=o)
        ),
    }
    stranger = order_scenario.caller(audience, "stranger")

    assert await refusal_of(steps[audience](stranger, order_id)) is Refusal.NOT_FOUND
    assert await refusal_of(steps[audience](stranger, "ord_none")) is Refusal.NOT_FOUND


@pytest.mark.parametrize("method", ["WALLET", "CASH"])
async def test_a_settlement_does_not_read_the_money_it_splits(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch, method
):
    """What the order says of its money is what the condition checks, so nothing is read first."""
    order_id = await order_scenario.place_order(method=method)
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    reads = []
    monkeypatch.setattr(order_scenario.ledger, "get_funds", reads.append)
    await order_scenario.order_service.settle(order_id)

    assert reads == []
    assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"


async def accepted_order(shop):
    """An order that waits for a rider, as the engine has read it."""
    order_id = await shop.place_order()
    await shop.accept_order(order_id)
    return await shop.orders.get(order_id)


async def offer_loaded_order(shop, loaded):
    """The engine offers an order as it has read it."""
    now_ms = shop.clock.now_ms()
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=now_ms)}
    made = OfferFacts(trip_km=2.0, due_at_ms=now_ms + 2_000)
    return await shop.order_service.make_offers(loaded.order_id, offers, made, loaded)


async def test_an_order_that_the_engine_has_read_is_not_read_again(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """From a vendor's yes to a rider's phone every round trip counts."""
    known = await accepted_order(order_scenario)
    reads = []
    monkeypatch.setattr(OrderStore, "get", reads.append)
    offered = await offer_loaded_order(order_scenario, known)

    assert reads == []
    assert offered.version == known.version + 1


async def test_an_order_that_changed_after_the_engine_read_it_is_read_again(
    order_scenario: OrderScenario,
):
    """The kitchen began meanwhile: that is kept, and the order is offered."""
    known = await accepted_order(order_scenario)
    vendor = order_scenario.caller("vendor", "ven_1")
    await order_scenario.order_service.order_preparing(
        vendor, commands.OrderPreparing(order_id=known.order_id)
    )
    offered = await offer_loaded_order(order_scenario, known)

    assert await order_scenario.status(known.order_id) == "PREPARING"
    assert offered.version == known.version + 2
    assert (
        await refusal_of(order_scenario.accept_delivery(known.order_id, "rdr_1", "ofr_1")) == "ok"
    )


async def test_an_order_cancelled_after_the_engine_read_it_is_not_offered(
    order_scenario: OrderScenario,
):
    """What the engine remembers decides nothing."""
    known = await accepted_order(order_scenario)
    customer = order_scenario.caller("user", "usr_1")
    await order_scenario.order_service.cancel_order(
        customer, commands.CancelOrder(order_id=known.order_id)
    )

    assert await refusal_of(offer_loaded_order(order_scenario, known)) is Refusal.WRONG_STATE
    assert "delivery_request" not in await order_scenario.event_names("rider:rdr_1")
