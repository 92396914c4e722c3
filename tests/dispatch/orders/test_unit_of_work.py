"""Unit of work on real engines: one transaction decides, repetitions and races have one effect."""

import asyncio
from collections.abc import Awaitable, Sequence

import msgspec
import pytest

from dispatch.errors import Refusal
from dispatch.events.idempotency_records import RequestKey
from dispatch.ids import OrderId, RiderId
from dispatch.model import Order
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller
from dispatch.wire import commands
from ledger.dynamodb.table import Write
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.orders.refusals import refusal_of
from tests.factories import an_offer

pytestmark = pytest.mark.engines


async def accepted_order(scenario: OrderScenario) -> Order:
    """An order that searches a rider, as the engine has read it."""
    order_id = await scenario.place_order()
    await scenario.accept_order(order_id)
    return await scenario.order(order_id)


async def offer_loaded_order(scenario: OrderScenario, loaded: Order) -> Order:
    """The engine offers an order as it has read it."""
    now_ms = scenario.clock.now_ms()
    facts = OfferFacts(
        offers={RiderId("rdr_1"): an_offer("ofr_1", made_at_ms=now_ms)},
        trip_km=2.0,
        due_at_ms=now_ms + 2_000,
    )
    return await scenario.order_service.make_offers(loaded.order_id, facts, loaded)


async def test_a_repeated_command_has_one_effect_and_the_first_answer(
    order_scenario: OrderScenario,
):
    """Fifty copies of one command at once change the order once and get the same answer."""
    order_id = await order_scenario.place_order()
    answers = await asyncio.gather(
        *(order_scenario.accept_order(order_id, key="cmd_1") for _ in range(50))
    )

    assert all(answer == answers[0] for answer in answers)
    assert (await order_scenario.order(order_id)).version == 2
    assert (await order_scenario.event_names("user:usr_1")).count("order_accepted") == 1


async def test_a_repeated_delivery_accept_gets_the_whole_first_answer(
    order_scenario: OrderScenario,
):
    """The winner's repetitions once got a summary of the order instead of the whole of it."""
    order_id = (await accepted_order(order_scenario)).order_id
    offers = await order_scenario.make_offers(order_id, "rdr_1", "rdr_2")
    answers = [
        await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"], key)
        for key in ("cmd_1", "cmd_1", None)
    ]

    assert answers[0]["locations"]["pickup"]["lat"] == 4.051
    assert len({msgspec.json.encode(answer) for answer in answers}) == 1


async def test_concurrent_accepts_on_one_node_send_one_transaction(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """Twenty riders accept at once: one is written, the others are refused without a write.

    When they raced, each of them sent a transaction that could only fail.
    """
    order_id = (await accepted_order(order_scenario)).order_id
    rider_ids = [f"rdr_{n}" for n in range(20)]
    offers = await order_scenario.make_offers(order_id, *rider_ids)
    sent: list[Sequence[Write]] = []
    transact = order_scenario.table.transact

    async def count_and_transact(writes: Sequence[Write]) -> None:
        sent.append(writes)
        await transact(writes)

    monkeypatch.setattr(order_scenario.table, "transact", count_and_transact)
    codes = await asyncio.gather(
        *(refusal_of(order_scenario.accept_delivery(order_id, r, offers[r])) for r in rider_ids)
    )

    assert sorted(codes, key=str) == sorted(["ok", *[Refusal.OFFER_TAKEN] * 19], key=str)
    assert len(sent) == 1


async def test_the_same_key_for_another_request_is_a_conflict(order_scenario: OrderScenario):
    """An idempotency key stands for one request."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id, key="cmd_1")
    used = order_scenario.caller("vendor", "ven_1", "cmd_1").request_key
    assert used is not None
    other = RequestKey(owner=used.owner, name=used.name, body_hash="different")
    caller = Caller(audience="vendor", id="ven_1", request_key=other)
    preparing = order_scenario.order_service.order_preparing(
        caller, commands.OrderPreparing(order_id=order_id)
    )

    assert await refusal_of(preparing) is Refusal.CONFLICT


async def test_an_order_that_the_engine_has_read_is_not_read_again(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """It saves a round trip between a vendor's acceptance and the offer."""
    loaded = await accepted_order(order_scenario)
    reads: list[str] = []
    monkeypatch.setattr(OrderStore, "get", reads.append)
    offered = await offer_loaded_order(order_scenario, loaded)

    assert reads == []
    assert offered.version == loaded.version + 1


async def test_an_order_that_changed_after_the_engine_read_it_is_read_again(
    order_scenario: OrderScenario,
):
    """The vendor began to prepare meanwhile: that is kept, and the order is offered."""
    loaded = await accepted_order(order_scenario)
    await order_scenario.order_service.order_preparing(
        order_scenario.caller("vendor", "ven_1"),
        commands.OrderPreparing(order_id=loaded.order_id),
    )
    offered = await offer_loaded_order(order_scenario, loaded)
    accept = order_scenario.accept_delivery(loaded.order_id, "rdr_1", "ofr_1")

    assert await order_scenario.status(loaded.order_id) == "PREPARING"
    assert offered.version == loaded.version + 2
    assert await refusal_of(accept) == "ok"


async def test_an_order_cancelled_after_the_engine_read_it_is_not_offered(
    order_scenario: OrderScenario,
):
    """The condition of the write decides, not the engine's memory."""
    loaded = await accepted_order(order_scenario)
    await order_scenario.cancel_order(loaded.order_id)

    assert await refusal_of(offer_loaded_order(order_scenario, loaded)) is Refusal.WRONG_STATE
    assert "delivery_request" not in await order_scenario.event_names("rider:rdr_1")


async def test_a_crash_between_write_and_relay_loses_nothing(order_scenario: OrderScenario):
    """Events and timer of a written transition are relayed by the sweep, once."""
    order_id = (await accepted_order(order_scenario)).order_id

    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]
    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]
    due, _ = await order_scenario.timers.claim(order_scenario.clock.now_ms(), 10, 1)
    assert due == [order_id]


@pytest.mark.parametrize("audience", ["user", "vendor", "rider"])
async def test_another_owners_order_is_not_found(order_scenario: OrderScenario, audience: str):
    """A stranger of any audience gets the answer of an order that does not exist."""
    order_id = await order_scenario.place_order()
    service = order_scenario.order_service
    stranger = order_scenario.caller(audience, "stranger")

    def request(order: OrderId) -> Awaitable[object]:
        match audience:
            case "user":
                return service.cancel_order(stranger, commands.CancelOrder(order_id=order))
            case "vendor":
                return service.accept_order(stranger, commands.AcceptOrder(order_id=order))
            case _:
                return service.pick_up(stranger, commands.PickUp(order_id=order))

    assert await refusal_of(request(order_id)) is Refusal.NOT_FOUND
    assert await refusal_of(request(OrderId("ord_none"))) is Refusal.NOT_FOUND
