"""Offers on real engines: one rider wins, within capacity and cash limit, whatever races."""

import asyncio

import msgspec
import pytest

from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.model import OfferOutcome, Position
from dispatch.orders.transitions.offers import EndedOffers
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.wire import commands
from matching.eta import travel_seconds, vehicle_mps
from matching.prep_times import FadedSum
from matching.speeds import hour_of
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.orders.refusals import refusal_of

pytestmark = pytest.mark.engines


async def test_exactly_one_of_twenty_riders_wins(order_scenario: OrderScenario):
    """Twenty riders accept one order at once, each twice: one is assigned, the rest are refused."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, *(f"rdr_{i}" for i in range(20)))
    accepts = [(rider_id, offer_id) for rider_id, offer_id in offers.items() for _ in range(2)]
    codes = await asyncio.gather(
        *(refusal_of(order_scenario.accept_delivery(order_id, *each)) for each in accepts)
    )
    order = await order_scenario.order(order_id)
    winners = [rider_id for (rider_id, _), code in zip(accepts, codes, strict=True) if code == "ok"]
    busy = [r for r in offers if (await order_scenario.riders.workload(r)).orders]

    assert winners == [order.rider_id] * 2
    assert set(codes) == {"ok", Refusal.OFFER_TAKEN}
    assert busy == [order.rider_id]


async def test_a_rider_carries_one_order_at_a_time(order_scenario: OrderScenario):
    """A rider with offers of two orders gets the first that it accepts."""
    first, second = await order_scenario.place_order(), await order_scenario.place_order()
    await order_scenario.accept_order(first)
    await order_scenario.accept_order(second)
    one = await order_scenario.make_offers(first, "rdr_1")
    two = await order_scenario.make_offers(second, "rdr_1")
    codes = await asyncio.gather(
        refusal_of(order_scenario.accept_delivery(first, "rdr_1", one["rdr_1"])),
        refusal_of(order_scenario.accept_delivery(second, "rdr_1", two["rdr_1"])),
    )

    assert sorted(codes, key=str) == sorted(["ok", Refusal.CONFLICT], key=str)


async def test_a_busy_rider_is_not_offered_a_second_order(order_scenario: OrderScenario):
    """The refusal names the rider, so that the engine can leave it out."""
    first, second = await order_scenario.place_order(), await order_scenario.place_order()
    await order_scenario.accept_order(first)
    await order_scenario.accept_order(second)
    await order_scenario.assign(first)
    with pytest.raises(Refused) as refused:
        await order_scenario.make_offers(second, "rdr_1")

    assert refused.value.code is Refusal.CONFLICT
    assert refused.value.details == {"riderId": "rdr_1"}


async def test_collected_cash_is_limited(order_scenario: OrderScenario):
    """A rider whose cash limit would be passed does not get the order."""
    order_id = await order_scenario.place_order(method="CASH", quantity=13)
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    accept = order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])

    assert await refusal_of(accept) is Refusal.CASH_LIMIT
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()


async def test_the_estimate_uses_learned_speeds(order_scenario: OrderScenario):
    """Two kilometres over slow streets take what was learned there, not the vehicle's default."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    position = Position(lat=4.069, lng=9.708, ts=0, received_at=0)
    order_scenario.positions.position = position
    hour = hour_of(order_scenario.clock.now_ms())
    street = (cell_of(position.lat, position.lng), hour, None)
    order_scenario.speeds.learn(street, 3_000.0, 1_500.0)
    await order_scenario.assign(order_id)
    bodies = {entry.name: entry.body for entry in await order_scenario.inbox_entries("user:usr_1")}
    slow_s = travel_seconds(2_001.5, order_scenario.speeds.speed_mps(street))

    assert msgspec.json.decode(bodies["rider_assigned"])["etaSeconds"] == pytest.approx(
        slow_s, abs=1
    )
    assert slow_s > 2.5 * travel_seconds(2_001.5, vehicle_mps(None))


async def test_without_redis_an_order_is_assigned_without_an_estimate(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """The last position is display only."""

    async def unavailable(_rider_id: str) -> None:
        raise StoreUnavailable("redis", "down")

    monkeypatch.setattr(order_scenario.positions, "last_position", unavailable)
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    bodies = {entry.name: entry.body for entry in await order_scenario.inbox_entries("user:usr_1")}

    assert msgspec.json.decode(bodies["rider_assigned"]).get("etaSeconds") is None


async def test_answers_to_offers_are_learned(order_scenario: OrderScenario):
    """A decline and a shown offer without an answer count as declined, an unread one not at all."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    riders = ("yes", "no", "mute", "dark")
    offers = await order_scenario.make_offers(order_id, *riders)
    decline = commands.DeclineDelivery(order_id=order_id, offer_id=offers["no"])
    await order_scenario.order_service.decline_delivery(
        order_scenario.caller("rider", "no"), decline
    )
    ended = EndedOffers(expired=frozenset({RiderId("mute")}), unread=frozenset({RiderId("dark")}))
    await order_scenario.order_service.end_offers(order_id, ended)
    await order_scenario.accept_delivery(order_id, "yes", offers["yes"])
    await order_scenario.learned_stats.flush()

    assert await order_scenario.learned_stats.answers() == {
        "yes": FadedSum(1, 1), "no": FadedSum(0, 1), "mute": FadedSum(0, 1),
    }  # fmt: skip


async def test_a_decline_of_an_offer_that_has_ended_is_refused(order_scenario: OrderScenario):
    """The engine has ended it meanwhile."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    ended = EndedOffers(expired=frozenset({RiderId("rdr_1")}))
    after = await order_scenario.order_service.end_offers(order_id, ended)
    decline = commands.DeclineDelivery(order_id=order_id, offer_id=offers["rdr_1"])
    rider = order_scenario.caller("rider", "rdr_1")

    assert after.dispatch is not None
    assert after.dispatch.asked[RiderId("rdr_1")].outcome is OfferOutcome.EXPIRED
    assert (
        await refusal_of(order_scenario.order_service.decline_delivery(rider, decline))
        is Refusal.OFFER_EXPIRED
    )
